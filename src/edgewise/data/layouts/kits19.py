"""KiTS19 as downloaded: one folder a patient, of which 210 have a mask and 90 are to be predicted.

Source: Heller et al. 2019, arXiv:1904.00445.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from edgewise.data.case import Dataset
from edgewise.data.folders import Defect, Folder, pairs
from edgewise.data.layouts.base import Layout, Scan

_CASE = re.compile(r"case_(\d{5})")
_FILE = re.compile(r"(imaging|segmentation)\.nii(?:\.gz)?")
CLASSES = ("background", "kidney", "tumour")
_TO_PREDICT = 210
"""The first case whose mask the challenge keeps."""


def _files(folder: Folder) -> Iterator[tuple[str, str, Path]]:
    """Case, what it is (imaging or segmentation) and file."""
    for path in folder.images_below:
        match = _FILE.fullmatch(path.name)
        if match and _CASE.fullmatch(path.parent.name):
            yield path.parent.name, match[1], path


def _fits(folder: Folder) -> bool:
    return not folder.description and any(kind == "segmentation" for _, kind, _ in _files(folder))


def _scan(folder: Folder) -> Scan:
    found: dict[str, dict[str, Path]] = {"imaging": {}, "segmentation": {}}
    defects: list[Defect] = []
    for name, kind, path in _files(folder):
        if name in found[kind]:
            problem = f"is a second {kind} of {name}, beside {found[kind][name]}"
            defects.append(Defect(name, path, problem, "Remove one, or move it out of the dataset."))
        found[kind].setdefault(name, path)
    images, masks = found["imaging"], found["segmentation"]
    hidden = {name for name in (*images, *masks) if int(name.removeprefix("case_")) >= _TO_PREDICT}
    defects += [_another(name, masks[name]) for name in sorted(hidden & {*masks})]
    known = [*hidden, *(defect.case for defect in defects)]
    cases, orphans = pairs({name: (path,) for name, path in images.items()}, masks, known=known)
    if masks and not images:
        problem = f"{len(masks)} masks of KiTS19 lie below it, and not a single image"
        mend = "Its repository holds masks alone: run its script that fetches imaging.nii.gz of each case."
        orphans = [Defect("", folder.root, problem, mend)]
    dataset = Dataset(
        root=folder.root,
        layout="kits19",
        name="KiTS19",
        cases=tuple(cases),
        classes=CLASSES,
        channels=("CT",),
    )
    return Scan(dataset=dataset, defects=(*defects, *orphans))


def _another(name: str, mask: Path) -> Defect:
    problem = f"is a mask of {name}, and KiTS19 gives masks of the cases below {_TO_PREDICT} alone: KiTS23 has this one"
    mend = "For KiTS23, with cysts as a third class, make a dataset.json as nnU-Net v2 has it; else remove the mask."
    return Defect(name, mask, problem, mend)


KITS19 = Layout(
    name="kits19",
    describe="KiTS19: case_NNNNN/imaging.nii.gz and case_NNNNN/segmentation.nii.gz, in whatever folders",
    fits=_fits,
    scan=_scan,
)
