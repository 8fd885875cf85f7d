"""Learning curves, as SVG for a page or as a PNG file."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgewise.compare.convergence import band, distribution
from edgewise.errors import DataError
from edgewise.files import atomic
from edgewise.report.drawing import LINES, MARKERS, MUTED, STYLE, chart, hue, line, short
from edgewise.report.methods import Method, methods, palette
from edgewise.report.records import RunRecord

POINTS = 240
"""Training losses of longer runs are averaged to this many points: a page has no more pixels for them."""
ENOUGH = 3
"""Runs of one method from which on the distribution of what they reach is drawn."""


def loss_curves(records: Sequence[RunRecord]) -> str:
    """Training loss of every run against the step, as inline SVG; empty where no run has a loss."""
    if not any(record.journal.loss for record in records):
        return ""
    return chart(lambda axes: _loss(axes, records), "loss", "Training loss against step")


def dice_curves(records: Sequence[RunRecord]) -> str:
    """Mean validation Dice against the step, as inline SVG; empty where no run was validated.

    A single run shows its classes too, as thin lines; seeds of one method show their mean, and from the lowest to
    the highest of them a band.
    """
    if not any(record.journal.validations for record in records):
        return ""
    return chart(lambda axes: _dice(axes, records), "dice", "Validation Dice against step")


def convergence(records: Sequence[RunRecord]) -> str:
    """F(d), the share of a method's runs whose Dice is at most d, as inline SVG; empty without three runs of one."""
    known = {number: values for number, values in reached(records).items() if len(values) >= ENOUGH}

    def paint(axes: Any) -> None:
        for number, values in known.items():
            found = distribution(values)
            levels, shares = [0.0, *found.levels, 1.0], [0.0, *found.shares, 1.0]
            axes.step(levels, shares, where="post", lw=1.8, **line(number))
        axes.set_xlabel("mean foreground Dice")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.03)

    return chart(paint, "convergence", "Share of runs whose Dice is at most a level") if known else ""


def reached(records: Sequence[RunRecord]) -> dict[int, list[float]]:
    """What the runs of every method reached, by the number of the method; without runs that have no Dice."""
    return {
        number: [value for run in method.runs if 0 <= (value := reach(records[run])) <= 1]
        for number, method in enumerate(methods(records))
    }


def reach(record: RunRecord) -> float:
    """What a run reached: the mean Dice of its evaluation, else of its best validation; `nan` where it has neither."""
    mean = record.summary.get("mean_dice")
    if isinstance(mean, int | float):
        return float(mean)
    return max((v.mean for v in record.journal.validations if math.isfinite(v.mean)), default=math.nan)


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
    colours = palette(records)
    for index, record in enumerate(records):
        points = np.array([point for point in record.journal.loss if math.isfinite(point[1])])
        if len(points):
            steps, values = _thinned(points)
            width = 1.6 if colours.count(colours[index]) == 1 else 1.0
            axes.plot(steps, values, **line(colours[index]), lw=width, label=short(record.name, 40))
    axes.set_ylabel("training loss")
    _step_axis(axes)


def _thinned(points: Any) -> tuple[Any, Any]:
    groups = np.array_split(points, min(POINTS, len(points)))
    mean = np.array([group.mean(0) for group in groups])
    return mean[:, 0], mean[:, 1]


def _dice(axes: Any, records: Sequence[RunRecord]) -> None:
    if len(records) == 1:
        _classes(axes, records[0])
    for number, method in enumerate(methods(records)):
        if not _banded(axes, records, method, number):
            for index in method.runs:
                _validations(axes, records[index], number)
    axes.set_ylabel("mean foreground Dice")
    _step_axis(axes)


def _validations(axes: Any, record: RunRecord, number: int) -> None:
    validations = record.journal.validations
    steps = [validation.step for validation in validations]
    marker = MARKERS[number % len(MARKERS)]
    axes.plot(steps, [v.mean for v in validations], **line(number), lw=1.8, marker=marker, ms=3.5)
    for best in [v for v in validations if v.step == record.journal.best_step][:1]:
        axes.plot([best.step], [best.mean], "o", ms=9, mfc="none", mec=hue(number), mew=1.4)


def _banded(axes: Any, records: Sequence[RunRecord], method: Method, number: int) -> bool:
    """Draw the seeds of a method together, where they have steps in common."""
    seeds = [[(v.step, v.mean) for v in records[run].journal.validations] for run in method.runs]
    if len([seed for seed in seeds if seed]) < 2:
        return False
    try:
        found = band([seed for seed in seeds if seed])
    except DataError:
        return False
    axes.fill_between(found.steps, found.lowest, found.highest, color=hue(number), alpha=0.14, lw=0)
    axes.plot(found.steps, found.mean, **line(number), lw=2.0)
    return True


def _classes(axes: Any, record: RunRecord) -> None:
    labels = sorted({label for validation in record.journal.validations for label in validation.dice})
    for order, label in enumerate(labels if len(labels) > 1 else []):
        pairs = [(v.step, v.dice[label]) for v in record.journal.validations if label in v.dice]
        steps, values = zip(*pairs, strict=True)
        axes.plot(steps, values, color=MUTED, lw=0.9, ls=LINES[(order + 1) % len(LINES)])
        name = record.classes[label] if label < len(record.classes) else f"class {label}"
        place = {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "fontsize": 8}
        axes.annotate(short(name, 14), (steps[-1], values[-1]), color=MUTED, parse_math=False, **place)


def _step_axis(axes: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.margins(x=0.02)
