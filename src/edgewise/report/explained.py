"""The definitions of all metrics as one readable table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgewise.report.records import RunRecord, plain
from edgewise.report.words import Metric

KNOWN = ("kind", "set", "definition", "unit", "better", "direction")
EMPTY = {"both_empty": "both", "prediction_empty": "prediction", "reference_empty": "reference", "one_empty": "one"}
SHARED = 3
"""A part of a definition that this many metrics share is said once, under the table."""
LOCATED = (
    (
        Metric(name="mean_iou", title="Mean IoU of the boxes", unit="", better="higher"),
        "|A ∩ B| / |A ∪ B| of the box A of an object and the box B that was found for it, without margin; mean over "
        "the objects, a missed one counts 0; an object and a box of its kind are paired once, the largest IoU first",
    ),
    (
        Metric(name="recall", title="Recall at IoU 0.5", unit="", better="higher"),
        "Share of the objects with a box of IoU 0.5 or more",
    ),
    (
        Metric(name="contained", title="Containment", unit="", better="higher"),
        "Share of an object's voxels that lie in any region of its kind in its image (in its slice, in 2D), the margin "
        "of the regions included; mean over the objects; what lies outside cannot be segmented",
    ),
    (
        Metric(name="missed", title="Missed", unit="objects", better="lower"),
        "Objects without a box: none of their kind overlaps theirs, or those that do belong to other objects",
    ),
    (
        Metric(name="false_regions", title="False regions", unit="regions", better="lower"),
        "Regions that belong to no object",
    ),
)
"""What the numbers of the localisation mean."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What a metric means in some of the runs.

    Attributes:
        metric: which.
        runs: the runs that define it so; empty for all.
        definition: in words, without what is said under the table.
        marks: numbers of the remarks under the table that belong to it.
        empty: values for empty masks, in words.
        of: name of the set of definitions.
    """

    metric: Metric
    runs: str
    definition: str
    marks: tuple[int, ...]
    empty: str
    of: str


@dataclass(frozen=True, kw_only=True)
class Explained:
    """The table of definitions.

    Attributes:
        rows: one a metric and definition.
        remarks: what several definitions share, said under the table.
        sets: names of the sets that the definitions belong to.
        about: where they all belong to one, what its runs say about it.
    """

    rows: tuple[Explanation, ...]
    remarks: tuple[str, ...]
    sets: tuple[str, ...]
    about: str


def explained(records: Sequence[RunRecord], metrics: Sequence[Metric]) -> Explained:
    """What every metric means; a metric that the runs define differently has a line for each definition."""
    found = [(metric, facts, runs) for metric in metrics for facts, runs in _variants(records, metric.name)]
    parts = [part for _, facts, _ in found for part in _parts(facts)[1:]]
    remarks = [part for part in dict.fromkeys(parts) if parts.count(part) >= SHARED]
    rows = tuple(_explanation(*entry, remarks) for entry in found)
    sets = tuple(dict.fromkeys(row.of for row in rows if row.of))
    about = next(filter(None, (_about(record) for record in records)), "") if len(sets) == 1 else ""
    return Explained(rows=rows, remarks=tuple(remarks), sets=sets, about=about)


def located(records: Sequence[RunRecord]) -> tuple[Explanation, ...]:
    """What the numbers of the localisation mean; nothing where no run located objects."""
    if not any(record.located for record in records):
        return ()
    empty = {"mean_iou", "recall", "contained"}
    return tuple(
        Explanation(
            metric=metric,
            runs="",
            definition=text,
            marks=(),
            empty="no object: –" if metric.name in empty else "",
            of="",
        )
        for metric, text in LOCATED
    )


def _about(record: RunRecord) -> str:
    said = record.summary.get("set")
    known = said if isinstance(said, Mapping) else {}
    parts = [plain(known[key]).rstrip(".") for key in ("summary", "source") if known.get(key)]
    return "; ".join(parts)


def _variants(records: Sequence[RunRecord], name: str) -> list[tuple[Mapping[str, Any], str]]:
    """What the runs say about a column, each version once with the runs that say it; empty facts where none does."""
    said: dict[str, tuple[Mapping[str, Any], list[str]]] = {}
    for record in records:
        facts = record.definitions.get(name)
        if facts is not None:
            said.setdefault(repr(sorted(facts.items(), key=str)), (facts, []))[1].append(record.name)
    if len(said) > 1:
        return [(facts, ", ".join(runs)) for facts, runs in said.values()]
    return [(facts, "") for facts, _ in said.values()] or [({}, "")]


def _parts(facts: Mapping[str, Any]) -> list[str]:
    return plain(facts.get("definition", "")).rstrip(".").split("; ")


def _explanation(metric: Metric, facts: Mapping[str, Any], runs: str, remarks: Sequence[str]) -> Explanation:
    first, *rest = _parts(facts)
    others = [f"{key.replace('_', ' ')}: {plain(value)}" for key, value in facts.items() if key not in {*KNOWN, *EMPTY}]
    own = [first, *(part for part in rest if part not in remarks), *others]
    return Explanation(
        metric=metric,
        runs=runs,
        definition="; ".join(part for part in own if part) or "The run does not say how it is defined",
        marks=tuple(remarks.index(part) + 1 for part in rest if part in remarks),
        empty=_empty(facts),
        of=plain(facts.get("set", "")),
    )


def _empty(facts: Mapping[str, Any]) -> str:
    values = {
        name: plain(facts[key]).replace("inf", "∞").replace("-", "−") for key, name in EMPTY.items() if key in facts
    }
    if "prediction" in values and values.get("prediction") == values.get("reference"):
        values["one"] = values.pop("prediction")
        values.pop("reference")
    return ", ".join(f"{name}: {value}" for name, value in values.items())
