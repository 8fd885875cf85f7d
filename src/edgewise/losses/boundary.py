"""The boundary loss."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from typing_extensions import override

from edgewise.losses.base import Loss
from edgewise.maps.base import DistanceMap
from edgewise.maps.boundary import Boundary as SignedDistance
from edgewise.maps.boundary import boundary
from edgewise.truth import Truth
from edgewise.types import Logits, Scalar


@dataclass(frozen=True, kw_only=True)
class Boundary(Loss):
    r"""Probability times signed distance to the boundary (mm): $\frac{1}{BK|\Omega|} \sum_{b,k,x} p_k(x)\,\phi_k(x)$.

    $\phi_k$ is positive outside the class $k$ and negative inside it, $K$ is the number of classes that count. A
    class that is absent, or fills the image, has no boundary, $\phi_k = 0$ and no part in the loss. Take it
    together with a region loss, as its authors do (`compound.gradual`): alone, with three classes or more, it
    pushes up several classes of a voxel at once (see `RegionWise`, which it equals where all classes count).

    Attributes:
        background: whether class 0 counts as a class. Where it does not, a structure that is missed costs nothing but
            the reward for its inside.
        map: $\phi$; with `offset="one_voxel"` as in the authors' code the voxels just inside the boundary are 0, so
            that a structure one or two voxels thick is not rewarded at all.
    """

    kind: Literal["boundary"] = "boundary"
    background: bool = False
    map: SignedDistance = boundary
    source: ClassVar[str] = "Kervadec et al. 2021, doi:10.1016/j.media.2020.101851"

    @property
    @override
    def needs(self) -> tuple[DistanceMap, ...]:
        """The signed distances."""
        return (self.map,)

    @override
    def of(self, log_p: Logits, truth: Truth) -> Scalar:
        first = 0 if self.background else 1
        return truth.mean((log_p[:, first:].exp() * truth.maps[self.map][:, first:]).mean(1))
