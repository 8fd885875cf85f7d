"""Every run against every other, on the cases both have."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
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
        left_out: cases that only one of the two runs (or not every seed) has; they were not compared.
    """

    metric: str
    class_index: int
    class_name: str
    first: str
    second: str
    result: PairedComparison
    p: float
    correction: str
    left_out: int


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why two runs were not compared in one metric, of one class or of all.

    Attributes:
        metric: column of the metric.
        class_name: name of the class; empty where the reason holds for all.
        first: name of one run.
        second: name of the other run.
        reason: in words.
    """

    metric: str
    class_name: str
    first: str
    second: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Everything that was asked for: what could be compared, and what could not and why."""

    verdicts: tuple[Verdict, ...]
    refusals: tuple[Refusal, ...]


def compared(results: Sequence[Results], metrics: Sequence[str] = PRIMARY) -> Compared:
    """Paired comparisons of every pair of runs in the named metrics of every class, Holm-corrected together.

    Two runs are compared on the cases that all seeds of both have. They are not compared in a metric that they define
    differently (another tolerance, another border, another preset), that has no better side, or that is undefined in
    some case under the policy for empty masks: leaving those cases out would flatter whoever caused them; nor in a
    class that they call differently or whose references are of different sizes.

    Args:
        results: of at least two runs.
        metrics: columns.

    Returns:
        The verdicts, pair by pair and metric by metric, and the refusals.
    """
    found = [
        entry
        for first, second in combinations(results, 2)
        for metric in metrics
        for entry in _pair(first, second, metric)
    ]
    family = [entry for entry in found if isinstance(entry, Verdict)]
    corrected = holm([verdict.p for verdict in family])
    correction = "Holm" if len(family) > 1 else ""
    return Compared(
        verdicts=tuple(replace(each, p=p, correction=correction) for each, p in zip(family, corrected, strict=True)),
        refusals=tuple(entry for entry in found if isinstance(entry, Refusal)),
    )


def scores_of(results: Results, class_index: int, metric: str) -> dict[str, tuple[float, ...]]:
    """The settled value of each case that every seed has, one for each seed.

    Args:
        results: of one run.
        class_index: value of the class.
        metric: column.
    """
    facts = results.definitions.get(metric, {})
    unit, better = str(facts.get("unit", "1")), str(facts.get("better", "lower"))
    seeds = [
        {
            row.case: settled(row.values[metric], row.diagonal_mm, unit, better=better)
            for row in rows
            if row.class_index == class_index and metric in row.values
        }
        for rows in results.rows.values()
    ]
    shared = set.intersection(*(set(seed) for seed in seeds)) if seeds else set()
    return {case: tuple(seed[case] for seed in seeds) for case in sorted(shared)}


def cases_of(results: Results) -> set[str]:
    """The cases that any seed of a run has."""
    return {row.case for rows in results.rows.values() for row in rows}


def classes_of(results: Sequence[Results]) -> list[tuple[int, str]]:
    """Value and name of every class that any run has, by value; the first run that names it decides."""
    names: dict[int, str] = {}
    for each in results:
        for rows in each.rows.values():
            for row in rows:
                names.setdefault(row.class_index, row.class_name)
    return sorted(names.items())


def _pair(first: Results, second: Results, metric: str) -> Iterator[Verdict | Refusal]:
    pair = {"metric": metric, "first": first.name, "second": second.name}
    reason = obstacle(first, second, metric)
    if reason:
        yield Refusal(**pair, class_name="", reason=reason)
        return
    for index, name in classes_of([first, second]):
        a, b = (scores_of(each, index, metric) for each in (first, second))
        if not a and not b:
            continue  # the definitions give this class other metrics
        shared = sorted(set(a) & set(b))
        reason = _hindrance([first, second], index, [a, b], shared)
        if reason:
            yield Refusal(**pair, class_name=name, reason=reason)
            continue
        result = paired(
            {case: a[case] for case in shared},
            {case: b[case] for case in shared},
            {case: first.groups[case] for case in shared},
            better=first.definitions[metric]["better"],
        )
        left_out = len((cases_of(first) | cases_of(second)) - set(shared))
        yield Verdict(
            **pair, class_index=index, class_name=name, result=result, p=result.p, correction="", left_out=left_out
        )


def meaning(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What has to be alike for two columns to mean the same: all but the name of the set that they come from."""
    return {key: value for key, value in facts.items() if key != "set"}


def obstacle(first: Results, second: Results, metric: str) -> str:
    """Why a metric cannot be compared at all; empty where it can."""
    missing = [each.name for each in (first, second) if metric not in each.definitions]
    if missing:
        return f"{' and '.join(missing)} {'have' if len(missing) > 1 else 'has'} no such metric"
    a, b = (meaning(each.definitions[metric]) for each in (first, second))
    different = [key for key in dict.fromkeys([*a, *b]) if a.get(key) != b.get(key)]
    if different:
        key = "definition" if "definition" in different else different[0]
        told = f"{key}: " if key != "definition" else ""
        return f"the runs define it differently. {told}{first.name}: {a.get(key)} {second.name}: {b.get(key)}"
    if a.get("better") not in {"higher", "lower", "zero"}:
        return "it has no better side"
    return ""


def _hindrance(
    results: Sequence[Results], index: int, scores: Sequence[Mapping[str, Sequence[float]]], shared: Sequence[str]
) -> str:
    """Why a class cannot be compared; empty where it can."""
    names = [dict(classes_of([each])).get(index, "") for each in results]
    if not shared:
        return "the runs have no case of this class in common"
    if names[0] != names[1] and not any(re.fullmatch(r"class \d+", name) for name in names):
        return f"class {index} is {names[0]!r} in {results[0].name} and {names[1]!r} in {results[1].name}"
    undefined = [case for case in shared if not all(math.isfinite(v) for each in scores for v in each[case])]
    if undefined:
        of = f"in {len(undefined)} of {len(shared)} cases ({_listed(undefined)})"
        return f"it is undefined {of}, and leaving them out would flatter whoever caused them"
    sizes = [_reference_sizes(each, index) for each in results]
    other = [case for case in shared if sizes[0][case] != sizes[1][case]]
    if other:
        return f"the references differ in {len(other)} of {len(shared)} cases ({_listed(other)})"
    return ""


def _reference_sizes(results: Results, index: int) -> dict[str, set[int]]:
    """The number of reference voxels of each case; one, unless the seeds were scored against different references."""
    sizes: dict[str, set[int]] = {}
    for rows in results.rows.values():
        for row in rows:
            if row.class_index == index:
                sizes.setdefault(row.case, set()).add(row.reference_voxels)
    return sizes


def _listed(cases: Sequence[str]) -> str:
    return ", ".join(cases[:5]) + (", ..." if len(cases) > 5 else "")
