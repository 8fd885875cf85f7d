"""Exact Euclidean distance transforms of label images, in mm."""

import edt
import numpy as np

from edgewise.types import Field, Labels, Spacing


def inside_distance(labels: Labels, spacing: Spacing) -> Field:
    r"""Distance from every voxel centre to the nearest voxel centre of another class, in mm.

    $d_{in}(x) = \min_{y:\, t(y) \ne t(x)} \lVert x - y \rVert$. The classes partition the image, so one
    channel holds the inside distance of every class, background included, and one multi-label pass computes
    it.

    Args:
        labels: (*space) integers, not negative.
        spacing: voxel size along each axis, in mm.

    Returns:
        (*space) float32, at least the smallest voxel size. The edge of the image is no boundary. Where one
        class fills the image there is no other voxel to measure to: the smallest voxel size everywhere.

    Example:
        >>> inside_distance(np.array([[0, 0, 1, 1, 1, 0]]), (1.0, 0.5))
        array([[1. , 0.5, 0.5, 1. , 0.5, 0.5]], dtype=float32)
    """
    if labels.size == 0 or (labels == labels.flat[0]).all():
        return np.full(labels.shape, min(spacing), dtype=np.float32)
    distance: Field = edt.edt(_shifted(labels), anisotropy=spacing, black_border=False)
    return distance


def _shifted(labels: Labels) -> Labels:
    """Labels plus one: the library takes 0 for outside, and big-endian input silently for zeros."""
    narrow = int(labels.max()) < np.iinfo(np.uint8).max
    return np.ascontiguousarray(np.add(labels, 1, dtype=np.uint8 if narrow else np.uint32, casting="unsafe"))
