"""Every run against every other, on the cases both have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from edgewise.compare.statistics import PairedComparison, holm, paired
from edgewise.metrics.cases import Row, settled

PRIMARY = ("dice", "hd95", "nsd")
"""What is compared unless asked otherwise: one overlap and two boundary metrics, as Metrics Reloaded advises."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """The metrics of one run: what a comparison is made from.

    Attributes:
        name: of the run, unique within a comparison.
        rows: one a case and class, for each seed of the run that was evaluated.
        definitions: facts of each column, as `Definitions.facts` gives them and summary.json holds them.
        groups: the patient of every case; cases of one patient are not independent.
    """

    name: str
    rows: Mapping[str, tuple[Row, ...]]
    definitions: Mapping[str, Mapping[str, Any]]
    groups: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Two runs in one metric of one class.

    Attributes:
        metric: column of the metric.
        class_index: value of the class.
        class_name: its name.
        first: name of one run.
        second: name of the other run.
        result: the paired comparison, first against second.
        p: its p-value, corrected for the number of verdicts in the family.
        correction: how it was corrected, such as "Holm"; empty for a family of one.
    """

    metric: str
    class_index: int
    class_name: str
    first: str
    second: str
    result: PairedComparison
    p: float
    correction: str


def verdicts(results: Sequence[Results], metrics: Sequence[str] = PRIMARY) -> tuple[Verdict, ...]:
    """Paired comparisons of every pair of runs in the named metrics of every class, Holm-corrected together.

    Args:
        results: of at least two runs.
        metrics: columns; those that a pair of runs does not share are left out.
    """
    found = [
        verdict
        for first, second in combinations(results, 2)
        for metric in metrics
        if metric in first.definitions and metric in second.definitions
        for verdict in _pair(first, second, metric)
    ]
    corrected = holm([verdict.p for verdict in found])
    correction = "Holm" if len(found) > 1 else ""
    return tuple(replace(each, p=p, correction=correction) for each, p in zip(found, corrected, strict=True))


def _pair(first: Results, second: Results, metric: str) -> list[Verdict]:
    facts = first.definitions[metric]
    found = []
    for index, name in _classes(first):
        a, b = (_column(each, index, metric, str(facts["unit"])) for each in (first, second))
        groups = {case: first.groups[case] for case in sorted(set(a) & set(b))}
        if not groups:
            continue
        result = paired({c: a[c] for c in groups}, {c: b[c] for c in groups}, groups, better=facts["better"])
        pair = {"first": first.name, "second": second.name}
        found.append(
            Verdict(metric=metric, class_index=index, class_name=name, **pair, result=result, p=result.p, correction="")
        )
    return found


def _classes(results: Results) -> list[tuple[int, str]]:
    return sorted({(row.class_index, row.class_name) for rows in results.rows.values() for row in rows})


def _column(results: Results, index: int, metric: str, unit: str) -> dict[str, float]:
    """The value of each case, the mean over seeds."""
    values: dict[str, list[float]] = {}
    for rows in results.rows.values():
        for row in rows:
            if row.class_index == index and metric in row.values:
                values.setdefault(row.case, []).append(settled(row.values[metric], row.diagonal_mm, unit))
    return {case: sum(found) / len(found) for case, found in values.items()}
