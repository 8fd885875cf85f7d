"""DICOM series: a folder of slices to one volume.

Slice by slice, not by SimpleITK's ImageSeriesReader: that one stores all slices in the voxel type of the first, so that
fractional rescale slopes of later slices are cut off; it only warns of a missing slice, and spreads the others evenly;
and it does not say which file is bad.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.data.dicom_slices import Slice, read_slice, series_below, slice_files
from edgewise.data.image_error import ImageError

UNEVEN = 0.1
"""How far a slice may lie from its place among evenly spaced ones, in distances of slices: positions are rounded."""
TILT = np.tan(np.radians(0.1))
"""Slope of the line through the slices' corners against their normal; gantries tilt by several degrees."""
SAME_DIRECTION = 1e-3
"""Between direction cosines: 0.25 mm at the border of a body."""

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_series(folder: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Read the one DICOM series in a folder or below it, such as TCIA's patient/study/series.

    Rescale slope and intercept are applied (CT: Hounsfield units). Slices are sorted by position along their normal,
    whatever their names and numbers.

    Returns:
        (x, y, z, 1) array, in the integers or float32 that hold all slices exactly, and the (4, 4) voxel-to-world
        matrix in RAS+, mm. A single slice has one voxel along z, as thick as its file tells, or 1 mm.

    Raises:
        ImageError: no series or several; a file that is no slice, truncated, or compressed in a way that GDCM cannot
            read; colour; slices of different sizes or directions, at one position, missing, or sheared by a tilted
            gantry; no position or pixel size.
    """
    folders = series_below(folder)
    if not folders:
        raise ImageError(folder, "holds no DICOM slices", "Restore them, or take its case out of the dataset.")
    if len(folders) > 1:
        names = ", ".join(str(path.relative_to(folder)) for path in folders[:4])
        problem = f"holds DICOM slices in {len(folders)} folders ({names}{', ...' * (len(folders) > 4)})"
        raise ImageError(folder, problem, "Keep the one series to be used, and move the others away.")
    slices = [read_slice(path) for path in slice_files(folders[0])]
    _require_one_series(folders[0], slices)
    if len(slices) == 1:
        ordered, step = slices, _normal(slices[0]) * slices[0].thickness
    else:
        _require_places(slices)
        _require_alike(slices)
        ordered, step = _ordered(folders[0], slices)
    pixels = np.stack([one.pixels for one in ordered], axis=2)[..., None]
    affine = np.eye(4)
    affine[:3, :2] = _axes(ordered[0]) * ordered[0].size
    affine[:3, 2] = step
    affine[:3, 3] = _corner(ordered[0])
    return pixels.astype(np.float32, copy=False) if pixels.dtype.kind == "f" else pixels, _LPS_TO_RAS @ affine


def _require_one_series(folder: Path, slices: Sequence[Slice]) -> None:
    found = Counter(one.series for one in slices)
    if len(found) > 1:
        names = " and ".join(f"{uid or '(no UID)'} ({count} files)" for uid, count in found.most_common())
        problem = f"holds {len(found)} DICOM series: {names}"
        raise ImageError(folder, problem, "Move each into a folder of its own, and keep the one to be used.")


def _require_alike(slices: Sequence[Slice]) -> None:
    """Refuse slices that do not belong to one stack."""
    first, mend = slices[0], "Move away what belongs to another series."
    for one in slices[1:]:
        if one.pixels.shape != first.pixels.shape:
            problem = f"has {_by(one.pixels.shape)} pixels, {first.path.name} of the same series has "
            raise ImageError(one.path, problem + _by(first.pixels.shape), mend)
        if not np.allclose(one.size, first.size, rtol=1e-3):
            problem = f"has pixels of {_by(one.size)} mm, {first.path.name} of the same series {_by(first.size)} mm"
            raise ImageError(one.path, problem, mend)
        if np.abs(_axes(one) - _axes(first)).max() > SAME_DIRECTION:
            problem = f"is a slice in another direction than {first.path.name} of the same series (a localiser?)"
            raise ImageError(one.path, problem, mend)


def _require_places(slices: Sequence[Slice]) -> None:
    for one in slices:
        if one.position is None or one.directions is None:
            problem = "does not tell where its slice lies (Image Position and Orientation (Patient))"
            raise ImageError(one.path, problem, "Export the series again with these tags, or convert it.")


def _by(sizes: Sequence[int] | Sequence[float]) -> str:
    return " × ".join(f"{size:g}" for size in sizes)


def _axes(one: Slice) -> NDArray[np.float64]:
    return np.eye(3)[:, :2] if one.directions is None else one.directions


def _corner(one: Slice) -> NDArray[np.float64]:
    return np.zeros(3) if one.position is None else one.position


def _normal(one: Slice) -> NDArray[np.float64]:
    axes = _axes(one)
    return np.cross(axes[:, 0], axes[:, 1])


def _ordered(folder: Path, slices: Sequence[Slice]) -> tuple[list[Slice], NDArray[np.float64]]:
    """The slices along their normal, and the vector from one to the next in mm."""
    normal = _normal(slices[0])
    ordered = sorted(slices, key=lambda one: float(_corner(one) @ normal))
    corners = np.array([_corner(one) for one in ordered])
    gaps = np.diff(corners @ normal)
    for gap, (one, other) in zip(gaps, pairwise(ordered), strict=True):
        if gap < 1e-3:
            problem = f"lies at the same position as {one.path.name} (two copies, echoes or points in time?)"
            raise ImageError(other.path, problem, "Keep one slice a position in this folder.")
    way = corners[-1] - corners[0]
    step = way / (len(ordered) - 1)
    off = np.linalg.norm(corners - (corners[0] + np.arange(len(ordered))[:, None] * step), axis=1)
    if off.max() > UNEVEN * np.linalg.norm(step):
        raise _uneven(folder, ordered, gaps)
    height = float(way @ normal)
    slope = float(np.linalg.norm(way - height * normal)) / height
    if slope > TILT:
        problem = f"is a stack of slices sheared by {np.degrees(np.arctan(slope)):.1f}° (a tilted gantry)"
        raise ImageError(folder, problem, "Convert it with a program that straightens it, such as dcm2niix.")
    return ordered, step


def _uneven(folder: Path, ordered: Sequence[Slice], gaps: NDArray[np.float64]) -> ImageError:
    usual = float(np.median(gaps))
    where = int(np.argmax(np.abs(gaps - usual)))
    between = f"{ordered[where].path.name} and {ordered[where + 1].path.name} are {gaps[where]:.4g} mm apart"
    missing = round(gaps[where] / usual) - 1
    guess = f": {missing} seem{'s' * (missing == 1)} to be missing" if missing > 0 else ""
    problem = f"has slices that do not lie evenly, {usual:.4g} mm apart in a line: {between}{guess}"
    mend = "Copy the missing slices, or convert the series with a program that resamples it evenly."
    return ImageError(folder, problem, mend)
