"""How the cases of a run spread: a strip with a box for every run, and cumulative curves."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray

from edgewise.report.drawing import GRID, INK, MARKERS, MUTED, chart, hue, line, short
from edgewise.report.methods import palette
from edgewise.report.records import RunRecord
from edgewise.report.tables import column
from edgewise.report.words import Metric

BOX = 0.22
"""Half the width of a box; runs are 1 apart."""
CROWD = 60
"""Cases from which on marks and lines are drawn lighter."""
ROOM = 4
"""Runs for whose medians there is room."""
WIDTH = 48
"""Letters for which there is room under a strip."""
FEW = 4
"""A box of so few cases says nothing that its points do not."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One run in a strip.

    Attributes:
        place: of the column; runs are 1 apart.
        values: by case.
        colour: number of the colour.
        spread: how wide the points are spread.
        numbered: there is room for the number of the median.
    """

    place: int
    values: Mapping[str, float]
    colour: int
    spread: float
    numbered: bool

    def at(self, case: str) -> float:
        """Sideways place of a case, moved equally in every run."""
        return self.place + self.spread * ((sum(case.encode()) * 0.618034) % 1 - 0.5)


def strip(records: Sequence[RunRecord], metric: Metric, label: int) -> str:
    """Values of all cases, one column a run; lines join a case with itself. Inline SVG.

    The box holds the middle half of the cases, its bar is the median.

    Args:
        records: the runs.
        metric: which metric.
        label: value of the class.

    Returns:
        SVG; `inf` is drawn as a triangle at the top and `nan` left out; empty where there is no value at all.
    """
    spread = 0.36 if len(records) == 1 else 0.16
    columns = [
        Column(
            place=index,
            values=column(record, metric.name, label),
            colour=colour,
            spread=spread,
            numbered=len(records) <= ROOM,
        )
        for index, (record, colour) in enumerate(zip(records, palette(records), strict=True))
    ]
    if not any(each.values for each in columns):
        return ""

    def paint(axes: Any) -> None:
        top = _scale(axes, columns)
        _joined(axes, columns, top)
        for each in columns:
            _points(axes, each, top)
            _box(axes, each, metric)
        _names(axes, [record.name for record in records])

    return chart(
        paint, f"strip-{metric.name}-{label}", f"{metric.title} of every case, class {label}, one column a run"
    )


def cumulative(records: Sequence[RunRecord], metric: Metric, label: int) -> str:
    """Share of the cases whose value is at most x, one curve a run. Inline SVG.

    A curve that ends below 1 belongs to a run with infinite values.
    """
    columns = [column(record, metric.name, label) for record in records]
    if not any(any(math.isfinite(value) for value in values.values()) for values in columns):
        return ""

    def paint(axes: Any) -> None:
        finite = [value for values in columns for value in values.values() if math.isfinite(value)]
        low, high = min(finite), max(finite)
        pad = 0.03 * ((high - low) or 1.0)
        for values, colour in zip(columns, palette(records), strict=True):
            ordered = sorted(value for value in values.values() if math.isfinite(value))
            shares = np.arange(1, len(ordered) + 1) / max(1, len(values))
            if ordered:
                ends = ([low - pad, *ordered, high + pad], [0.0, *shares, shares[-1]])
                axes.step(*ends, where="post", lw=1.6, **line(colour))
        axes.set_xlim(low - pad, high + pad)
        axes.set_ylim(0, 1.03)
        axes.set_xlabel(metric.title + (f" in {metric.unit}" if metric.unit else ""), parse_math=False)

    title = f"Share of the cases whose {metric.title} is at most a value, class {label}"
    return chart(paint, f"cdf-{metric.name}-{label}", title)


def _scale(axes: Any, columns: Sequence[Column]) -> float:
    """Set the axes; return where infinite values stand."""
    values = [value for each in columns for value in each.values.values()]
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    span = (high - low) or max(abs(high), 1.0) * 0.1
    top, end = high + 0.16 * span, high + 0.08 * span
    if len(finite) < len(values):
        axes.axhline(high + 0.1 * span, color=GRID, lw=0.8, ls=(0, (2, 2)))
        place = {"ha": "right", "va": "center", "transform": axes.get_yaxis_transform()}
        axes.text(-0.01, top, "\N{INFINITY}", color=MUTED, fontsize=11, **place)
    limits = (low - 0.08 * span, top + 0.06 * span if len(finite) < len(values) else end)
    axes.set_ylim(*limits)
    axes.set_yticks([tick for tick in axes.get_yticks() if (0.0 if low >= 0 else low - span) <= tick <= end])
    axes.set_ylim(*limits)
    axes.set_xlim(-0.5, len(columns) - 0.2)
    return top


def _joined(axes: Any, columns: Sequence[Column], top: float) -> None:
    """Lines between the values of one case, all as one path: it is a fifth of the size of one each."""
    points: list[tuple[float, float]] = []
    cases = sorted(set().union(*(each.values for each in columns)))
    for case in cases if len(columns) > 1 else ():
        points += [(each.at(case), min(each.values[case], top)) for each in columns if case in each.values]
        points.append((math.nan, math.nan))
    if points:
        axes.plot(
            *zip(*points, strict=True), color=MUTED, lw=0.7, alpha=0.35 if len(cases) <= CROWD else 0.18, zorder=1
        )


def _points(axes: Any, column: Column, top: float) -> None:
    finite = [(column.at(case), value) for case, value in column.values.items() if math.isfinite(value)]
    infinite = [column.at(case) for case, value in column.values.items() if math.isinf(value)]
    look = {"color": hue(column.colour), "ls": "none", "mec": "none", "zorder": 2}
    size, alpha = (4.0, 0.65) if len(column.values) <= CROWD else (2.8, 0.5)
    marker = MARKERS[column.colour % len(MARKERS)]
    axes.plot([p[0] for p in finite], [p[1] for p in finite], marker=marker, ms=size, alpha=alpha, **look)
    axes.plot(infinite, [top] * len(infinite), marker="^", ms=6, **look)


def _box(axes: Any, column: Column, metric: Metric) -> None:
    """The middle half and the median; a quantile between a finite value and an infinite one is infinite."""
    ordered = np.sort(np.array(list(column.values.values())))
    ends = [column.place - BOX, column.place + BOX]
    low, middle, high = (_between(ordered, share) for share in (0.25, 0.5, 0.75))
    if len(ordered) > FEW and math.isfinite(high):
        axes.fill_between(ends, low, high, color=hue(column.colour), alpha=0.13, lw=0, zorder=0)
    if math.isfinite(middle):
        axes.plot(ends, [middle, middle], color=hue(column.colour), lw=2.4, zorder=3)
    if math.isfinite(middle) and column.numbered:
        place = {"va": "center", "fontsize": 9, "zorder": 3, "in_layout": False, "clip_on": True}
        axes.text(ends[1] + 0.04, middle, metric.number(middle), color=INK, **place)


def _between(ordered: ndarray, share: float) -> float:
    """A quantile, interpolated between two values unless one is infinite; `nan` of none."""
    if not len(ordered):
        return math.nan
    place = share * (len(ordered) - 1)
    low, high = float(ordered[math.floor(place)]), float(ordered[math.ceil(place)])
    return high if math.isinf(high) else low + (place % 1) * (high - low)


def _names(axes: Any, names: Sequence[str]) -> None:
    """Names under the columns, slanted where they would run into each other."""
    axes.tick_params(axis="x", labelcolor=INK)
    look: dict[str, Any] = {}
    if max(len(name) for name in names) > WIDTH // len(names):
        look = {"rotation": 28, "ha": "right", "rotation_mode": "anchor", "fontsize": 8.5}
    axes.set_xticks(range(len(names)), [short(name, 20) for name in names], parse_math=False, **look)
