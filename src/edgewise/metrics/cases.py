"""The table of a set of cases, one row a case and class, and its summary: nothing silently dropped."""

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np

from edgewise.errors import DataError
from edgewise.metrics.definitions import Definitions

T = TypeVar("T")
Emptiness: TypeAlias = Literal["", "both", "prediction", "reference"]
Policy: TypeAlias = Literal["worst", "skip", "nan"]
POLICIES: Mapping[Policy, str] = {
    "worst": "an infinite distance counts as the diagonal of its image and an undefined score as 0; what has no worst "
    "value makes the aggregate undefined",
    "skip": "what is infinite or undefined is left out; `used` says how many values remain",
    "nan": "one infinite or undefined value makes the aggregate undefined",
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
        values: each metric by column; `inf` where a distance does not exist because one mask is empty, `nan` where
            the definitions call a value undefined.
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
    empty: Emptiness
    diagonal_mm: float


def summarise(rows: Sequence[Row], definitions: Definitions, policy: Policy = "worst") -> dict[str, Any]:
    """Summary of a table, ready for JSON.

    Args:
        rows: of any number of cases and classes.
        definitions: what the columns of the table mean.
        policy: what stands for a value that is not finite: see `POLICIES`.

    Returns:
        The `set` of definitions and the `definitions` of every metric; the `policy` in words; for each class its
        `name`, its `dice_global` (pooled over the voxels of all cases), and for each metric mean, median and
        (population) std over the cases, the number of `cases`, how many values were `not_finite`, how many were
        `used`, and how many cases had both masks empty (`both_empty`), the prediction or the reference alone
        (`prediction_empty`, `reference_empty`), or either alone (`one_empty`); and `mean_dice`, the mean over the
        classes of their mean Dice. An undefined number is `None`.
    """
    facts = definitions.facts()
    classes = {
        str(index): _class_summary([row for row in rows if row.class_index == index], facts, policy)
        for index in sorted({row.class_index for row in rows})
    }
    dice = [entry["dice"]["mean"] for entry in classes.values() if "dice" in entry]
    return {
        "set": {"name": definitions.name, "summary": definitions.summary, "source": definitions.source},
        "definitions": facts,
        "policy": f"{policy}: {POLICIES[policy]}",
        "classes": classes,
        "mean_dice": _finite(np.mean([math.nan if each is None else each for each in dice])) if dice else None,
    }


def settled(value: float, diagonal: float, unit: str, policy: Policy = "worst", better: str = "lower") -> float:
    """What an aggregate takes for a value: itself where it is finite, else what the policy says.

    Args:
        value: of a metric.
        diagonal: of the image, in mm.
        unit: of the metric.
        policy: see `POLICIES`.
        better: which way the metric is better; the worst score that is better `higher` is 0.
    """
    if math.isfinite(value):
        return value
    if policy != "worst":
        return math.nan
    if unit == "mm":
        return diagonal
    return 0.0 if better == "higher" else value


def to_csv(rows: Sequence[Row]) -> str:
    """The table as CSV text; `inf` and `nan` are written as such, and nothing where a region has no such metric."""
    columns = list(dict.fromkeys(column for row in rows for column in row.values))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*FIXED[:3], *columns, *FIXED[3:]])
    for row in rows:
        start = (row.case, row.class_index, row.class_name)
        voxels = (row.reference_voxels, row.prediction_voxels, row.shared_voxels)
        end = (row.reference_ml, row.prediction_ml, *voxels, row.empty, row.diagonal_mm)
        table.writerow([*start, *(row.values.get(column, "") for column in columns), *end])
    return text.getvalue()


def from_csv(text: str) -> tuple[Row, ...]:
    """Read what `to_csv` wrote.

    Raises:
        DataError: a column is missing, or an entry is not what its column says.
    """
    return read_rows(text, FIXED, _row, "metrics")


