"""What papers published, beside what was measured here."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from edgewise.errors import DataError
from edgewise.report.measured import Measured, measured
from edgewise.report.methods import Method, methods
from edgewise.report.records import RunRecord
from edgewise.report.words import Metric, counted, metric

Outcome: TypeAlias = Literal["reproduced", "not reproduced", "not run", "not measured"]


@dataclass(frozen=True, kw_only=True)
class Published:
    """One number that was published.

    Attributes:
        source: the paper and where in it.
        data: what it was measured on.
        of: the class, or `all` for the mean over the classes.
        column: of the metric.
        value: the mean.
        deviation: standard deviation over cases; `nan` where none was published.
    """

    source: str
    data: str
    of: str
    column: str
    value: float
    deviation: float

    def shown(self, metric: Metric) -> str:
        """The mean with all its digits."""
        return _exact(self.value, metric)

    def spread(self, metric: Metric) -> str:
        """The deviation; empty where none was published."""
        return f"± {_exact(self.deviation, metric)}" if math.isfinite(self.deviation) else ""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row of a table, published or not, and the runs that are its replica.

    Attributes:
        name: of the row.
        published: its numbers.
        runs: numbers of its finished runs.
        planned: how many runs there are to be.
    """

    name: str
    published: tuple[Published, ...]
    runs: tuple[int, ...]
    planned: int


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A published number and ours.

    Attributes:
        name: of the row.
        published: the number.
        metric: how to read it.
        ours: mean; `nan` where there is none.
        interval: its 95 % confidence interval; `nan` where there is none.
        outcome: `reproduced` where the interval holds the published number.
        remark: the difference, or why there is no number of ours.
    """

    name: str
    published: Published
    metric: Metric
    ours: float
    interval: tuple[float, float]
    outcome: Outcome
    remark: str

    @property
    def line(self) -> str:
        """All of it for a terminal."""
        number, given = self.metric.number, self.published
        value = " ".join(filter(None, (given.shown(self.metric), given.spread(self.metric))))
        ours = number(self.ours) if math.isfinite(self.ours) else "–"
        interval = f" [{number(self.interval[0])}, {number(self.interval[1])}]" if math.isfinite(self.ours) else ""
        remark = f" ({self.remark})" if self.remark else ""
        of = "" if given.of == "all" else f" {given.of}"
        told = f"published {value}, ours {ours}{interval}: {self.outcome}{remark}"
        return f"claim: {self.name} {self.metric.title}{of}: {told}"


def _exact(value: float, metric: Metric) -> str:
    """A number with the digits that it was published with, and no fewer than are usual."""
    return max(metric.number(value), f"{value:.10g}".replace("-", "−"), key=len)


def published(experiment: Mapping[str, Any]) -> tuple[Published, ...]:
    """The numbers in the claims of an experiment, as its file has them."""
    claim = experiment.get("claim")
    claims = claim if isinstance(claim, list | tuple) else [claim]
    return tuple(number for each in claims if isinstance(each, Mapping) for number in _numbers(each))


def _numbers(claim: Mapping[str, Any]) -> Iterator[Published]:
    values, deviations = claim.get("values"), claim.get("deviations")
    spread = deviations if isinstance(deviations, Mapping) else {}
    for column, value in values.items() if isinstance(values, Mapping) else ():
        deviation = spread.get(column)
        if isinstance(value, int | float):
            yield Published(
                source=str(claim.get("source", "")),
                data=str(claim.get("data", "")),
                of=str(claim.get("of", "all")),
                column=str(column),
                value=float(value),
                deviation=float(deviation) if isinstance(deviation, int | float) else math.nan,
            )


def entries(records: Sequence[RunRecord]) -> tuple[Entry, ...]:
    """The methods of some runs whose experiments have a claim."""
    found = (_entry(records, method) for method in methods(records))
    return tuple(entry for entry in found if entry.published)


def _entry(records: Sequence[RunRecord], method: Method) -> Entry:
    own = (published(records[run].experiment) for run in method.runs)
    done = tuple(run for run in method.runs if records[run].scores)
    return Entry(name=method.name, published=next(filter(None, own), ()), runs=done, planned=len(method.runs))


def claims(records: Sequence[RunRecord], rows: Sequence[Entry]) -> list[Claim]:
    """Every published number beside ours, in the order of the rows."""
    return [_claim(records, row, number) for row in rows for number in row.published]


def _claim(records: Sequence[RunRecord], row: Entry, number: Published) -> Claim:
    reading = _metric([records[run] for run in row.runs], number.column)
    bare = Claim(
        name=row.name,
        published=number,
        metric=reading,
        ours=math.nan,
        interval=(math.nan, math.nan),
        outcome="not run",
        remark="",
    )
    if not row.runs:
        return replace(bare, remark=f"none of its {counted(row.planned, 'run')} is done" if row.planned > 1 else "")
    try:
        found = measured(records, Method(name=row.name, runs=row.runs), reading, number.of)
    except DataError as reason:
        return replace(bare, outcome="not measured", remark=str(reason))
    outcome, remark = _judged(found, number, reading)
    left = f"{len(row.runs)} of {row.planned} runs are done" if len(row.runs) < row.planned else ""
    remarks = "; ".join(filter(None, (remark, found.remark, left)))
    return replace(bare, ours=found.mean, interval=found.interval, outcome=outcome, remark=remarks)


def _judged(found: Measured, number: Published, reading: Metric) -> tuple[Outcome, str]:
    low, high = found.interval
    rounding = 1e-12 * abs(number.value)
    if low - rounding <= number.value <= high + rounding:
        return "reproduced", ""
    difference = found.mean - number.value
    unit = f" {reading.unit}" if reading.unit else ""
    return "not reproduced", f"{reading.number(abs(difference))}{unit} {'higher' if difference > 0 else 'lower'}"


def _metric(runs: Sequence[RunRecord], column: str) -> Metric:
    if column == "dice_global":
        return replace(metric("dice", {}), name=column, title="Dice of all voxels")
    if column == "mean_iou":
        return Metric(name=column, title="Mean IoU of the boxes", unit="", better="higher")
    known = next((run.definitions[column] for run in runs if column in run.definitions), {})
    return metric(column, known)


def elsewhere(records: Sequence[RunRecord], found: Sequence[Claim]) -> tuple[str, str]:
    """On what the runs were measured and on what the claims were published, in words."""
    here = dict.fromkeys(str(run.dataset.get("name", "")) for run in records)
    there = dict.fromkeys(claim.published.data for claim in found)
    return ", ".join(filter(None, here)), "; ".join(filter(None, there))


def otherwise(records: Sequence[RunRecord], found: Sequence[Claim]) -> bool:
    """The names of some data differ: neither of the two is a part of the other."""
    here = {str(run.dataset.get("name", "")).casefold() for run in records} - {""}
    there = {claim.published.data.casefold() for claim in found}
    return any(one not in other and other not in one for one in here for other in there)
