"""The cross entropy with a penalty at the boundaries."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from typing_extensions import override

from edgewise.losses.base import Loss
from edgewise.maps.penalty import Penalty, penalty
from edgewise.truth import Truth
from edgewise.types import Logits, Scalar


@dataclass(frozen=True, kw_only=True)
class PenalisedCrossEntropy(Loss):
    r"""Cross entropy that weighs more near boundaries: $-\frac{1}{B|\Omega|} \sum_{b,x} (1+\Phi(x)) \log p_{t(x)}(x)$.

    $\Phi \ge 0$ is largest at the boundary, on both sides of it, and 0 for the deepest voxels of every part. The raw
    penalty is in mm: with large voxels it outweighs the 1, and a large structure weighs more than a small one.

    Attributes:
        map: $\Phi$; see `edgewise.maps.Penalty` for its scale and its parts.
    """

    kind: Literal["penalised_cross_entropy"] = "penalised_cross_entropy"
    map: Penalty = penalty
    source: ClassVar[str] = "Caliva et al. 2019, arXiv:1908.03679"

    @property
    @override
    def needs(self) -> tuple[Penalty, ...]:
        """The penalty."""
        return (self.map,)

    @override
    def of(self, log_p: Logits, truth: Truth) -> Scalar:
        return truth.mean(-truth.own(log_p) * (1 + truth.maps[self.map]))
