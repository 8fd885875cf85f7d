"""The table of a set of cases, one row a case and class, and its summary: nothing silently dropped."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy import ndarray

from edgewise.errors import DataError
from edgewise.maps.base import checked_spacing
from edgewise.metrics.evaluation import comparisons, every_metric, values
from edgewise.types import Spacing

Empty: TypeAlias = Literal["", "both", "prediction", "reference"]
Policy: TypeAlias = Literal["worst", "skip", "nan"]
POLICIES: Mapping[Policy, str] = {
    "worst": "an infinite distance counts as the diagonal of the image",
    "skip": "an infinite distance is left out; `used` says how many values remain",
    "nan": "one infinite distance makes the aggregate undefined",
}
FIXED = ("case", "class", "class_name", "reference_ml", "prediction_ml", "empty", "diagonal_mm")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One class of one case.

    Attributes:
        case: id of the case.
        class_index: label value of the class.
        class_name: its name.
        values: each metric by kind; `inf` where a distance does not exist because one mask is empty.
        reference_ml: volume of the reference, in ml (for 2D images: area in mm² over 1000).
        prediction_ml: volume of the prediction, likewise.
        empty: which of the two masks have no voxel.
        diagonal_mm: diagonal of the image, the largest distance there is in it.
    """

    case: str
    class_index: int
    class_name: str
    values: Mapping[str, float]
    reference_ml: float
    prediction_ml: float
    empty: Empty
    diagonal_mm: float


def rows_of(
    case: str, prediction: ndarray, reference: ndarray, spacing: Sequence[float], names: Sequence[str]
) -> tuple[Row, ...]:
    """Score one case: a row for each foreground class.

    Args:
        case: id of the case.
        prediction: (*space) integer labels.
        reference: (*space) integer labels, on the same grid.
        spacing: voxel size along each axis, in mm.
        names: class names; the index is the label value and class 0 is the background.

    Returns:
        One row a class, in the order of the labels.

    Raises:
        LabelError: labels are not integers.
        ShapeError: the shapes differ.
        SpacingError: `spacing` does not fit.
    """
    sizes = checked_spacing(spacing, reference.ndim)
    millilitres = math.prod(sizes) / 1000
    rows = []
    for index, comparison in comparisons(prediction, reference, sizes, range(1, len(names))):
        predicted, true, _ = comparison.voxels
        row = Row(
            case=case,
            class_index=index,
            class_name=names[index],
            values=values(comparison),
            reference_ml=true * millilitres,
            prediction_ml=predicted * millilitres,
            empty=_emptiness(predicted, true),
            diagonal_mm=_diagonal(reference.shape, sizes),
        )
        rows.append(row)
    return tuple(rows)


def summarise(rows: Sequence[Row], policy: Policy = "worst") -> dict[str, Any]:
    """Summary of a table, ready for JSON.

    Args:
        rows: of any number of cases and classes.
        policy: what stands for an infinite distance: `worst` (the diagonal of its image), `skip` or `nan`.

    Returns:
        `definitions` of every metric; the `policy` in words; for each class its `name`, and for each
        metric mean, median and (population) std over the cases, the number of `cases`, how many were
        `used`, and how many had both masks or one mask empty; and `mean_dice`, the mean over the classes
        of their mean Dice. An undefined number is `None`.
    """
    classes = {
        str(index): _class_summary([row for row in rows if row.class_index == index], policy)
        for index in sorted({row.class_index for row in rows})
    }
    dice = [entry["dice"]["mean"] for entry in classes.values() if "dice" in entry]
    return {
        "definitions": definitions(),
        "policy": f"{policy}: {POLICIES[policy]}",
        "classes": classes,
        "mean_dice": _finite(np.mean([math.nan if each is None else each for each in dice])) if dice else None,
    }


def definitions() -> dict[str, dict[str, Any]]:
    """Definition, unit, direction and values for empty masks of every metric, ready for JSON."""
    return {
        metric.kind: {
            "definition": metric.definition,
            "unit": metric.unit,
            "better": metric.better,
            "both_empty": _text(metric.both_empty),
            "one_empty": _text(metric.one_empty),
        }
        for metric in every_metric()
    }


def to_csv(rows: Sequence[Row]) -> str:
    """The table as CSV text; `inf` is written as such."""
    kinds = list(dict.fromkeys(kind for row in rows for kind in row.values))
    kinds = kinds or [metric.kind for metric in every_metric()]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*FIXED[:3], *kinds, *FIXED[3:]])
    for row in rows:
        start = (row.case, row.class_index, row.class_name)
        end = (row.reference_ml, row.prediction_ml, row.empty, row.diagonal_mm)
        table.writerow([*start, *(row.values[kind] for kind in kinds), *end])
    return text.getvalue()


def from_csv(text: str) -> tuple[Row, ...]:
    """Read what `to_csv` wrote.

    Raises:
        DataError: a column is missing, or an entry is not what its column says.
    """
    table = csv.DictReader(io.StringIO(text))
    columns = table.fieldnames or ()
    missing = [column for column in FIXED if column not in columns]
    if missing:
        raise DataError(f"not a table of metrics: the columns {missing} are missing, found {list(columns)}.")
    rows = []
    for number, line in enumerate(table, start=2):
        try:
            rows.append(_row(line))
        except (TypeError, ValueError) as error:
            raise DataError(f"line {number} of the table of metrics cannot be read: {error}.") from error
    return tuple(rows)


def _row(line: Mapping[str, str]) -> Row:
    empty: dict[str, Empty] = {"": "", "both": "both", "prediction": "prediction", "reference": "reference"}
    if line["empty"] not in empty:
        raise ValueError(f"empty is {line['empty']!r}, expected one of {list(empty)}")
    return Row(
        case=line["case"],
        class_index=int(line["class"]),
        class_name=line["class_name"],
        values={column: float(entry) for column, entry in line.items() if column not in FIXED},
        reference_ml=float(line["reference_ml"]),
        prediction_ml=float(line["prediction_ml"]),
        empty=empty[line["empty"]],
        diagonal_mm=float(line["diagonal_mm"]),
    )


def _class_summary(rows: Sequence[Row], policy: Policy) -> dict[str, Any]:
    kinds = dict.fromkeys(kind for row in rows for kind in row.values)
    both = sum(row.empty == "both" for row in rows)
    one = sum(row.empty in {"prediction", "reference"} for row in rows)
    counts = {"cases": len(rows), "both_empty": both, "one_empty": one}
    summary: dict[str, Any] = {"name": rows[0].class_name}
    for kind in kinds:
        numbers = np.array([_settled(row.values[kind], row.diagonal_mm, policy) for row in rows])
        if policy == "skip":
            numbers = numbers[~np.isnan(numbers)]
        mean, median, std = (f(numbers) if numbers.size else math.nan for f in (np.mean, np.median, np.std))
        summary[kind] = {
            "mean": _finite(mean),
            "median": _finite(median),
            "std": _finite(std),
            "used": int(np.isfinite(numbers).sum()),
            **counts,
        }
    return summary


def _settled(value: float, diagonal: float, policy: Policy) -> float:
    if not math.isinf(value):
        return value
    return diagonal if policy == "worst" else math.nan


def _emptiness(prediction: int, reference: int) -> Empty:
    if prediction and reference:
        return ""
    if prediction or reference:
        return "reference" if prediction else "prediction"
    return "both"


def _diagonal(shape: tuple[int, ...], spacing: Spacing) -> float:
    return math.hypot(*(size * count for size, count in zip(spacing, shape, strict=True)))


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _text(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
