"""Layouts with a `dataset.json`: Medical Segmentation Decathlon and nnU-Net v2 raw."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgewise.data.case import CaseFiles, Dataset
from edgewise.data.folders import Defect, Folder, by_channel, by_id, case_id, names, pairs
from edgewise.data.layouts.base import Layout, Scan
from edgewise.data.volumes import SUFFIXES
from edgewise.errors import DataError


def _fits_decathlon(folder: Folder) -> bool:
    return "modality" in folder.description and isinstance(folder.description.get("training"), list)


def _scan_decathlon(folder: Folder) -> Scan:
    root, path = folder.root, folder.root / "dataset.json"
    images: dict[str, tuple[Path, ...]] = {}
    labels: dict[str, Path] = {}
    defects: list[Defect] = []
    listed: set[str] = set()
    for entry in folder.description["training"]:
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
    return _scanned(folder, cases, defects, channels="modality")


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


def _fits_nnunet(folder: Folder) -> bool:
    return "channel_names" in folder.description and (folder.root / "imagesTr").is_dir()


def _scan_nnunet(folder: Folder) -> Scan:
    root, path, description = folder.root, folder.root / "dataset.json", folder.description
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
    return _scanned(folder, cases, [*defects, *doubles, *orphans], channels="channel_names")


def _scanned(folder: Folder, cases: list[CaseFiles], defects: list[Defect], channels: str) -> Scan:
    """What `dataset.json` says of classes and channels, with the cases found."""
    path, description = folder.root / "dataset.json", folder.description
    dataset = Dataset(
        root=folder.root,
        layout="decathlon" if channels == "modality" else "nnunet",
        name=_name(folder.root, description),
        cases=tuple(sorted(cases, key=lambda case: case.id)),
        classes=names(path, "labels", description.get("labels")),
        channels=names(path, channels, description[channels]),
    )
    return Scan(dataset=dataset, defects=tuple(defects))


def _name(root: Path, description: Mapping[str, Any]) -> str:
    return str(description.get("name") or root.resolve().name)


DECATHLON = Layout(
    name="decathlon",
    describe="Medical Segmentation Decathlon: dataset.json with `modality`, `labels` and `training`",
    fits=_fits_decathlon,
    scan=_scan_decathlon,
)
NNUNET = Layout(
    name="nnunet",
    describe="nnU-Net v2 raw: imagesTr/<id>_0000.nii.gz, labelsTr/<id>.nii.gz and dataset.json with "
    "`channel_names`, `labels` and `file_ending`",
    fits=_fits_nnunet,
    scan=_scan_nnunet,
)
