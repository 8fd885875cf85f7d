"""The tables of numbers of a report, as plain data for its template."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgewise.compare.runs import PRIMARY
from edgewise.compare.statistics import mean_interval
from edgewise.data.splits import group_of
from edgewise.errors import DataError
from edgewise.metrics.cases import Policy, settled
from edgewise.report.cautions import conflicts, emptiness
from edgewise.report.methods import Method, by_seed, extent, merged, methods
from edgewise.report.records import RunRecord, Score
from edgewise.report.words import Metric

UNKNOWN = (math.nan, math.nan)


@dataclass(frozen=True, kw_only=True)
class Row:
    """Aggregates of one metric and class, of one run or of a method of several runs.

    Attributes:
        class_name: name of the class.
        name: of the run or method.
        colour: number of its colour.
        seed: the run is one of several of a method, which has a row of its own.
        cases: how many cases the mean is over.
        mean: of the cases, infinite values settled by the run's policy.
        interval: 95 % confidence interval of the mean; `nan` where there is none.
        median: of the same values.
        std: of the same values.
        pooled: the metric of all voxels of all cases together; `nan` where it has none.
        empty: how many cases have an empty mask, in words.
        best: the best mean among several methods.
    """

    class_name: str
    name: str
    colour: int
    seed: bool
    cases: int
    mean: float
    interval: tuple[float, float]
    median: float
    std: float
    pooled: float
    empty: str
    best: bool = False


@dataclass(frozen=True, kw_only=True)
class Line:
    """One class and run of the matrix of all metrics: (mean, whether it is the best) of every metric."""

    class_name: str
    run: int
    cells: tuple[tuple[float, bool], ...]
    empty: str


def column(record: RunRecord, metric: str, label: int) -> dict[str, float]:
    """Values of one metric and class by case; without `nan`."""
    values = {
        score.case: score.values[metric] for score in record.scores if score.label == label and metric in score.values
    }
    return {case: value for case, value in values.items() if not math.isnan(value)}


def settled_column(record: RunRecord, metric: Metric, label: int) -> dict[str, float]:
    """Values of one metric and class by case, infinite distances settled as the run's policy says; finite only."""
    skipped = str(record.summary.get("policy", "")).startswith(("skip", "nan"))
    policy: Policy = "skip" if skipped else "worst"
    values = {
        score.case: settled(
            score.values[metric.name], score.diagonal, metric.unit or "1", policy=policy, better=metric.better
        )
        for score in record.scores
        if score.label == label and metric.name in score.values and not _nothing(score, metric)
    }
    return {case: value for case, value in values.items() if math.isfinite(value)}


def _nothing(score: Score, metric: Metric) -> bool:
    """Nothing to find and nothing found: a value that is undefined then has no worst."""
    return score.empty == "both" and math.isnan(score.values[metric.name])


def patients(record: RunRecord, cases: Sequence[str]) -> dict[str, str]:
    """The patient of each case, as the run's split takes it."""
    split = record.experiment.get("split")
    pattern = str(split.get("group", "auto")) if isinstance(split, Mapping) else "auto"
    try:
        return {case: group_of(case, pattern) for case in cases}
    except DataError:
        return {case: case for case in cases}


def primary(metrics: Sequence[Metric]) -> list[Metric]:
    """The metrics that open tables and pictures show; of runs that have none of the usual ones, the first three."""
    found = [metric for name in PRIMARY for metric in metrics if metric.name == name]
    return found or list(metrics[:3])


def class_names(records: Sequence[RunRecord]) -> tuple[str, ...]:
    """The names of all classes; the index is the label and 0 the background."""
    return max((record.classes for record in records), key=len, default=())


def rows(records: Sequence[RunRecord], metric: Metric) -> list[Row]:
    """Aggregates of a metric with their intervals: one row a class and run, classes first.

    A method of several runs has a row before theirs, over the cases of all its folds; where it has several seeds, of
    the means over them, and its interval holds what other seeds would change, too.
    """
    comparable = metric.name not in conflicts(records)
    result: list[Row] = []
    for label, name in list(enumerate(class_names(records)))[1:]:
        group: list[Row] = []
        for colour, method in enumerate(methods(records)):
            runs = [_row(records[run], metric, label, (name, colour)) for run in method.runs]
            there = [run for run in runs if run]
            if len(there) > 1:
                group += _of_method(records, method, metric, (label, name, colour))
                there = [replace(run, seed=True) for run in there]
            group += there
        best = _best([row.mean for row in group if not row.seed], metric) if comparable else math.nan
        result += [replace(row, best=row.mean == best and not row.seed) for row in group]
    return result


def _row(record: RunRecord, metric: Metric, label: int, place: tuple[str, int]) -> Row | None:
    scores = [score for score in record.scores if score.label == label]
    if not any(metric.name in score.values for score in scores):
        return None
    given = _aggregates(record, metric, label)
    values = settled_column(record, metric, label)
    whole = len(values) == int(given["used"]) and len(values) > 1
    pooled = _of_class(record, label).get("dice_global") if metric.name == "dice" else None
    return Row(
        class_name=place[0],
        name=record.name,
        colour=place[1],
        seed=False,
        cases=int(given["used"]),
        mean=given["mean"],
        interval=mean_interval(values, patients(record, sorted(values))).interval if whole else UNKNOWN,
        median=given["median"],
        std=given["std"],
        pooled=float(pooled) if isinstance(pooled, int | float) else math.nan,
        empty=emptiness(scores),
    )


