"""The connected components of a mask, for everything that counts, measures or removes them."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

import cc3d
import numpy as np
from jaxtyping import Bool, Integer
from numpy import ndarray

Connectivity: TypeAlias = Literal["faces", "edges", "corners"]
NEIGHBOURS: Mapping[Connectivity, Mapping[int, Literal[4, 6, 8, 18, 26]]] = {
    "faces": {2: 4, 3: 6},
    "edges": {2: 8, 3: 18},
    "corners": {2: 8, 3: 26},
}


def numbered(mask: Bool[ndarray, "*space"], connectivity: Connectivity) -> tuple[Integer[ndarray, "*space"], int]:
    """The connected components of a mask.

    Args:
        mask: (*space) bool, two or three axes.
        connectivity: which voxels are neighbours.

    Returns:
        (*space) the number of the component of each voxel, from 1, and 0 on the background; and how many there are.
        Which component gets which number is not defined.
    """
    neighbours = NEIGHBOURS[connectivity][mask.ndim]
    # cc3d 4.1.1 makes too little room for as many components as can be in a thin volume, such as [[[1, 0, 1]]].
    roomy = np.pad(mask, [(0, 1)] * mask.ndim)
    # Its faster way for two values, which it takes for every bool array, marks background voxels in 2D, where corners
    # are neighbours.
    binary = mask.ndim == 3
    values = roomy if binary else roomy.view(np.uint8)
    numbers, count = cc3d.connected_components(values, connectivity=neighbours, return_N=True, binary_image=binary)
    inside = numbers[(slice(-1),) * mask.ndim]
    return (inside if count else np.zeros(mask.shape, np.uint16)), int(count)
