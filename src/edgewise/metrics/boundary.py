"""Metrics of the bands around the borders: overlap that a voxel deep inside a large structure cannot improve.

A band is made of border voxels with face connectivity, whatever a set of definitions says of the other metrics'
border; its `edge` holds here, too.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy import ndarray
from typing_extensions import override

from edgewise.maps.edt_cpu import inside_distance
from edgewise.metrics.base import OVERLAP, Empty, Metric
from edgewise.metrics.comparison import Comparison
from edgewise.metrics.search import roomy, shells
from edgewise.metrics.shells import Frame, Shell
from edgewise.metrics.surface import ROUNDING, require_tolerance
from edgewise.types import Spacing

_WORTH_A_TRANSFORM = 16
"""Times that every voxel of the grid would be marked, from which on a distance transform is quicker."""


class Counts(NamedTuple):
    """Numbers of voxels of a band of the prediction, of one of the reference, and of both at once."""

    prediction: int
    reference: int
    both: int


class Bands(NamedTuple):
    """Voxels within a tolerance of the masks' own borders: on both sides of them, and on the masks' side only."""

    full: Counts
    inner: Counts


class Ball(NamedTuple):
    """The voxels within a radius, as runs along the last axis.

    Attributes:
        radius: in mm.
        starts: (n, axes) steps to where each run begins.
        lengths: (n) voxels of each run.
    """

    radius: float
    starts: ndarray
    lengths: ndarray


@dataclass(frozen=True, kw_only=True)
class BoundaryDice(Metric):
    r"""Dice of the two boundary bands: $2 |B_P \cap B_R| / (|B_P| + |B_R|)$.

    $B$ holds the voxels of the image within $\tau$ of a border voxel of the mask, on both sides of the border (a
    millionth of $\tau$ is rounding). With a tolerance of 0 the bands are the borders themselves. 1 if neither mask
    has a border.

    Attributes:
        tolerance: $\tau$, in mm.

    Raises:
        ExperimentError: `tolerance` is negative or not finite.
    """

    kind: Literal["bdice"] = "bdice"
    tolerance: float = 2.0
    unit: ClassVar = "1"
    better: ClassVar = "higher"
    empty: ClassVar[Empty] = OVERLAP
    definition: ClassVar[str] = (
        "Dice of the voxels within {tolerance:g} mm of a border voxel of each mask, on both sides of the border "
        "(border voxels: with a face neighbour outside)"
    )
    source: ClassVar[str] = "Caliva et al. 2019, arXiv:1908.03679"

    def __post_init__(self) -> None:
        require_tolerance(self.tolerance, self.kind)

    @override
    def of(self, comparison: Comparison) -> float:
        """In [0, 1]."""
        prediction, reference, both = bands(comparison, self.tolerance).full
        return 2 * both / (prediction + reference) if prediction or reference else 1.0


@dataclass(frozen=True, kw_only=True)
class BoundaryIoU(Metric):
    r"""Intersection over union of the inner boundary bands: $|B_P \cap B_R| / |B_P \cup B_R|$.

    $B$ holds the voxels of the mask within $\tau$ of one of its border voxels (a millionth of $\tau$ is rounding).
    1 if neither mask has a border.

    Attributes:
        tolerance: $\tau$, in mm.

    Raises:
        ExperimentError: `tolerance` is negative or not finite.
    """

    kind: Literal["boundary_iou"] = "boundary_iou"
    tolerance: float = 2.0
    unit: ClassVar = "1"
    better: ClassVar = "higher"
    empty: ClassVar[Empty] = OVERLAP
    definition: ClassVar[str] = (
        "IoU of the voxels of each mask within {tolerance:g} mm of one of its border voxels (with a face neighbour "
        "outside)"
    )
    source: ClassVar[str] = "Cheng et al. 2021, doi:10.1109/CVPR46437.2021.01508"

    def __post_init__(self) -> None:
        require_tolerance(self.tolerance, self.kind)

    @override
    def of(self, comparison: Comparison) -> float:
        """In [0, 1]."""
        prediction, reference, both = bands(comparison, self.tolerance).inner
        union = prediction + reference - both
        return both / union if union else 1.0


def bands(comparison: Comparison, tolerance: float) -> Bands:
    """The bands around the borders of a comparison; both metrics share them.

    Args:
        comparison: of the masks.
        tolerance: half the width of a band, in mm.
    """
    return comparison.once(("bands", tolerance), lambda: _bands(comparison, tolerance * ROUNDING))


def _bands(comparison: Comparison, radius: float) -> Bands:
    frame = Frame.of(comparison)
    room = tuple(max(most, int(radius / size)) for most, size in zip(roomy(frame.spacing), frame.spacing, strict=True))
    both, ball = shells(comparison, "faces", room), _ball(frame.spacing, radius)
    one, other = (_band(shell, ball, frame) for shell in both)
    inner = (band & shell.solid for band, shell in zip((one, other), both, strict=True))
    image = frame.image(room)
    return Bands(full=_counts(one[image], other[image]), inner=_counts(*inner))


def _ball(spacing: Spacing, radius: float) -> Ball:
    sides = [np.arange(-int(radius / size), int(radius / size) + 1) for size in spacing[:-1]]
    rows = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, len(sides))
    left = radius**2 - ((rows * spacing[:-1]) ** 2).sum(axis=1)
    half = (np.sqrt(left[left >= 0]) / spacing[-1]).astype(int)
    return Ball(radius, np.column_stack([rows[left >= 0], -half]), 2 * half + 1)


def _band(shell: Shell, ball: Ball, frame: Frame) -> ndarray:
    """Voxels of the grid in the ball around one of the shell's, as 0 and 1."""
    from edgewise.metrics.kernels.grids import mark

    if shell.at.size * int(ball.lengths.sum()) > _WORTH_A_TRANSFORM * shell.grid.size:
        distance = inside_distance(shell.grid[None], frame.spacing, threads=1)[0]
        near: ndarray = shell.grid | (distance <= ball.radius)
        return near
    band = np.zeros_like(shell.grid)
    mark(band.reshape(-1), shell.at, ball.starts @ np.asarray(shell.grid.strides), ball.lengths)
    return band


def _counts(one: ndarray, other: ndarray) -> Counts:
    both = np.count_nonzero(one & other)
    return Counts(int(np.count_nonzero(one)), int(np.count_nonzero(other)), int(both))
