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
from edgewise.metrics.comparison import Comparison
from edgewise.metrics.definitions import Definitions
from edgewise.metrics.evaluation import comparisons

Empty: TypeAlias = Literal["", "both", "prediction", "reference"]
Policy: TypeAlias = Literal["worst", "skip", "nan"]
POLICIES: Mapping[Policy, str] = {
    "worst": "an infinite distance counts as the diagonal of the image; what has no worst value stays infinite",
    "skip": "what is not finite is left out; `used` says how many values remain",
    "nan": "one value that is not finite makes the aggregate undefined",
}
FIXED = (
    "case",
    "class",
    "class_name",
    "reference_ml",
    "prediction_ml",
    "reference_voxels",
    "prediction_voxels",
    "shared_voxels",
    "empty",
    "diagonal_mm",
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One class of one case.

    Attributes:
        case: id of the case.
        class_index: label value of the class; for the regions of a preset their number, from 1.
        class_name: its name.
        values: each metric by column; `inf` where a distance does not exist because one mask is empty.
        reference_ml: volume of the reference, in ml (for 2D images: area in mm² over 1000).
        prediction_ml: volume of the prediction, likewise.
        reference_voxels: number of voxels of the reference.
        prediction_voxels: number of voxels of the prediction.
        shared_voxels: number of voxels that both have: what a global Dice is pooled from.
        empty: which of the two masks have no voxel.
        diagonal_mm: diagonal of the image, the largest distance there is in it.
    """

    case: str
    class_index: int
    class_name: str
    values: Mapping[str, float]
    reference_ml: float
    prediction_ml: float
    reference_voxels: int
    prediction_voxels: int
    shared_voxels: int
    empty: Empty
    diagonal_mm: float


def rows_of(
    case: str,
    prediction: ndarray,
    reference: ndarray,
    spacing: Sequence[float],
    names: Sequence[str],
    definitions: Definitions,
) -> tuple[Row, ...]:
    """Score one case: a row for each foreground class, or for each region of `definitions` where it has some.

    Args:
        case: id of the case.
        prediction: (*space) integer labels.
        reference: (*space) integer labels, on the same grid.
        spacing: voxel size along each axis, in mm.
        names: class names; the index is the label value and class 0 is the background.
        definitions: the metrics.

    Returns:
        One row a class, in the order of the labels.

    Raises:
        LabelError: labels are not integers.
        ShapeError: the shapes differ.
        SpacingError: `spacing` does not fit.
    """
    sizes = checked_spacing(spacing, reference.ndim)
    classes: Literal["present"] | range = "present" if definitions.regions else range(1, len(names))
    rows = []
    scored = comparisons(prediction, reference, sizes, definitions, classes)
    for number, (region, comparison) in enumerate(scored, start=1):
        name, index = (region.name, number) if definitions.regions else (names[region.labels[0]], region.labels[0])
        rows.append(_row_of(case, index, name, comparison, definitions))
    return tuple(rows)


def _row_of(case: str, index: int, name: str, comparison: Comparison, definitions: Definitions) -> Row:
    millilitres = math.prod(comparison.spacing) / 1000
    predicted, true, both = comparison.voxels
    return Row(
        case=case,
        class_index=index,
        class_name=name,
        values=definitions.values(comparison),
        reference_ml=true * millilitres,
        prediction_ml=predicted * millilitres,
        reference_voxels=true,
        prediction_voxels=predicted,
        shared_voxels=both,
        empty=_emptiness(predicted, true),
        diagonal_mm=math.hypot(*(s * n for s, n in zip(comparison.spacing, comparison.image, strict=True))),
    )


def summarise(rows: Sequence[Row], definitions: Definitions, policy: Policy = "worst") -> dict[str, Any]:
    """Summary of a table, ready for JSON.

    Args:
        rows: of any number of cases and classes.
        definitions: what the columns of the table mean.
        policy: what stands for a value that is not finite: see `POLICIES`.

    Returns:
        `definitions` of every metric; the `policy` in words; for each class its `name`, its `dice_global` (pooled
        over the voxels of all cases), and for each metric mean, median and (population) std over the cases, the
        number of `cases`, how many were `used`, and how many had both masks or one mask empty; and `mean_dice`,
        the mean over the classes of their mean Dice. An undefined number is `None`.
    """
    facts = definitions.facts()
    classes = {
        str(index): _class_summary([row for row in rows if row.class_index == index], facts, policy)
        for index in sorted({row.class_index for row in rows})
    }
    dice = [entry["dice"]["mean"] for entry in classes.values() if "dice" in entry]
    return {
        "definitions": facts,
        "policy": f"{policy}: {POLICIES[policy]}",
        "classes": classes,
        "mean_dice": _finite(np.mean([math.nan if each is None else each for each in dice])) if dice else None,
    }


def settled(value: float, diagonal: float, unit: str, policy: Policy = "worst") -> float:
    """What an aggregate takes for a value: itself where it is finite, else what the policy says."""
    if math.isfinite(value) or (policy == "worst" and unit != "mm"):
        return value
    return diagonal if policy == "worst" else math.nan


def to_csv(rows: Sequence[Row]) -> str:
    """The table as CSV text; `inf` is written as such."""
    kinds = list(dict.fromkeys(kind for row in rows for kind in row.values))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*FIXED[:3], *kinds, *FIXED[3:]])
    for row in rows:
        start = (row.case, row.class_index, row.class_name)
        voxels = (row.reference_voxels, row.prediction_voxels, row.shared_voxels)
        end = (row.reference_ml, row.prediction_ml, *voxels, row.empty, row.diagonal_mm)
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
        reference_voxels=int(line["reference_voxels"]),
        prediction_voxels=int(line["prediction_voxels"]),
        shared_voxels=int(line["shared_voxels"]),
        empty=empty[line["empty"]],
        diagonal_mm=float(line["diagonal_mm"]),
    )


def _class_summary(rows: Sequence[Row], facts: Mapping[str, Mapping[str, Any]], policy: Policy) -> dict[str, Any]:
    both = sum(row.empty == "both" for row in rows)
    one = sum(row.empty in {"prediction", "reference"} for row in rows)
    counts = {"cases": len(rows), "both_empty": both, "one_empty": one}
    shared = sum(row.shared_voxels for row in rows)
    total = sum(row.prediction_voxels + row.reference_voxels for row in rows)
    summary: dict[str, Any] = {"name": rows[0].class_name, "dice_global": 2 * shared / total if total else 1.0}
    for column in dict.fromkeys(column for row in rows for column in row.values):
        unit = str(facts[column]["unit"])
        numbers = np.array([settled(row.values[column], row.diagonal_mm, unit, policy) for row in rows])
        if policy == "skip":
            numbers = numbers[~np.isnan(numbers)]
        with np.errstate(invalid="ignore"):  # the spread of infinite values is undefined
            mean, median, std = (f(numbers) if numbers.size else math.nan for f in (np.mean, np.median, np.std))
        summary[column] = {
            "mean": _finite(mean),
            "median": _finite(median),
            "std": _finite(std),
            "used": int(np.isfinite(numbers).sum()),
            **counts,
        }
    return summary


def _emptiness(prediction: int, reference: int) -> Empty:
    if prediction and reference:
        return ""
    if prediction or reference:
        return "reference" if prediction else "prediction"
    return "both"


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
