"""All comparisons in one picture: a forest of differences with their intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgewise.compare.runs import Verdict
from edgewise.report.words import ALPHA, Metric, bare_chance


@dataclass(frozen=True, kw_only=True)
class Branch:
    """One comparison as a line of the forest; places are in percent of the width of the picture.

    Attributes:
        class_name: of the class.
        first: name of the run whose advantage is to the right.
        second: name of the run whose advantage is to the left.
        winner: 0 or 1 where one of the two is better, -1 where no difference was found.
        advantage: of the first run, with its sign.
        interval: of the advantage, in words; empty where there is none.
        p: in words.
        tally: cases (or patients) won, tied and lost by the first run.
        places: left end, middle and right end.
    """

    class_name: str
    first: str
    second: str
    winner: int
    advantage: str
    interval: str
    p: str
    tally: str
    places: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Tree:
    """The comparisons in one metric, on one scale.

    Attributes:
        metric: which.
        zero: place of no difference, in percent.
        ends: what the two ends of the scale stand for.
        branches: the comparisons.
    """

    metric: Metric
    zero: float
    ends: tuple[str, str]
    branches: tuple[Branch, ...]


def forest(verdicts: Sequence[Verdict], metrics: Sequence[Metric]) -> list[Tree]:
    """The verdicts by metric, turned so that the right side is the advantage of the first run of each pair.

    The first of a pair is the run with more wins. Of metrics that only describe, the right side is where the first
    run has the larger values.

    Args:
        verdicts: in the order of reading.
        metrics: one for each verdict.
    """
    known = {metric.name: metric for metric in metrics}
    names = dict.fromkeys(verdict.metric for verdict in verdicts)
    ordered = sorted(_turned(verdicts, metrics), key=lambda verdict: verdict.class_index)
    return [_tree([verdict for verdict in ordered if verdict.metric == name], known[name]) for name in names]


def _turned(verdicts: Sequence[Verdict], metrics: Sequence[Metric]) -> list[Verdict]:
    """The verdicts, the two runs of a pair changing places where the second has more wins."""
    score: dict[tuple[str, str], int] = {}
    for verdict, metric in zip(verdicts, metrics, strict=True):
        pair = (verdict.first, verdict.second)
        score[pair] = score.get(pair, 0) + (_winner(verdict, metric) == 0) - (_winner(verdict, metric) == 1)
    return [_swapped(each) if score[each.first, each.second] < 0 else each for each in verdicts]


def _swapped(verdict: Verdict) -> Verdict:
    result = verdict.result
    low, high = result.interval
    turned = replace(
        result, difference=-result.difference, interval=(-high, -low), wins=result.losses, losses=result.wins
    )
    return replace(verdict, first=verdict.second, second=verdict.first, result=turned)


def _winner(verdict: Verdict, metric: Metric) -> int:
    """0 for the first run, 1 for the second, -1 where no difference was found."""
    low, _, high = advantage(verdict, metric)
    return -1 if not verdict.p < ALPHA or low <= 0 <= high else int(high < 0)


def advantage(verdict: Verdict, metric: Metric) -> tuple[float, float, float]:
    """How much better the first run is: (low, middle, high) of the interval."""
    sign = -1 if metric.better in {"lower", "zero"} else 1
    low, high = verdict.result.interval
    middle = sign * verdict.result.difference
    low, high = sorted((sign * low, sign * high)) if math.isfinite(low + high) else (middle, middle)
    return low, middle, high


def _tree(verdicts: Sequence[Verdict], metric: Metric) -> Tree:
    found = [advantage(verdict, metric) for verdict in verdicts]
    low, high = min(0.0, *(each[0] for each in found)), max(0.0, *(each[2] for each in found))
    reach = max(-low, high) or 1.0
    low, high = min(low, -0.25 * reach) * 1.04, max(high, 0.25 * reach) * 1.04

    def place(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    return Tree(
        metric=metric,
        zero=place(0.0),
        ends=(_signed(metric, low), _signed(metric, high)),
        branches=tuple(
            _branch(verdict, metric, (place(each[0]), place(each[1]), place(each[2])))
            for verdict, each in zip(verdicts, found, strict=True)
        ),
    )


def _branch(verdict: Verdict, metric: Metric, places: tuple[float, float, float]) -> Branch:
    low, middle, high = advantage(verdict, metric)
    result = verdict.result
    unit = f" {metric.unit}" if metric.unit else ""
    return Branch(
        class_name=verdict.class_name,
        first=verdict.first,
        second=verdict.second,
        winner=_winner(verdict, metric),
        advantage=_signed(metric, middle) + unit,
        interval=f"[{_signed(metric, low)}, {_signed(metric, high)}]" if math.isfinite(sum(result.interval)) else "",
        p=bare_chance(verdict.p),
        tally=f"{result.wins} / {result.ties} / {result.losses}",
        places=places,
    )


def _signed(metric: Metric, value: float) -> str:
    text = metric.number(value)
    return text if value <= 0 or not float(text.replace(",", "").replace("−", "-")) else f"+{text}"


def statistics(verdicts: Sequence[Verdict], metrics: Sequence[Metric]) -> list[dict[str, str]]:
    """Every number of every comparison as text, for the table of all statistics.

    Args:
        verdicts: in the order of reading.
        metrics: one for each verdict.
    """
    return [_numbers(verdict, metric) for verdict, metric in zip(verdicts, metrics, strict=True)]


def _numbers(verdict: Verdict, metric: Metric) -> dict[str, str]:
    result = verdict.result
    low, high = result.interval
    return {
        "Metric": metric.title + (f", {metric.unit}" if metric.unit else ""),
        "Class": verdict.class_name,
        "First": verdict.first,
        "Second": verdict.second,
        "Mean of the first": metric.number(result.mean_a),
        "Mean of the second": metric.number(result.mean_b),
        "Difference": _signed(metric, result.difference),
        "95 % interval": f"[{_signed(metric, low)}, {_signed(metric, high)}]",
        "Median difference": _signed(metric, result.median_difference),
        "p, permutation": bare_chance(result.p),
        "p, corrected": bare_chance(verdict.p),
        "p, Wilcoxon": bare_chance(result.wilcoxon_p),
        "Effect size d": _two(result.standardised),
        "Rank-biserial r": _two(result.rank_biserial),
        "Won / tied / lost": f"{result.wins} / {result.ties} / {result.losses}",
        "Cases": str(result.cases),
        "Patients": str(result.groups),
        "Seeds": " and ".join(str(count) for count in result.seeds),
        "Left out": str(verdict.left_out),
    }


def _two(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−") if math.isfinite(value) else "–"
