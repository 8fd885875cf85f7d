r"""Free-form deformation: displacements from a coarse grid of control points, by uniform cubic B-splines.

$u(x) = \sum_{ijk} B_i(x_1)\, B_j(x_2)\, B_k(x_3)\, c_{ijk}$: the weights are separable, so a field is one small matrix
product along each axis. Transposed convolutions give the same numbers, but ask for a whole number of voxels between
control points.

Shifts that are large against the distance of the control points fold the image over itself. Measured, normal shifts of
15 voxels (as for V-Net, arXiv:1606.04797, and the RDD network) and 5 points an axis: no fold in patches of 64³ to 128³
voxels, where the points are 32 voxels apart or more; in 32³ 1.4 % of the voxels fold, in 40 x 56 x 40 0.1 %. With 7
points: 2.8 % in 64³, 15 % in 40 x 56 x 40. Shifts of a quarter of the distance never folded.

Source: Rueckert et al. 1999, doi:10.1109/42.796284.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MARGIN = 3
"""Control points along an axis beyond its intervals: at each place four of them count."""


def distances(points: int, patch: Sequence[int]) -> NDArray[np.float64]:
    """Voxels between neighbouring control points along each axis of `patch`, of which there are `points`."""
    return np.array(patch) / (points - MARGIN)


def displace(offsets: Tensor, shifts: Tensor) -> None:
    """Add the displacements of a grid of control points, in place.

    The intervals of the splines cover each axis from the outer border of its first voxel to that of its last.

    Args:
        offsets: (d, *patch) float32 in voxels, contiguous.
        shifts: (d, n, ..., n) float32: shift of each of the n control points an axis, in voxels.
    """
    *first, last = (_weights(shifts.shape[-1], size) for size in offsets.shape[1:])
    field = _product(shifts, first)
    offsets.view(-1, offsets.shape[-1]).addmm_(field.reshape(-1, field.shape[-1]), last.T)


def largest(shifts: NDArray[np.float32]) -> NDArray[np.float32]:
    """A bound on the displacement along each axis, in voxels.

    A B-spline lies within the hull of its control points. Two refinements leave the spline as it is and bring the
    control points near it: for random ones the bound is then a third (3D) to a half (2D) of the largest shift.

    Args:
        shifts: (d, n, ..., n), as for `displace`.

    Returns:
        (d,) float32.
    """
    points = shifts.shape[-1]
    refinement = _refinement(2 * points - MARGIN) @ _refinement(points)
    refined = _product(torch.from_numpy(shifts), [refinement] * len(shifts))
    bound: NDArray[np.float32] = refined.abs().flatten(1).amax(1).numpy()
    return bound


def _product(field: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Multiply along the axes after the first, as many as there are matrices."""
    for axis, matrix in enumerate(matrices, start=1):
        shape = field.shape
        rows = field.reshape(-1, shape[axis], int(np.prod(shape[axis + 1 :])))
        field = (matrix @ rows).reshape(*shape[:axis], len(matrix), *shape[axis + 1 :])
    return field


@lru_cache(maxsize=64)
def _weights(points: int, size: int) -> Tensor:
    """(size, points): how much each control point moves each voxel."""
    intervals = points - MARGIN
    place = (np.arange(size) + 0.5) / size * intervals
    first = place.astype(int)
    t = place - first
    basis = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    weights = np.zeros((size, points), np.float32)
    weights[np.arange(size), first + np.arange(4)[:, None]] = basis
    return torch.from_numpy(weights)


@lru_cache(maxsize=16)
def _refinement(points: int) -> Tensor:
    """(2 points - 3, points): control points of the same spline with twice as many intervals."""
    matrix = np.zeros((2 * points - MARGIN, points), np.float32)
    for row in range(len(matrix)):
        middle, between = divmod(row + 1, 2)
        if between:
            matrix[row, middle : middle + 2] = 1 / 2
        else:
            matrix[row, middle - 1 : middle + 2] = 1 / 8, 6 / 8, 1 / 8
    return torch.from_numpy(matrix)
