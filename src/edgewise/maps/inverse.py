"""Maps that decrease with depth, per connected component: those a distance map regression learns."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from typing_extensions import override

from edgewise.maps.base import DistanceMap
from edgewise.maps.parts import Parts
from edgewise.maps.regions import Regions
from edgewise.types import FieldBatch, Maps

SOURCE = "Li et al. 2020 (LR-Net), doi:10.1007/978-3-030-59861-7_24, arXiv:2501.09116"


@dataclass(frozen=True, kw_only=True)
class Distance(DistanceMap):
    r"""Inside distance on the foreground: $d_{in}(x)$ for the voxel's own class, 0 for every other class.

    In mm; 0 on the background, and for an absent class. A class that fills the image holds the smallest voxel
    size.
    """

    kind: Literal["distance"] = "distance"
    elsewhere: ClassVar = 0.0
    range: ClassVar = (0.0, math.inf)
    source: ClassVar[str] = f"{SOURCE}, O-DM"

    @override
    def of(self, regions: Regions) -> FieldBatch:
        """The own-class value, (B, *space) float32, not negative."""
        return regions.on_foreground(lambda inner: inner.inside.clone())


@dataclass(frozen=True, kw_only=True)
class Inverse(DistanceMap):
    r"""Inside distance turned upside down within each connected component $K$ of the foreground.

    $$\max_K d_{in} + \min_K d_{in} - d_{in}(x), \quad x \in K$$

    and 0 for every other class. The minimum is the 1 of the source where distances count isotropic voxels: the
    voxels next to the boundary hold the largest depth of their component, the deepest its smallest. In mm; 0 on
    the background, and for an absent class. A class that fills the image holds the smallest voxel size.
    """

    kind: Literal["inverse"] = "inverse"
    elsewhere: ClassVar = 0.0
    range: ClassVar = (0.0, math.inf)
    source: ClassVar[str] = f"{SOURCE}, I-DM"

    @override
    def of(self, regions: Regions) -> FieldBatch:
        """The own-class value, (B, *space) float32, not negative."""
        return regions.on_foreground(_inverse)


@dataclass(frozen=True, kw_only=True)
class NormalizedInverse(DistanceMap):
    r"""Inverse distance over the largest depth of each connected component $K$ of the foreground.

    $$\frac{\max_K d_{in} + \min_K d_{in} - d_{in}(x)}{\max_K d_{in}}, \quad x \in K$$

    and 0 for every other class. Without unit, in (0, 1] on the foreground whatever the size of the component:
    exactly 1 for the voxels nearest to the boundary (the minimum is the 1 of the source where distances count
    isotropic voxels), least for the deepest. 0 on the background, and for an absent class. A class that fills the
    image, and a component of one voxel, is 1.
    """

    kind: Literal["normalized_inverse"] = "normalized_inverse"
    elsewhere: ClassVar = 0.0
    range: ClassVar = (0.0, 1.0)
    source: ClassVar[str] = f"{SOURCE}, NI-DM, Eq. 1"

    @override
    def of(self, regions: Regions) -> FieldBatch:
        """The own-class value, (B, *space) float32 in [0, 1]."""
        return regions.on_foreground(_normalized_inverse)


@dataclass(frozen=True, kw_only=True)
class SignedNormalizedInverse(DistanceMap):
    r"""As `NormalizedInverse` inside each foreground class $c$, and the negative of the like outside it.

    $$-\frac{\max_{y \notin c} d_c + \min_{y \notin c} d_c - d_c(x)}{\max_{y \notin c} d_c}, \quad x \notin c$$

    with $d_c$ the distance to the class, and the extremes over all voxels of the image outside it. Without unit,
    in [-1, 1]: 1 and -1 on the two sides of the boundary, nearest to 0 far from it. The channel of the background
    is 0. An absent class is 0 everywhere, a class that fills the image 1.
    """

    kind: Literal["signed_normalized_inverse"] = "signed_normalized_inverse"
    channels: ClassVar[Literal["own", "all"]] = "all"
    elsewhere: ClassVar = 0.0
    range: ClassVar = (-1.0, 1.0)
    source: ClassVar[str] = f"{SOURCE}, SNI-DM"

    @override
    def of(self, regions: Regions) -> Maps:
        """(B, C, *space) float32 in [-1, 1]."""
        inside = regions.on_foreground(_normalized_inverse)
        channels = [torch.zeros_like(inside)]
        for each in range(1, regions.classes):
            own = regions.masks[:, each]
            distance = regions.to_boundary[:, each]
            sides = Parts(index=own.byte(), count=2)
            # Only a class without a boundary has no distance; it is 0 outside, if it has an outside.
            smallest, largest = sides.smallest(distance), sides.largest(distance)
            outside = -_reversed(distance, smallest, largest) / largest.clamp(min=torch.finfo(largest.dtype).tiny)
            channels.append(inside.where(own, outside))
        return torch.stack(channels, 1)


def _inverse(regions: Regions) -> FieldBatch:
    depth, parts = regions.inside, regions.objects
    return _reversed(depth, parts.smallest(depth), parts.largest(depth))


def _normalized_inverse(regions: Regions) -> FieldBatch:
    share = regions.objects.share_above_smallest(regions.inside)
    return torch.sub(1, share, out=share)


def _reversed(distance: FieldBatch, smallest: FieldBatch, largest: FieldBatch) -> FieldBatch:
    """In this order of operations the smallest distance becomes exactly the largest."""
    return largest - (distance - smallest)


distance = Distance()
inverse = Inverse()
normalized_inverse = NormalizedInverse()
signed_normalized_inverse = SignedNormalizedInverse()
