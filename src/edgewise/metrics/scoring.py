"""Label images to rows of the table: every class or region of a case, and what a case does not have."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy import ndarray

from edgewise.maps.base import checked_spacing
from edgewise.metrics.cases import Row, emptiness
from edgewise.metrics.comparison import Comparison
from edgewise.metrics.definitions import Definitions, Region
from edgewise.metrics.evaluation import comparisons
from edgewise.metrics.lesion_table import LesionRow, lesion_rows
from edgewise.types import Spacing

Names: TypeAlias = Sequence[str] | Literal["present"]
"""Class names by label value, the background first; or `present`: the classes are the labels that occur."""


@dataclass(frozen=True, kw_only=True)
class CaseScore:
    """What was measured in one case.

    Attributes:
        case: its id.
        rows: one a class or region.
        lesions: one a connected component of either mask of a class or region.
        image: shape of the image.
        spacing: voxel size along each axis, in mm.
    """

    case: str
    rows: tuple[Row, ...]
    lesions: tuple[LesionRow, ...]
    image: tuple[int, ...]
    spacing: Spacing


def score(
    case: str,
    prediction: ndarray,
    reference: ndarray,
    spacing: Sequence[float],
    names: Names,
    definitions: Definitions,
) -> CaseScore:
    """Measure one case: each label above 0 that occurs in it, or each region of `definitions` where it has some.

    Args:
        case: id of the case.
        prediction: (*space) integer labels.
        reference: (*space) integer labels, on the same grid.
        spacing: voxel size along each axis, in mm.
        names: of the classes; one beyond them is called by its number.
        definitions: the metrics.

    Raises:
        LabelError: labels are not integers.
        ShapeError: the shapes differ.
        SpacingError: `spacing` does not fit.
    """
    sizes = checked_spacing(spacing, reference.ndim)
    rows: list[Row] = []
    components: list[LesionRow] = []
    for number, (region, comparison) in enumerate(comparisons(prediction, reference, sizes, definitions), start=1):
        index = number if definitions.regions else region.labels[0]
        name = region.name if definitions.regions else name_of(index, names)
        rows.append(_row(case, index, name, comparison, definitions.of(region)))
        components += lesion_rows(case, index, name, comparison)
    return CaseScore(case=case, rows=tuple(rows), lesions=tuple(components), image=reference.shape, spacing=sizes)


def rows_of(
    case: str,
    prediction: ndarray,
    reference: ndarray,
    spacing: Sequence[float],
    names: Sequence[str],
    definitions: Definitions,
) -> tuple[Row, ...]:
    """The rows of one case: one for each foreground class, or for each region of `definitions` where it has some.

    Args:
        case: id of the case.
        prediction: (*space) integer labels.
        reference: (*space) integer labels, on the same grid.
        spacing: voxel size along each axis, in mm.
        names: class names; the index is the label value and class 0 is the background.
        definitions: the metrics.

    Returns:
        One row a class or region, in the order of the labels or of the regions; a label without name that occurs has
        one too.

    Raises:
        LabelError: labels are not integers.
        ShapeError: the shapes differ.
        SpacingError: `spacing` does not fit.
    """
    return complete([score(case, prediction, reference, spacing, names, definitions)], names, definitions)


def complete(scores: Iterable[CaseScore], names: Names, definitions: Definitions) -> tuple[Row, ...]:
    """The rows of all cases, with a row of two empty masks for each class that a case does not have.

    Whether a class exists is decided over all cases together, so that each has the same rows.

    Args:
        scores: of the cases.
        names: of classes that have rows, wherever they occur; beside them have those that occur somewhere.
        definitions: the metrics.
    """
    kept = list(scores)
    found = {row.class_index: row.class_name for score in kept for row in score.rows}
    declared = {} if definitions.regions or names == "present" else dict(enumerate(names))
    wanted = dict(sorted((found | {index: name for index, name in declared.items() if index}).items()))
    return tuple(row for score in kept for row in _completed(score, wanted, definitions))


def name_of(index: int, names: Names) -> str:
    """The name of a class; `class 3` for one without."""
    return names[index] if names != "present" and index < len(names) else f"class {index}"


def _completed(score: CaseScore, wanted: Mapping[int, str], definitions: Definitions) -> list[Row]:
    own = {row.class_index: row for row in score.rows}
    return [own[index] if index in own else _absent(score, index, name, definitions) for index, name in wanted.items()]


def _absent(score: CaseScore, index: int, name: str, definitions: Definitions) -> Row:
    nothing = np.zeros((0,) * len(score.image), bool)
    comparison = Comparison(
        prediction=nothing,
        reference=nothing,
        spacing=score.spacing,
        start=(0,) * len(score.image),
        image=score.image,
        border=definitions.border,
        edge=definitions.edge,
    )
    return _row(score.case, index, name, comparison, definitions.of(Region(name=name, labels=(index,))))


def _row(case: str, index: int, name: str, comparison: Comparison, definitions: Definitions) -> Row:
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
        empty=emptiness(predicted, true),
        diagonal_mm=math.hypot(*(s * n for s, n in zip(comparison.spacing, comparison.image, strict=True))),
    )
