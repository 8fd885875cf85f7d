"""Files of a case to arrays, and label arrays back to files.

In memory every case is canonical (axes turned to the closest RAS+ orientation, no interpolation); what is
written goes back onto the stored grid of its image, voxel for voxel.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from edgewise.data.case import Case, CaseFiles, Grid
from edgewise.data.volumes import ImageError, Volume, read_volume, write_volume
from edgewise.errors import LabelError, ShapeError
from edgewise.types import Affine, Labels, Spacing

orientations: Any = nibabel.orientations
GRID_TOLERANCE_MM = 1e-2
# Masks stored with a scale factor come back as 2.9999998; anything further from a whole number is no label.
LABEL_TOLERANCE = 1e-4
_RAS = np.array([[0, 1], [1, 1], [2, 1]])


def read_case(files: CaseFiles) -> Case:
    """Read the images and, where there is one, the reference of one case, in canonical orientation.

    Raises:
        ImageError: a file cannot be read, grids differ, voxels are not finite, or labels are not 0..255.
    """
    label = None if files.label is None else read_mask(files.label, files.values)
    return assemble(files.id, [read_volume(path) for path in files.images], label)


def read_mask(path: Path, values: Sequence[int] = ()) -> Volume:
    """Read a mask, in which each class has its number afterwards.

    Args:
        path: the file.
        values: the value that each class is stored under; () where each is stored under its number.

    Raises:
        ImageError: it cannot be read, is no mask, or holds a value that stands for no class.
    """
    volume = read_volume(path)
    if not values:
        return volume
    numbers = np.full(256, len(values), np.uint8)
    numbers[list(values)] = range(len(values))
    labels = numbers[whole_labels(volume)]
    mend = "Relabel it, or take the case out."
    _refuse(volume, labels == len(values), f"stands for no class: they are stored as {[*values]}", mend)
    return replace(volume, array=labels[..., None])


def assemble(name: str, images: Sequence[Volume], label: Volume | None) -> Case:
    """Make a case of volumes that were read: one volume a channel, or one volume that holds all channels.

    Args:
        name: the id of the case.
        images: at least one; all on the grid of the first.
        label: the reference mask on the same grid; `None` for a case to predict.

    Raises:
        ImageError: grids differ, image voxels are not finite, or labels are not integers 0..255.
    """
    first = images[0]
    for image in images:
        require_same_grid(image, first)
        require_finite(image)
    turn = orientations.io_orientation(first.affine)
    stacked = np.concatenate([image.array for image in images], axis=3, dtype=np.float32, casting="unsafe")
    canonical = orientations.apply_orientation(stacked, turn)
    affine = first.affine @ orientations.inv_ornt_aff(turn, first.array.shape[:3])
    return Case(
        id=name,
        image=np.ascontiguousarray(np.moveaxis(canonical, 3, 0)),
        labels=None if label is None else labels_on(label, first),
        spacing=_sizes(affine),
        affine=affine,
        grid=Grid(path=first.path, shape=first.shape, affine=first.affine),
    )


def labels_on(label: Volume, image: Volume) -> Labels:
    """The labels of a mask file in canonical orientation, if they lie on the grid of an image.

    Raises:
        ImageError: grids differ, or labels are not integers 0..255.
    """
    require_same_grid(label, image)
    # A mask that is stored in another orientation than its image is turned by its own affine.
    turn = orientations.io_orientation((image if _differs(label, image) == "" else label).affine)
    labels: Labels = np.ascontiguousarray(orientations.apply_orientation(whole_labels(label), turn))
    return labels


def canonical_shape(volume: Volume) -> tuple[int, ...]:
    """Number of voxels along the axes in canonical orientation."""
    turned: tuple[int, ...] = _turned(volume).shape
    return turned


def canonical_spacing(volume: Volume) -> Spacing:
    """Voxel size in mm along the axes in canonical orientation."""
    turn = orientations.io_orientation(volume.affine)
    return _sizes(volume.affine @ orientations.inv_ornt_aff(turn, volume.array.shape[:3]))


def require_same_grid(volume: Volume, reference: Volume) -> None:
    """Refuse `volume` unless its voxels lie where those of `reference` lie, in whatever axis order.

    Raises:
        ImageError: shapes differ, or a corner of the volume is more than 0.01 mm away.
    """
    stored = _differs(volume, reference)
    if stored and _differs(_turned(volume), _turned(reference)):
        mend = f"Resample it onto the grid of {reference.path}, or export both again from the same image."
        if volume.array.shape[:3] == reference.array.shape[:3]:
            mend += " If the voxels of the two fit one by one, only its header is wrong: give it that of the image."
        raise ImageError(volume.path, f"{stored} ({reference.path.name})", mend)


def require_finite(volume: Volume) -> None:
    """Refuse NaN and infinite voxels.

    Raises:
        ImageError: names how many there are and where the first one is.
    """
    finite = np.isfinite(volume.array)
    if not finite.all():
        first = tuple(int(i) for i in np.argwhere(~finite)[0][: len(volume.shape)])
        problem = f"holds {int((~finite).sum())} NaN or infinite voxels, the first at {first}"
        raise ImageError(volume.path, problem, "Replace them by the background intensity.")


def whole_labels(volume: Volume) -> Labels:
    """The labels of a mask file as (x, y, z) uint8, in stored orientation; whole floats are fine.

    Raises:
        ImageError: several channels, or a value that is not an integer in 0..255.
    """
    if volume.array.shape[3] != 1:
        problem = f"is a mask with {volume.array.shape[3]} channels"
        raise ImageError(volume.path, problem, "Store one integer label a voxel in one channel.")
    values = volume.array[..., 0]
    if values.dtype.kind == "f":
        rounded = np.rint(values)
        wrong = ~(np.abs(values - rounded) <= LABEL_TOLERANCE)
        _refuse(volume, wrong, "is not an integer", "Labels are whole numbers: was the mask interpolated?")
        values = rounded
    if values.dtype.kind != "b":
        wrong = (values < 0) | (values > 255)
        _refuse(volume, wrong, "is outside 0..255", "Renumber the classes from 0 (background) upwards.")
    return values.astype(np.uint8)


def write_labels(path: Path, labels: Labels, grid: Grid) -> None:
    """Write canonical labels onto the stored grid of their image, atomically; the suffix is the format.

    A NIfTI file takes over the header of a NIfTI image: qform, sform, their codes and units; its voxels are
    unscaled uint8.

    Args:
        path: the file to write: `.nii.gz`, `.nii`, `.nrrd` or `.mha`.
        labels: (x, y, z) integers 0..255 in canonical (RAS+) orientation.
        grid: `case.grid` of the image they belong to.

    Raises:
        LabelError: a label is outside 0..255.
        ShapeError: the labels do not fit the grid.
        OutputError: the file cannot be written, or its suffix is not one of the above.
    """
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) <= 255:
        raise LabelError(f"labels {labels.min()}..{labels.max()} for {path}: expected integers in 0..255.")
    stored = _onto_stored(labels.astype(np.uint8, copy=False), grid)
    write_volume(path, stored, grid)


def _sizes(affine: Affine) -> Spacing:
    return tuple(float(size) for size in np.linalg.norm(affine[:3, :3], axis=0))


def _differs(volume: Volume, reference: Volume) -> str:
    """What differs between the two stored grids, "" if nothing does."""
    shape, expected = volume.array.shape[:3], reference.array.shape[:3]
    if shape != expected:
        return f"has shape {shape}, its image has {expected}"
    corners = np.array(list(itertools.product(*[(-0.5, n - 0.5) for n in shape], [1.0])))
    shifts = np.linalg.norm(corners @ (volume.affine - reference.affine)[:3].T, axis=1)
    if shifts.max() > GRID_TOLERANCE_MM:
        return f"has an affine that puts a corner {shifts.max():.3g} mm from that of its image"
    return ""


def _turned(volume: Volume) -> Volume:
    turn = orientations.io_orientation(volume.affine)
    array = orientations.apply_orientation(volume.array, turn)
    affine = volume.affine @ orientations.inv_ornt_aff(turn, volume.array.shape[:3])
    return Volume(path=volume.path, array=array, affine=affine, shape=array.shape[:3])


def _refuse(volume: Volume, wrong: NDArray[np.bool_], problem: str, mend: str) -> None:
    if wrong.any():
        where = tuple(int(i) for i in np.argwhere(wrong)[0])
        value = volume.array[(*where, 0)]
        raise ImageError(volume.path, f"holds label {value:g} at voxel {where}, which {problem}", mend)


def _onto_stored(labels: Labels, grid: Grid) -> NDArray[np.uint8]:
    turn = orientations.io_orientation(grid.affine)
    back = orientations.ornt_transform(_RAS, turn)
    turned: NDArray[np.uint8] = orientations.apply_orientation(labels, back)
    expected = (*grid.shape, 1)[:3]
    if turned.shape != expected:
        raise ShapeError(f"labels of shape {labels.shape} do not fit the grid {grid.shape} of {grid.path}.")
    return turned.reshape(grid.shape)
