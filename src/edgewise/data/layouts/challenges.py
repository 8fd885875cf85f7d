"""Challenge datasets as downloaded: files told by their names, wherever below the folder they were unpacked."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgewise.data.case import Dataset
from edgewise.data.folders import Defect, Folder, pairs
from edgewise.data.layouts.base import Layout, Scan

TEST_FOLDER = re.compile(r"(?:(?<![A-Za-z])[Tt]est|(?<=[a-z])Test|(?<![A-Za-z])TEST)")
"""A folder for cases to predict: TestData, test_data, LITS-Challenge-Test-Data; not Latest or contest."""


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """How one challenge names its files and its classes.

    Attributes:
        layout: name of the layout.
        name: name of the dataset.
        image: matches the file name of an image; its first group is the id of the case.
        mask: matches the file name of a mask; its first group is the number of the case.
        id: the id of the case with that number.
        classes: class names by label value.
        channel: name of the channel.
        elsewhere: a folder of that name below the root belongs to something else.
        lonely: what to do if there are masks and not a single image.
    """

    layout: str
    name: str
    image: re.Pattern[str]
    mask: re.Pattern[str]
    id: str
    classes: tuple[str, ...]
    channel: str
    elsewhere: str = ""
    lonely: str = "Add the images."

    def own(self, folder: Folder) -> Iterable[Path]:
        """The images and masks below the folder, without those to predict and without what belongs elsewhere."""
        for file in folder.images_below:
            inside = file.relative_to(folder.root).parts[:-1]
            if self.elsewhere not in inside and not any(TEST_FOLDER.search(part) for part in inside):
                yield file


def _fits(challenge: Challenge, folder: Folder) -> bool:
    return not folder.description and any(challenge.mask.fullmatch(file.name) for file in challenge.own(folder))


def _scan(challenge: Challenge, folder: Folder) -> Scan:
    found: tuple[dict[str, Path], dict[str, Path]] = ({}, {})
    defects: list[Defect] = []
    known: list[str] = []
    for file in challenge.own(folder):
        for pattern, files in zip((challenge.image, challenge.mask), found, strict=True):
            match = pattern.fullmatch(file.name)
            if match is None:
                continue
            name = challenge.id.format(match[1])
            defect = _double(name, file, files) or _headless(name, file)
            defects += [defect] if defect else []
            known += [name] if defect else []
            files.setdefault(name, file)
    images, masks = found
    cases, orphans = pairs({name: (file,) for name, file in images.items()}, masks, known=known)
    if masks and not images:
        problem = f"{len(masks)} masks of {challenge.name} lie below it, and not a single image"
        orphans = [Defect("", folder.root, problem, challenge.lonely)]
    dataset = Dataset(
        root=folder.root,
        layout=challenge.layout,
        name=challenge.name,
        cases=tuple(cases),
        classes=challenge.classes,
        channels=(challenge.channel,),
    )
    return Scan(dataset=dataset, defects=(*defects, *orphans))


def _double(name: str, file: Path, files: dict[str, Path]) -> Defect | None:
    """A second file of one case, which would be used or not by chance."""
    if name not in files:
        return None
    problem = f"is a second file of case {name}, beside {files[name]}"
    return Defect(name, file, problem, "Remove one; a case to predict belongs into a folder called `test`.")


def _headless(name: str, file: Path) -> Defect | None:
    """A `.mhd` header whose file of voxels is missing."""
    if file.suffix.lower() != ".mhd":
        return None
    try:
        text = file.read_bytes()
    except OSError:
        return None  # the check says so
    named = re.search(rb"^\s*ElementDataFile\s*=\s*(.+?)\s*$", text, re.MULTILINE)
    voxels = named[1].decode(errors="replace") if named else ""
    # LOCAL, LIST and patterns of slices are left to the reader.
    if not voxels or voxels.split()[0] in {"LOCAL", "LIST"} or "%" in voxels or (file.parent / voxels).is_file():
        return None
    problem = f"is a header without its voxels: there is no {voxels} beside it"
    return Defect(name, file, problem, f"Restore {voxels}.")


def _layout(challenge: Challenge, describe: str) -> Layout:
    return Layout(
        name=challenge.layout,
        describe=describe,
        fits=partial(_fits, challenge),
        scan=partial(_scan, challenge),
    )


LITS = Challenge(
    layout="lits",
    name="LiTS",
    image=re.compile(r"volume-(\d+)\.nii(?:\.gz)?"),
    mask=re.compile(r"segmentation-(\d+)\.nii(?:\.gz)?"),
    id="volume-{}",
    classes=("background", "liver", "tumour"),
    channel="CT",
    lonely="Add the files volume-N.nii.",
)
PROMISE12 = Challenge(
    layout="promise12",
    name="PROMISE12",
    image=re.compile(r"Case(\d+)\.mhd"),
    mask=re.compile(r"Case(\d+)_segmentation\.mhd"),
    id="Case{}",
    classes=("background", "prostate"),
    channel="MR",
    lonely="Add the files CaseNN.mhd and CaseNN.raw.",
)
OAI_ZIB = Challenge(
    layout="oai_zib",
    name="OAI-ZIB",
    image=re.compile(r"(\d{7})(?:_0000)?\.(?:nii|nii\.gz|nrrd|mha|mhd)"),
    mask=re.compile(r"(\d{7})\.segmentation_masks\.(?:nii|nii\.gz|nrrd|mha|mhd)"),
    id="{}",
    classes=("background", "femur", "femoral cartilage", "tibia", "tibial cartilage"),
    channel="MR",
    elsewhere="classification",  # its masks have the same names, but other classes
    lonely="Convert each DICOM series of the OAI to one file NNNNNNN.mha on the grid of its mask.",
)
ACDC = Challenge(
    layout="acdc",
    name="ACDC",
    image=re.compile(r"(patient\d{3}_frame\d{2})\.nii(?:\.gz)?"),
    mask=re.compile(r"(patient\d{3}_frame\d{2})_gt\.nii(?:\.gz)?"),
    id="{}",
    classes=("background", "RV", "myocardium", "LV"),
    channel="MR",
    lonely="Add the files patientNNN_frameNN.nii.gz.",
)

CHALLENGES = (
    _layout(LITS, "LiTS: volume-N.nii and segmentation-N.nii, in whatever folders below this one"),
    _layout(PROMISE12, "PROMISE12: CaseNN.mhd and CaseNN_segmentation.mhd, in whatever folders below this one"),
    _layout(
        OAI_ZIB,
        "OAI-ZIB: NNNNNNN.segmentation_masks.mhd, and the images converted from DICOM to NNNNNNN.nii.gz or .mha",
    ),
    _layout(
        ACDC, "ACDC: patientNNN_frameNN.nii.gz and patientNNN_frameNN_gt.nii.gz, in whatever folders below this one"
    ),
)
"""Layouts that are looked for at any depth."""
