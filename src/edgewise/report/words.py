"""Numbers and verdicts as a reader expects them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from edgewise.compare.runs import Verdict
from edgewise.report.records import RunRecord

TITLES = {"dice": "Dice", "hd95": "HD95", "assd": "ASSD", "hd": "HD", "masd": "MASD", "nsd": "NSD"}
LOWER_UNITS = ("mm", "ml", "s")
ALPHA = 0.05
FEW = 10


@dataclass(frozen=True, kw_only=True)
class Metric:
    """How to read a metric.

    Attributes:
        name: as in `metrics.csv`.
        title: as a reader knows it.
        unit: "" for a ratio.
        higher: whether more is better.
        definition: what the run says about it, in words.
    """

    name: str
    title: str
    unit: str
    higher: bool
    definition: Mapping[str, Any] = field(default_factory=dict)

    @property
    def arrow(self) -> str:
        """Which way is better."""
        return "↑" if self.higher else "↓"

    def number(self, value: float) -> str:
        """The value without its unit: two decimals for lengths and volumes, three for ratios."""
        if math.isnan(value):
            return "–"
        if math.isinf(value):
            return "∞" if value > 0 else "−∞"
        return f"{value:.{2 if self.unit else 3}f}".replace("-", "−")


def metrics(records: Sequence[RunRecord]) -> list[Metric]:
    """Every metric of the runs, in the order in which their tables have them."""
    names = dict.fromkeys(name for record in records for score in record.scores for name in score.values)
    found: dict[str, Mapping[str, Any]] = {}
    for record in records:
        entries = record.summary.get("definitions", {})
        for name, entry in entries.items() if isinstance(entries, Mapping) else ():
            found.setdefault(name, entry if isinstance(entry, Mapping) else {"definition": entry})
    return [_metric(name, found.get(name, {})) for name in names]


def _metric(name: str, definition: Mapping[str, Any]) -> Metric:
    unit = str(definition.get("unit", "mm" if name in {"hd95", "assd", "hd", "masd"} else ""))
    unit = "" if unit in {"1", "none", "None"} else unit
    said = str(definition.get("direction", definition.get("better", "")))
    higher = said.startswith("higher") if said else unit not in LOWER_UNITS
    title = TITLES.get(name, name.replace("_", " "))
    return Metric(name=name, title=title, unit=unit, higher=higher, definition=definition)


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """A verdict in words.

    Attributes:
        text: the sentence, escaped.
        caution: why it must be read with care; empty where it need not.
        found: a difference was found.
        winner: name of the better run; empty where no difference was found.
    """

    text: Markup
    caution: str
    found: bool
    winner: str


def spoken(verdict: Verdict, metric: Metric) -> Spoken:
    """Put a verdict into words; the better run comes first.

    A difference counts as found when p < 0.05 and the interval leaves out 0.
    """
    result = verdict.result
    turn = -1 if (result.difference < 0) == metric.higher else 1
    ahead, behind = (verdict.first, verdict.second)[::turn]
    low, high = result.interval
    found = verdict.p < ALPHA and (low > 0 or high < 0)
    sign = -1 if result.difference < 0 else 1
    ends = sorted((sign * low, sign * high))
    unit = f" {metric.unit}" if metric.unit else ""
    numbers = {
        "metric": metric.title,
        "name": verdict.class_name,
        "ahead": ahead,
        "behind": behind,
        "by": metric.number(abs(result.difference)),
        "interval": f"[{metric.number(ends[0])}, {metric.number(ends[1])}]{unit}"
        if math.isfinite(low + high)
        else f"{unit} (no interval)".strip(),
        "p": chance(verdict.p),
        "cases": counted(result.cases, "case")
        + (f" of {counted(result.groups, 'patient')}" if 0 < result.groups < result.cases else ""),
        "word": "higher" if metric.higher else "lower",
    }
    return Spoken(
        text=Markup(_FOUND if found else _NOT_FOUND).format(**numbers),
        caution=_caution(verdict),
        found=found,
        winner=ahead if found else "",
    )


_FOUND = (
    "<code>{ahead}</code> has a {word} <b>{metric}</b> on <b>{name}</b> than <code>{behind}</code> by "
    '<b>{by}</b> <span class="interval">{interval}</span>, {p}, {cases}.'
)
_NOT_FOUND = (
    "No difference was found in <b>{metric}</b> on <b>{name}</b> between <code>{ahead}</code> and "
    '<code>{behind}</code>: {by} <span class="interval">{interval}</span>, {p}, {cases}.'
)


def _caution(verdict: Verdict) -> str:
    pairs = verdict.result.groups or verdict.result.cases
    if pairs >= FEW:
        return ""
    least = min(1.0, 2 / 2**pairs)
    if least >= ALPHA:
        return (
            f"The sample is too small to decide: with {counted(pairs, 'pair')} an exact paired "
            f"permutation test cannot give p below {least:.3g}."
        )
    return f"The sample is small ({counted(pairs, 'pair')}): expect other cases to change this."


def headline(verdicts: Sequence[Spoken]) -> Markup:
    """All verdicts in one sentence, and whether the sample is small."""
    small = " The sample is small: see the remarks." if any(verdict.caution for verdict in verdicts) else ""
    wins: dict[str, int] = {}
    for verdict in verdicts:
        if verdict.found:
            wins[verdict.winner] = wins.get(verdict.winner, 0) + 1
    total = counted(len(verdicts), "comparison")
    if not wins:
        return Markup("No difference between the runs was found in {}.").format(total) + small
    parts = [Markup("<code>{}</code> is better in {} of {}").format(name, count, total) for name, count in wins.items()]
    rest = len(verdicts) - sum(wins.values())
    end = (
        "" if not rest else "; no difference was found in " + ("the other one." if rest == 1 else f"the other {rest}.")
    )
    return Markup(", ").join(parts) + (end or ".") + small


def chance(p: float) -> str:
    """A p-value: "p = 0.004", "p < 0.001", or that there is none."""
    if math.isnan(p):
        return "p unknown"
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}" if p < 0.1 else f"p = {p:.2f}"


def counted(count: int, noun: str) -> str:
    """A count with its noun: 1 case, 4 cases."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def duration(seconds: float) -> str:
    """Seconds in words: 48 s, 6 min 30 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
