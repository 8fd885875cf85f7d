"""Maps of the region-wise loss."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
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
    range: ClassVar = (-1.0, 1.0)
    source: ClassVar[str] = "Valverde & Tohka 2022, Eq. 4, doi:10.1016/j.patcog.2022.109208"

    @override
    def of(self, regions: Regions) -> FieldBatch:
        """The own-class value, (B, *space) float32 in [-1, 0)."""
        parts = regions.by_class if self.per == "class" else regions.components
        return parts.share(regions.inside).neg_()


@dataclass(frozen=True, kw_only=True)
class ActiveContour(DistanceMap):
    r"""0 for the voxel's own class, 1 for every other: $z_c(x) = 1 - [x \in c]$.

    The active contour loss, without its term for the length of the contour, is the region-wise loss with this map
    (Valverde & Tohka 2022, Prop. 1, doi:10.1016/j.patcog.2022.109208). Distances and spacing do not matter. An
    absent class is 1 everywhere, a class that fills the image 0.
    """

    kind: Literal["active_contour"] = "active_contour"
    elsewhere: ClassVar = 1.0
    source: ClassVar[str] = "Chen et al. 2019, doi:10.1109/CVPR.2019.01190"

    @override
    def of(self, regions: Regions) -> FieldBatch:
        """The own-class value, (B, *space) float32 zeros."""
        return torch.zeros(regions.labels.shape, device=regions.labels.device)


@dataclass(frozen=True, kw_only=True)
class NonDistance(DistanceMap):
    r"""-1 for the voxel's own class, +1 for every other: $z_c(x) = 1 - 2\,[x \in c]$.

    The map of Cao et al. 2020 (boundary loss with a non-Euclidean distance constraint), from which that of the
    active contour loss differs by scale and offset. Distances and spacing do not matter. An absent class is 1
    everywhere, a class that fills the image -1.
    """

    kind: Literal["non_distance"] = "non_distance"
    elsewhere: ClassVar = 1.0
    source: ClassVar[str] = "Cao et al. 2020, as Prop. 4 of Valverde & Tohka 2022, doi:10.1016/j.patcog.2022.109208"

    @override
    def of(self, regions: Regions) -> FieldBatch:
        """The own-class value, (B, *space) float32, -1 everywhere."""
        return torch.full(regions.labels.shape, -1.0, device=regions.labels.device)


rectified = Rectified()
active_contour = ActiveContour()
non_distance = NonDistance()
