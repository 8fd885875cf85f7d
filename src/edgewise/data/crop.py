"""Find the part of an image that is worth keeping, from the image alone: so training and prediction agree."""

from math import ceil
from typing import Any, TypeAlias

import cc3d
import numpy as np

from edgewise.types import Image, Mask, Spacing

Box: TypeAlias = tuple[tuple[int, int], ...]

AIR_HU = -500.0
MARGIN_MM = 5.0
_STEP_MM = 4.0  # less than the margin, so what lies between two samples stays inside the box
_SHARE = 1 / 8


def body_box(image: Image, spacing: Spacing) -> Box:
    """The box of the body, or of what is not background.

    In an image with values below -500 (CT: air), it holds the connected regions above -500 HU in the first
    channel that are at least an eighth as large as the largest one, looked for on a grid of about 4 mm: two
    legs stay, a table and tubes go. In any other image it holds the voxels that differ from the background,
    if the eight corners of every channel agree on one background value. Where nothing is found, it is the
    whole image.

    Args:
        image: (K, *space).
        spacing: voxel size in mm.

    Returns:
        (start, stop) in voxels along each axis, with a margin of 5 mm and at least one voxel.
    """
    shape = image.shape[1:]
    if image[0].min() < AIR_HU:
        step = tuple(max(1, int(_STEP_MM / size)) for size in spacing)
        kept = _large_regions(image[0][tuple(slice(None, None, s) for s in step)] > AIR_HU)
    else:
        step = (1,) * len(shape)
        kept = _unlike_corners(image)
    box = []
    for axis, (size, stride, length) in enumerate(zip(spacing, step, shape, strict=True)):
        others = tuple(other for other in range(len(shape)) if other != axis)
        inside = np.flatnonzero(kept.any(axis=others)) * stride
        margin = max(1, ceil(MARGIN_MM / size))
        if inside.size:
            box.append((max(int(inside[0]) - margin, 0), min(int(inside[-1]) + 1 + margin, length)))
        else:
            box.append((0, length))
    return tuple(box)


def _large_regions(mask: Mask) -> Mask:
    # One voxel more along each axis: cc3d 4.1.1 fails on [[[1, 0, 1]]], for which it makes too little room.
    regions: Any = cc3d.connected_components(np.pad(mask, [(0, 1)] * mask.ndim))[(slice(-1),) * mask.ndim]
    sizes = np.bincount(regions.ravel())
    sizes[0] = 0
    large = (sizes > 0) & (sizes >= _SHARE * sizes.max(initial=0))
    kept: Mask = large[regions]
    return kept


def _unlike_corners(image: Image) -> Mask:
    corners = image[(slice(None), *(slice(None, None, max(n - 1, 1)) for n in image.shape[1:]))]
    different = np.zeros(image.shape[1:], bool)
    for channel, values in zip(image, corners, strict=True):
        if values.min() < values.max():
            return np.ones(image.shape[1:], bool)
        different |= channel != values.flat[0]
    return different
