"""`edgewise maps`: a distance map of a label file, as NIfTI on the same grid."""

from pathlib import Path
from typing import Literal

import numpy as np

from edgewise.data.case import Grid
from edgewise.data.images import whole_labels
from edgewise.data.volumes import NIFTI, read_volume, suffix_of, write_volume
from edgewise.errors import LabelError, OutputError
from edgewise.maps.base import DistanceMap


def maps(
    labels: Path,
    recipe: DistanceMap,
    out: Path,
    *,
    classes: int | Literal["auto"],
    channels: Literal["fewest", "all"],
    units: Literal["mm", "voxels"],
) -> str:
    """Build the map of a label file and write it; return one line about what was written.

    Raises:
        ImageError: the file cannot be read, or holds no labels.
        LabelError: a label does not fit `classes`.
        OutputError: `out` is no NIfTI name, or cannot be written.
    """
    if suffix_of(out).lower() not in NIFTI:
        raise OutputError(f"cannot write {out}: choose a name that ends in .nii.gz or .nii.")
    volume = read_volume(labels)
    image = whole_labels(volume).reshape(volume.shape)
    largest = int(image.max())
    count = max(largest + 1, 2) if classes == "auto" else classes
    if largest >= count:
        raise LabelError(f"{labels} holds label {largest}, but --classes is {count}: give {largest + 1} or more.")
    spacing = np.linalg.norm(volume.affine[:3, : image.ndim], axis=0).tolist()
    sizes = [1.0] * image.ndim if units == "voxels" else spacing
    field = recipe(image, classes=count, spacing=sizes, channels=channels)
    stored = field
    if field.ndim > image.ndim:  # NIfTI keeps channels on the fourth axis
        stored = np.moveaxis(field, 0, -1).reshape(*(*volume.shape, 1)[:3], count)
    write_volume(out, stored, Grid(path=labels, shape=volume.shape, affine=volume.affine))
    return f"{out}: {recipe.kind} of {count} classes, {field.min():.4g} to {field.max():.4g}"
