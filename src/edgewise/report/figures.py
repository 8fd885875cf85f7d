"""Learning curves and strip plots, as SVG that follows the page's colours, or as a PNG file."""

import io
import math
import re
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from edgewise.files import atomic
from edgewise.report.records import RunRecord
from edgewise.report.words import Metric

INK, MUTED, GRID = "#1a2333", "#5c6778", "#d9dfe7"
RUN_COLOURS = ("#0068a8", "#c8500a", "#00805a", "#a8428a", "#7a6a00", "#4a5568")
"""Dark steps of the Okabe-Ito hues, at least 4.5:1 on white; markers and dashes repeat what they say."""
MARKERS = ("o", "s", "D", "^", "v", "P")
LINES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.5, 1.5, 1.5)), "-", (0, (3, 1)))
POINTS = 240
"""Training losses of longer runs are averaged to this many points: a page has no more pixels for them."""

STYLE: Any = {
    "font.size": 9.5,
    "svg.fonttype": "none",
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
}


def loss_curves(records: Sequence[RunRecord]) -> str:
    """Training loss of every run against the step, as inline SVG; empty where no run has a loss."""
    if not any(record.journal.loss for record in records):
        return ""
    return _draw(lambda axes: _loss(axes, records), "loss", "Training loss against step")


def dice_curves(records: Sequence[RunRecord]) -> str:
    """Mean validation Dice of every run against the step, as inline SVG; empty where no run was validated.

    A single run shows its classes too, as thin lines.
    """
    if not any(record.journal.validations for record in records):
        return ""
    return _draw(lambda axes: _dice(axes, records), "dice", "Validation Dice against step")


def strip(records: Sequence[RunRecord], metric: Metric, label: int, medians: Sequence[float]) -> str:
    """Values of all cases, one column a run; lines join a case with itself. Inline SVG.

    Args:
        records: the runs, in the order of their colours.
        metric: which metric.
        label: value of the class.
        medians: one a run, drawn as a bar; `nan` for none.

    Returns:
        SVG; `inf` is drawn as a triangle at the top and `nan` left out; empty where there is no value at all.
    """
    columns = [column(record, metric.name, label) for record in records]
    if not any(columns):
        return ""

    def paint(axes: Any) -> None:
        _strip(axes, [record.name for record in records], columns)
        _medians(axes, metric, medians)

    return _draw(paint, f"strip-{metric.name}-{label}", f"{metric.title} of every case, class {label}")


def column(record: RunRecord, metric: str, label: int) -> dict[str, float]:
    """Values of one metric and class by case; without `nan`."""
    values = {
        score.case: score.values[metric] for score in record.scores if score.label == label and metric in score.values
    }
    return {case: value for case, value in values.items() if not math.isnan(value)}


