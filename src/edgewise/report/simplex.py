"""The gradients of losses over the simplex of three classes, as figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from edgewise.compare.gradients import PATTERNS, Field, negative, pattern
from edgewise.compare.simplex import cells, corners
from edgewise.report.drawing import INK, MUTED, hue, line, picture_files

PATTERN_COLOURS = ("#c3cbd6", "#f4f1e8", "#0068a8", "#e69f00", "#7a2d00")
"""Of the patterns: grey, cream for what is right, blue, orange, brown: apart in lightness too."""
COLUMNS = 3
ARROWS = 9
"""Rows of arrows over a simplex."""
HEIGHT = 3**0.5 / 2
FINE = 4
"""Triangles that are drawn along each that was asked about."""
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """One loss in the figures.

    Attributes:
        title: of the loss.
        area: its gradient at the middles of all triangles.
        rise: its gradient where the true class's probability rises, and the others share the rest equally.
        resolution: of the triangles.
    """

    title: str
    area: Field
    rise: Field
    resolution: int


def fields(stem: Path, drawn: Sequence[Drawn]) -> None:
    """Write the gradient of each loss at every point of the simplex: which components are negative, and arrows.

    An arrow is the gradient's opposite, what a step of descent adds to the logits, in the plane of the simplex: its sum
    is 0, so that nothing is lost. Lengths are the square root of the share of the longest.

    Raises:
        OutputError: a file cannot be written.
    """
    rows, columns = _grid(len(drawn))

    def paint(figure: Any) -> None:
        axes = figure.subplots(rows, columns, squeeze=False)
        for place, each in zip(axes.flat, drawn, strict=False):
            _patterns(place, each)
            _arrows(place, each.area)
        for place in axes.flat[len(drawn) :]:
            place.set_axis_off()
        found = sorted({int(p) for each in drawn for p in np.unique(_pattern(each.area))} | {1})
        _legend(figure, found)

    picture_files(stem, (max(3.1 * columns, 5.0), 3.75 * rows + 0.6), paint)


def true_class(stem: Path, drawn: Sequence[Drawn]) -> None:
    """Write the gradient with respect to the true class's logit, over the simplex and where its probability rises.

    Each loss is divided by the largest size that this component has on the simplex: only shapes can be compared.

    Raises:
        OutputError: a file cannot be written.
    """
    rows, columns = _grid(len(drawn))
    top = 1.0 if any(_scaled(each.area, each).max() > 1e-6 for each in drawn) else 0.0

    def paint(figure: Any) -> None:
        left, right = figure.subfigures(1, 2, width_ratios=(2.9 * columns, 3.4))
        axes = left.subplots(rows, columns, squeeze=False)
        pictures = [_height(place, each, top) for place, each in zip(axes.flat, drawn, strict=False)]
        for place in axes.flat[len(drawn) :]:
            place.set_axis_off()
        bar = left.colorbar(pictures[0], ax=list(axes.flat), location="bottom", fraction=0.06, aspect=35, pad=0.01)
        bar.set_label("component of the true class, as a share of its largest size", color=INK)
        bar.outline.set_visible(False)
        _rises(right.subplots(), drawn)

    picture_files(stem, (2.9 * columns + 3.4, 3.1 * rows + 0.75), paint)


def _grid(count: int) -> tuple[int, int]:
    """Rows and columns, the last row as full as can be."""
    rows = -(-count // COLUMNS)
    return rows, -(-count // rows)


def rise(true: int, points: int = 60) -> ndarray:
    """(3, points) probabilities: the true class's rises from nearly 0 to nearly 1, the others share the rest."""
    own = (np.arange(points) + 0.5) / points
    p = np.tile((1 - own) / 2, (3, 1))
    p[true] = own
    return p


def pattern_colours() -> Any:
    """A colour map of the numbers of the patterns, and its norm."""
    from matplotlib.colors import BoundaryNorm, ListedColormap

    return ListedColormap(PATTERN_COLOURS), BoundaryNorm(np.arange(len(PATTERNS) + 1) - 0.5, len(PATTERNS))


def swatches(found: Sequence[int]) -> list[Any]:
    """Legend entries of patterns."""
    from matplotlib.patches import Patch

    return [Patch(facecolor=PATTERN_COLOURS[p], edgecolor=MUTED, lw=0.6, label=PATTERNS[p]) for p in found]


def _pattern(area: Field) -> ndarray:
    return pattern(area.negative, np.full(area.p.shape[1], area.true))


def _flat(p: ndarray, true: int) -> ndarray:
    """(3, n) probabilities, or directions, as (n, 2) places: the true class on top."""
    places = np.empty((3, 2))
    first, second = (k for k in range(3) if k != true)
    places[first], places[second], places[true] = (0, 0), (1, 0), (0.5, HEIGHT)
    flat: ndarray = p.T @ places
    return flat


def _smooth(each: Drawn) -> ndarray:
    """The pattern at the middles of finer triangles, of the gradient between those it was taken at.

    Shares are those of the triangles it was taken at; this is for the eye.
    """
    from scipy.interpolate import griddata

    known, asked = each.area.p[:2].T, cells(FINE * each.resolution)[:2].T
    between = griddata(known, each.area.gradient.T, asked)
    nearest = griddata(known, each.area.gradient.T, asked, method="nearest")
    gradient = np.where(np.isnan(between), nearest, between).T
    return pattern(negative(gradient), np.full(len(asked), each.area.true))


