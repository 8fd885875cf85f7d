"""Every metric of a prediction, from one pair of borders a class."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias, overload

import numpy as np
from numpy import ndarray
from numpy.typing import NDArray

from edgewise.errors import LabelError
from edgewise.maps.base import checked_spacing
from edgewise.metrics.census import Census
from edgewise.metrics.comparison import Comparison, require_one_grid
from edgewise.metrics.definitions import Definitions, Region
from edgewise.metrics.presets import named
from edgewise.types import Spacing

Values: TypeAlias = Mapping[str, float]


@overload
def evaluate(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    spacing: Sequence[float],
    *,
    classes: Sequence[int] | Literal["present"] = "present",
    definitions: str | Definitions = "default",
    tolerance: float = 2.0,
) -> Values: ...
@overload
def evaluate(
    prediction: NDArray[np.integer],
    reference: NDArray[np.integer],
    spacing: Sequence[float],
    *,
    classes: Sequence[int] | Literal["present"] = "present",
    definitions: str | Definitions = "default",
    tolerance: float = 2.0,
) -> Mapping[int | str, Values]: ...
def evaluate(
    prediction: NDArray[Any],
    reference: NDArray[Any],
    spacing: Sequence[float],
    *,
    classes: Sequence[int] | Literal["present"] = "present",
    definitions: str | Definitions = "default",
    tolerance: float = 2.0,
) -> Values | Mapping[int | str, Values]:
    """Every metric of a predicted mask or label image.

    Args:
        prediction: (*space) bool mask, or integer labels; two or three axes.
        reference: (*space), the same type of image on the same grid.
        spacing: voxel size along each axis, in mm.
        classes: the labels to score, for label images: those asked for, whether present or not, or every
            label but 0 that occurs in either image (or the regions of `definitions`, where it has some).
        definitions: whose definitions: the name of a preset, or your own set.
        tolerance: of the metrics that forgive small distances (NSD, boundary Dice, boundary IoU), in mm; for the
            presets whose source fixes none.

    Returns:
        For masks the value of each metric by its column; for label images such a mapping for each class or
        region.

    Raises:
        ExperimentError: there are no such definitions.
        LabelError: one image is a mask and the other is not, or labels are not integers.
        ShapeError: the shapes differ.
        SpacingError: `spacing` does not fit.

    Example:
        >>> square = np.zeros((8, 8), bool)
        >>> square[2:6, 2:6] = True
        >>> values = evaluate(np.roll(square, 1, axis=0), square, (2.0, 1.0))
        >>> values["dice"], values["hd95"]
        (0.75, 2.0)
    """
    chosen = named(definitions, tolerance) if isinstance(definitions, str) else definitions
    sizes = checked_spacing(spacing, reference.ndim)
    if prediction.dtype == reference.dtype == np.bool_:
        both = Comparison.of(prediction, reference, sizes, border=chosen.border, edge=chosen.edge)
        return chosen.values(both)
    return {
        region.labels[0] if region.name == str(region.labels[0]) else region.name: chosen.of(region).values(comparison)
        for region, comparison in comparisons(prediction, reference, sizes, chosen, classes)
    }


def comparisons(
    prediction: ndarray,
    reference: ndarray,
    spacing: Spacing,
    definitions: Definitions,
    classes: Sequence[int] | Literal["present"] = "present",
) -> Iterator[tuple[Region, Comparison]]:
    """The comparison of each region of two label images, on the box that holds the region of both.

    Args:
        prediction: (*space) integer labels.
        reference: (*space) integer labels.
        spacing: voxel size along each axis, in mm.
        definitions: give the regions, and what counts as border.
        classes: the labels to score one by one, or `present`: the regions of `definitions`, or where it has none
            every label but 0 that occurs.

    Raises:
        LabelError: labels are not integers.
        ShapeError: the shapes differ.
    """
    for name, labels in (("prediction", prediction), ("reference", reference)):
        if labels.dtype.kind not in "iu":
            raise LabelError(f"the {name} is {labels.dtype}: expected integer labels, or two boolean masks.")
    require_one_grid(prediction, reference)
    census = Census.of(prediction, reference)
    for region in _regions(census, definitions, classes):
        box = census.box(region.labels)
        masks = census.masks(region.labels, box)
        comparison = Comparison(
            prediction=masks[0],
            reference=masks[1],
            spacing=spacing,
            start=tuple(part.start for part in box),
            image=reference.shape,
            border=definitions.border,
            edge=definitions.edge,
        )
        yield region, comparison


def _regions(
    census: Census, definitions: Definitions, classes: Sequence[int] | Literal["present"]
) -> tuple[Region, ...]:
    if classes == "present" and definitions.regions:
        return definitions.regions
    labels = [label for label in census.labels() if label] if classes == "present" else classes
    return tuple(Region(name=str(label), labels=(label,)) for label in labels)