def _of_method(records: Sequence[RunRecord], method: Method, metric: Metric, of: tuple[int, str, int]) -> list[Row]:
    """The row of a method: every case with the mean over its seeds, on the cases that all seeds have."""
    label, class_name, colour = of
    scores = seed_scores(records, method, metric, label)
    if len(scores) < 2:
        return []
    means = [statistics.fmean(values) for values in scores.values()]
    row = Row(
        class_name=class_name,
        name=f"{method.name}, {extent(records, method)}",
        colour=colour,
        seed=False,
        cases=len(scores),
        mean=statistics.fmean(means),
        interval=mean_interval(scores, patients(records[method.runs[0]], [*scores])).interval,
        median=statistics.median(means),
        std=statistics.pstdev(means),
        pooled=math.nan,
        empty="",
    )
    return [row]


def seed_scores(
    records: Sequence[RunRecord], method: Method, metric: Metric, label: int
) -> dict[str, tuple[float, ...]]:
    """The settled values of a method by case, one a seed, of the cases that all its seeds have, sorted."""
    columns = [
        merged([settled_column(run, metric, label) for run in runs]) for runs in by_seed(records, method).values()
    ]
    shared = sorted(set.intersection(*(set(values) for values in columns)))
    return {case: tuple(values[case] for values in columns) for case in shared}


def _of_class(record: RunRecord, label: int) -> Mapping[str, Any]:
    classes = record.summary.get("classes")
    entry = classes.get(str(label)) if isinstance(classes, Mapping) else None
    return entry if isinstance(entry, Mapping) else {}


def _aggregates(record: RunRecord, metric: Metric, label: int) -> dict[str, float]:
    """What the run's summary says; where it says nothing, aggregates of the settled values."""
    values = list(settled_column(record, metric, label).values())
    own = {
        "mean": statistics.fmean(values) if values else math.nan,
        "median": statistics.median(values) if values else math.nan,
        "std": statistics.pstdev(values) if values else math.nan,
        "used": float(len(values)),
    }
    said = _of_class(record, label).get(metric.name)
    if not isinstance(said, Mapping):
        return own
    said = {"used": said.get("cases", own["used"]), **said}
    return {
        key: math.nan if said.get(key, value) is None else float(said.get(key, value)) for key, value in own.items()
    }


def _best(means: Sequence[float], metric: Metric) -> float:
    """The best of several means; `nan` where none is."""
    finite = [mean for mean in means if math.isfinite(mean)]
    if len(finite) < 2 or len(set(finite)) == 1 or metric.better == "neither":
        return math.nan
    if metric.better == "zero":
        return min(finite, key=abs)
    return max(finite) if metric.better == "higher" else min(finite)


def matrix(records: Sequence[RunRecord], metrics: Sequence[Metric]) -> list[Line]:
    """Means of all metrics: one line a class and run, classes first."""
    differing = conflicts(records)
    result = []
    for label, name in list(enumerate(class_names(records)))[1:]:
        there = [index for index, record in enumerate(records) if any(s.label == label for s in record.scores)]
        columns = []
        for metric in metrics:
            means = [_aggregates(records[index], metric, label)["mean"] for index in there]
            best = math.nan if metric.name in differing else _best(means, metric)
            columns.append([(mean, mean == best) for mean in means])
        for place, index in enumerate(there):
            cells = tuple(cells[place] for cells in columns)
            empty = emptiness([score for score in records[index].scores if score.label == label])
            result.append(Line(class_name=name, run=index, cells=cells, empty=empty))
    return result


def case_rows(records: Sequence[RunRecord], metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    """Every value as text: one row a case, class and run."""
    names = [record.classes for record in records]
    return [
        {
            "case": score.case,
            "class_name": names[index][score.label],
            "run": index,
            "values": [metric.number(score.values.get(metric.name, math.nan)) for metric in metrics],
            "empty": score.empty,
        }
        for index, record in enumerate(records)
        for score in record.scores
    ]


def ranked(records: Sequence[RunRecord]) -> list[tuple[float, str]]:
    """Cases that every method has scored, by their foreground Dice (mean over classes and runs), worst first."""
    values: dict[str, list[float]] = {}
    for record in records:
        for score in record.scores:
            dice = score.values.get("dice", math.nan)
            if math.isfinite(dice):
                values.setdefault(score.case, []).append(dice)
    seeds = [runs for method in methods(records) for runs in by_seed(records, method).values()]
    there = [{score.case for run in runs for score in run.scores} for runs in seeds]
    shared = set.intersection(*there) if there else set()
    return sorted((statistics.fmean(found), case) for case, found in values.items() if case in shared)


def chosen(records: Sequence[RunRecord]) -> list[tuple[str, float, str]]:
    """The worst, the median and the best case: (title, mean foreground Dice, case); fewer of fewer cases."""
    order = ranked(records)
    picks = {"Worst case": 0, "Median case": len(order) // 2, "Best case": len(order) - 1}
    result: dict[str, tuple[str, float, str]] = {}
    for title, index in picks.items():
        if order:
            result.setdefault(order[index][1], (title, *order[index]))
    return list(result.values())
