"""The tables of a report, as plain data for its template."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgewise.report.figures import column
from edgewise.report.records import Decision, RunRecord, plain
from edgewise.report.words import Metric, counted, duration

OUTCOMES = ("Training", "Best while training", "Ended")


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One property of every run, and whether the runs differ in it."""

    name: str
    values: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """The runs do not agree in a setting; that their results differ is no news."""
        return len(set(self.values)) > 1 and self.name not in OUTCOMES


@dataclass(frozen=True, kw_only=True)
class Row:
    """Aggregates of one metric and class of one run; `best` marks the best mean among several runs."""

    label: int
    class_name: str
    run: int
    cases: int
    mean: float
    median: float
    std: float
    empty: str
    best: bool = False


def facts(records: Sequence[RunRecord]) -> list[Fact]:
    """What ran: one row a property, one value a run; properties no run has are left out."""
    columns = [dict(_facts(record)) for record in records]
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [Fact(name=name, values=tuple(column.get(name, "") for column in columns)) for name in names]
    return [row for row in rows if any(row.values)]


def _facts(record: RunRecord) -> Iterator[tuple[str, str]]:
    data, journal = record.dataset, record.journal
    yield "Data", str(data.get("name", ""))
    if "train" in data or "validation" in data:
        train, validation = len(data.get("train", ())), len(data.get("validation", ()))
        yield "Cases", f"{train} train, {validation} validation"
    yield "Classes", ", ".join(record.classes[1:])
    yield "Channels", plain(data.get("channels", ""))
    for name in ("network", "loss", "method"):
        yield name.capitalize(), plain(_find(record.experiment, name) or "")
    yield "Training", _training(record)
    if journal.validations:
        best = max(journal.validations, key=lambda validation: validation.mean)
        yield "Best while training", f"mean Dice {best.mean:.3f} at step {best.step:,}"
    yield "Ended", journal.ending
    yield "Device", _device(record.environment)


def _training(record: RunRecord) -> str:
    journal = record.journal
    return f"{counted(journal.steps, 'step')}, {duration(journal.seconds)}" if journal.steps else "not begun"


def _device(environment: Mapping[str, Any]) -> str:
    if environment.get("gpu"):
        return plain(environment["gpu"])
    cores = f", {counted(int(environment['cores']), 'core')}" if environment.get("cores") else ""
    return f"{environment.get('cpu') or 'CPU'}{cores}" if environment else ""


def _find(tree: Any, name: str) -> Any:
    """The first entry called `name`, from the top of the tree down."""
    if not isinstance(tree, Mapping):
        return None
    if name in tree:
        return tree[name]
    return next((found for value in tree.values() if (found := _find(value, name)) is not None), None)


def differences(records: Sequence[RunRecord]) -> list[Fact]:
    """Settings of the experiments in which the runs differ, by their dotted names; the name is left out."""
    flats = [dict(_flat(record.experiment, "")) for record in records]
    names = dict.fromkeys(name for flat in flats for name in flat)
    rows = [Fact(name=name, values=tuple(flat.get(name, "–") for flat in flats)) for name in names]
    return [row for row in rows if row.differs and row.name not in {"name", "description"}]


def _flat(tree: Any, prefix: str) -> Iterator[tuple[str, str]]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(tree, list) and any(isinstance(item, Mapping) for item in tree):
        for index, value in enumerate(tree):
            yield from _flat(value, f"{prefix}.{index}")
    else:
        yield prefix, plain(tree)


def rows(records: Sequence[RunRecord], metric: Metric) -> list[Row]:
    """Aggregates of a metric: one row a class and run, classes first."""
    result: list[Row] = []
    names = max((record.classes for record in records), key=len, default=())
    for label, name in list(enumerate(names))[1:]:
        group = [
            found for index, record in enumerate(records) if (found := _row(record, metric.name, label, (name, index)))
        ]
        result += _marked(group, metric)
    return result