def _triangles(axes: Any, true: int, resolution: int, values: ndarray, **colours: Any) -> Any:
    """One colour for each triangle, as a picture within a vector figure."""
    from matplotlib.collections import PolyCollection

    shapes = [_flat(triangle.T, true) for triangle in corners(resolution)]
    patches = PolyCollection(shapes, array=values, edgecolors="face", linewidths=0.4, rasterized=True, **colours)
    axes.add_collection(patches)
    _frame(axes, true)
    return patches


def _frame(axes: Any, true: int) -> None:
    edge = _flat(np.eye(3), true)[[0, 1, 2, 0]]
    axes.plot(*edge.T, color=INK, lw=1.0, solid_joinstyle="round")
    for k, (x, y) in enumerate(_flat(np.eye(3), true)):
        name = f"class {k}, the true one" if k == true else f"class {k}"
        up = k == true
        axes.text(
            x, y + (0.03 if up else -0.03), name, ha="center", va="bottom" if up else "top", color=INK, fontsize=9
        )
    axes.set(xlim=(-0.09, 1.09), ylim=(-0.14, HEIGHT + 0.1), aspect="equal")
    axes.set_axis_off()


def _title(axes: Any, text: str) -> None:
    """Inside the axes, whose shape the layout then knows."""
    lines = text.count("\n") + 1
    axes.set_ylim(top=HEIGHT + 0.15 + 0.06 * lines)
    axes.text(0.5, HEIGHT + 0.13, text, ha="center", va="bottom", fontsize=9.5, color=INK, parse_math=False)


def _patterns(axes: Any, each: Drawn) -> None:
    colours, norm = pattern_colours()
    _triangles(axes, each.area.true, FINE * each.resolution, _smooth(each), cmap=colours, norm=norm)
    values = f"map ({', '.join(f'{value:.3g}' for value in each.area.values)})" if each.area.values else "no map"
    values = values.replace("-", MINUS)
    _title(axes, f"{each.title}\n{values}")
    share = f"several negative: {100 * each.area.several:.1f} %"
    right = f"as it should be: {100 * each.area.right:.1f} %"
    axes.set_ylim(bottom=-0.27)
    axes.text(0.5, -0.13, f"{share}\n{right}", ha="center", va="top", fontsize=9, color=INK, linespacing=1.3)


def _arrows(axes: Any, area: Field) -> None:
    wanted = cells(ARROWS)
    near = np.array([np.abs(area.p - point[:, None]).sum(0).argmin() for point in wanted.T])
    step = -_flat(area.gradient[:, near], area.true)
    length = np.hypot(*step.T)
    longest = length.max()
    if not longest > 0:
        return
    scaled = step / np.maximum(length, 1e-300)[:, None] * np.sqrt(length / longest)[:, None] * 0.85 / ARROWS
    style: Any = {"angles": "xy", "scale_units": "xy", "scale": 1, "pivot": "mid", "width": 0.0055}
    axes.quiver(*_flat(area.p[:, near], area.true).T, *scaled.T, color=INK, headwidth=4.2, headlength=4.5, **style)


def _legend(figure: Any, found: Sequence[int]) -> None:
    title = "negative components of the gradient:"
    legend = figure.legend(
        handles=swatches(found), loc="outside lower center", ncols=min(3, len(found)), title=title, fontsize=9
    )
    legend.get_title().set_color(MUTED)


def _scaled(found: Field, each: Drawn) -> ndarray:
    """The true class's component as a share of its largest size."""
    largest = np.abs(each.area.gradient[each.area.true]).max()
    shares: ndarray = found.gradient[found.true] / (largest if largest > 0 else 1.0)
    return shares


def _height(axes: Any, each: Drawn, top: float) -> Any:
    values = _scaled(each.area, each)
    picture = _triangles(
        axes, each.area.true, each.resolution, values, cmap="PuOr" if top else "viridis", clim=(-1, top)
    )
    x, y = _flat(each.area.p, each.area.true).T
    if np.ptp(values) > 0:
        levels = [level / 10 for level in range(-8, round(10 * top) + 1, 2)]
        axes.tricontour(x, y, values, levels=levels, colors="#ffffff" if not top else INK, linewidths=0.6, alpha=0.7)
    _title(axes, each.title)
    return picture


def _rises(axes: Any, drawn: Sequence[Drawn]) -> None:
    for number, each in enumerate(drawn):
        own = each.rise.p[each.rise.true]
        (curve,) = axes.plot(own, _scaled(each.rise, each), lw=1.8, label=each.title, **line(number))
        curve.set_color(hue(number))
    axes.axhline(0, color=MUTED, lw=0.8)
    axes.set_xlabel("probability of the true class")
    axes.set_title("both wrong classes equally probable", fontsize=9.5, color=INK)
    legend = axes.figure.legend(loc="outside lower center", fontsize=8.5)
    for text in legend.get_texts():
        text.set_parse_math(False)
