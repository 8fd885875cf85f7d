"""The signed distance to the boundary of each class."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from typing_extensions import override

from edgewise.maps.base import DistanceMap
from edgewise.maps.regions import Regions
from edgewise.types import Maps


@dataclass(frozen=True, kw_only=True)
class Boundary(DistanceMap):
    r"""Signed distance to each class: $\phi_c(x) = +d_c(x)$ outside the class $c$, $-d_{in}(x)$ inside it.

    In mm, one channel a class, background included. 0 everywhere for a class without a boundary: one that is
    absent, or that fills the image.

    Attributes:
        offset: what is subtracted from the distance inside: `none`, so that both sides of the boundary are alike;
            or `one_voxel`: the smallest voxel size, 1 where distances count isotropic voxels. This is how the
            authors' code has it: the voxels just inside the boundary then are 0.
    """

    kind: Literal["boundary"] = "boundary"
    offset: Literal["none", "one_voxel"] = "none"
    channels: ClassVar[Literal["own", "all"]] = "all"
    elsewhere: ClassVar = 0.0
    source: ClassVar[str] = "Kervadec et al. 2021, doi:10.1016/j.media.2020.101851"

    @override
    def of(self, regions: Regions) -> Maps:
        """(B, C, *space) float32."""
        distance = regions.to_boundary
        less = 0.0 if self.offset == "none" else min(regions.spacing)
        # A class that fills the image has no distance to subtract from.
        return distance.where(~regions.masks, (less - distance).clamp(max=0))


boundary = Boundary()
