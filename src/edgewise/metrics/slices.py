"""Overlap slice by slice: what a paper means that trains and scores a 2D network on the slices of a scan."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from jaxtyping import Integer
from numpy import ndarray
from typing_extensions import override

from edgewise.metrics.base import OVERLAP, Empty, Metric
from edgewise.metrics.comparison import Comparison
from edgewise.types import Spacing

Counts: TypeAlias = Integer[ndarray, "slices"]

ALIKE = 0.01
"""Voxel sizes that differ by less than this share are one: files round them."""
SLICES = "; slices lie across the axis whose voxel size differs from the other two's"
SOURCE = "Xie et al. 2021, arXiv:2102.05971"


@dataclass(frozen=True, kw_only=True)
class DiceSlices(Metric):
    r"""Mean of the slices' Dice: $\frac{1}{n}\sum_s 2 |P_s \cap R_s| / (|P_s| + |R_s|)$.

    Over the $n$ slices in which the prediction or the reference has voxels; where only one of them has some, a slice
    counts 0. A slice with a few voxels counts as much as one with thousands: the ends of a structure, and slices where
    it was invented, weigh more than in the Dice of the volume. Slices lie across the axis whose voxel size differs from
    the other two's, which are alike; where all are alike across the last, where none are across the coarsest. Of a 2D
    mask this is the ordinary Dice.

    Example:
        >>> prediction, reference = np.zeros((4, 5, 2), bool), np.zeros((4, 5, 2), bool)
        >>> prediction[..., 0] = reference[..., 0] = True
        >>> reference[0, 0, 1] = True
        >>> DiceSlices()(Comparison.of(prediction, reference, (1.0, 1.0, 5.0)))
        0.5
    """

    kind: Literal["dice_slices"] = "dice_slices"
    unit: ClassVar = "1"
    better: ClassVar = "higher"
    empty: ClassVar[Empty] = OVERLAP
    definition: ClassVar[str] = f"mean of 2|P∩R| / (|P|+|R|) over the slices that hold P or R{SLICES}"
    source: ClassVar[str] = SOURCE

    @override
    def of(self, comparison: Comparison) -> float:
        """In [0, 1]."""
        prediction, reference, both = _counts(comparison)
        return _mean(2 * both, prediction + reference)


@dataclass(frozen=True, kw_only=True)
class SensitivitySlices(Metric):
    r"""Mean of the slices' sensitivity (recall): $\frac{1}{n}\sum_s |P_s \cap R_s| / |R_s|$.

    Over the $n$ slices in which the prediction or the reference has voxels; where only one of them has some, a slice
    counts 0, as a volume does. How slices lie: see `dice_slices`.
    """

    kind: Literal["sensitivity_slices"] = "sensitivity_slices"
    unit: ClassVar = "1"
    better: ClassVar = "higher"
    empty: ClassVar[Empty] = OVERLAP
    definition: ClassVar[str] = f"mean of |P∩R| / |R|, 0 without R, over the slices that hold P or R{SLICES}"
    source: ClassVar[str] = SOURCE

    @override
    def of(self, comparison: Comparison) -> float:
        """In [0, 1]."""
        _, reference, both = _counts(comparison)
        return _mean(both, reference)


@dataclass(frozen=True, kw_only=True)
class PrecisionSlices(Metric):
    r"""Mean of the slices' precision: $\frac{1}{n}\sum_s |P_s \cap R_s| / |P_s|$.

    Over the $n$ slices in which the prediction or the reference has voxels; where only one of them has some, a slice
    counts 0, as a volume does: so a structure that is missed in a slice costs precision, too. How slices lie: see
    `dice_slices`.
    """

    kind: Literal["precision_slices"] = "precision_slices"
    unit: ClassVar = "1"
    better: ClassVar = "higher"
    empty: ClassVar[Empty] = OVERLAP
    definition: ClassVar[str] = f"mean of |P∩R| / |P|, 0 without P, over the slices that hold P or R{SLICES}"
    source: ClassVar[str] = SOURCE

    @override
    def of(self, comparison: Comparison) -> float:
        """In [0, 1]."""
        prediction, _, both = _counts(comparison)
        return _mean(both, prediction)


def slice_axis(spacing: Spacing) -> int:
    """The axis across which the slices of a volume lie: pixels are square, and slices are as far apart as they may be.

    Not always the largest spacing: slices of a thin CT, such as every 0.75 mm, can be closer than pixels of 0.98 mm.

    Args:
        spacing: three voxel sizes in mm; sizes within 1 % are one size.

    Returns:
        The axis whose voxel size differs from that of the other two, which are alike; the last where all are alike;
        where no two are alike the coarsest.

    Example:
        >>> [slice_axis(sizes) for sizes in ((3.0, 0.5, 0.5), (0.9, 0.9, 0.5), (1.0, 1.0, 1.0), (2.0, 1.5, 0.5))]
        [0, 2, 2, 0]
    """
    for axis in (2, 1, 0):
        a, b = (size for other, size in enumerate(spacing) if other != axis)
        if math.isclose(a, b, rel_tol=ALIKE):
            return axis
    return spacing.index(max(spacing))


def _mean(shared: Counts, whole: Counts) -> float:
    """Of the slices' ratios; 0 where there is nothing to share."""
    return float((shared / np.maximum(whole, 1)).mean())


def _counts(comparison: Comparison) -> tuple[Counts, Counts, Counts]:
    """Voxels of the prediction, of the reference and of both, for each slice that holds one of them."""
    return comparison.once("slices", lambda: _counted(comparison))


def _counted(comparison: Comparison) -> tuple[Counts, Counts, Counts]:
    if comparison.reference.ndim == 2:
        prediction, reference, both = (np.array([count]) for count in comparison.voxels)
        return prediction, reference, both
    across = slice_axis(comparison.spacing)
    prediction, reference, both = (
        _each(mask, across)
        for mask in (comparison.prediction, comparison.reference, comparison.prediction & comparison.reference)
    )
    held = prediction + reference > 0
    return prediction[held], reference[held], both[held]


def _each(mask: ndarray, across: int) -> Counts:
    """Voxels in every slice."""
    voxels = mask.view(np.uint8)
    if across == 0:
        return np.asarray(voxels.sum(axis=(1, 2), dtype=np.int64))
    # The smallest type that holds the sums, and whole planes added up: five times as fast as both axes at once.
    lines = voxels.sum(axis=0, dtype=np.min_scalar_type(len(voxels)))
    return np.asarray(lines.sum(axis=2 - across, dtype=np.int64))
