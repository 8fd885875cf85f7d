"""Pancreas-CT of The Cancer Imaging Archive, as downloaded: DICOM series of 80 patients and NIfTI labels.

Source: Roth et al. 2016, doi:10.7937/K9/TCIA.2016.tNB1kqBU.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from edgewise.data.case import Dataset
from edgewise.data.folders import Defect, Folder, pairs
from edgewise.data.layouts.base import Layout, Scan

_SCAN = re.compile(r"(PANCREAS_\d{4})(\.nii(?:\.gz)?)?")
_LABEL = re.compile(r"label(\d{4})\.nii(?:\.gz)?")
_LABELS = re.compile(r"TCIA_pancreas_labels.*", re.IGNORECASE)
"""The folder of the labels as released. BTCV has files of the same names, in folders of other names."""
_WITHDRAWN = ("PANCREAS_0025", "PANCREAS_0070")
"""TCIA withdrew the scans in 2020, as crops of the scan of case 2; the archive of labels still holds theirs."""


def _scans(folder: Folder) -> Iterator[tuple[str, Path]]:
    for path in folder.below:
        match = _SCAN.fullmatch(path.name)
        if match and (path.is_file() if match[2] else path.is_dir()):
            yield match[1], path


def _labels(folder: Folder) -> list[tuple[str, Path]]:
    """Those in the folder as released; without one, wherever they lie."""
    files = [(f"PANCREAS_{match[1]}", path) for path in folder.images_below if (match := _LABEL.fullmatch(path.name))]
    return [(name, path) for name, path in files if _released(path)] or files


def _released(label: Path) -> bool:
    return _LABELS.fullmatch(label.parent.name) is not None


def _fits(folder: Folder) -> bool:
    if folder.description:
        return False
    return any(True for _ in _scans(folder)) or any(_released(path) for _, path in _labels(folder))


def _scan(folder: Folder) -> Scan:
    scans, doubles = _single(_scans(folder))
    labels, more = _single(_labels(folder))
    withdrawn = [_left_out(name, path) for name in _WITHDRAWN for path in _both(name, scans, labels)]
    known = [*_WITHDRAWN, *(defect.case for defect in (*doubles, *more))]
    cases, orphans = pairs({name: (path,) for name, path in scans.items()}, labels, known=known)
    if not scans or not labels:
        orphans = [_half(folder, len(scans), len(labels))]
    dataset = Dataset(
        root=folder.root,
        layout="pancreas_ct",
        name="Pancreas-CT",
        cases=tuple(cases),
        classes=("background", "pancreas"),
        channels=("CT",),
    )
    return Scan(dataset=dataset, defects=(*doubles, *more, *withdrawn, *orphans))


def _single(found: Iterable[tuple[str, Path]]) -> tuple[dict[str, Path], list[Defect]]:
    """The first of each case; a second one would be used or not by chance."""
    first: dict[str, Path] = {}
    defects = []
    for name, path in found:
        if name in first:
            problem = f"is a second one of case {name}, beside {first[name]}"
            defects.append(Defect(name, path, problem, "Remove one, or move it out of the dataset."))
        first.setdefault(name, path)
    return first, defects


def _both(name: str, scans: Mapping[str, Path], labels: Mapping[str, Path]) -> list[Path]:
    return [found[name] for found in (scans, labels) if name in found]


def _left_out(name: str, path: Path) -> Defect:
    problem = f"is left out: TCIA withdrew {name} in 2020, because it is a crop of the scan of case 2"
    return Defect(name, path, problem, "Nothing to do; move it away to be told no more.", "warning")


def _half(folder: Folder, scans: int, labels: int) -> Defect:
    if scans == 0:
        problem = f"{labels} labels of Pancreas-CT lie below it, and not a single scan"
        return Defect("", folder.root, problem, "Add the folders PANCREAS_NNNN with their DICOM series.")
    problem = f"{scans} scans of Pancreas-CT lie below it, and not a single label"
    beside = [path.name for path in folder.root.resolve().parent.glob("*") if _LABELS.fullmatch(path.name)]
    mend = f"Pass the folder above: it holds {beside[0]}." if beside else "Add TCIA_pancreas_labels-02-05-2017."
    return Defect("", folder.root, problem, mend)


PANCREAS_CT = Layout(
    name="pancreas_ct",
    describe="Pancreas-CT of TCIA: PANCREAS_NNNN/ with one DICOM series each, and "
    "TCIA_pancreas_labels*/labelNNNN.nii.gz, in whatever folders",
    fits=_fits,
    scan=_scan,
)