def curves(records: Sequence[RunRecord], path: Path) -> None:
    """Write training loss and validation Dice of all runs side by side to a PNG file.

    Raises:
        OutputError: the file cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 3.4), layout="constrained", dpi=150)
        left, right = figure.subplots(1, 2)
        _loss(left, records)
        _dice(right, records)
        handles, names = left.get_legend_handles_labels()
        if handles:
            legend = figure.legend(handles, names, loc="outside upper center", ncols=min(3, len(names)))
            for text in legend.get_texts():
                text.set_parse_math(False)
        with atomic(path) as temporary:
            figure.savefig(temporary, format="png")


def _loss(axes: Any, records: Sequence[RunRecord]) -> None:
    for index, record in enumerate(records):
        points = np.array([point for point in record.journal.loss if math.isfinite(point[1])])
        if len(points):
            steps, values = _thinned(points)
            axes.plot(steps, values, **_line(index), lw=1.6, label=_short(record.name, 40))
    axes.set_ylabel("training loss")
    _step_axis(axes)


def _thinned(points: Any) -> tuple[Any, Any]:
    groups = np.array_split(points, min(POINTS, len(points)))
    mean = np.array([group.mean(0) for group in groups])
    return mean[:, 0], mean[:, 1]


def _dice(axes: Any, records: Sequence[RunRecord]) -> None:
    for index, record in enumerate(records):
        validations = record.journal.validations
        steps = [validation.step for validation in validations]
        if len(records) == 1:
            _classes(axes, record)
        axes.plot(steps, [v.mean for v in validations], **_line(index), lw=1.8, marker=MARKERS[index % 6], ms=3.5)
        best = [v for v in validations if v.step == record.journal.best_step]
        for v in best[:1]:
            axes.plot([v.step], [v.mean], "o", ms=9, mfc="none", mec=_colour(index), mew=1.4)
    axes.set_ylabel("mean foreground Dice")
    _step_axis(axes)


def _classes(axes: Any, record: RunRecord) -> None:
    labels = sorted({label for validation in record.journal.validations for label in validation.dice})
    for order, label in enumerate(labels if len(labels) > 1 else []):
        pairs = [(v.step, v.dice[label]) for v in record.journal.validations if label in v.dice]
        steps, values = zip(*pairs, strict=True)
        axes.plot(steps, values, color=MUTED, lw=0.9, ls=LINES[(order + 1) % len(LINES)])
        name = record.classes[label] if label < len(record.classes) else f"class {label}"
        place = {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "fontsize": 8}
        axes.annotate(_short(name, 14), (steps[-1], values[-1]), color=MUTED, parse_math=False, **place)


def _step_axis(axes: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.margins(x=0.02)


def _strip(axes: Any, names: Sequence[str], columns: Sequence[dict[str, float]]) -> None:
    finite = [value for column in columns for value in column.values() if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    span = (high - low) or max(abs(high), 1.0) * 0.1
    top = high + 0.16 * span
    infinite = any(math.isinf(value) for column in columns for value in column.values())
    places = [_places(column, index, len(columns)) for index, column in enumerate(columns)]
    for case in sorted(set().union(*columns)):
        line = [(places[i][case], min(c[case], top)) for i, c in enumerate(columns) if case in c]
        axes.plot(*zip(*line, strict=True), color=MUTED, lw=0.7, alpha=0.35, zorder=1)
    for index, column in enumerate(columns):
        _points(axes, index, [(places[index][case], value) for case, value in column.items()], top)
    if infinite:
        axes.axhline(high + 0.1 * span, color=GRID, lw=0.8, ls=(0, (2, 2)))
        place = {"ha": "right", "va": "center", "transform": axes.get_yaxis_transform()}
        axes.text(-0.01, top, "\N{INFINITY}", color=MUTED, fontsize=11, **place)
    ends = (0.0 if low >= 0 else low - span, high + 0.08 * span)
    axes.set_yticks([tick for tick in axes.get_yticks() if ends[0] <= tick <= ends[1]])
    axes.set_ylim(low - 0.08 * span, top + 0.06 * span if infinite else ends[1])
    axes.set_xlim(-0.5, len(columns) - 0.2)
    axes.set_xticks(range(len(names)), [_short(name, 44 // len(names)) for name in names], parse_math=False)
    axes.tick_params(axis="x", labelcolor=INK)


def _places(column: dict[str, float], index: int, count: int) -> dict[str, float]:
    """Where the cases stand along x: spread in a single column, above each other in several."""
    width = 0.3 if count == 1 else 0.0
    return {case: index + width * ((i * 0.618034) % 1 - 0.5) for i, case in enumerate(sorted(column))}


def _points(axes: Any, index: int, points: Sequence[tuple[float, float]], top: float) -> None:
    finite = [point for point in points if math.isfinite(point[1])]
    infinite = [place for place, value in points if math.isinf(value)]
    look = {"color": _colour(index), "ls": "none", "mec": "none", "zorder": 2}
    axes.plot([p[0] for p in finite], [p[1] for p in finite], marker=MARKERS[index % 6], ms=4, alpha=0.7, **look)
    axes.plot(infinite, [top] * len(infinite), marker="^", ms=6, **look)


def _medians(axes: Any, metric: Metric, medians: Sequence[float]) -> None:
    for index, middle in enumerate(medians):
        if math.isfinite(middle):
            axes.plot([index - 0.2, index + 0.2], [middle, middle], color=_colour(index), lw=2.4, zorder=3)
            place = {"va": "center", "fontsize": 9, "zorder": 3, "in_layout": False, "clip_on": True}
            axes.text(index + 0.24, middle, metric.number(middle), color=INK, **place)


def _line(index: int) -> dict[str, Any]:
    return {"color": _colour(index), "ls": LINES[index % len(LINES)]}


def _colour(index: int) -> str:
    return RUN_COLOURS[index % len(RUN_COLOURS)]


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: max(1, length - 1)] + "\N{HORIZONTAL ELLIPSIS}"


def _draw(paint: Any, key: str, title: str) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    buffer = io.StringIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": key}):
        figure = Figure(figsize=(4.8, 2.9), layout="constrained")
        paint(figure.subplots())
        figure.patch.set_visible(False)
        for axes in figure.axes:
            axes.patch.set_visible(False)
            axes.set_ylabel("")
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return _inline(buffer.getvalue(), re.sub(r"[^\w-]", "-", key), title)


def _inline(svg: str, key: str, title: str) -> str:
    """An SVG file as part of a page: unique ids, the page's fonts, and its variables as colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{key}-', svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{key}-", svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    for colour, variable in _variables():
        svg = svg.replace(colour, f"var({variable})")
    box = re.search(r'viewBox="([^"]*)"', svg)
    opening = f'<svg class="chart" role="img" aria-label="{escape(title)}" viewBox="{box[1] if box else ""}">'
    return re.sub(r"<svg[^>]*>", lambda _: opening, svg, count=1)


def _variables() -> Iterator[tuple[str, str]]:
    yield from ((INK, "--ink"), (MUTED, "--muted"), (GRID, "--grid"))
    yield from ((colour, f"--run-{index}") for index, colour in enumerate(RUN_COLOURS))
