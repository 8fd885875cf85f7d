"""The borders of two masks, as elements of one grid."""

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from edgewise.metrics.borders import Border
from edgewise.metrics.surfels import sizes
from edgewise.types import Spacing

if TYPE_CHECKING:
    from edgewise.metrics.comparison import Comparison

Grid: TypeAlias = UInt8[ndarray, "*grid"]
Room: TypeAlias = tuple[int, ...]
"""Elements of a grid before and after the masks' crop, along each axis: at least 2, so that no step from the mask to a
neighbour runs from one row of the flat grid into the next."""

_AXES_OF_A_STEP: dict[Border, int] = {"faces": 1, "edges": 2, "corners": 3}


@dataclass(frozen=True, kw_only=True, eq=False)
class Shell:
    """The border of a mask.

    Attributes:
        solid: (*grid) uint8, 1 inside the mask.
        grid: (*grid) uint8, 1 where there is a border element. A surface element sits at the corner between a voxel
            and the one before it along each axis.
        at: (n) where there is one, in the flat grid.
        weights: (n) as in `Directed`.
    """

    solid: ndarray
    grid: ndarray
    at: ndarray
    weights: ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """A comparison with its axes in the order of memory, so that its voxels are read one after the other.

    Attributes:
        masks: prediction and reference, (*crop) bool.
        spacing: voxel size along each axis, in mm.
        before: voxels of the image before the crop, along each axis.
        after: voxels of the image after the crop.
        edge: as in `Comparison`.
    """

    masks: tuple[ndarray, ndarray]
    spacing: Spacing
    before: tuple[int, ...]
    after: tuple[int, ...]
    edge: str

    @staticmethod
    def of(comparison: "Comparison") -> "Frame":
        """The frame of a comparison."""
        mask = comparison.prediction
        order = sorted(range(mask.ndim), key=lambda axis: -mask.strides[axis])
        ends = zip(comparison.image, comparison.start, mask.shape, strict=True)
        after = [image - start - length for image, start, length in ends]
        return Frame(
            masks=(mask.transpose(order), comparison.reference.transpose(order)),
            spacing=tuple(comparison.spacing[axis] for axis in order),
            before=tuple(comparison.start[axis] for axis in order),
            after=tuple(after[axis] for axis in order),
            edge=comparison.edge,
        )

    def crop(self, room: Room, more: int = 0) -> tuple[slice, ...]:
        """Where the masks are in a grid, and `more` elements at their ends."""
        return tuple(slice(width, width + n + more) for width, n in zip(room, self.masks[0].shape, strict=True))

    def image(self, room: Room) -> tuple[slice, ...]:
        """Where the image is in a grid that does not hold all of it."""
        ends = zip(room, self.masks[0].shape, self.before, self.after, strict=True)
        return tuple(slice(max(0, width - low), width + n + min(width, high)) for width, n, low, high in ends)

    def shells(self, border: Border, room: Room) -> tuple[Shell, Shell]:
        """The borders of prediction and reference on a grid with `room`."""
        one, other = self.masks
        return self._shell(one, border, room), self._shell(other, border, room)

    def _shell(self, mask: ndarray, border: Border, room: Room) -> Shell:
        solid = np.zeros([length + 2 * width for length, width in zip(mask.shape, room, strict=True)], np.uint8)
        solid[self.crop(room)] = mask
        going_on = self._going_on(solid, room)
        if border == "surfels":
            code = _code(going_on)
            if going_on is not solid:
                code = _within(code, self.crop(room, more=1))
            grid = ((code != 0) & (code != 2**2**mask.ndim - 1)).view(np.uint8)
            at = _positions(grid)
            return Shell(solid=solid, grid=grid, at=at, weights=sizes(self.spacing)[code.reshape(-1)[at]])
        grid = _peeled(going_on, _AXES_OF_A_STEP[border])
        if going_on is not solid:
            grid &= solid
        at = _positions(grid)
        return Shell(solid=solid, grid=grid, at=at, weights=np.ones(at.size))

    def _going_on(self, solid: Grid, room: Room) -> Grid:
        """The mask; under an open edge, where the image cuts it, it goes on for a voxel."""
        if self.edge != "open" or not self.masks[0].size:
            return solid
        longer = solid.copy()
        for axis, (part, before, after) in enumerate(zip(self.crop(room), self.before, self.after, strict=True)):
            along = np.moveaxis(longer, axis, 0)
            if not before:
                along[part.start - 1] = along[part.start]
            if not after:
                along[part.stop] = along[part.stop - 1]
        return longer


def _within(grid: Grid, box: tuple[slice, ...]) -> Grid:
    kept = np.zeros_like(grid)
    kept[box] = grid[box]
    return kept


def _positions(grid: Grid) -> ndarray:
    from edgewise.metrics.kernels.grids import positions

    at = np.empty(np.count_nonzero(grid), np.int64)
    positions(grid.reshape(-1), at)
    return at


def _peeled(solid: Grid, axes: int) -> Grid:
    """Voxels with a neighbour outside, one step along at most `axes` axes away."""
    from edgewise.metrics.kernels.grids import peel

    steps = [step for step in product((-1, 0, 1), repeat=solid.ndim) if 0 < np.count_nonzero(step) <= axes]
    grid = np.zeros_like(solid)
    peel(solid.reshape(-1), np.array(steps) @ np.array(solid.strides), grid.reshape(-1))
    return grid


def _code(solid: Grid) -> Grid:
    """Which of the 4 or 8 voxels around the corner before each voxel are inside, as in `surfels.sizes`."""
    flat, last = solid.reshape(-1), sum(solid.strides)
    code = np.zeros_like(solid)
    for bit, corner in enumerate(product((0, 1), repeat=solid.ndim)):
        ahead = int(np.dot(corner, solid.strides))
        code.reshape(-1)[last:] |= flat[ahead : flat.size - last + ahead] << np.uint8(bit)
    return code
