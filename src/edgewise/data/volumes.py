"""Image formats: one file, or the folder of a DICOM series, to an array with its affine, and back to a file.

NIfTI goes through nibabel, NRRD, MetaImage and DICOM through SimpleITK (which is imported on first use: 0.3 s).
"""

import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from edgewise.data.case import Grid
from edgewise.data.dicom import read_series
from edgewise.data.dicom_slices import series_below, slice_files
from edgewise.data.image_error import ImageError, reason_of
from edgewise.errors import OutputError
from edgewise.files import atomic
from edgewise.types import Affine

__all__ = ["NIFTI", "SUFFIXES", "ImageError", "Volume", "files_of", "read_volume", "suffix_of", "write_volume"]

# Its annotations are half there: as `Any`, a strict type check does not stumble over the rest.
nib: Any = nibabel
NIFTI = (".nii.gz", ".nii")
ITK = (".nrrd", ".mha", ".mhd")
SUFFIXES = NIFTI + ITK

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# What nibabel raises for files that are no image, truncated, or corrupt in header or data.
_NIBABEL_ERRORS = (
    ImageFileError, HeaderDataError, WrapStructError, OSError, EOFError, zlib.error,
    KeyError, ValueError, TypeError, OverflowError, MemoryError,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Volume:
    """One image as it is stored.

    Attributes:
        path: the file, or the folder of a DICOM series.
        array: (x, y, z, K) in native byte order; K = 1 for an ordinary image.
        affine: (4, 4) voxel-to-world matrix, RAS+, mm.
        shape: spatial shape as stored: (x, y, z), or (x, y) for a purely two-dimensional file.
    """

    path: Path
    array: NDArray[Any]
    affine: Affine
    shape: tuple[int, ...]


def suffix_of(path: Path) -> str:
    """The image suffix of `path` (`.nii.gz` counts as one), as written there; "" for no image we read."""
    name = path.name.lower()
    return next((path.name[-len(suffix) :] for suffix in SUFFIXES if name.endswith(suffix)), "")


def files_of(path: Path) -> tuple[Path, ...]:
    """The files that an image is stored in: itself, a `.mhd` with its voxels, or the slices below a folder."""
    if path.is_dir():
        return tuple(file for folder in series_below(path) for file in slice_files(folder))
    if path.suffix.lower() != ".mhd" or not path.is_file():
        return (path,)
    named = re.search(rb"^ElementDataFile\s*=\s*(.+?)\s*$", path.read_bytes(), re.MULTILINE)
    data = path.parent / named[1].decode(errors="replace") if named else path
    return (path, data) if data.is_file() else (path,)


def read_volume(path: Path) -> Volume:
    """Read one image file of any known format, or the DICOM series in a folder, with its intensity scaling applied.

    Raises:
        ImageError: missing, unknown format, unreadable, truncated, not numbers, or without a valid geometry; for
            what a DICOM series must be, see `dicom.read_series`.
    """
    array, affine = _read(path)
    shape = array.shape[:-1]
    if len(shape) not in {2, 3}:
        mend = "Store (x, y), (x, y, z) or (x, y, z, channel)."
        raise ImageError(path, f"has {len(shape)} dimensions {shape} and channels", mend)
    if array.dtype.kind not in "biuf":
        raise ImageError(path, f"holds {array.dtype} voxels", "Convert it to plain integers or floats.")
    if array.size == 0:
        raise ImageError(path, f"has no voxels (shape {shape})", "Export it again.")
    array = array if len(shape) == 3 else array[:, :, None]
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return Volume(path=path, array=native, affine=_checked_affine(path, affine, len(shape)), shape=shape)


def _read(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    if path.is_dir():
        return read_series(path)
    if not path.is_file():
        raise ImageError(path, "there is no such file", "Restore it or take its case out of the dataset.")
    suffix = suffix_of(path).lower()
    if suffix in NIFTI:
        return _read_nifti(path)
    if suffix in ITK:
        return _read_itk(path)
    raise ImageError(path, "is not an image format we read", f"Convert it to one of {', '.join(SUFFIXES)}.")


def _read_nifti(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    try:
        image: Any = nib.load(path)
        # Not `get_fdata`, which makes float64 of everything and keeps a copy.
        array = np.asanyarray(image.dataobj)
        affine = np.asarray(image.affine, dtype=np.float64)
        unit = image.header.get_xyzt_units()[0]
    except _NIBABEL_ERRORS as error:
        raise _unreadable(path, error) from error
    if array.ndim == 5 and array.shape[3] == 1:  # how NIfTI stores vectors
        array = array[:, :, :, 0]
    array = array if array.ndim > 3 else array[..., None]
    millimetres = {"meter": 1e3, "micron": 1e-3}.get(unit, 1.0)
    return array, np.diag([millimetres, millimetres, millimetres, 1.0]) @ affine


def _read_itk(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    sitk = _simpleitk()
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    # A copy: array views of images that go out of scope crash.
    array = sitk.GetArrayFromImage(image)
    channels = image.GetNumberOfComponentsPerPixel() > 1
    size = image.GetDimension()
    array = array.transpose((*reversed(range(size)), *range(size, array.ndim)))
    array = array if channels or size == 4 else array[..., None]
    direction = np.eye(max(size, 3))
    direction[:size, :size] = np.reshape(image.GetDirection(), (size, size))
    spacing, origin = np.ones(3), np.zeros(3)
    spacing[:size] = image.GetSpacing()[:3]
    origin[:size] = image.GetOrigin()[:3]
    affine = np.eye(4)
    affine[:3, :3] = direction[:3, :3] * spacing
    affine[:3, 3] = origin
    return array, _LPS_TO_RAS @ affine


def _simpleitk() -> Any:
    import SimpleITK

    return SimpleITK


def _unreadable(path: Path, error: Exception) -> ImageError:
    mend = "It is damaged or truncated: copy or export it again."
    return ImageError(path, f"cannot be read ({reason_of(error)})", mend)


def _checked_affine(path: Path, affine: NDArray[np.float64], ndim: int) -> Affine:
    affine = affine.copy()
    if ndim == 2 and not affine[:3, 2].any():
        # Two-dimensional files may leave the size of the third axis at 0: one mm along the normal.
        normal = np.cross(affine[:3, 0], affine[:3, 1])
        affine[:3, 2] = normal / max(float(np.linalg.norm(normal)), 1e-12)
    linear = affine[:3, :3]
    sizes = np.linalg.norm(linear, axis=0)
    if not np.isfinite(affine).all() or (sizes <= 0).any():
        problem = f"has voxel sizes {tuple(float(s) for s in sizes)} mm, which are not all positive"
        raise ImageError(path, problem, "Correct the affine (sform or qform) in its header.")
    if abs(np.linalg.det(linear / sizes)) < 1e-6:
        raise ImageError(path, "has a singular affine", "Correct the affine (sform or qform) in its header.")
    return affine


def write_volume(path: Path, stored: NDArray[Any], grid: Grid) -> None:
    """Write an array that already lies on the stored grid, atomically; the suffix of `path` is the format.

    Args:
        path: the file to write.
        stored: (*space), or for NIfTI also (x, y, z, channel); uint8 or float32, which the file then holds unscaled.
        grid: the grid it lies on.

    Raises:
        OutputError: the file cannot be written, or its suffix is not `.nii.gz`, `.nii`, `.nrrd` or `.mha`.
    """
    suffix = suffix_of(path).lower()
    if suffix not in {*NIFTI, ".nrrd", ".mha"}:  # .mhd is two files, which cannot appear at once
        raise OutputError(f"cannot write {path}: choose a name that ends in .nii.gz, .nii, .nrrd or .mha.")
    with atomic(path) as temporary:
        if suffix in NIFTI:
            _write_nifti(temporary, stored, grid)
        else:
            _write_itk(temporary, stored, grid)


def _write_nifti(path: Path, stored: NDArray[Any], grid: Grid) -> None:
    header, affine = _nifti_header(grid.path), None
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    if header is None:
        affine = grid.affine
    image = kind(stored, affine, header)
    image.header.set_data_dtype(stored.dtype)
    image.header["cal_max"] = image.header["cal_min"] = 0
    image.header.set_intent("none")
    image.header.extensions.clear()
    if header is None:
        image.set_qform(affine, 1)
        image.set_sform(affine, 1)
        image.header.set_xyzt_units("mm")
    nib.save(image, path)


def _nifti_header(path: Path) -> Any:
    """Header of the image a mask belongs to; `None` if it was no NIfTI file, or is gone by now."""
    if suffix_of(path).lower() not in NIFTI or not path.is_file():
        return None
    header = nib.load(path).header
    return header.as_byteswapped("<")


def _write_itk(path: Path, stored: NDArray[Any], grid: Grid) -> None:
    sitk = _simpleitk()
    image = sitk.GetImageFromArray(np.ascontiguousarray(stored.T))
    size = stored.ndim
    if suffix_of(grid.path).lower() in ITK and grid.path.is_file():
        source = sitk.ImageFileReader()
        source.SetFileName(str(grid.path))
        source.ReadImageInformation()
        # Copied, not computed from the affine, so that not even the last digit changes.
        spacing, origin = source.GetSpacing(), source.GetOrigin()
        full = np.reshape(source.GetDirection(), (source.GetDimension(),) * 2)
    else:
        affine = _LPS_TO_RAS @ grid.affine
        spacing = tuple(float(s) for s in np.linalg.norm(affine[:3, :3], axis=0))
        origin, full = tuple(float(o) for o in affine[:3, 3]), affine[:3, :3] / np.array(spacing)
    image.SetSpacing(spacing[:size])
    image.SetOrigin(origin[:size])
    image.SetDirection([float(d) for d in full[:size, :size].ravel()])
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        raise OSError(str(error).strip().splitlines()[-1]) from error
