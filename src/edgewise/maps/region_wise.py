"""Maps of the region-wise loss."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from typing_extensions import override

from edgewise.maps.base import DistanceMap
from edgewise.maps.edt import inside_distance
from edgewise.types import Field, Labels, Spacing


@dataclass(frozen=True, kw_only=True)
class Rectified(DistanceMap):
    r"""Minus the inside distance over the largest inside distance of the class in this image.

    $z_c(x) = -d_{in}(x) / \max_{y:\, t(y)=c} d_{in}(y)$ for the voxel's own class $c = t(x)$, and $+1$ for
    every other class. Only the own-class value is stored: one channel, in [-1, 0). A class that fills the
    image, and a class of one voxel, is -1; an absent class has no voxel here, which is +1 everywhere in the
    full form.
    """

    kind: Literal["rectified"] = "rectified"
    source: ClassVar[str] = "Valverde & Tohka 2022, Eq. 4, doi:10.1016/j.patcog.2022.109208"

    @override
    def of(self, labels: Labels, *, classes: int, spacing: Spacing) -> Field:
        """The own-class value, (*space) float32 in [-1, 0)."""
        inside = inside_distance(labels, spacing)
        index = labels.astype(np.intp, copy=False)
        deepest = np.zeros(classes, dtype=np.float32)
        np.maximum.at(deepest, index.ravel(), inside.ravel())
        inside /= -deepest[index]
        return inside


rectified = Rectified()
