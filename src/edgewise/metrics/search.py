"""Distances between borders: exact, and quick where they are near each other."""

import math
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy import ndarray

from edgewise.metrics.borders import Border, Directed
from edgewise.metrics.shells import Frame, Room, Shell
from edgewise.types import Spacing

if TYPE_CHECKING:
    from edgewise.metrics.comparison import Comparison
    from edgewise.metrics.kernels.nearest import Blocks

_OFFSETS = 400
"""How many are tried before a search among all elements: about 5 mm around a voxel of 0.8 x 0.8 x 2.5 mm."""
_BLOCK = 8
"""Voxels along each axis of the blocks of that search."""


class Offsets(NamedTuple):
    """The shortest steps between voxels, sorted by length.

    Attributes:
        steps: (n, axes) in voxels.
        lengths: (n) in mm.
    """

    steps: ndarray
    lengths: ndarray


def gaps(comparison: "Comparison") -> tuple[Directed, Directed]:
    """The distances between the borders of a comparison, both ways."""
    frame = Frame.of(comparison)
    one, other = shells(comparison, comparison.border, roomy(frame.spacing))
    return (
        Directed(distances=_distances(one, other, frame.spacing), weights=one.weights),
        Directed(distances=_distances(other, one, frame.spacing), weights=other.weights),
    )


def shells(comparison: "Comparison", border: Border, room: Room) -> tuple[Shell, Shell]:
    """The borders of a comparison on a grid with `room`, found once."""
    return comparison.once(("shells", border, room), lambda: Frame.of(comparison).shells(border, room))


def roomy(spacing: Spacing) -> Room:
    """Room enough for every step of the search, from a voxel or from the corner after the last one."""
    return tuple(int(most) + 2 for most in _nearby(spacing).steps.max(axis=0))


def _distances(start: Shell, border: Shell, spacing: Spacing) -> ndarray:
    """Distance from each element of `start` to the nearest of `border`, in mm; infinite where it has none."""
    distances = np.full(start.at.size, np.inf)
    if not (border.at.size and start.at.size):
        return distances
    from edgewise.metrics.kernels import nearest

    near = _nearby(spacing)
    strides = np.asarray(border.grid.strides)
    if nearest.nearby(border.grid.reshape(-1), start.at, near.steps @ strides, near.lengths, distances):
        far = np.flatnonzero(np.isinf(distances))
        blocks, order = _blocks(start, start.at[far])
        found = np.empty(far.size)
        nearest.among(blocks, _blocks(border, border.at)[0], np.array((0.0,) * (3 - len(spacing)) + spacing), found)
        distances[far[order]] = found
    return distances


def _blocks(shell: Shell, at: ndarray) -> tuple["Blocks", ndarray]:
    """Elements of a grid grouped by where they are, and which came to stand where."""
    from edgewise.metrics.kernels.nearest import Blocks

    shape = (1,) * (3 - shell.grid.ndim) + shell.grid.shape
    points = np.stack(np.unravel_index(at, shape), axis=-1)
    names = np.ravel_multi_index(tuple(points.T // _BLOCK), [length // _BLOCK + 1 for length in shape])
    order = np.argsort(names)
    first = np.flatnonzero(np.diff(names[order], prepend=-1))
    points = points[order].astype(float)
    low, high = np.minimum.reduceat(points, first), np.maximum.reduceat(points, first)
    return Blocks(points, np.append(first, len(points)), low, high), order


@cache
def _nearby(spacing: Spacing) -> Offsets:
    limit = _radius(spacing)
    sides = [np.arange(-int(limit / size), int(limit / size) + 1) for size in spacing]
    steps = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, len(spacing))
    lengths = np.sqrt(((steps * spacing) ** 2).sum(axis=1))
    nearest_first = np.argsort(lengths, kind="stable")
    within = nearest_first[lengths[nearest_first] <= limit][:_OFFSETS]
    return Offsets(steps[within], lengths[within])


def _radius(spacing: Spacing) -> float:
    """Of a ball of about `_OFFSETS` voxels, or of one layer of them, or of one line, where they are that flat."""
    sizes = sorted(spacing)
    balls = [2.0, math.pi, 4 / 3 * math.pi]
    return min(math.pow(_OFFSETS * math.prod(sizes[:n]) / balls[n - 1], 1 / n) for n in range(1, len(sizes) + 1))
