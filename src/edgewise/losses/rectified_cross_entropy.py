"""The cross entropy weighted by a region-wise map."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from typing_extensions import override

from edgewise.losses.base import Loss
from edgewise.maps.base import DistanceMap
from edgewise.maps.region_wise import rectified
from edgewise.truth import Truth
from edgewise.types import Logits, Scalar


@dataclass(frozen=True, kw_only=True)
class RectifiedCrossEntropy(Loss):
    r"""Cross entropy times the size of the map: $-\frac{1}{B|\Omega|} \sum_{b,x} |z_{t(x)}(x)|\, \log p_{t(x)}(x)$.

    Of the map only the value of the true class counts. With the rectified map the deepest voxels of every class
    weigh 1, those at its boundary little. An absent class has no term of its own; voxels where the map is 0 count
    for nothing.

    Attributes:
        map: $z$.
    """

    kind: Literal["rectified_cross_entropy"] = "rectified_cross_entropy"
    map: DistanceMap = rectified
    source: ClassVar[str] = "Valverde & Tohka 2022, Section 3.2, doi:10.1016/j.patcog.2022.109208"

    @property
    @override
    def needs(self) -> tuple[DistanceMap, ...]:
        """Its map."""
        return (self.map,)

    @override
    def of(self, log_p: Logits, truth: Truth) -> Scalar:
        field = truth.maps[self.map]
        z = field if self.map.channels == "own" else truth.own(field)
        return truth.mean(-truth.own(log_p) * z.abs())
