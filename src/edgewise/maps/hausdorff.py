"""Powers of the distance to each class."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from typing_extensions import override

from edgewise.errors import ExperimentError
from edgewise.maps.base import DistanceMap
from edgewise.maps.regions import Regions
from edgewise.types import Maps


@dataclass(frozen=True, kw_only=True)
class Hausdorff(DistanceMap):
    r"""Distance to each class to a power, outside the class: $d_c(x)^\alpha$ where $x \notin c$, 0 where $x \in c$.

    In mm to the power of $\alpha$, one channel a class, background included; not negative. 0 everywhere for a class
    without a boundary: one that is absent, to which there is no distance, or that fills the image. Together with
    squared probabilities this is the one-sided Hausdorff loss (Valverde & Tohka 2022, Prop. 3,
    doi:10.1016/j.patcog.2022.109208).

    Attributes:
        alpha: the power, above 0: the larger, the more the farthest errors count.
    """

    kind: Literal["hausdorff"] = "hausdorff"
    alpha: float = 2.0
    channels: ClassVar[Literal["own", "all"]] = "all"
    elsewhere: ClassVar = 0.0
    range: ClassVar = (0.0, math.inf)
    source: ClassVar[str] = "Karimi & Salcudean 2020, arXiv:1904.10030"

    def __post_init__(self) -> None:
        if not 0 < self.alpha < math.inf:
            raise ExperimentError(f"hausdorff: alpha is {self.alpha}, but must be a finite number above 0.")

    @override
    def of(self, regions: Regions) -> Maps:
        """(B, C, *space) float32, not negative."""
        return regions.to_boundary.masked_fill(regions.masks, 0.0).pow(self.alpha)


hausdorff = Hausdorff()
