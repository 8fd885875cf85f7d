"""How the trainings of each method converged, as a table."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from edgewise.compare.convergence import Rate, distribution, failure_rate, first_reaching, fluctuation
from edgewise.report.figures import reached
from edgewise.report.methods import Method, methods
from edgewise.report.records import RunRecord

NEAR, FAILED = 0.9, 0.5
"""Shares of the best method's Dice: a training has nearly arrived at the first, and one that ends below the second has
failed."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """The Dice that the shares of the best method's Dice stand for."""

    near: float
    failed: float


@dataclass(frozen=True, kw_only=True)
class Converged:
    """The trainings of one method.

    Attributes:
        number: of the method, which gives its colour.
        name: of the method.
        runs: how many trainings reached a Dice that is known.
        mean: mean Dice that they reached.
        area: area under the distribution of what they reached; lower is better.
        first: median step of the first validation near the best Dice; `inf` where most never came near it.
        failures: how many ended far below it.
        fluctuation: mean over the trainings of the standard deviation of the validation Dice about its trend in the
            second half; `nan` where the validations are too few.
    """

    number: int
    name: str
    runs: int
    mean: float
    area: float
    first: float
    failures: Rate
    fluctuation: float

    @property
    def arrived(self) -> bool:
        """Most trainings came near the best Dice."""
        return math.isfinite(self.first)


def converged(records: Sequence[RunRecord]) -> tuple[Level, list[Converged]]:
    """The trainings of every method; methods of which no Dice is known are left out."""
    known = {number: values for number, values in reached(records).items() if values}
    best = max((statistics.fmean(values) for values in known.values()), default=math.nan)
    level = Level(near=NEAR * best, failed=FAILED * best)
    every = methods(records)
    return level, [_row(records, (number, every[number]), values, level) for number, values in known.items()]


def _row(
    records: Sequence[RunRecord], numbered: tuple[int, Method], values: Sequence[float], level: Level
) -> Converged:
    number, method = numbered
    curves = [
        [(v.step, v.mean) for v in records[run].journal.validations if math.isfinite(v.mean)] for run in method.runs
    ]
    curves = [curve for curve in curves if curve]
    swings = [fluctuation(curve, curve[-1][0] // 2).deviation for curve in curves]
    swings = [swing for swing in swings if math.isfinite(swing)]
    return Converged(
        number=number,
        name=method.name,
        runs=len(values),
        mean=statistics.fmean(values),
        area=distribution(values).area,
        first=statistics.median_high([first_reaching(curve, level.near) for curve in curves]) if curves else math.inf,
        failures=failure_rate(values, level.failed),
        fluctuation=statistics.fmean(swings) if swings else math.nan,
    )
