"""What was found by the size of the lesion."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgewise.metrics.lesion_table import LesionRow, SizeBin, by_size
from edgewise.report.drawing import MARKERS, chart, hue
from edgewise.report.methods import palette
from edgewise.report.records import RunRecord


@dataclass(frozen=True, kw_only=True)
class SizeTable:
    """The lesions of one class by size.

    Attributes:
        label: value of the class.
        class_name: its name.
        bins: names of the sizes, small to large.
        lines: (number of the run, its bins).
    """

    label: int
    class_name: str
    bins: tuple[str, ...]
    lines: tuple[tuple[int, tuple[SizeBin, ...]], ...]


def size_tables(records: Sequence[RunRecord]) -> list[SizeTable]:
    """One table for each class in which a run has a lesion; sizes that no run has are left out."""
    labels = sorted({row.class_index for record in records for row in record.lesions})
    tables = []
    for label in labels:
        rows = {index: _rows(record, label) for index, record in enumerate(records)}
        lines = {index: by_size(found) for index, found in rows.items() if found}
        kept = [
            place
            for place in range(len(next(iter(lines.values()))))
            if any(line[place].references or line[place].predictions for line in lines.values())
        ]
        tables.append(
            SizeTable(
                label=label,
                class_name=next(iter(row.class_name for found in rows.values() for row in found)),
                bins=tuple(next(iter(lines.values()))[place].name for place in kept),
                lines=tuple((index, tuple(line[place] for place in kept)) for index, line in lines.items()),
            )
        )
    return tables


def _rows(record: RunRecord, label: int) -> list[LesionRow]:
    return [row for row in record.lesions if row.class_index == label]


def recall_by_size(records: Sequence[RunRecord], table: SizeTable) -> str:
    """Share of the lesions found against their size, with intervals, as inline SVG; empty without lesions."""
    if not any(each.references for _, line in table.lines for each in line):
        return ""
    colours = palette(records)

    def paint(axes: Any) -> None:
        step = 0.7 / max(2, len(table.lines))
        for order, (index, line) in enumerate(table.lines):
            shift = step * (order - (len(table.lines) - 1) / 2)
            found = [(place + shift, each) for place, each in enumerate(line) if each.references]
            ends = [(x, y) for x, each in found for y in (each.recall_low, each.recall_high, math.nan)]
            marks = [(x, each.recall) for x, each in found]
            if found:
                axes.plot(*zip(*ends, strict=True), color=hue(colours[index]), lw=1.6, alpha=0.75)
                marker = MARKERS[colours[index] % len(MARKERS)]
                axes.plot(*zip(*marks, strict=True), color=hue(colours[index]), ls="none", marker=marker, ms=6)
        axes.set_xticks(range(len(table.bins)), table.bins)
        axes.set_xlim(-0.6, len(table.bins) - 0.4)
        axes.set_ylim(-0.03, 1.03)

    title = f"Share of the lesions of class {table.label} that were found, against their diameter"
    return chart(paint, f"sizes-{table.label}", title)
