"""BraTS 2018 as downloaded: four sequences and a mask a patient, of high-grade (HGG) and low-grade gliomas (LGG).

Source: Bakas et al. 2018, arXiv:1811.02629. The masks hold 4, not 3, for enhancing tumour.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from edgewise.data.case import Dataset
from edgewise.data.folders import Defect, Folder, pairs
from edgewise.data.layouts.base import Layout, Scan

_FILE = re.compile(r"(Brats18_\w+?)_(t1|t1ce|t2|flair|seg)\.nii(?:\.gz)?")
_TO_PREDICT = re.compile(r"valid|(?<![a-z])test", re.IGNORECASE)
"""A folder of cases without masks, such as MICCAI_BraTS_2018_Data_Validation."""
_CHANNELS = {"t1": "T1", "t1ce": "T1ce", "t2": "T2", "flair": "FLAIR"}
CLASSES = ("background", "non-enhancing core", "oedema", "enhancing tumour")
_STORED = (0, 1, 2, 4)


def _files(folder: Folder) -> Iterator[tuple[str, str, Path]]:
    """Case, sequence and file of all that train, from whatever folders."""
    for path in folder.images_below:
        match = _FILE.fullmatch(path.name)
        inside = path.relative_to(folder.root).parts[:-1]
        if match and not any(_TO_PREDICT.search(part) for part in inside):
            yield match[1], match[2], path


def _fits(folder: Folder) -> bool:
    return not folder.description and any(kind == "seg" for _, kind, _ in _files(folder))


def _scan(folder: Folder) -> Scan:
    found: dict[str, dict[str, Path]] = {}
    defects: list[Defect] = []
    for name, kind, path in _files(folder):
        files = found.setdefault(name, {})
        if kind in files:
            problem = f"is a second {kind} of case {name}, beside {files[kind]}"
            defects.append(Defect(name, path, problem, "Remove one, or move it out of the dataset."))
        files.setdefault(kind, path)
    defects += _lacking(found)
    images = {name: tuple(f[k] for k in _CHANNELS if k in f) for name, f in found.items() if {*f} != {"seg"}}
    masks = {name: files["seg"] for name, files in found.items() if "seg" in files}
    cases, orphans = pairs(images, masks, known=[defect.case for defect in defects])
    dataset = Dataset(
        root=folder.root,
        layout="brats18",
        name="BraTS18",
        cases=tuple(replace(case, values=_STORED) for case in cases),
        classes=CLASSES,
        channels=tuple(_CHANNELS.values()),
    )
    return Scan(dataset=dataset, defects=(*defects, *orphans))


def _lacking(found: Mapping[str, Mapping[str, Path]]) -> Iterator[Defect]:
    """Cases of which some sequences are there and others are not."""
    for name, files in found.items():
        missing = [kind for kind in _CHANNELS if kind not in files]
        if 0 < len(missing) < len(_CHANNELS):
            problem = f"lacks {', '.join(missing)}: there is no {name}_{missing[0]}.nii.gz"
            yield Defect(name, next(iter(files.values())).parent, problem, "Restore the file, or remove the case.")


BRATS18 = Layout(
    name="brats18",
    describe="BraTS 2018: Brats18_X_Y_1_{t1,t1ce,t2,flair,seg}.nii.gz, in whatever folders; HGG, LGG or both",
    fits=_fits,
    scan=_scan,
)
