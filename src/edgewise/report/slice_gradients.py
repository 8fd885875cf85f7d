"""Negative components of the gradient on a slice, at several moments of a training, as a figure."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from edgewise.compare.gradients import pattern
from edgewise.report.drawing import INK, MUTED, picture_files, short
from edgewise.report.panels import window
from edgewise.report.simplex import pattern_colours, swatches
from edgewise.types import Field, Labels

CLASS_COLOURS = ("#56b4e9", "#f0e442", "#d55e00", "#cc79a7", "#009e73", "#0072b2")
"""Of the foreground classes, over a grey image; they repeat after six."""
OPAQUE = 0.55


@dataclass(frozen=True, kw_only=True, eq=False)
class Moment:
    """A slice as the network saw it at one moment.

    Attributes:
        title: such as "step 300".
        prediction: (rows, columns) the most probable class.
        negative: (C, rows, columns) bool, which components are negative, for each loss.
    """

    title: str
    prediction: Labels
    negative: tuple[ndarray, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class SliceView:
    """A slice with everything that is drawn; all arrays share one grid, rows from the top down.

    Attributes:
        title: which case and slice.
        image: (rows, columns), one channel.
        reference: (rows, columns) labels.
        classes: names; the index is the label.
        aspect: height of a pixel over its width.
        losses: titles.
        moments: in the order of the training.
    """

    title: str
    image: Field
    reference: Labels
    classes: tuple[str, ...]
    aspect: float
    losses: tuple[str, ...]
    moments: tuple[Moment, ...]


def slices(stem: Path, view: SliceView) -> None:
    """Write image and reference, the predictions, and below them which components are negative, a row a loss.

    Raises:
        OutputError: a file cannot be written.
    """
    rows, columns = 1 + len(view.losses), 1 + len(view.moments)
    height, width = view.reference.shape

    def paint(figure: Any) -> None:
        axes = figure.subplots(rows, columns, squeeze=False)
        _image(axes[0, 0], view, view.reference, "image and reference")
        for place, moment in zip(axes[0, 1:], view.moments, strict=True):
            _image(place, view, moment.prediction, f"prediction, {moment.title}")
        for number, title in enumerate(view.losses):
            _words(axes[number + 1, 0], title)
            for place, moment in zip(axes[number + 1, 1:], view.moments, strict=True):
                _patterns(place, view, moment, number)
        _classes(axes[1, 0], view)
        figure.suptitle(view.title, fontsize=9.5, color=MUTED, parse_math=False)
        found = {
            int(p) for each in view.moments for one in each.negative for p in np.unique(pattern(one, view.reference))
        }
        legend = figure.legend(handles=swatches(sorted(found)), loc="outside lower center", ncols=3, fontsize=9)
        legend.set_title("negative components of the gradient:", prop={"size": 9.5})

    side = 2.35
    picture_files(stem, (side * columns, side * height * view.aspect / width * rows + 0.3 * rows + 0.8), paint)


def _image(axes: Any, view: SliceView, labels: Labels, title: str) -> None:
    low, high = window(view.image)
    axes.imshow(view.image, cmap="gray", vmin=low, vmax=high, aspect=view.aspect, interpolation="nearest")
    axes.imshow(_coloured(labels), aspect=view.aspect, interpolation="nearest")
    axes.set_title(title, fontsize=9.5, color=INK)
    axes.set_axis_off()


def _coloured(labels: Labels) -> ndarray:
    """(rows, columns, 4) in [0, 1]; the background is transparent."""
    from matplotlib.colors import to_rgba

    table = [(0.0, 0.0, 0.0, 0.0)]
    table += [to_rgba(_class_colour(label), OPAQUE) for label in range(1, int(labels.max(initial=0)) + 1)]
    result: ndarray = np.array(table)[labels]
    return result


def _class_colour(label: int) -> str:
    return CLASS_COLOURS[(label - 1) % len(CLASS_COLOURS)]


def _patterns(axes: Any, view: SliceView, moment: Moment, number: int) -> None:
    colours, norm = pattern_colours()
    found = moment.negative[number]
    shown = pattern(found, view.reference)
    axes.imshow(shown, cmap=colours, norm=norm, aspect=view.aspect, interpolation="nearest")
    for label in range(1, len(view.classes)):
        if (view.reference == label).any():
            axes.contour(view.reference == label, levels=[0.5], colors=INK, linewidths=0.7)
    share = (found.sum(0) > 1).mean()
    axes.set_title(f"{moment.title}: several negative {100 * share:.1f} %", fontsize=9, color=INK)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, color=MUTED, linewidth=0.6)


def _words(axes: Any, title: str) -> None:
    """Which loss."""
    axes.set_axis_off()
    lines: Any = {"transform": axes.transAxes, "va": "top"}
    axes.text(0, 0.99, "gradient of", fontsize=9, color=MUTED, **lines)
    axes.text(0, 0.90, short(title, 60).replace(" (", "\n("), color=INK, parse_math=False, linespacing=1.3, **lines)


def _classes(axes: Any, view: SliceView) -> None:
    """The colours of the classes."""
    from matplotlib.patches import Patch

    handles = [
        Patch(facecolor=_class_colour(label), alpha=OPAQUE, label=short(name, 22))
        for label, name in enumerate(view.classes)
        if label
    ]
    legend = axes.legend(handles=handles, loc="lower left", fontsize=8.5, borderpad=0, title="reference, prediction")
    legend.get_title().set(fontsize=8.5, color=MUTED)
    for text in legend.get_texts():
        text.set_parse_math(False)
