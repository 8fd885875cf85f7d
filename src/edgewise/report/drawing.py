"""Matplotlib figures as SVG that follows the page: its fonts, its colours, light or dark."""

import io
import re
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any

from edgewise.files import atomic

INK, MUTED, GRID = "#1a2333", "#5c6778", "#d9dfe7"
RUN_COLOURS = ("#0068a8", "#c04a05", "#00805a", "#a8428a", "#7a6a00", "#4a5568")
"""Dark steps of the Okabe-Ito hues, at least 4.5:1 on white; markers and dashes repeat what they say."""
MARKERS = ("o", "s", "D", "^", "v", "P")
LINES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.5, 1.5, 1.5)), (0, (9, 2)), (0, (3, 1)))

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


def chart(paint: Callable[[Any], None], key: str, title: str) -> str:
    """A figure of one panel as inline SVG.

    Args:
        paint: draws into the axes it is given.
        key: unique within a page; the ids of the SVG begin with it.
        title: what the figure shows, for those who cannot see it.
    """
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


def picture_files(stem: Path, size: tuple[float, float], paint: Callable[[Any], None]) -> tuple[Path, Path]:
    """Write a figure as STEM.png and STEM.svg; return their paths.

    Args:
        stem: path without a suffix; dots in its name are kept.
        size: width and height in inches.
        paint: draws into the figure it is given.

    Raises:
        OutputError: a file cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    paths = stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.svg")
    with mpl.rc_context({**STYLE, "svg.hashsalt": stem.name}):
        figure = Figure(figsize=size, layout="constrained", dpi=150)
        paint(figure)
        for path in paths:
            dates = {"Date": None} if path.suffix == ".svg" else {}
            with atomic(path) as temporary:
                figure.savefig(temporary, format=path.suffix[1:], metadata=dates)
    return paths


def _inline(svg: str, key: str, title: str) -> str:
    """An SVG file as part of a page: unique ids, the page's fonts, its variables as colours, and half the size."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->\n?|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{key}-', svg).replace("xlink:href", "href")
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{key}-", svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    svg = re.sub(r'\b(?:d|x|y)="[^"]*"', lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), svg)
    svg = re.sub(r"<g ([^>]*)>((?:\s*<use [^>]*/>){2,})\s*</g>", _one_style, svg)
    svg = re.sub(r"\n\s*", "\n", svg)
    for colour, variable in _variables():
        svg = svg.replace(colour, f"var({variable})")
    box = re.search(r'viewBox="([^"]*)"', svg)
    opening = f'<svg class="chart" role="img" aria-label="{escape(title)}" viewBox="{box[1] if box else ""}">'
    return re.sub(r"<svg[^>]*>", lambda _: opening, svg, count=1)


def _one_style(found: re.Match[str]) -> str:
    """A group of marks that says their style once, where all have one."""
    styles = set(re.findall(r'style="([^"]*)"', found[2]))
    if len(styles) != 1:
        return found[0]
    marks = re.sub(r' style="[^"]*"', "", found[2])
    return f'<g {found[1]} style="{styles.pop()}">{marks}\n</g>'


def _variables() -> Iterator[tuple[str, str]]:
    yield from ((INK, "--ink"), (MUTED, "--muted"), (GRID, "--grid"))
    yield from ((colour, f"--run-{index}") for index, colour in enumerate(RUN_COLOURS))


def line(colour: int) -> dict[str, Any]:
    """Colour and dashes of a run, by the number of its colour."""
    return {"color": hue(colour), "ls": LINES[colour % len(LINES)]}


def hue(colour: int) -> str:
    """Colour of a run, by its number."""
    return RUN_COLOURS[colour % len(RUN_COLOURS)]


def short(text: str, length: int) -> str:
    """The text, cut to a length."""
    return text if len(text) <= length else text[: max(1, length - 1)] + "\N{HORIZONTAL ELLIPSIS}"
