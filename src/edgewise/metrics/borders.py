"""What counts as the border of a mask: the choice on which implementations differ most."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from numpy import ndarray

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
    """Distances from the border of one mask to that of another, in no particular order.

    Attributes:
        distances: (n) in mm; infinite where the other mask has no border.
        weights: (n) what each border element counts: 1 for voxels; the area in mm² of a surface element (in 2D
            the length in mm).
    """

    distances: ndarray
    weights: ndarray
