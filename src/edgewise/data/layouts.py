"""Dataset layouts, recognised by what lies in a folder, never configured.

A further layout is one more `Layout` in `LAYOUTS`. What cannot become a labelled case is not swallowed: every
scan lists it as a `Defect`.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgewise.data.case import CaseFiles, Dataset
from edgewise.data.folders import (
    Defect,
    by_channel,
    by_id,
    case_id,
    content,
    entries,
    find_images,
    names,
    pairs,
)
from edgewise.data.images import whole_labels
from edgewise.data.volumes import SUFFIXES, ImageError, read_volume
from edgewise.errors import DataError

__all__ = ["LAYOUTS", "Defect", "Layout", "Scan", "case_id", "detect", "find_images", "scan"]


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What a look at a dataset's folders and `dataset.json` gives: labelled pairs, and all that is none."""

    dataset: Dataset
    defects: tuple[Defect, ...]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One way to lay out a dataset.

    Attributes:
        name: for records.
        describe: what a user must have for it, for messages.
        fits: is the folder, with this content of `dataset.json` ({} if there is none), laid out so?
        scan: reads it.
    """

    name: str
    describe: str
    fits: Callable[[Path, Mapping[str, Any]], bool]
    scan: Callable[[Path, Mapping[str, Any]], Scan]


def detect(root: Path) -> Dataset:
    """The dataset in `root`, its labelled pairs sorted by id; `scan` also tells what is no labelled pair.

    Raises:
        DataError: no layout fits (the message says what was looked for and what was found), or `dataset.json`
            contradicts itself.
    """
    return scan(root).dataset


def scan(root: Path) -> Scan:
    """As `detect`, with the defects: images without label, labels without image, missing files."""
    if not root.is_dir():
        raise DataError(f"{root}: there is no such folder. Pass the folder that holds the dataset.")
    description = _description(root)
    for layout in LAYOUTS:
        if layout.fits(root, description):
            return layout.scan(root, description)
    looked = "; ".join(f"({i}) {layout.describe}" for i, layout in enumerate(LAYOUTS, 1))
    inside = [p.name for p in entries(root) if p.is_dir() and _fits_any(p)]
    mend = f"Did you mean {root / inside[0]}?" if inside else "Arrange the files in one of these ways."
    raise DataError(f"{root} is no dataset we know. Looked for {looked}. Found {content(root)}. {mend}")


def _description(root: Path) -> Mapping[str, Any]:
    path = root / "dataset.json"
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}). Correct it.") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: holds a {type(value).__name__}, expected one JSON object {{...}}. Correct it.")
    return value


def _fits_any(folder: Path) -> bool:
    try:
        description = _description(folder)
        return any(layout.fits(folder, description) for layout in LAYOUTS)
    except DataError:
        return False


def _fits_decathlon(_: Path, description: Mapping[str, Any]) -> bool:
    return "modality" in description and isinstance(description.get("training"), list)


def _scan_decathlon(root: Path, description: Mapping[str, Any]) -> Scan:
    path = root / "dataset.json"
    images: dict[str, tuple[Path, ...]] = {}
    labels: dict[str, Path] = {}
    defects: list[Defect] = []
    listed: set[str] = set()
    for entry in description["training"]:
        image, label = _listed(path, root, entry)
        name = case_id(image)
        if name.startswith("."):
            continue
        if name in listed:
            defects.append(Defect(name, image, "is listed twice in dataset.json", "Remove one of the entries."))
            continue
        listed.add(name)
        missing = [file for file in (image, label) if not file.is_file()]
        mend = "Restore the file, or remove its entry."
        defects += [Defect(name, file, "is listed in dataset.json, but missing", mend) for file in missing]
        if not missing:
            images[name], labels[name] = (image,), label
    cases, _ = pairs(images, labels)
    defects += _unlisted(root, listed)
    return _scanned(root, description, cases, defects, channels="modality")


def _listed(path: Path, root: Path, entry: Any) -> tuple[Path, Path]:
    if isinstance(entry, dict):
        image, label = entry.get("image"), entry.get("label")
        if isinstance(image, str) and isinstance(label, str):
            return root / image, root / label
    raise DataError(
        f'{path}: `training` holds {entry!r}, expected {{"image": file, "label": file}}. Correct that entry.'
    )


def _unlisted(root: Path, listed: set[str]) -> list[Defect]:
    images, _ = by_id(root / "imagesTr")
    labels, _ = by_id(root / "labelsTr")
    more, defects = pairs({name: (file,) for name, file in images.items()}, labels, known=listed)
    mend = "Add it to `training` in dataset.json if it should be used."
    extra = [Defect(c.id, c.images[0], "is not listed in dataset.json, and not used", mend, "warning") for c in more]
    return defects + extra


def _fits_nnunet(root: Path, description: Mapping[str, Any]) -> bool:
    return "channel_names" in description and (root / "imagesTr").is_dir()


def _scan_nnunet(root: Path, description: Mapping[str, Any]) -> Scan:
    path = root / "dataset.json"
    ending = description.get("file_ending")
    if ending not in SUFFIXES:
        mend = f"Convert the images to one of {', '.join(SUFFIXES)}."
        raise DataError(f"{path}: `file_ending` is {ending!r}, which we do not read. {mend}")
    if "dataset" in description:
        raise DataError(f"{path}: lists its files in `dataset`. Copy them to imagesTr and labelsTr instead.")
    channels = names(path, "channel_names", description["channel_names"])
    files, defects = by_id(root / "imagesTr")
    labels, doubles = by_id(root / "labelsTr")
    images: dict[str, tuple[Path, ...]] = {}
    broken = []
    for name, group in by_channel(files.values()).items():
        if [number for number, _ in group] == list(range(len(channels))):
            images[name] = tuple(file for _, file in group)
            continue
        broken.append(name)
        wanted = " ".join(f"{name}_{number:04d}{ending}" for number in range(len(channels)))
        found = " ".join(file.name for _, file in group)
        problem = f"is not the {len(channels)} channels of dataset.json: expected {wanted}, found {found}"
        defects.append(Defect(name, group[0][1], problem, "Restore or rename the channel files."))
    cases, orphans = pairs(images, labels, known=broken)
    return _scanned(root, description, cases, [*defects, *doubles, *orphans], channels="channel_names")


def _scanned(
    root: Path, description: Mapping[str, Any], cases: list[CaseFiles], defects: list[Defect], channels: str
) -> Scan:
    """What `dataset.json` says of classes and channels, with the cases found."""
    path = root / "dataset.json"
    dataset = Dataset(
        root=root,
        layout="decathlon" if channels == "modality" else "nnunet",
        name=str(description.get("name") or root.resolve().name),
        cases=tuple(sorted(cases, key=lambda case: case.id)),
        classes=names(path, "labels", description.get("labels")),
        channels=names(path, channels, description[channels]),
    )
    return Scan(dataset=dataset, defects=tuple(defects))


def _fits_folders(root: Path, description: Mapping[str, Any]) -> bool:
    return not description and (root / "images").is_dir() and (root / "labels").is_dir()


def _scan_folders(root: Path, _: Mapping[str, Any]) -> Scan:
    images, doubles = by_id(root / "images")
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


LAYOUTS = (
    Layout(
        name="decathlon",
        describe="Medical Segmentation Decathlon: dataset.json with `modality`, `labels` and `training`",
        fits=_fits_decathlon,
        scan=_scan_decathlon,
    ),
    Layout(
        name="nnunet",
        describe="nnU-Net v2 raw: imagesTr/<id>_0000.nii.gz, labelsTr/<id>.nii.gz and dataset.json with "
        "`channel_names`, `labels` and `file_ending`",
        fits=_fits_nnunet,
        scan=_scan_nnunet,
    ),
    Layout(
        name="folders",
        describe="two folders images/ and labels/ of files with the same names, without dataset.json",
        fits=_fits_folders,
        scan=_scan_folders,
    ),
)