def read_rows(
    text: str, needed: Sequence[str], build: Callable[[Mapping[str, str]], T], contents: str
) -> tuple[T, ...]:
    """Read a CSV table line by line.

    Args:
        text: the table, with a line of column names.
        needed: columns that have to be there.
        build: makes a row of a line; what it raises as `TypeError` or `ValueError` is the line's fault.
        contents: what the table is of, for the messages.

    Raises:
        DataError: a column is missing, or a line cannot be read.
    """
    table = csv.DictReader(io.StringIO(text))
    columns = table.fieldnames or ()
    missing = [column for column in needed if column not in columns]
    if missing:
        raise DataError(f"not a table of {contents}: the columns {missing} are missing, found {list(columns)}.")
    rows = []
    for number, line in enumerate(table, start=2):
        try:
            rows.append(build(line))
        except (TypeError, ValueError) as error:
            raise DataError(f"line {number} of the table of {contents} cannot be read: {error}.") from error
    return tuple(rows)


def _row(line: Mapping[str, str]) -> Row:
    empty: dict[str, Emptiness] = {"": "", "both": "both", "prediction": "prediction", "reference": "reference"}
    if line["empty"] not in empty:
        raise ValueError(f"empty is {line['empty']!r}, expected one of {list(empty)}")
    return Row(
        case=line["case"],
        class_index=int(line["class"]),
        class_name=line["class_name"],
        values={column: float(entry) for column, entry in line.items() if column not in FIXED and entry != ""},
        reference_ml=float(line["reference_ml"]),
        prediction_ml=float(line["prediction_ml"]),
        reference_voxels=int(line["reference_voxels"]),
        prediction_voxels=int(line["prediction_voxels"]),
        shared_voxels=int(line["shared_voxels"]),
        empty=empty[line["empty"]],
        diagonal_mm=float(line["diagonal_mm"]),
    )


def emptiness(predicted: int, true: int) -> Emptiness:
    """Which of two masks have no voxel, given their numbers of voxels."""
    if predicted and true:
        return ""
    if predicted or true:
        return "reference" if predicted else "prediction"
    return "both"


def _class_summary(rows: Sequence[Row], facts: Mapping[str, Mapping[str, Any]], policy: Policy) -> dict[str, Any]:
    shared = sum(row.shared_voxels for row in rows)
    total = sum(row.prediction_voxels + row.reference_voxels for row in rows)
    columns = dict.fromkeys(column for row in rows for column in row.values)
    return {
        "name": rows[0].class_name,
        "dice_global": 2 * shared / total if total else 1.0,
        **{column: _column_summary(rows, column, facts[column], policy) for column in columns},
    }


def _column_summary(rows: Sequence[Row], column: str, facts: Mapping[str, Any], policy: Policy) -> dict[str, Any]:
    numbers = np.array([_counted(row, column, facts, policy) for row in rows])
    if policy == "skip":
        numbers = numbers[~np.isnan(numbers)]
    with np.errstate(invalid="ignore"):  # the spread of infinite values is undefined
        mean, median, std = (f(numbers) if numbers.size else math.nan for f in (np.mean, np.median, np.std))
    empty = [row.empty for row in rows]
    return {
        "mean": _finite(mean),
        "median": _finite(median),
        "std": _finite(std),
        "used": int(np.isfinite(numbers).sum()),
        "not_finite": sum(not math.isfinite(row.values[column]) for row in rows),
        "cases": len(rows),
        "both_empty": empty.count("both"),
        "one_empty": empty.count("prediction") + empty.count("reference"),
        "prediction_empty": empty.count("prediction"),
        "reference_empty": empty.count("reference"),
    }


def _counted(row: Row, column: str, facts: Mapping[str, Any], policy: Policy) -> float:
    value = row.values[column]
    if math.isnan(value) and row.empty == "both":  # nothing to find and nothing found: no value would be the worst
        return value
    return settled(value, row.diagonal_mm, str(facts["unit"]), policy, str(facts["better"]))


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
