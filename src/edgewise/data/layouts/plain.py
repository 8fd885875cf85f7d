"""Layouts of two folders without a `dataset.json`: images/ and labels/, and the knees of OAIZIB-CM."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from edgewise.data.case import Dataset
from edgewise.data.folders import Folder, by_id, channel_of, images_by_id, pairs
from edgewise.data.images import whole_labels
from edgewise.data.layouts.base import Layout, Scan
from edgewise.data.volumes import ImageError, read_volume
from edgewise.errors import DataError


def _fits_folders(folder: Folder) -> bool:
    return not folder.description and (folder.root / "images").is_dir() and (folder.root / "labels").is_dir()


def _scan_folders(folder: Folder) -> Scan:
    root = folder.root
    images, doubles = images_by_id(root / "images")
    labels, more = by_id(root / "labels")
    cases, orphans = pairs({name: (file,) for name, file in images.items()}, labels)
    channels = _channels(case.images[0] for case in cases)
    dataset = Dataset(
        root=root,
        layout="folders",
        name=root.resolve().name,
        cases=tuple(cases),
        classes=_classes(labels[case.id] for case in cases),
        channels=("image",) if channels == 1 else tuple(f"channel {i}" for i in range(channels)),
    )
    return Scan(dataset=dataset, defects=(*doubles, *more, *orphans))


def _channels(files: Iterable[Path]) -> int:
    """Channels of the first image that can be read (the check tells about the others)."""
    for file in files:
        try:
            return int(read_volume(file).array.shape[3])
        except ImageError:
            continue
    return 1


def _classes(files: Iterable[Path]) -> tuple[str, ...]:
    """Names for the label values that occur; masks that cannot be read are left to the check.

    Raises:
        DataError: the values are not 0, 1, 2, ...
    """
    where: dict[int, Path] = {0: Path()}
    for file in files:
        try:
            values = np.flatnonzero(np.bincount(whole_labels(read_volume(file)).ravel()))
        except ImageError:
            continue
        where |= {int(value): file for value in values if int(value) not in where}
    found = sorted(where)
    if found != list(range(len(found))):
        problem = f"holds label {found[-1]}, and the labels of this dataset are {found}, not 0, 1, 2, ..."
        mend = "Renumber the classes, or describe the dataset by a dataset.json."
        raise DataError(f"{where[found[-1]]}: {problem} {mend}")
    return ("background", *(f"class {value}" for value in found[1:]))


def _fits_oaizib_cm(folder: Folder) -> bool:
    if folder.description:
        return False
    return any(name.startswith("oaizib_") for name in by_id(folder.root / "labelsTr")[0])


def _scan_oaizib_cm(folder: Folder) -> Scan:
    root = folder.root
    files, doubles = by_id(root / "imagesTr")
    labels, more = by_id(root / "labelsTr")
    cases, orphans = pairs({channel_of(file)[0]: (file,) for file in files.values()}, labels)
    dataset = Dataset(
        root=root,
        layout="oaizib_cm",
        name="OAIZIB-CM",
        cases=tuple(cases),
        classes=(
            "background",
            "femur",
            "femoral cartilage",
            "tibia",
            "medial tibial cartilage",
            "lateral tibial cartilage",
        ),
        channels=("MR",),
    )
    return Scan(dataset=dataset, defects=(*doubles, *more, *orphans))


FOLDERS = Layout(
    name="folders",
    describe="two folders images/ and labels/ of files with the same names, without dataset.json; an image may also be "
    "the folder of a DICOM series",
    fits=_fits_folders,
    scan=_scan_folders,
)
OAIZIB_CM = Layout(
    name="oaizib_cm",
    describe="OAIZIB-CM as released: imagesTr/oaizib_001_0000.nii.gz, labelsTr/oaizib_001.nii.gz",
    fits=_fits_oaizib_cm,
    scan=_scan_oaizib_cm,
)
