"""Every metric of a prediction, from one pair of borders a class."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias, overload

import numpy as np
from numpy import ndarray
from numpy.typing import NDArray

from edgewise.catalog import discover
from edgewise.errors import LabelError, ShapeError
from edgewise.maps.base import checked_spacing
from edgewise.metrics.base import Metric
from edgewise.metrics.comparison import Comparison, bounding_box
from edgewise.types import Spacing

Values: TypeAlias = Mapping[str, float]


def every_metric() -> tuple[Metric, ...]:
    """One of each metric of the catalogue, with its defaults: higher-is-better first, then by kind."""
    metrics = (metric() for metric in discover(Metric).values())
    return tuple(sorted(metrics, key=lambda metric: metric.better))


@overload
def evaluate(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    spacing: Sequence[float],
    *,
    classes: Sequence[int] | Literal["present"] = "present",
) -> Values: ...
@overload
def evaluate(
    prediction: NDArray[np.integer],
    reference: NDArray[np.integer],
    spacing: Sequence[float],
    *,
    classes: Sequence[int] | Literal["present"] = "present",
) -> Mapping[int, Values]: ...
def evaluate(
    prediction: NDArray[Any],
    reference: NDArray[Any],
    spacing: Sequence[float],
    *,
    classes: Sequence[int] | Literal["present"] = "present",
) -> Values | Mapping[int, Values]:
    """Every metric of a predicted mask or label image.

    Args:
        prediction: (*space) bool mask, or integer labels; two or three axes.
        reference: (*space), the same type of image on the same grid.
        spacing: voxel size along each axis, in mm.
        classes: the labels to score, for label images: those asked for, whether present or not, or every
            label above 0 that occurs in either image.

    Returns:
        For masks the value of each metric by its kind; for label images such a mapping for each class.

    Raises:
        LabelError: one image is a mask and the other is not, or labels are not integers.
        ShapeError: the shapes differ.
        SpacingError: `spacing` does not fit.

    Example:
        >>> square = np.zeros((8, 8), bool)
        >>> square[2:6, 2:6] = True
        >>> evaluate(np.roll(square, 1, axis=0), square, (2.0, 1.0))
        {'dice': 0.75, 'assd': 0.8333333333333334, 'hd95': 2.0}
    """
    sizes = checked_spacing(spacing, reference.ndim)
    if prediction.dtype == reference.dtype == np.bool_:
        return values(Comparison(prediction=prediction, reference=reference, spacing=sizes))
    return {each: values(comparison) for each, comparison in comparisons(prediction, reference, sizes, classes)}


def values(comparison: Comparison) -> Values:
    """Every metric of a comparison, by kind."""
    return {metric.kind: metric(comparison) for metric in every_metric()}


def comparisons(
    prediction: ndarray,
    reference: ndarray,
    spacing: Spacing,
    classes: Sequence[int] | Literal["present"] = "present",
) -> Iterator[tuple[int, Comparison]]:
    """The comparison of each class of two label images, on the box that holds the labels of both.

    Raises:
        LabelError: labels are not integers.
        ShapeError: the shapes differ.
    """
    for name, labels in (("prediction", prediction), ("reference", reference)):
        if labels.dtype.kind not in "iu":
            raise LabelError(f"the {name} is {labels.dtype}: expected integer labels, or two boolean masks.")
    if prediction.shape != reference.shape:
        raise ShapeError(
            f"prediction {prediction.shape} and reference {reference.shape} differ in shape: resample the "
            "prediction to the reference's grid with nearest interpolation."
        )
    if classes == "present" or 0 not in classes:
        box = bounding_box((prediction != 0) | (reference != 0))
        prediction, reference = prediction[box], reference[box]
    if classes == "present":
        classes = [int(each) for each in np.union1d(prediction, reference) if each != 0]
    for each in classes:
        yield each, Comparison(prediction=prediction == each, reference=reference == each, spacing=spacing)
