"""Maps of the region-wise loss."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from typing_extensions import override

from edgewise.maps.base import DistanceMap
from edgewise.maps.regions import Regions
from edgewise.types import FieldBatch


@dataclass(frozen=True, kw_only=True)
class Rectified(DistanceMap):
    r"""Minus the inside distance over the largest inside distance of the class in this image.

    $z_c(x) = -d_{in}(x) / \max_{y:\, t(y)=c} d_{in}(y)$ for the voxel's own class $c = t(x)$, and $+1$ for
    every other class. Only the own-class value is stored: one channel, in [-1, 0). A class that fills the
    image, and a class of one voxel, is -1; an absent class has no voxel here, which is +1 everywhere in the
    full form.

    Attributes:
        per: what the largest distance is taken over: the whole `class`, as in the paper, or each connected
            `component` of it, so that a small lesion beside a large one counts fully.
    """

    kind: Literal["rectified"] = "rectified"
    per: Literal["class", "component"] = "class"
    elsewhere: ClassVar = 1.0
    source: ClassVar[str] = "Valverde & Tohka 2022, Eq. 4, doi:10.1016/j.patcog.2022.109208"

    @override
    def of(self, regions: Regions) -> FieldBatch:
        """The own-class value, (B, *space) float32 in [-1, 0)."""
        parts = regions.by_class if self.per == "class" else regions.components
        return -regions.inside / parts.largest(regions.inside)


rectified = Rectified()
