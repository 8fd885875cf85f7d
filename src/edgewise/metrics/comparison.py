"""One predicted mask against one reference: what the metrics share is computed once, and only if asked."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from edgewise.errors import LabelError, ShapeError
from edgewise.maps.base import checked_spacing
from edgewise.metrics.borders import Border, Directed, Edge
from edgewise.metrics.census import Box, Census
from edgewise.metrics.search import gaps
from edgewise.types import Spacing

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """A predicted and a reference mask on the same grid, as the crop that holds both.

    Build it with `Comparison.of`, which crops.

    Attributes:
        prediction: (*crop) bool, two or three axes.
        reference: (*crop) bool, same shape.
        spacing: voxel size along each axis, in mm.
        start: where the crop begins in the image.
        image: shape of the image.
        border: what counts as border: see `edgewise.metrics.borders`.
        edge: whether a structure that the image's edge cuts has a border there.
    """

    prediction: ndarray
    reference: ndarray
    spacing: Spacing
    start: tuple[int, ...]
    image: tuple[int, ...]
    border: Border = "faces"
    edge: Edge = "background"
    _kept: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    @staticmethod
    def of(
        prediction: ndarray,
        reference: ndarray,
        spacing: Spacing,
        *,
        border: Border = "faces",
        edge: Edge = "background",
    ) -> "Comparison":
        """Compare two masks of whole images.

        Args:
            prediction: (*space) bool, two or three axes.
            reference: (*space) bool, same shape.
            spacing: voxel size along each axis, in mm.
            border: what counts as border.
            edge: whether a structure that the image's edge cuts has a border there.

        Raises:
            LabelError: a mask is not boolean.
            ShapeError: the shapes differ.
            SpacingError: `spacing` does not fit.
        """
        for mask in (prediction, reference):
            if mask.dtype != np.bool_:
                raise LabelError(f"a mask is {mask.dtype}: expected bool. Compare labels first: `labels == 2`.")
        require_one_grid(prediction, reference)
        sizes = checked_spacing(spacing, reference.ndim)
        box = Census.of(prediction, reference).box((1,))
        return Comparison(
            prediction=prediction[box],
            reference=reference[box],
            spacing=sizes,
            start=tuple(part.start for part in box),
            image=reference.shape,
            border=border,
            edge=edge,
        )

    @cached_property
    def voxels(self) -> tuple[int, int, int]:
        """Numbers of voxels of the prediction, of the reference, and of both at once."""
        prediction, reference = self.prediction, self.reference
        both = np.count_nonzero(prediction & reference)
        return int(np.count_nonzero(prediction)), int(np.count_nonzero(reference)), int(both)

    @cached_property
    def gaps(self) -> tuple[Directed, Directed]:
        """Distances in mm from each border element of one mask to the nearest border element of the other.

        Returns:
            (from the prediction, from the reference). Where the other mask is empty every distance is `inf`; an
            empty mask has no distances.
        """
        return gaps(self)

    def once(self, key: Hashable, build: Callable[[], T]) -> T:
        """What `build` returns; built at the first call with `key`, kept for the others."""
        if key not in self._kept:
            self._kept[key] = build()
        kept: T = self._kept[key]
        return kept


def require_one_grid(prediction: ndarray, reference: ndarray) -> None:
    """Refuse images of different shapes.

    Raises:
        ShapeError: the shapes differ.
    """
    if prediction.shape != reference.shape:
        raise ShapeError(
            f"prediction {prediction.shape} and reference {reference.shape} differ in shape: resample the "
            "prediction to the reference's grid with nearest interpolation."
        )


def bounding_box(mask: Bool[ndarray, "..."]) -> Box:
    """The smallest box that holds every voxel of `mask`; empty where the mask is."""
    box: list[slice] = []
    for axis in range(mask.ndim):
        crop = mask[tuple(box)]
        others = tuple(other for other in range(mask.ndim) if other != axis)
        used = np.flatnonzero(crop.any(axis=others))
        box.append(slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 0))
    return tuple(box)
