"""One predicted mask against one reference: what the metrics share is computed once, and only if asked."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.spatial import cKDTree

from edgewise.errors import LabelError, ShapeError
from edgewise.maps.base import checked_spacing
from edgewise.types import Mask, Spacing

Distances = tuple[Float[ndarray, " p"], Float[ndarray, " r"]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """A predicted and a reference mask on the same grid.

    Attributes:
        prediction: (*space) bool, two or three axes.
        reference: (*space) bool, same shape.
        spacing: voxel size along each axis, in mm.
    """

    prediction: ndarray
    reference: ndarray
    spacing: Spacing

    def __post_init__(self) -> None:
        """Refuse what cannot be compared.

        Raises:
            LabelError: a mask is not boolean.
            ShapeError: the shapes differ.
            SpacingError: `spacing` does not fit.
        """
        for mask in (self.prediction, self.reference):
            if mask.dtype != np.bool_:
                raise LabelError(f"a mask is {mask.dtype}: expected bool. Compare labels first: `labels == 2`.")
        if self.prediction.shape != self.reference.shape:
            raise ShapeError(
                f"prediction {self.prediction.shape} and reference {self.reference.shape} differ in shape: "
                "resample the prediction to the reference's grid with nearest interpolation."
            )
        checked_spacing(self.spacing, self.prediction.ndim)

    @cached_property
    def voxels(self) -> tuple[int, int, int]:
        """Number of voxels of the prediction, of the reference, and of both at once."""
        prediction, reference = self._crops
        both = np.count_nonzero(prediction & reference)
        return int(np.count_nonzero(prediction)), int(np.count_nonzero(reference)), int(both)

    @cached_property
    def gaps(self) -> Distances:
        """Distances in mm from each border voxel of one mask to the nearest border voxel of the other.

        Border voxels are those that an erosion with face connectivity removes (4 neighbours in 2D, 6 in 3D);
        outside the array is background, so a mask that touches the edge has a border there. Distances join
        voxel centres.

        Returns:
            (from the prediction, from the reference), float64, in the order of the border voxels. Where the
            other mask is empty every distance is `inf`; an empty mask has no distances.
        """
        prediction, reference = (_border(mask) for mask in self._crops)
        shared = prediction & reference  # their distance is 0: most voxels of a good prediction need no search
        points = [np.argwhere(border) * np.asarray(self.spacing) for border in (prediction, reference)]
        return (
            _nearest(points[0], points[1], shared[prediction]),
            _nearest(points[1], points[0], shared[reference]),
        )

    @cached_property
    def _crops(self) -> tuple[Mask, Mask]:
        """Both masks on the smallest box that holds both."""
        box = bounding_box(self.prediction | self.reference)
        return self.prediction[box], self.reference[box]


def bounding_box(mask: Bool[ndarray, "..."]) -> tuple[slice, ...]:
    """The smallest box that holds every voxel of `mask`; empty where the mask is."""
    box: list[slice] = []
    for axis in range(mask.ndim):
        crop = mask[tuple(box)]
        others = tuple(other for other in range(mask.ndim) if other != axis)
        used = np.flatnonzero(crop.any(axis=others))
        box.append(slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 0))
    return tuple(box)


def _border(mask: Bool[ndarray, "..."]) -> Bool[ndarray, "..."]:
    inside = mask.copy()
    for axis in range(mask.ndim):
        forward, here = np.moveaxis(inside, axis, 0), np.moveaxis(mask, axis, 0)
        forward[1:] &= here[:-1]
        forward[:-1] &= here[1:]
        forward[:1] = forward[-1:] = False
    border: Mask = mask & ~inside
    return border


def _nearest(
    start: Float[ndarray, "n d"], end: Float[ndarray, "m d"], shared: Bool[ndarray, " n"]
) -> Float[ndarray, " n"]:
    if not len(end):
        return np.full(len(start), np.inf)
    distances = np.zeros(len(start))
    if not shared.all():
        tree = cKDTree(end, balanced_tree=False, compact_nodes=False)
        distances[~shared] = tree.query(start[~shared])[0]
    return distances
