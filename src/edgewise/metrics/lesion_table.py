"""The table of lesions, one row a lesion of either mask, and what was found by size."""

import csv
import io
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from edgewise.metrics.cases import read_rows
from edgewise.metrics.comparison import Comparison
from edgewise.metrics.components import ANY_OVERLAP, Lesions, Matching, lesions
from edgewise.metrics.shares import wilson

Side: TypeAlias = Literal["reference", "prediction"]
COLUMNS = ("case", "class", "class_name", "mask", "number", "volume_ml", "diameter_mm", "matched", "dice")


@dataclass(frozen=True, kw_only=True)
class LesionRow:
    """One lesion of the reference or of the prediction.

    Attributes:
        case: id of the case.
        class_index: label value of the class; for the regions of a preset their number, from 1.
        class_name: its name.
        mask: whose lesion it is.
        number: its rank by volume among the lesions of the mask: the largest is 1.
        volume_ml: in ml (for 2D images: area in mm² over 1000).
        diameter_mm: of the ball (in 2D, the disc) of the same volume, in mm.
        matched: whether a lesion of the other mask matches it: found, or not false.
        dice: its Dice with the union of the lesions of the other mask that match it; 0 where none does.
    """

    case: str
    class_index: int
    class_name: str
    mask: Side
    number: int
    volume_ml: float
    diameter_mm: float
    matched: bool
    dice: float


@dataclass(frozen=True, kw_only=True)
class SizeBin:
    """The lesions of a range of diameters. Shares of no lesion are `nan`.

    Attributes:
        name: the range, such as `5–10 mm`.
        references: number of reference lesions of this size.
        found: how many of them were matched.
        recall: the share that was.
        recall_low: lower end of the 95 % Wilson interval of the recall; 0 where there is no lesion.
        recall_high: its upper end; 1 where there is no lesion.
        dice: mean Dice of the reference lesions, 0 for a missed one.
        predictions: number of predicted lesions of this size.
        false_predictions: how many of them match no reference lesion.
        precision: the share that matches one.
    """

    name: str
    references: int
    found: int
    recall: float
    recall_low: float
    recall_high: float
    dice: float
    predictions: int
    false_predictions: int
    precision: float


def lesion_rows(
    case: str, index: int, name: str, comparison: Comparison, matching: Matching = ANY_OVERLAP
) -> tuple[LesionRow, ...]:
    """List the lesions of both masks.

    Args:
        case: id of the case.
        index: label value of the class.
        name: its name.
        comparison: the two masks.
        matching: when two lesions are the same.

    Returns:
        First the reference's, then the prediction's, each from the largest to the smallest; none for a mask without
        a voxel.

    Example:
        >>> reference = np.zeros((6, 6), bool)
        >>> reference[0, 0] = reference[3:5, 3:5] = True
        >>> rows = lesion_rows("a", 1, "tumour", Comparison.of(reference, reference, (2.0, 2.0)))
        >>> [(row.mask, row.number, row.volume_ml, row.matched) for row in rows][:2]
        [('reference', 1, 0.016, True), ('reference', 2, 0.004, True)]
    """
    prediction, reference = lesions(comparison, matching)
    sides: tuple[tuple[Side, Lesions], ...] = (("reference", reference), ("prediction", prediction))
    size = math.prod(comparison.spacing)
    return tuple(
        LesionRow(
            case=case,
            class_index=index,
            class_name=name,
            mask=mask,
            number=rank,
            volume_ml=float(found.voxels[each]) * size / 1000,
            diameter_mm=_diameter(float(found.voxels[each]) * size, len(comparison.spacing)),
            matched=bool(found.matched[each]),
            dice=float(found.dice[each]),
        )
        for mask, found in sides
        for rank, each in enumerate(np.argsort(-found.voxels, kind="stable"), start=1)
    )


def by_size(rows: Sequence[LesionRow], edges_mm: Sequence[float] = (5.0, 10.0, 20.0)) -> tuple[SizeBin, ...]:
    """Recall, Dice and precision by size: a lesion counts in the bin of its own diameter.

    Args:
        rows: lesions of one class, of any number of cases.
        edges_mm: where one bin ends and the next begins, rising, in mm; a lesion of exactly this diameter is in the
            larger bin.

    Returns:
        One bin more than there are edges, from small to large.

    Raises:
        ValueError: the edges do not rise.
    """
    if not all(lower < upper for lower, upper in itertools.pairwise((0.0, *edges_mm))):
        raise ValueError(f"edges_mm {tuple(edges_mm)} must be positive and rise.")
    bins = np.searchsorted(edges_mm, [row.diameter_mm for row in rows], side="right")
    return tuple(
        _size_bin(name, [row for row, at in zip(rows, bins, strict=True) if at == number])
        for number, name in enumerate(_names(edges_mm))
    )


def lesions_to_csv(rows: Sequence[LesionRow]) -> str:
    """The table as CSV text."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for row in rows:
        start = (row.case, row.class_index, row.class_name, row.mask, row.number)
        table.writerow([*start, row.volume_ml, row.diameter_mm, "yes" if row.matched else "no", row.dice])
    return text.getvalue()


def lesions_from_csv(text: str) -> tuple[LesionRow, ...]:
    """Read what `lesions_to_csv` wrote.

    Raises:
        DataError: a column is missing, or an entry is not what its column says.
    """
    return read_rows(text, COLUMNS, _row, "lesions")


def _row(line: Mapping[str, str]) -> LesionRow:
    sides: Mapping[str, Side] = {"reference": "reference", "prediction": "prediction"}
    answers = {"yes": True, "no": False}
    for column, known in (("mask", sides), ("matched", answers)):
        if line[column] not in known:
            raise ValueError(f"{column} is {line[column]!r}, expected one of {list(known)}")
    return LesionRow(
        case=line["case"],
        class_index=int(line["class"]),
        class_name=line["class_name"],
        mask=sides[line["mask"]],
        number=int(line["number"]),
        volume_ml=float(line["volume_ml"]),
        diameter_mm=float(line["diameter_mm"]),
        matched=answers[line["matched"]],
        dice=float(line["dice"]),
    )


def _diameter(volume: float, axes: int) -> float:
    """Diameter of the ball of a volume in mm³, or of the disc of an area in mm²."""
    return math.cbrt(6 * volume / math.pi) if axes == 3 else 2 * math.sqrt(volume / math.pi)


def _names(edges_mm: Sequence[float]) -> tuple[str, ...]:
    if not edges_mm:
        return ("all",)
    between = (f"{lower:g}–{upper:g} mm" for lower, upper in itertools.pairwise(edges_mm))
    return (f"< {edges_mm[0]:g} mm", *between, f"≥ {edges_mm[-1]:g} mm")


def _size_bin(name: str, rows: Sequence[LesionRow]) -> SizeBin:
    references = [row for row in rows if row.mask == "reference"]
    predictions = [row for row in rows if row.mask == "prediction"]
    found, true = (sum(row.matched for row in side) for side in (references, predictions))
    low, high = wilson(found, len(references))
    return SizeBin(
        name=name,
        references=len(references),
        found=found,
        recall=_share(found, len(references)),
        recall_low=low,
        recall_high=high,
        dice=math.fsum(row.dice for row in references) / len(references) if references else math.nan,
        predictions=len(predictions),
        false_predictions=len(predictions) - true,
        precision=_share(true, len(predictions)),
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
