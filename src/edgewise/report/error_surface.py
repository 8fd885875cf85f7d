"""The surface of a predicted structure, and how far it lies from that of the reference."""

from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Integer
from numpy import ndarray

from edgewise.errors import ShapeError
from edgewise.maps.base import checked_spacing
from edgewise.maps.edt_cpu import inside_distance
from edgewise.metrics.comparison import Comparison
from edgewise.types import Spacing

SMOOTHINGS = 8
SHRINK, GROW = 0.5, -0.53
"""Steps of Taubin's filter: what the first takes from a small structure the second gives back."""
Vertices: TypeAlias = Float[ndarray, "n 3"]
Faces: TypeAlias = Integer[ndarray, "m 4"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Surface:
    """A closed surface of quadrilaterals, each with its distance to another surface.

    Attributes:
        vertices: (n, 3) in mm along x, y, z; the centre of voxel (0, 0, 0) is the origin.
        faces: (m, 4) the vertices of each face, counter-clockwise seen from outside.
        distances: (m) in mm from the border voxel under the face to the nearest border voxel of the reference;
            `inf` where there is no reference. Their maximum is the directed Hausdorff distance.
    """

    vertices: ndarray
    faces: ndarray
    distances: ndarray

    def at_vertices(self) -> ndarray:
        """(n) the mean distance of the faces that meet in each vertex, in mm."""
        corners, count = self.faces.ravel(), len(self.vertices)
        sums = np.bincount(corners, np.repeat(self.distances, 4), count)
        mean: ndarray = sums / np.bincount(corners, minlength=count)
        return mean


def surface_error(prediction: ndarray, reference: ndarray, spacing: Spacing) -> Surface:
    """The surface of the prediction with its distance to the border of the reference.

    One face for every face of a voxel between the prediction and what is around it (outside the image is
    background), in the manner of surface nets: a vertex lies in the cell between eight voxel centres, first in its
    middle, then smoothed (Taubin's filter, which keeps the volume of small structures) without leaving the cell.

    Args:
        prediction: (x, y, z) bool.
        reference: (x, y, z) bool, same shape.
        spacing: voxel size along x, y, z in mm.

    Returns:
        The surface; it has no faces where the prediction is empty. Border voxels and distances are those of
        `edgewise.metrics` ("faces"), computed with the distance transform of `edgewise.maps`: exact to 1e-6.

    Raises:
        LabelError: a mask is not boolean.
        ShapeError: the shapes differ, or there are not three axes.
        SpacingError: `spacing` does not fit.

    Example:
        >>> mask = np.zeros((5, 5, 5), bool)
        >>> mask[2, 2, 2] = True
        >>> voxel = surface_error(mask, np.roll(mask, 1, axis=2), (1.0, 1.0, 2.5))
        >>> voxel.vertices.shape, voxel.faces.shape, voxel.distances.tolist()
        ((8, 3), (6, 4), [2.5, 2.5, 2.5, 2.5, 2.5, 2.5])

    Source:
        Gibson 1998, Constrained elastic surface nets, doi:10.1007/BFb0056277; Taubin 1995, doi:10.1145/218380.218473.
    """
    if prediction.ndim != 3:
        raise ShapeError(f"a surface needs three axes, not {prediction.ndim}: pass a volume.")
    crop = Comparison.of(prediction, reference, checked_spacing(spacing, 3))
    cells, faces, voxels = _net(np.pad(crop.prediction, 1))
    vertices = _smoothed(cells, faces)
    distance = _to_border(crop.reference, crop.spacing)
    return Surface(
        vertices=(vertices - 1 + np.array(crop.start)) * np.array(crop.spacing),
        faces=faces,
        distances=distance[tuple((voxels - 1).T)].astype(np.float64),
    )


def _to_border(reference: Bool[ndarray, "x y z"], spacing: Spacing) -> Float[ndarray, "x y z"]:
    """Distance in mm of every voxel to the nearest border voxel of the reference."""
    padded = np.pad(reference, 1)
    inside = padded.copy()
    for axis in range(3):
        inside &= np.roll(padded, 1, axis) & np.roll(padded, -1, axis)
    border = (padded & ~inside)[1:-1, 1:-1, 1:-1]
    if not border.any():
        return np.full(border.shape, np.inf)
    distance = inside_distance(border[None].astype(np.uint8), spacing, 1)[0]
    return np.where(border, 0.0, distance)


def _net(mask: Bool[ndarray, "x y z"]) -> tuple[ndarray, ndarray, ndarray]:
    """Cells that the surface passes (n, 3), faces as numbers of cells (m, 4), and the voxel under each face (m, 3)."""
    owners, corners = [], []
    for axis, outwards in product(range(3), (1, -1)):
        out = np.roll(mask, -outwards, axis)  # the margin of False keeps the ends apart
        voxels = np.argwhere(mask & ~out)
        owners.append(voxels)
        corners.append(_cells_about(voxels, axis, outwards))
    faces = np.concatenate(corners)
    flat = np.ravel_multi_index(tuple(faces.reshape(-1, 3).T), mask.shape)
    numbers, places = np.unique(flat, return_inverse=True)
    cells = np.stack(np.unravel_index(numbers, mask.shape), axis=1)
    return cells, places.reshape(-1, 4), np.concatenate(owners)


def _cells_about(voxels: ndarray, axis: int, outwards: int) -> ndarray:
    """The four cells about the edge from a voxel's centre to its neighbour's, counter-clockwise from outside.

    A cell is named by its lowest corner.
    """
    first, second = (axis + 1) % 3, (axis + 2) % 3
    ring = [(-1, -1), (0, -1), (0, 0), (-1, 0)][::outwards]
    around = np.zeros((4, 3), int)
    around[:, axis] = 0 if outwards > 0 else -1
    around[:, first], around[:, second] = np.array(ring).T
    cells: ndarray = voxels[:, None] + around
    return cells


def _smoothed(cells: ndarray, faces: Faces) -> Vertices:
    """A vertex in each cell: in its middle, then smoothed, but kept within the cell."""
    vertices = cells + 0.5
    ends = np.concatenate([faces[:, (corner, (corner + 1) % 4)] for corner in range(4)])
    count = np.bincount(ends[:, 0], minlength=len(vertices))[:, None]
    for step in (SHRINK, GROW) * (SMOOTHINGS if len(faces) else 0):
        sums = [np.bincount(ends[:, 0], vertices[ends[:, 1], axis], len(vertices)) for axis in range(3)]
        vertices += step * (np.stack(sums, axis=1) / count - vertices)
        np.clip(vertices, cells, cells + 1, out=vertices)
    return vertices
