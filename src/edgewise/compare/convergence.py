"""How trainings converge: bands of validation curves, the distribution of what they reach, failures, fluctuation.

Pure functions of plain numbers: a curve is a sequence of (step, Dice), as a journal's validations are.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import stats

from edgewise.errors import DataError
from edgewise.metrics.shares import wilson

Curve: TypeAlias = Sequence[tuple[int, float]]
"""Step (or epoch) and Dice of each validation, steps rising."""


@dataclass(frozen=True, kw_only=True)
class Band:
    """Several curves of one method on a common grid of steps.

    Attributes:
        steps: every step at which any curve has a validation and that all curves cover.
        mean: mean of the curves.
        lowest: lowest curve at each step.
        highest: highest curve at each step.
        interval: lower and upper end of the 95 % t interval of the mean; `nan` for one curve.
        curves: how many there are.
    """

    steps: tuple[int, ...]
    mean: tuple[float, ...]
    lowest: tuple[float, ...]
    highest: tuple[float, ...]
    interval: tuple[tuple[float, ...], tuple[float, ...]]
    curves: int


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """F(d), the fraction of runs whose Dice is at most d: a step function.

    Attributes:
        levels: the distinct values of the runs, rising; F jumps at each.
        shares: F at each level; the last is 1.
        area: area under F from 0 to 1, which is 1 less the mean: lower is better.
        runs: how many there are.
    """

    levels: tuple[float, ...]
    shares: tuple[float, ...]
    area: float
    runs: int

    def at(self, level: float) -> float:
        """The fraction of runs at or below `level`."""
        below = [share for each, share in zip(self.levels, self.shares, strict=True) if each <= level]
        return below[-1] if below else 0.0


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A share of runs.

    Attributes:
        count: runs it holds for.
        total: all runs.
        share: count / total.
        interval: 95 % Wilson interval of the share.
    """

    count: int
    total: int
    share: float
    interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Fluctuation:
    """How much a curve swings about its own trend after the warm-up.

    Attributes:
        peak_to_peak: largest less smallest deviation from the trend.
        deviation: standard deviation from the trend (two degrees of freedom are the trend's).
        validations: how many points it is from.
    """

    peak_to_peak: float
    deviation: float
    validations: int


def band(curves: Sequence[Curve]) -> Band:
    """Curves of several seeds on a common grid, linearly interpolated.

    Only steps that all curves cover are kept: where some have ended, the mean of the others would jump, and the method
    would look better for having failed early.

    Args:
        curves: of one method, one a seed.

    Raises:
        DataError: there is no curve, one is empty, its steps do not rise or a value is not finite, or the curves have
            no step in common.

    Example:
        >>> both = band([[(0, 0.2), (10, 0.6)], [(0, 0.4), (5, 0.6), (10, 0.8)]])
        >>> both.steps, [round(value, 2) for value in both.mean]
        ((0, 5, 10), [0.3, 0.5, 0.7])
    """
    tables = [_table(curve) for curve in curves]
    if not tables:
        raise DataError("a band needs at least one curve: pass the validations of a finished run.")
    first, last = max(table[0, 0] for table in tables), min(table[0, -1] for table in tables)
    every = np.unique(np.concatenate([table[0] for table in tables]))
    steps = every[(every >= first) & (every <= last)]
    if not len(steps):
        raise DataError(f"one curve begins at step {first:g}, after another has ended at {last:g}: no step in common.")
    values = np.array([np.interp(steps, *table) for table in tables])
    mean, count = values.mean(axis=0), len(values)
    half = np.full_like(mean, np.nan)
    if count > 1:
        half = float(stats.t.ppf(0.975, count - 1)) * values.std(axis=0, ddof=1) / math.sqrt(count)
    return Band(
        steps=tuple(int(step) for step in steps),
        mean=_plain(mean),
        lowest=_plain(values.min(axis=0)),
        highest=_plain(values.max(axis=0)),
        interval=(_plain(mean - half), _plain(mean + half)),
        curves=count,
    )


