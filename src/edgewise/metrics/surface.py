"""Surface metrics, all from the distances between the two borders, each with the weights of the border's elements.

A mask may have no border: under `edge="open"`, one that fills the image. Against a mask that has one, every
distance is then infinite and nothing lies within a tolerance; two masks without any agree: distance 0, NSD 1.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from typing_extensions import override

from edgewise.errors import ExperimentError
from edgewise.metrics.base import DISTANCE, OVERLAP, Empty, Metric
from edgewise.metrics.borders import Directed
from edgewise.metrics.comparison import Comparison

Rule: TypeAlias = Literal["linear", "cumulative"]
HEIMANN = "Heimann et al. 2009, doi:10.1109/TMI.2009.2013851"
RELOADED = "Maier-Hein et al. 2024, doi:10.1038/s41592-023-02151-z"
ROUNDING = 1 + 1e-6
"""A distance of three voxels of 0.8 mm is within 2.4 mm, though 3 * 0.8 > 2.4 in floating point, and files keep
spacings in single precision."""


@dataclass(frozen=True, kw_only=True)
class HD(Metric):
    r"""Hausdorff distance, the largest distance from either border to the other: $\max(\max d_{PR}, \max d_{RP})$."""

    kind: Literal["hd"] = "hd"
    unit: ClassVar = "mm"
    better: ClassVar = "lower"
    empty: ClassVar[Empty] = DISTANCE
    of_borders: ClassVar = True
    definition: ClassVar[str] = "Hausdorff distance: the largest distance from either border to the other"
    source: ClassVar[str] = "Huttenlocher et al. 1993, doi:10.1109/34.232073"

    @override
    def of(self, comparison: Comparison) -> float:
        """Not negative, in mm."""
        return _largest(comparison)


@dataclass(frozen=True, kw_only=True)
class MSD(Metric):
    r"""Maximum symmetric surface distance: the Hausdorff distance under the name that LiTS and SLIVER07 report."""

    kind: Literal["msd"] = "msd"
    unit: ClassVar = "mm"
    better: ClassVar = "lower"
    empty: ClassVar[Empty] = DISTANCE
    of_borders: ClassVar = True
    definition: ClassVar[str] = "maximum symmetric surface distance: the same as the Hausdorff distance"
    source: ClassVar[str] = HEIMANN

    @override
    def of(self, comparison: Comparison) -> float:
        """Not negative, in mm."""
        return _largest(comparison)


@dataclass(frozen=True, kw_only=True)
class HD95(Metric):
    r"""Percentile Hausdorff distance: $\max(q_{95}(d_{PR}), q_{95}(d_{RP}))$, or $q_{95}$ of both sets pooled.

    Pooling, as MedPy does, forgives a false structure far away if its surface is small. The percentile of weighted
    elements is by weight; the linear rule is numpy's where all weights are equal.

    Attributes:
        percentile: which one, 0 to 100.
        pooling: the larger of the two `directed` percentiles, or one percentile of both sets `pooled`.
        rule: `linear` interpolation between the elements next to the percentile, or the smallest distance at which
            the `cumulative` weight reaches it.

    Raises:
        ExperimentError: `percentile` is not in 0 to 100.

    Example:
        >>> bar = np.zeros((3, 9), bool)
        >>> bar[1, :4] = True
        >>> pair = Comparison.of(bar, np.roll(bar, 5, axis=1), (1.0, 2.0))
        >>> HD95(percentile=50.0)(pair), HD95(percentile=50.0, rule="cumulative")(pair)
        (7.0, 6.0)
    """

    kind: Literal["hd95"] = "hd95"
    percentile: float = 95.0
    pooling: Literal["directed", "pooled"] = "directed"
    rule: Rule = "linear"
    unit: ClassVar = "mm"
    better: ClassVar = "lower"
    empty: ClassVar[Empty] = DISTANCE
    of_borders: ClassVar = True
    definition: ClassVar[str] = (
        "percentile Hausdorff distance: percentile {percentile:g} by the {rule} rule, of the {pooling} distances "
        "(directed: the larger of the two; pooled: one of both)"
    )
    source: ClassVar[str] = RELOADED

    def __post_init__(self) -> None:
        if not 0 <= self.percentile <= 100:
            raise ExperimentError(f"percentile {self.percentile} of hd95: expected a number from 0 to 100.")

    @override
    def of(self, comparison: Comparison) -> float:
        """Not negative, in mm."""
        sets = comparison.gaps if self.pooling == "directed" else (_pooled(comparison),)
        return max(_percentile(each, self.percentile, self.rule) for each in sets)


@dataclass(frozen=True, kw_only=True)
class ASSD(Metric):
    r"""Average symmetric surface distance: $(\sum d_{PR} + \sum d_{RP}) / (n_P + n_R)$."""

    kind: Literal["assd"] = "assd"
    unit: ClassVar = "mm"
    better: ClassVar = "lower"
    empty: ClassVar[Empty] = DISTANCE
    of_borders: ClassVar = True
    definition: ClassVar[str] = "average symmetric surface distance: mean of the distances of both borders, pooled"
    source: ClassVar[str] = HEIMANN

    @override
    def of(self, comparison: Comparison) -> float:
        """Not negative, in mm."""
        return _mean(*((each.distances, each.weights) for each in comparison.gaps))


@dataclass(frozen=True, kw_only=True)
class MASD(Metric):
    r"""Mean average surface distance: $(\overline{d_{PR}} + \overline{d_{RP}}) / 2$.

    Unlike ASSD, both borders count the same, however long each is.
    """

    kind: Literal["masd"] = "masd"
    unit: ClassVar = "mm"
    better: ClassVar = "lower"
    empty: ClassVar[Empty] = DISTANCE
    of_borders: ClassVar = True
    definition: ClassVar[str] = "mean average surface distance: mean of the two directed means"
    source: ClassVar[str] = RELOADED

    @override
    def of(self, comparison: Comparison) -> float:
        """Not negative, in mm."""
        return sum(_mean((each.distances, each.weights)) for each in comparison.gaps) / 2


@dataclass(frozen=True, kw_only=True)
class RMSD(Metric):
    r"""Root mean square symmetric surface distance: $\sqrt{(\sum d_{PR}^2 + \sum d_{RP}^2) / (n_P + n_R)}$."""

    kind: Literal["rmsd"] = "rmsd"
    unit: ClassVar = "mm"
    better: ClassVar = "lower"
    empty: ClassVar[Empty] = DISTANCE
    of_borders: ClassVar = True
    definition: ClassVar[str] = "root of the mean square of the distances of both borders, pooled"
    source: ClassVar[str] = HEIMANN

    @override
    def of(self, comparison: Comparison) -> float:
        """Not negative, in mm."""
        return math.sqrt(_mean(*((each.distances**2, each.weights) for each in comparison.gaps)))


@dataclass(frozen=True, kw_only=True)
class NSD(Metric):
    r"""Normalised surface distance (surface Dice): the share of both borders that lies within a tolerance.

    $(|\{d_{PR} \le \tau\}| + |\{d_{RP} \le \tau\}|) / (n_P + n_R)$, where a millionth of $\tau$ is rounding.

    Attributes:
        tolerance: $\tau$, in mm.

    Raises:
        ExperimentError: `tolerance` is negative or not finite.
    """

    kind: Literal["nsd"] = "nsd"
    tolerance: float = 2.0
    unit: ClassVar = "1"
    better: ClassVar = "higher"
    empty: ClassVar[Empty] = OVERLAP
    of_borders: ClassVar = True
    definition: ClassVar[str] = (
        "normalised surface distance: share of both borders within {tolerance:g} mm of the other"
    )
    source: ClassVar[str] = "Nikolov et al. 2021, doi:10.2196/26151"

    def __post_init__(self) -> None:
        require_tolerance(self.tolerance, self.kind)

    @override
    def of(self, comparison: Comparison) -> float:
        """In [0, 1]."""
        limit = self.tolerance * ROUNDING
        total = sum(float(each.weights.sum()) for each in comparison.gaps)
        within = sum(float(each.weights[each.distances <= limit].sum()) for each in comparison.gaps)
        return within / total if total else 1.0


def require_tolerance(tolerance: float, kind: str) -> None:
    """Refuse what is no distance.

    Raises:
        ExperimentError: `tolerance` is negative or not finite.
    """
    if not 0 <= tolerance < math.inf:
        raise ExperimentError(f"tolerance {tolerance} of {kind}: expected a distance in mm, 0 or more.")


def _largest(comparison: Comparison) -> float:
    return max(float(each.distances.max(initial=0.0)) for each in comparison.gaps)


def _mean(*sets: tuple[np.ndarray, np.ndarray]) -> float:
    """Weighted mean of values, given as (values, weights); 0 of none."""
    total = sum(float(weights.sum()) for _, weights in sets)  # a dot product would wake BLAS's threads
    return sum(float((values * weights).sum()) for values, weights in sets) / total if total else 0.0


def _pooled(comparison: Comparison) -> Directed:
    one, other = comparison.gaps
    return Directed(
        distances=np.concatenate([one.distances, other.distances]),
        weights=np.concatenate([one.weights, other.weights]),
    )


def _percentile(gaps: Directed, percentile: float, rule: Rule) -> float:
    """Of distances by weight; 0 of none. Where the other mask has no border, all are infinite."""
    if not gaps.distances.size or np.isinf(gaps.distances[-1]):
        return math.inf if gaps.distances.size else 0.0
    if rule == "linear" and np.ptp(gaps.weights) == 0:
        return float(np.percentile(gaps.distances, percentile))
    order = np.lexsort((gaps.weights, gaps.distances))  # by weight among equal distances, wherever they come from
    distances, weights = gaps.distances[order], gaps.weights[order]
    reached = np.cumsum(weights)
    if rule == "cumulative":
        at = int(np.searchsorted(reached / weights.sum(), percentile / 100))
        return float(distances[min(at, len(distances) - 1)])
    middle = reached - weights / 2
    share = (middle - middle[0]) / max(middle[-1] - middle[0], np.finfo(float).tiny)
    return float(np.interp(percentile / 100, share, distances))