def _row(record: RunRecord, metric: str, label: int, place: tuple[str, int]) -> Row | None:
    scores = [score for score in record.scores if score.label == label]
    if not scores:
        return None
    given = _aggregates(record, metric, label)
    both = sum(score.empty == "both" for score in scores)
    one = sum(score.empty in {"prediction", "reference"} for score in scores)
    parts = [f"both empty: {both}" if both else "", f"one empty: {one}" if one else ""]
    return Row(
        label=label,
        class_name=place[0],
        run=place[1],
        cases=int(given["cases"]),
        mean=given["mean"],
        median=given["median"],
        std=given["std"],
        empty=", ".join(part for part in parts if part),
    )


def _aggregates(record: RunRecord, metric: str, label: int) -> dict[str, float]:
    """What the run's summary says; where it says nothing, aggregates of the finite values."""
    values = [value for value in column(record, metric, label).values() if math.isfinite(value)]
    own = {
        "mean": statistics.fmean(values) if values else math.nan,
        "median": statistics.median(values) if values else math.nan,
        "std": statistics.stdev(values) if len(values) > 1 else math.nan,
        "cases": float(len(values)),
    }
    said = record.summary.get("classes", {}).get(str(label), {}).get(metric)
    if not isinstance(said, Mapping):
        return own
    return {
        key: math.nan if said.get(key, value) is None else float(said.get(key, value)) for key, value in own.items()
    }


def _marked(group: Sequence[Row], metric: Metric) -> list[Row]:
    means = [row.mean for row in group if math.isfinite(row.mean)]
    if len(means) < 2 or len(set(means)) == 1:
        return list(group)
    best = max(means) if metric.higher else min(means)
    return [replace(row, best=row.mean == best) for row in group]


def warnings(records: Sequence[RunRecord]) -> list[str]:
    """What a reader of the metrics must know about empty masks, one sentence a run and class."""
    result = []
    for record in records:
        for label, name in list(enumerate(record.classes))[1:]:
            scores = [score for score in record.scores if score.label == label]
            lost = [score.case for score in scores if score.empty == "prediction"]
            made = [score.case for score in scores if score.empty == "reference"]
            both = [score.case for score in scores if score.empty == "both"]
            if lost:
                result.append(f"{record.name}: {name} was missed altogether in {_of(lost, scores)}.")
            if made:
                result.append(f"{record.name}: {name} was predicted where there is none in {_of(made, scores)}.")
            if both:
                result.append(f"{record.name}: {name} is in neither mask in {_of(both, scores)}.")
    return result


def _of(cases: Sequence[str], scores: Sequence[Any]) -> str:
    shown = ", ".join(cases[:5]) + (" …" if len(cases) > 5 else "")
    return f"{len(cases)} of {counted(len(scores), 'case')} ({shown})"


def case_rows(records: Sequence[RunRecord], names: Sequence[str]) -> list[dict[str, Any]]:
    """Every value: one row a case, class and run."""
    return [
        {
            "case": score.case,
            "class_name": record.classes[score.label],
            "run": index,
            "values": [score.values.get(name, math.nan) for name in names],
            "empty": score.empty,
        }
        for index, record in enumerate(records)
        for score in record.scores
    ]


def ranked(records: Sequence[RunRecord]) -> list[tuple[float, str]]:
    """Cases that every run has scored, by their foreground Dice (mean over classes and runs), worst first."""
    values: dict[str, list[float]] = {}
    for record in records:
        for score in record.scores:
            dice = score.values.get("dice", math.nan)
            if math.isfinite(dice):
                values.setdefault(score.case, []).append(dice)
    shared = set.intersection(*({score.case for score in record.scores} for record in records))
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


def plans(records: Sequence[RunRecord]) -> list[tuple[str, tuple[Decision, ...]]]:
    """Plans with the names of the runs they belong to; equal plans are shown once."""
    groups: dict[tuple[Decision, ...], list[str]] = {}
    for record in records:
        if record.plan:
            groups.setdefault(record.plan, []).append(record.name)
    return [(", ".join(names), plan) for plan, names in groups.items()]
