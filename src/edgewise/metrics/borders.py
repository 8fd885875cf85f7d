"""Borders of masks, and the distances between them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.spatial import cKDTree

from edgewise.types import Mask

if TYPE_CHECKING:
    from edgewise.metrics.comparison import Comparison

Border: TypeAlias = Literal["faces", "edges", "corners", "surfels"]
BORDERS: dict[Border, str] = {
    "faces": "border voxels are those removed by an erosion with face connectivity (4 in 2D, 6 in 3D neighbours)",
    "edges": "border voxels are those removed by an erosion with face and edge connectivity (8 or 18 neighbours)",
    "corners": "border voxels are those removed by an erosion with full connectivity (8 or 26 neighbours)",
    "surfels": "border elements are marching-cubes surface elements at voxel corners, weighted by their area",
}
Edge: TypeAlias = Literal["background", "open"]
EDGES: dict[Edge, str] = {
    "background": "outside the image is background, so a structure that the image cuts has a border there",
    "open": "a structure that the image cuts has no border at the cut",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Directed:
    """Distances from the border of one mask to that of another.

    Attributes:
        distances: (n) in mm.
        weights: (n) what each border element counts: 1 for voxels, the area in mm² for surface elements.
    """

    distances: ndarray
    weights: ndarray


def gaps(comparison: "Comparison") -> tuple[Directed, Directed]:
    """The distances between the borders of a comparison, both ways."""
    prediction, reference = (_border(mask) for mask in (comparison.prediction, comparison.reference))
    shared = prediction & reference  # their distance is 0: most voxels of a good prediction need no search
    points = [np.argwhere(border) * np.asarray(comparison.spacing) for border in (prediction, reference)]
    return (
        _directed(_nearest(points[0], points[1], shared[prediction])),
        _directed(_nearest(points[1], points[0], shared[reference])),
    )


def _directed(distances: Float[ndarray, " n"]) -> Directed:
    return Directed(distances=distances, weights=np.ones_like(distances))


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
