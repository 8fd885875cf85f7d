"""Slices of DICOM series: which files they are, and reading one.

GDCM reads them, through SimpleITK.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.data.image_error import ImageError, reason_of

DEEPEST = 6
"""Levels of folders to look through for the slices of a case: patient, study and series are three."""

_DOCUMENTS = {".txt", ".csv", ".tsv", ".json", ".xml", ".md", ".pdf", ".html", ".htm", ".log"}
_BYSTANDERS = {"DICOMDIR", "LICENSE", "README"}
_UNCOMPRESSED = {
    "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2",
}  # fmt: skip
_POSITION, _DIRECTIONS, _SERIES = "0020|0032", "0020|0037", "0020|000e"
_PIXEL_SIZES = ("0028|0030", "0018|1164", "0018|2010")
_DISTANCES = ("0018|0088", "0018|0050")


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One file of a series.

    Attributes:
        path: the file.
        pixels: (x, y), rescaled.
        series: its Series Instance UID; "" if it has none.
        size: of a pixel along x and y, in mm.
        directions: (3, 2) unit vectors along x and y in LPS; nothing if the file does not tell.
        position: (3,) centre of the first pixel in LPS, in mm; nothing if the file does not tell.
        thickness: distance to the next slice, in mm, as far as the file tells.
    """

    path: Path
    pixels: NDArray[Any]
    series: str
    size: tuple[float, float]
    directions: NDArray[np.float64] | None
    position: NDArray[np.float64] | None
    thickness: float


# --- which files


def is_dicom(path: Path) -> bool:
    """Does the file begin as a DICOM file does: a preamble of 128 bytes, then DICM?"""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def slice_files(folder: Path) -> tuple[Path, ...]:
    """The files directly in a folder that would be slices, sorted: all but hidden ones and documents."""
    return tuple(
        path
        for path in _listed(folder)
        if path.suffix.lower() not in _DOCUMENTS and path.name.upper() not in _BYSTANDERS and path.is_file()
    )


def holds_slices(folder: Path) -> bool:
    """Do DICOM slices lie directly in the folder? Their names may end in .dcm or have any other form."""
    files = slice_files(folder)
    return any(path.suffix.lower() == ".dcm" for path in files) or any(is_dicom(path) for path in files)


def series_below(folder: Path) -> tuple[Path, ...]:
    """The folder and those below it that hold DICOM slices, sorted."""
    return tuple(sorted(_series_below(folder, DEEPEST)))


def _series_below(folder: Path, levels: int) -> Iterator[Path]:
    if holds_slices(folder):
        yield folder
    if levels > 1:
        for path in _listed(folder):
            if path.is_dir():
                yield from _series_below(path, levels - 1)


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise ImageError(folder, f"cannot be listed ({error.strerror})", "Restore it, or its permissions.") from error


# --- a slice


def read_slice(path: Path) -> Slice:
    """Read one file of a series; rescale slope and intercept are applied.

    Raises:
        ImageError: no DICOM file, truncated, no image, compressed in a way that GDCM cannot read, colour, several
            frames, pixels without size or directions that are none.
    """
    sitk = _simpleitk()
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise _unread(path, error) from error
    colours, frames = image.GetNumberOfComponentsPerPixel(), int(np.prod(image.GetSize()[2:]))
    if colours > 1:
        raise ImageError(path, f"holds colour ({colours} numbers a pixel)", "Export it in grey values.")
    if frames > 1:
        problem = f"holds {frames} frames in one file"
        raise ImageError(path, problem, "Convert it to NIfTI (dcm2niix): of DICOM, one slice a file is read.")
    sizes = next(filter(None, (_numbers(image, key, 2) for key in _PIXEL_SIZES)), ())
    if not sizes or min(sizes) <= 0:
        raise ImageError(path, "does not tell the size of its pixels", "Export it again with Pixel Spacing.")
    thickness = next((t for t in (_numbers(image, key, 1) for key in _DISTANCES) if t and t[0] != 0), (1.0,))
    corner = _numbers(image, _POSITION, 3)
    return Slice(
        path=path,
        # A copy: array views of images that go out of scope crash.
        pixels=sitk.GetArrayFromImage(image).reshape(image.GetSize()[1::-1]).T,
        series=image.GetMetaData(_SERIES).strip(" \0") if image.HasMetaDataKey(_SERIES) else "",
        size=(sizes[1], sizes[0]),  # DICOM tells the distance of rows first
        directions=_directions(path, _numbers(image, _DIRECTIONS, 6)),
        position=np.array(corner) if corner else None,
        thickness=abs(thickness[0]),
    )


def _simpleitk() -> Any:
    import SimpleITK

    return SimpleITK


def _directions(path: Path, cosines: tuple[float, ...]) -> NDArray[np.float64] | None:
    if not cosines:
        return None
    axes: NDArray[np.float64] = np.array(cosines).reshape(2, 3).T
    if np.abs(axes.T @ axes - np.eye(2)).max() > 1e-2:
        problem = f"has rows and columns along {cosines}, which are no two unit vectors at a right angle"
        raise ImageError(path, problem, "Export it again with a valid Image Orientation (Patient).")
    axes /= np.linalg.norm(axes, axis=0)
    return axes


def _numbers(image: Any, key: str, count: int) -> tuple[float, ...]:
    """The numbers of a tag; () if it is absent or not `count` finite numbers."""
    text = image.GetMetaData(key) if image.HasMetaDataKey(key) else ""
    try:
        found = tuple(float(part) for part in text.strip(" \0").split("\\"))
    except ValueError:
        return ()
    return found if len(found) == count and np.isfinite(found).all() else ()


def _unread(path: Path, error: RuntimeError) -> ImageError:
    if not is_dicom(path):
        problem = "lies among the slices of a DICOM series, and is no DICOM file"
        return ImageError(path, problem, "Move it out of this folder; if it should be one, copy it again.")
    syntax = _transfer_syntax(path)
    if syntax and syntax not in _UNCOMPRESSED:
        problem = f"holds pixels that cannot be read ({reason_of(error)}); they are compressed by {syntax}"
        return ImageError(path, problem, "Decompress the series (gdcmconv --raw), or copy it again if it is damaged.")
    problem = f"cannot be read as an image ({reason_of(error)})"
    mend = "It is damaged or truncated: copy it again. If it is a report or contours: move it out of this folder."
    return ImageError(path, problem, mend)


def _transfer_syntax(path: Path) -> str:
    """Transfer Syntax UID from the head of a file, which is never compressed; "" if it is not there."""
    with path.open("rb") as file:
        head = file.read(4096)
    _, found, rest = head.partition(b"\x02\x00\x10\x00UI")
    if not found:
        return ""
    return rest[2 : 2 + int.from_bytes(rest[:2], "little")].decode("ascii", "replace").strip("\0 ")