def distribution(values: Sequence[float]) -> Distribution:
    r"""Convergence CDF: $F(d) = \frac{1}{N} \sum_i 1[\mathrm{Dice}_i \le d]$.

    Args:
        values: what each run of one method reached, 0 to 1.

    Raises:
        DataError: there are none, or one is not between 0 and 1.

    Source: Valverde & Tohka 2023, Region-wise loss for biomedical image segmentation, §4.3,
    doi:10.1016/j.patcog.2022.109208.

    Example:
        >>> f = distribution([0.0, 0.9, 0.8, 0.9])
        >>> f.levels, f.shares, round(f.area, 2), f.at(0.85)
        ((0.0, 0.8, 0.9), (0.25, 0.5, 1.0), 0.35, 0.5)
    """
    _require_shares(values)
    levels, counts = np.unique(np.array(values, dtype=np.float64), return_counts=True)
    return Distribution(
        levels=_plain(levels),
        shares=_plain(np.cumsum(counts) / len(values)),
        area=1.0 - math.fsum(values) / len(values),
        runs=len(values),
    )


def first_reaching(curve: Curve, level: float) -> float:
    """Step of the first validation at or above `level`; `inf` where there is none.

    Raises:
        DataError: the curve is empty, its steps do not rise, or a value is not finite.

    Example:
        >>> first_reaching([(100, 0.3), (200, 0.7), (300, 0.6)], 0.6)
        200.0
    """
    steps, values = _table(curve)
    reached = steps[values >= level]
    return float(reached[0]) if len(reached) else math.inf


def failure_rate(values: Sequence[float], level: float) -> Rate:
    """The share of runs that stay below `level`, with its 95 % Wilson interval.

    Args:
        values: what each run of one method reached, 0 to 1.
        level: below which a run counts as failed.

    Raises:
        DataError: there are no values, or one is not between 0 and 1.

    Example:
        >>> rate = failure_rate([0.0, 0.9, 0.9, 0.8], 0.5)
        >>> rate.share, [round(end, 3) for end in rate.interval]
        (0.25, [0.046, 0.699])
    """
    _require_shares(values)
    count = sum(value < level for value in values)
    return Rate(count=count, total=len(values), share=count / len(values), interval=wilson(count, len(values)))


def fluctuation(curve: Curve, warm_up: int) -> Fluctuation:
    """How much a curve swings once it has warmed up: deviations from its least-squares line after `warm_up`.

    The line takes away what the training still gains (or loses) steadily, so a straight curve has fluctuation 0.

    Args:
        curve: of one run.
        warm_up: step from which on validations count.

    Returns:
        `nan` where fewer than three validations lie after the warm-up.

    Raises:
        DataError: the curve is empty, its steps do not rise, or a value is not finite.

    Example:
        >>> found = fluctuation([(0, 0.0), (1, 0.5), (2, 0.7), (3, 0.5), (4, 0.7)], 1)
        >>> round(found.peak_to_peak, 2), found.validations
        (0.24, 4)
    """
    steps, values = _table(curve)
    kept = steps >= warm_up
    steps, values = steps[kept], values[kept]
    if len(steps) < 3:
        return Fluctuation(peak_to_peak=math.nan, deviation=math.nan, validations=len(steps))
    centred = steps - steps.mean()
    rest = values - values.mean() - centred * (centred @ values) / (centred @ centred)
    return Fluctuation(
        peak_to_peak=float(np.ptp(rest)),
        deviation=float(np.sqrt((rest @ rest) / (len(rest) - 2))),
        validations=len(rest),
    )


def _table(curve: Curve) -> Float[ndarray, "2 n"]:
    table = np.array(curve, dtype=np.float64).reshape(-1, 2).T
    if not table.size:
        raise DataError("a curve has no validation: pass the validations of a run that has some.")
    if not np.isfinite(table).all() or (np.diff(table[0]) <= 0).any():
        raise DataError("a curve needs rising steps and finite values: leave out validations without a value.")
    return table


def _require_shares(values: Sequence[float]) -> None:
    if not len(values) or not all(0 <= value <= 1 for value in values):
        raise DataError(f"{len(values)} runs with values {list(values)[:5]}: expected one or more between 0 and 1.")


def _plain(values: Float[ndarray, " n"]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
