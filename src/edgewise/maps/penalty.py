"""Weights that are largest at the boundaries."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from typing_extensions import override

from edgewise.maps.base import DistanceMap
from edgewise.maps.regions import Regions
from edgewise.types import FieldBatch

# Distances are exact to about 1e-6 of themselves: a smaller spread is rounding, which must not be blown up to [0, 1].
CONSTANT = 1e-5


@dataclass(frozen=True, kw_only=True)
class Penalty(DistanceMap):
    r"""Reversed inside distance, heaviest at the boundary: $\Phi(x) = \max_K d_{in} - d_{in}(x)$ for $x \in K$.

    A weight of the voxel, the same for every class, background included. $K$ is the part of the image that the voxel
    belongs to: both sides of every boundary have their own. In mm, or without unit if normalised; not negative, and
    0 for the deepest voxels. 0 for a part of constant depth, such as a line, a single voxel, or a class that fills
    the image.

    Attributes:
        scale: `raw`: as it is, so that large parts weigh more; `normalized`: each part divided by its largest
            weight, $\max_K d_{in} - \min_K d_{in}$, so that all are in [0, 1].
        per: what a part is: a whole `class`, as in the source, or each connected `component` of it, so that a small
            lesion beside a large one has a boundary of its own.
    """

    kind: Literal["penalty"] = "penalty"
    scale: Literal["raw", "normalized"] = "raw"
    per: Literal["class", "component"] = "class"
    elsewhere: ClassVar = "own"
    range: ClassVar = (0.0, math.inf)
    source: ClassVar[str] = "Caliva et al. 2019, arXiv:1908.03679"

    @override
    def of(self, regions: Regions) -> FieldBatch:
        """The weight of each voxel, (B, *space) float32, not negative."""
        parts = regions.by_class if self.per == "class" else regions.components
        depth, deepest = regions.inside, parts.largest(regions.inside)
        if self.scale == "raw":
            return deepest - depth
        heaviest = deepest - parts.smallest(depth)
        constant = heaviest <= CONSTANT * deepest
        return ((deepest - depth) / heaviest.masked_fill(constant, 1.0)).masked_fill(constant, 0.0)


penalty = Penalty()
