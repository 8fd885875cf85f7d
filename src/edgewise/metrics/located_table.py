"""The table of located objects: how well the first stage of a two-stage network found them."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from edgewise.detection.boxes import Box, Object, iou
from edgewise.metrics.cases import read_rows

SIDES = ("x_low", "y_low", "z_low", "x_high", "y_high", "z_high")
BOXES = ("object", "box", "roi")
COLUMNS = ("case", "kind", "slice", "score", "iou", "contained", *(f"{box}_{side}" for box in BOXES for side in SIDES))
GOOD = 0.5
"""A box with at least this IoU counts as right."""


@dataclass(frozen=True, kw_only=True)
class LocatedRow:
    """One object of the reference and the region that was found for it, or a region where there is no such object.

    Boxes are (x_low, y_low, z_low, x_high, y_high, z_high) in voxels of the image turned to RAS+, where voxel i covers
    i - ½ to i + ½; empty where there is none.

    Attributes:
        case: id of the case.
        kind: name of the class, or `foreground`.
        slice: where the box lies along the slice axis, counted from 0; -1 for a box of a volume.
        score: probability of the region; `nan` for a missed object.
        iou: of the two boxes; 0 for a missed object and for a false region.
        contained: share of the object's voxels that lie in any region of its kind in its image (in its slice, in 2D):
            no segmentation can find more of it; `nan` for a false region.
        object: box of the object.
        box: what was found for it.
        roi: what was segmented around that.
    """

    case: str
    kind: str
    slice: int
    score: float
    iou: float
    contained: float
    object: Box = ()
    box: Box = ()
    roi: Box = ()

    @property
    def missed(self) -> bool:
        """Whether there is an object, and no region for it."""
        return bool(self.object) and not self.box

    @property
    def false(self) -> bool:
        """Whether there is a region, and no object for it."""
        return bool(self.box) and not self.object


def matched(objects: Sequence[Object], found: Sequence[Object]) -> tuple[tuple[int, int, float], ...]:
    """Pairs of an object and the box that was found for it: greedily, the largest IoU first, one box an object.

    Args:
        objects: of the reference.
        found: of the prediction.

    Returns:
        (index of the object, index of the box, their IoU), of one kind, with an IoU above 0; rising.
    """
    if not objects or not found:
        return ()
    first, second = (torch.tensor([each.box for each in row], dtype=torch.float64) for row in (objects, found))
    table = iou(first[:, None], second[None]).numpy()
    alike = np.array([a.kind for a in objects])[:, None] == np.array([b.kind for b in found])[None]
    table = np.where(alike, table, 0.0)
    pairs = []
    while table.max() > 0:
        a, b = (int(n) for n in np.unravel_index(table.argmax(), table.shape))
        pairs.append((a, b, float(table[a, b])))
        table[a], table[:, b] = 0, 0
    return tuple(sorted(pairs))


def located_summary(rows: Sequence[LocatedRow]) -> dict[str, Any]:
    """How well objects were located, ready for JSON.

    Args:
        rows: of all cases.

    Returns:
        objects: how many the reference has; missed: how many have no region; mean_iou: of the boxes, 0 for a missed
        object; recall: share of the objects with an IoU of at least 0.5; contained: mean share of an object inside the
        regions; false_regions: how many belong to no object. Means of no object are `nan`.
    """
    real = [row for row in rows if row.object]
    return {
        "objects": len(real),
        "missed": sum(row.missed for row in real),
        "mean_iou": _mean([row.iou for row in real]),
        "recall": _mean([float(row.iou >= GOOD) for row in real]),
        "contained": _mean([row.contained for row in real]),
        "false_regions": sum(row.false for row in rows),
    }


def located_to_csv(rows: Sequence[LocatedRow]) -> str:
    """The table as CSV text."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for row in rows:
        boxes = [side for box in (row.object, row.box, row.roi) for side in (box or ("",) * len(SIDES))]
        table.writerow([row.case, row.kind, row.slice, row.score, row.iou, row.contained, *boxes])
    return text.getvalue()


def located_from_csv(text: str) -> tuple[LocatedRow, ...]:
    """Read what `located_to_csv` wrote.

    Raises:
        DataError: a column is missing, or an entry is not what its column says.
    """
    return read_rows(text, COLUMNS, _row, "localisation")


def _row(line: Mapping[str, str]) -> LocatedRow:
    boxes = [tuple(line[f"{box}_{side}"] for side in SIDES) for box in BOXES]
    first, second, third = (tuple(float(side) for side in box) if any(box) else () for box in boxes)
    return LocatedRow(
        case=line["case"],
        kind=line["kind"],
        slice=int(line["slice"]),
        score=float(line["score"]),
        iou=float(line["iou"]),
        contained=float(line["contained"]),
        object=first,
        box=second,
        roi=third,
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
