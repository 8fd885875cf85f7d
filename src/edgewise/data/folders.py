"""Files in folders: ids, channel numbers, pairs of image and label, and what is left over."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from typing_extensions import override

from edgewise.data.case import CaseFiles
from edgewise.data.dicom_slices import holds_slices, is_dicom, series_below
from edgewise.data.volumes import SUFFIXES, suffix_of
from edgewise.errors import DataError

DEEPEST = 10
"""Levels of folders to look through: LiTS as downloaded lies seven below the folder it is unpacked into."""
MOST = 500_000
"""Files and folders to look through: a dataset of DICOM series has a hundred thousand."""


@dataclass(frozen=True)
class Defect:
    """One thing that is wrong with a dataset.

    Attributes:
        case: id of the case; "" if it concerns the whole dataset.
        file: the file or folder.
        problem: what is wrong.
        mend: what the user can do.
        severity: an "error" stops training, a "warning" does not.
    """

    case: str
    file: Path
    problem: str
    mend: str
    severity: Literal["error", "warning"] = "error"

    @override
    def __str__(self) -> str:
        return f"{self.file}: {self.problem}. {self.mend}"


@dataclass(frozen=True, kw_only=True)
class Folder:
    """The folder of a dataset.

    Attributes:
        root: the folder.
        description: the content of its `dataset.json`; {} if there is none.
    """

    root: Path
    description: Mapping[str, Any]

    @cached_property
    def below(self) -> tuple[Path, ...]:
        """Every file and folder below the folder, to a depth of ten levels, sorted; without hidden ones.

        Raises:
            DataError: a folder cannot be listed, or there are so many files that this is no dataset.
        """
        return tuple(sorted(_below(self.root)))

    @cached_property
    def images_below(self) -> tuple[Path, ...]:
        """Every image file among them; no DICOM."""
        return tuple(path for path in self.below if suffix_of(path) and path.is_file())


def _below(root: Path) -> Iterator[Path]:
    """Files and folders below a folder; each folder once, however many links lead to it."""
    waiting, seen, count = [(root, 1)], {root.resolve()}, 0
    while waiting:
        folder, level = waiting.pop()
        for path in entries(folder):
            count += 1
            if count > MOST:
                raise DataError(f"{root}: more than {MOST:,} files lie below it. Pass the folder of one dataset.")
            yield path
            if level < DEEPEST and path.is_dir() and path.resolve() not in seen:
                seen.add(path.resolve())
                waiting.append((path, level + 1))


def case_id(path: Path) -> str:
    """The name of a file without its image suffix, or that of a folder: `a/b.c.nii.gz` -> `b.c`."""
    return path.name.removesuffix(suffix_of(path))


def find_images(paths: Sequence[Path], channels: int) -> tuple[CaseFiles, ...]:
    """Images to predict: files, DICOM series, and all images and series lying directly in folders; sorted by id.

    A folder of DICOM slices is one image, called like the folder. In any other folder each image file is one, and each
    folder with a DICOM series in it or below it.

    Files called `<id>_0000`, `<id>_0001`, ... are the channels of one case where several are expected; with
    one channel, `_0000` is dropped from the ids if all files have it.

    Args:
        paths: image files, folders of DICOM slices, and folders of those.
        channels: how many channels the network reads; a single file may hold them all.

    Raises:
        DataError: nothing found, not an image, a channel is missing, or two files have the same id.
    """
    files = list(dict.fromkeys(file for path in paths for file in _images_at(path)))
    numbered = [channel_of(file) for file in files]
    groups: list[tuple[str, tuple[Path, ...]]]
    if channels == 1 and all(number == 0 for _, number in numbered):
        groups = [(name, (file,)) for (name, _), file in zip(numbered, files, strict=True)]
    elif channels > 1 and any(number == 0 for _, number in numbered):
        groups = [*_grouped(files, channels).items()]
    else:
        groups = [(case_id(file), (file,)) for file in files]
    found: dict[str, tuple[Path, ...]] = {}
    for name, images in groups:
        if name in found:
            raise DataError(f"{images[0]} and {found[name][0]} have the same id {name!r}. Rename one of them.")
        found[name] = images
    return tuple(CaseFiles(id=name, images=found[name]) for name in sorted(found))


def _images_at(path: Path) -> list[Path]:
    if path.is_file():
        if is_dicom(path):
            raise DataError(f"{path}: is a slice of a DICOM series. Pass the folder of the series.")
        if not suffix_of(path):
            raise DataError(f"{path}: is no image. Convert it to one of {', '.join(SUFFIXES)}.")
        return [path]
    if not path.is_dir():
        raise DataError(f"{path}: there is no such file or folder. Pass image files, or folders of images.")
    images = image_files(path)
    if holds_slices(path):
        if images:
            problem = f"holds DICOM slices and images of another format, such as {images[0].name}"
            raise DataError(f"{path}: {problem}. Put them into folders of their own.")
        return [path if path.name not in {"", ".."} else path.resolve()]
    images = sorted([*images, *series_folders(path)])
    if not images:
        looked = f"Looked for {', '.join(SUFFIXES)} and folders of DICOM slices, found {content(path)}"
        raise DataError(f"{path}: no image lies in this folder. {looked}. Pass the folder of the images.")
    return images


def _grouped(files: Sequence[Path], channels: int) -> dict[str, tuple[Path, ...]]:
    groups = by_channel(files)
    for name, group in groups.items():
        if sorted(number for number, _ in group) != list(range(channels)):
            names = ", ".join(file.name for _, file in group)
            expected = f"{name}_0000 to {name}_{channels - 1:04d}"
            problem = f"case {name!r} needs the {channels} channels {expected}, found {names}"
            raise DataError(f"{group[0][1]}: {problem}. Pass one file a channel.")
    return {name: tuple(file for _, file in group) for name, group in groups.items()}


def channel_of(file: Path) -> tuple[str, int | None]:
    """`a_0001.nii.gz` -> ("a", 1); a name without channel number -> (id, None)."""
    match = re.fullmatch(r"(.+)_(\d{4})", case_id(file))
    return (match[1], int(match[2])) if match else (case_id(file), None)


def by_channel(files: Iterable[Path]) -> dict[str, list[tuple[int, Path]]]:
    """Files of each case with their channel numbers, in order; -1 for a file without one."""
    groups: dict[str, list[tuple[int, Path]]] = {}
    for file in files:
        name, number = channel_of(file)
        groups.setdefault(name, []).append((-1 if number is None else number, file))
    return {name: sorted(group) for name, group in groups.items()}


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, sorted; without hidden files, such as the `._name` that macOS leaves."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        mend = "Restore it, or its permissions."
        raise DataError(f"{folder}: cannot be listed ({error.strerror}). {mend}") from error


def image_files(folder: Path) -> list[Path]:
    """The images that lie directly in a folder, sorted."""
    return [path for path in entries(folder) if suffix_of(path) and path.is_file()]


def series_folders(folder: Path) -> list[Path]:
    """The folders directly in a folder in which, or below which, DICOM slices lie, sorted."""
    return [path for path in entries(folder) if path.is_dir() and series_below(path)]


def content(folder: Path) -> str:
    """What lies in a folder, in words, for messages."""
    found = [path.name + "/" * path.is_dir() for path in entries(folder)]
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    return (", ".join(found[:8]) + more) or "nothing"


def by_id(folder: Path) -> tuple[dict[str, Path], list[Defect]]:
    """The image files of a folder by id; a second file with the same id is a defect. An absent folder is empty."""
    return _by_id(image_files(folder) if folder.is_dir() else [])


def images_by_id(folder: Path) -> tuple[dict[str, Path], list[Defect]]:
    """As `by_id`, with folders of DICOM series too: the id of a series is the name of its folder."""
    return _by_id(sorted([*image_files(folder), *series_folders(folder)]) if folder.is_dir() else [])


def _by_id(paths: Iterable[Path]) -> tuple[dict[str, Path], list[Defect]]:
    found: dict[str, Path] = {}
    defects = []
    for path in paths:
        name = case_id(path)
        if name in found:
            problem = f"has the same id {name!r} as {found[name].name}"
            defects.append(Defect(name, path, problem, "Remove or rename one of the two."))
        found.setdefault(name, path)
    return found, defects


def pairs(
    images: Mapping[str, tuple[Path, ...]], labels: Mapping[str, Path], known: Iterable[str] = ()
) -> tuple[list[CaseFiles], list[Defect]]:
    """Images and labels with the same id as cases, sorted by id; the others as defects.

    Args:
        images: files of each id.
        labels: mask of each id.
        known: ids with a defect that is already told; nothing more is said about them.
    """
    cases, defects = [], []
    for name in sorted({*images, *labels} - {*known}):
        if name not in labels:
            mend = "Add a mask with the same name, or move the image out of this folder."
            defects.append(Defect(name, images[name][0], "is an image without label", mend))
        elif name not in images:
            mend = "Add an image with the same name, or move the mask out of this folder."
            defects.append(Defect(name, labels[name], "is a label without image", mend))
        else:
            cases.append(CaseFiles(id=name, images=images[name], label=labels[name]))
    return cases, defects


def names(path: Path, key: str, value: Any) -> tuple[str, ...]:
    """Names in the order of their numbers, from {"0": name} (Decathlon, channels) or {name: 0} (nnU-Net).

    Raises:
        DataError: not such a mapping, or the numbers are not 0, 1, 2, ...
    """
    if not isinstance(value, dict) or not value:
        raise DataError(f'{path}: `{key}` is not a mapping such as {{"0": "name"}}. Correct it.')
    if all(isinstance(number, str) and number.isdecimal() for number in value):
        numbered = [(int(number), str(name)) for number, name in value.items()]
    elif all(type(number) is int for number in value.values()):
        numbered = [(number, name) for name, number in value.items()]
    elif any(isinstance(number, list) for number in value.values()):
        mend = "Regions are not supported: give each class one label value of its own."
        raise DataError(f"{path}: `{key}` declares regions (lists of label values). {mend}")
    else:
        raise DataError(f"{path}: `{key}` must map names to integers, found {value}. Correct it.")
    if "ignore" in value or "ignore" in value.values():
        mend = "Relabel those voxels, and remove the entry."
        raise DataError(f"{path}: `{key}` declares an ignore label, which is not supported. {mend}")
    numbers = sorted(number for number, _ in numbered)
    if numbers != list(range(len(numbered))):
        mend = "Renumber the classes, in the masks too." if key == "labels" else "Renumber them."
        raise DataError(f"{path}: `{key}` has the numbers {numbers}, expected 0, 1, 2, ... {mend}")
    return tuple(name for _, name in sorted(numbered))
