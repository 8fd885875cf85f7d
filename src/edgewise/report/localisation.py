"""How well two-stage runs located the objects: their numbers, and what they missed."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from edgewise.detection.boxes import Box
from edgewise.metrics.located_table import LocatedRow, located_summary
from edgewise.report.panels import PLANES
from edgewise.report.records import RunRecord

CUT = 0.95
"""An object of which less than this share lies in the regions is listed."""
MOST = 20
"""Entries of a list; the others are counted."""
ALL = "all kinds"


@dataclass(frozen=True, kw_only=True)
class LocatedLine:
    """The numbers of one kind of object in one run.

    Attributes:
        kind: its name, or `ALL`.
        run: number of the run.
        objects: how many the reference has.
        mean_iou: of the boxes; `nan` without objects, as the two shares below.
        recall: share of the objects with a box of IoU 0.5 or more.
        contained: mean share of an object that lies in the regions.
        missed: objects without a region.
        false_regions: regions without an object.
    """

    kind: str
    run: int
    objects: int
    mean_iou: float
    recall: float
    contained: float
    missed: int
    false_regions: int


@dataclass(frozen=True, kw_only=True)
class Listed:
    """Places worth a look.

    Attributes:
        title: what they have in common.
        entries: one a place, the worst first.
        more: how many are not among the entries.
    """

    title: str
    entries: tuple[str, ...]
    more: int

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.entries) + self.more


def lines(records: Sequence[RunRecord]) -> list[LocatedLine]:
    """The table: kind by kind, one line a run; first all kinds together, where there are several."""
    kinds = list(dict.fromkeys(row.kind for record in records for row in record.located))
    found = []
    for kind in [ALL, *kinds] if len(kinds) > 1 else kinds:
        for index, record in enumerate(records):
            rows = [row for row in record.located if kind in {ALL, row.kind}]
            if rows:
                found.append(LocatedLine(kind=kind, run=index, **located_summary(rows)))
    return found


def lists(record: RunRecord) -> list[Listed]:
    """Missed objects (the largest first), objects that the regions cut (the worst first), and false regions."""
    rows = record.located
    missed = [row for row in rows if row.missed]
    cut = [row for row in rows if row.object and row.box and row.contained < CUT]
    found = [
        _listed("Missed", record, sorted(missed, key=_size, reverse=True), _of_missed),
        _listed(
            f"Less than {CUT:.0%} inside the regions".replace("%", " %"),
            record,
            sorted(cut, key=lambda row: row.contained),
            _of_cut,
        ),
        _listed("False regions", record, sorted((row for row in rows if row.false), key=_doubt), _of_false),
    ]
    return [each for each in found if each.entries]


def _listed(title: str, record: RunRecord, rows: Sequence[LocatedRow], say: Callable[[LocatedRow], str]) -> Listed:
    texts = ((f"{row.case}, {place(record, row)}, {row.kind}, {_extent(record, row)}", say(row)) for row in rows[:MOST])
    entries = tuple(": ".join(filter(None, parts)) for parts in texts)
    return Listed(title=title, entries=entries, more=max(0, len(rows) - MOST))


def _of_missed(row: LocatedRow) -> str:
    return f"{percent(row.contained)} of it in other regions" if row.contained > 0 else ""


def _of_cut(row: LocatedRow) -> str:
    return f"{percent(row.contained)} inside"


def _of_false(row: LocatedRow) -> str:
    return f"score {row.score:.2f}"


def percent(share: float) -> str:
    """A share in per cent, rounded down: all of an object is 100 %, and almost all is not."""
    return f"{math.floor(100 * share + 1e-4)} %" if math.isfinite(share) else "–"


def place(record: RunRecord, row: LocatedRow) -> str:
    """Where a row is in its image: the slice, or the voxel in its middle (x, y, z), counted from 0."""
    box = row.object or row.box
    if row.slice < 0:
        return "voxel " + ", ".join(str(middle(box, axis)) for axis in range(3))
    axis = slice_axis(record, row)
    return f"{PLANES[axis]} slice {middle(box, axis)}"


def slice_axis(record: RunRecord, row: LocatedRow) -> int:
    """Across which axis (x, y, z = 0, 1, 2) the slices lie that a 2D run saw: the plan says it, or the flat box."""
    said = [decision.value[:1] for decision in record.plan if decision.name == "axes"]
    if said and said[0] in {"0", "1", "2"}:
        return int(said[0])
    box = row.object or row.box
    return min(range(3), key=lambda axis: box[axis + 3] - box[axis])


def middle(box: Box, axis: int) -> int:
    """The voxel in the middle of a box; the lower one of two."""
    return math.ceil((box[axis] + box[axis + 3]) / 2 - 0.5)


def _size(row: LocatedRow) -> float:
    box = row.object or row.box
    return math.prod(box[axis + 3] - box[axis] for axis in range(3))


def _doubt(row: LocatedRow) -> float:
    return -row.score if math.isfinite(row.score) else 0.0


def _extent(record: RunRecord, row: LocatedRow) -> str:
    box, flat = row.object or row.box, slice_axis(record, row) if row.slice >= 0 else -1
    return " × ".join(f"{box[axis + 3] - box[axis]:.0f}" for axis in range(3) if axis != flat) + " voxels"


def chosen(rows: Sequence[LocatedRow]) -> list[tuple[str, LocatedRow]]:
    """The objects to show: the worst located, the median and the best; without objects the surest false region.

    Ordered by IoU; equal ones by the share inside the regions, then the larger one first: to miss it is worse.
    """
    real = sorted((row for row in rows if row.object), key=_rank)
    if not real:
        return [("False region", min(rows, key=_doubt))] if rows else []
    last = len(real) - 1
    places = {last: "Best", last // 2: "Median", 0: "Worst"} if last > 1 else {last: "Best", 0: "Worst"}
    return [(places[at] if last else "The only object", real[at]) for at in sorted(places)]


def _rank(row: LocatedRow) -> tuple[float, float, float, str, int]:
    contained = row.contained if math.isfinite(row.contained) else 0.0
    return (row.iou if math.isfinite(row.iou) else 0.0, contained, -_size(row), row.case, row.slice)


def contradictions(records: Sequence[RunRecord]) -> list[str]:
    """Pairs of runs that count different objects in the cases they share: their numbers cannot be compared."""
    able = [record for record in records if record.located]
    return [f"{first.name} and {second.name}" for first, second in combinations(able, 2) if _differ(first, second)]


def _differ(first: RunRecord, second: RunRecord) -> bool:
    shared = {row.case for row in first.located} & {row.case for row in second.located}
    counts = [
        Counter((row.case, row.kind) for row in run.located if row.object and row.case in shared)
        for run in (first, second)
    ]
    return counts[0] != counts[1]
