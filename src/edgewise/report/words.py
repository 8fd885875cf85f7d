"""Numbers and verdicts as a reader expects them."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from edgewise.compare.runs import Verdict
from edgewise.metrics.base import Better
from edgewise.metrics.presets import named
from edgewise.report.records import RunRecord

INITIALS = ("voe", "rvd", "hd", "hd95", "assd", "masd", "msd", "rmsd", "nsd", "pq", "sq", "rq")
TITLES = {name: name.upper() for name in INITIALS} | {
    "lesion_f1": "Lesion F1",
    "bdice": "Boundary Dice",
    "boundary_iou": "Boundary IoU",
    "box_iou": "Box IoU",
}
READING: Mapping[Better, str] = {
    "higher": "higher is better",
    "lower": "lower is better",
    "zero": "closer to 0 is better",
    "neither": "a description: neither way is better",
}
ARROWS: Mapping[Better, str] = {"higher": "↑", "lower": "↓", "zero": "→0", "neither": ""}
ALPHA = 0.05
FEW = 10
SPOKEN = 3
"""A headline tells this many differences in full, and counts the others."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """How to read a metric.

    Attributes:
        name: as in `metrics.csv`.
        title: as a reader knows it.
        unit: "" for a ratio.
        better: which way is up.
        definition: what the run says about it, in words.
    """

    name: str
    title: str
    unit: str
    better: Better
    definition: Mapping[str, Any] = field(default_factory=dict)

    @property
    def arrow(self) -> str:
        """Which way is better."""
        return ARROWS[self.better]

    @property
    def reading(self) -> str:
        """Which way is better, in words."""
        return READING[self.better]

    def number(self, value: float) -> str:
        """The value without its unit: two decimals for lengths and volumes, three for ratios."""
        if math.isnan(value):
            return "–"
        if math.isinf(value):
            return "∞" if value > 0 else "−∞"
        text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{2 if self.unit else 3}f}"
        return text.replace("-", "−") if float(text.replace(",", "")) else text.replace("-", "")


def metrics(records: Sequence[RunRecord]) -> list[Metric]:
    """Every metric of the runs, in the order in which their tables have them."""
    names = dict.fromkeys(name for record in records for score in record.scores for name in score.values)
    found: dict[str, Mapping[str, Any]] = {}
    for record in records:
        for name, facts in record.definitions.items():
            found.setdefault(name, facts)
    return [metric(name, found.get(name, {})) for name in names]


def metric(name: str, facts: Mapping[str, Any]) -> Metric:
    """How to read the column `name`, of which a summary says `facts`: unit, direction, definition.

    What the facts leave out is what the default definitions say of the column.
    """
    usual = _usual().get(name, {})
    unit = str(facts.get("unit", usual.get("unit", "1")))
    unit = "" if unit in {"1", "none", "None"} else unit
    said = str(facts.get("better", facts.get("direction", ""))).split(" ", maxsplit=1)[0]
    known: dict[str, Better] = {better: better for better in READING}
    better = known.get(said) or usual.get("better") or ("lower" if unit else "higher")
    title = TITLES.get(name, name.replace("_", " ").capitalize())
    return Metric(name=name, title=title, unit=unit, better=better, definition=facts)


@cache
def _usual() -> dict[str, dict[str, Any]]:
    return named("default").facts()


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """A verdict in words.

    Attributes:
        text: the sentence, escaped.
        caution: why it must be read with care; empty where it need not.
        found: a difference was found.
        winner: name of the better run; empty where no difference was found, or neither way is better.
        runs: names of the two runs.
        subject: metric and class, escaped.
        size: how large the difference is, with its interval and p, escaped.
    """

    text: Markup
    caution: str
    found: bool
    winner: str
    runs: tuple[str, str]
    subject: Markup
    size: Markup

    @property
    def plain(self) -> str:
        """The sentence for a terminal."""
        return self.text.striptags()


def spoken(verdict: Verdict, metric: Metric) -> Spoken:
    """Put a verdict into words; the better run comes first.

    A difference counts as found when p < 0.05 and the interval leaves out 0. Signed errors are compared by
    their absolute values; of metrics that only describe, the run with the larger values comes first and
    nobody wins.
    """
    result = verdict.result
    turn = -1 if (result.difference < 0) == (metric.better in {"higher", "neither"}) else 1
    ahead, behind = (verdict.first, verdict.second)[::turn]
    low, high = result.interval
    found = verdict.p < ALPHA and (low > 0 or high < 0)
    subject = Markup("<b>{}</b> ({})").format(metric.title, verdict.class_name)
    size = _size(verdict, metric)
    text = Markup(_SENTENCES[metric.better] if found else _NOT_FOUND).format(
        subject=subject, ahead=ahead, behind=behind, size=size, cases=_cases(verdict)
    )
    return Spoken(
        text=text,
        caution=_caution(verdict),
        found=found,
        winner=ahead if found and metric.better != "neither" else "",
        runs=(verdict.first, verdict.second),
        subject=subject,
        size=size,
    )


_SENTENCES: Mapping[Better, str] = {
    "higher": "<code>{ahead}</code> beats <code>{behind}</code> on {subject} by {size}, {cases}.",
    "lower": "<code>{ahead}</code> beats <code>{behind}</code> on {subject} by {size}, {cases}.",
    "zero": "<code>{ahead}</code> beats <code>{behind}</code> on {subject}: closer to 0 by {size}, {cases}.",
    "neither": "<code>{ahead}</code> has a larger {subject} than <code>{behind}</code> by {size}, {cases}.",
}
_NOT_FOUND = (
    "On {subject} no difference was found between <code>{ahead}</code> and <code>{behind}</code>: {size}, {cases}."
)


def _size(verdict: Verdict, metric: Metric) -> Markup:
    """Size of the difference, its interval and p."""
    result = verdict.result
    low, high = result.interval
    sign = -1 if result.difference < 0 else 1
    ends = sorted((sign * low, sign * high))
    interval = f"[{metric.number(ends[0])}, {metric.number(ends[1])}]" if math.isfinite(low + high) else "(no interval)"
    return Markup('<b>{by}{unit}</b> <span class="interval">{interval}</span>, <span class="nowrap">{p}</span>').format(
        by=metric.number(abs(result.difference)),
        unit=f" {metric.unit}" if metric.unit else "",
        interval=interval,
        p=chance(verdict.p),
    )


def _cases(verdict: Verdict) -> str:
    result = verdict.result
    patients = f" of {counted(result.groups, 'patient')}" if 0 < result.groups < result.cases else ""
    return counted(result.cases, "case") + patients


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
    """All verdicts in a sentence or two, and whether the sample is small; empty without verdicts.

    Two runs are told in full; of several pairs it is counted who is better how often.
    """
    if not verdicts:
        return Markup("")
    small = " The sample is small: see the remarks." if any(verdict.caution for verdict in verdicts) else ""
    if not any(verdict.found for verdict in verdicts):
        total = counted(len(verdicts), "comparison")
        return Markup("No difference between the runs was found in {}.").format(total) + small
    told = _told if len({frozenset(verdict.runs) for verdict in verdicts}) == 1 else _tally
    return told(verdicts) + small


def _told(verdicts: Sequence[Spoken]) -> Markup:
    """The verdicts on two runs: the first difference in full, the next ones short, the others by name."""
    found = [verdict for verdict in verdicts if verdict.found]
    rest = [verdict.subject for verdict in verdicts if not verdict.found]
    sentences = [found[0].text.rstrip(".")]
    for before, verdict in pairwise(found[:SPOKEN]):
        short = Markup("on {} by {}").format(verdict.subject, verdict.size)
        sentences.append(short if verdict.winner and verdict.winner == before.winner else verdict.text.rstrip("."))
    if len(found) > SPOKEN:
        sentences.append(Markup("more differences were found on ") + _listed([v.subject for v in found[SPOKEN:]]))
    if rest:
        sentences.append(Markup("on ") + _listed(rest) + Markup(" no difference was found"))
    return Markup("; ").join(sentences) + Markup(".")


def _listed(parts: Sequence[Markup]) -> Markup:
    if len(parts) > 2 * SPOKEN:
        return Markup("{} of the other measures").format(len(parts))
    return parts[0] if len(parts) == 1 else Markup(", ").join(parts[:-1]) + Markup(" and ") + parts[-1]


def _tally(verdicts: Sequence[Spoken]) -> Markup:
    """Who is better than whom, and how often."""
    of_pair: dict[frozenset[str], int] = {}
    wins: dict[str, dict[str, int]] = {}
    for verdict in verdicts:
        of_pair[frozenset(verdict.runs)] = of_pair.get(frozenset(verdict.runs), 0) + 1
        if verdict.winner:
            loser = next(name for name in verdict.runs if name != verdict.winner)
            won = wins.setdefault(verdict.winner, {})
            won[loser] = won.get(loser, 0) + 1
    sentences: list[Markup] = []
    for name, won in sorted(wins.items(), key=lambda item: -sum(item[1].values())):
        parts = [
            Markup("than <code>{}</code> in {} of {}").format(loser, count, of_pair[frozenset((name, loser))])
            for loser, count in sorted(won.items(), key=lambda item: -item[1])
        ]
        parts[0] += Markup(" comparisons") if not sentences else Markup("")
        sentences.append(Markup("<code>{}</code> is better ").format(name) + Markup(", ").join(parts))
    rest = sum(not verdict.found for verdict in verdicts)
    if rest:
        other = f"{rest} of {len(verdicts)}" if not sentences else "the other one" if rest == 1 else f"the other {rest}"
        sentences.append(Markup("no difference was found in {}").format(other))
    return Markup("; ").join(sentences) + Markup(".")


def chance(p: float) -> str:
    """A p-value: "p = 0.004", "p < 0.001", or that there is none."""
    if math.isnan(p):
        return "p unknown"
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}" if p < 0.1 else f"p = {p:.2f}"


def bare_chance(p: float) -> str:
    """A p-value for a column that is called p: "0.004", "< 0.001"."""
    return chance(p).removeprefix("p = ").removeprefix("p ")


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


def shortened(text: str, root: str = "") -> str:
    """The text with every absolute path cut to its last part: pages are passed on, and paths hold people's names.

    Args:
        text: anything a program said.
        root: a path that is known to occur, and may hold spaces.

    Example:
        >>> shortened("cannot read /home/anna/data/liver_1.nii.gz")
        'cannot read …/liver_1.nii.gz'
    """
    if len(root) > 1:
        text = text.replace(root.rstrip("/\\"), "…/" + re.split(r"[/\\]", root.rstrip("/\\"))[-1])
    text = re.sub(r"(?<![\w.:/…~>-])/(?:[^\s/:'\",;]+/)+(?=[^\s/])", "…/", text)
    return re.sub(r"\b[A-Za-z]:\\(?:[^\s\\:'\",;]+\\)+", "…/", text)
