"""The soft Dice loss."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from typing_extensions import override

from edgewise.losses.base import Loss
from edgewise.losses.overlap import Overlap, averaged, check_eps
from edgewise.truth import Truth
from edgewise.types import Logits, PerClass, Scalar


@dataclass(frozen=True, kw_only=True)
class Dice(Loss):
    r"""One minus the soft Dice overlap, averaged over classes (and over the batch, unless pooled).

    $$L = 1 - \frac{1}{BC} \sum_{b,c} \frac{2 \sum_x p_c y_c + \epsilon}{\sum_x p_c + \sum_x y_c + \epsilon}$$

    with $p_c^2$ for $p_c$ in the denominator when it is `squared` ($y_c$ is 0 or 1, its own square). The
    squared form is the DSC loss, $1 - 2 p^\top y / (\lVert p \rVert^2 + \lVert y \rVert^2)$: continuous and
    differentiable in $p$ wherever its denominator is not 0. `eps` makes it so there too: 0 if both are empty.
    In [0, 1]; 0 at the reference alone.

    A class absent from the reference contributes $1 - \epsilon / (\sum_x p_c + \epsilon)$: 0 where the
    network predicts none of it, close to 1 with almost no gradient where it predicts much more than `eps`
    voxels of it. `batch="pooled"` makes absent classes rare; a large `eps`, such as 1, gives them a gradient.

    Attributes:
        denominator: `plain` sums, or `squared` as in V-Net.
        background: whether class 0 counts as a class.
        batch: one overlap an image (`each`), or one for the whole batch (`pooled`, nnU-Net's batch Dice).
        eps: added to both sides of the fraction, in voxels; positive.
    """

    kind: Literal["dice"] = "dice"
    denominator: Literal["plain", "squared"] = "plain"
    background: bool = True
    batch: Literal["each", "pooled"] = "each"
    eps: float = 1e-5
    needs: ClassVar = ()
    takes: ClassVar = "logits"
    source: ClassVar[str] = (
        "Milletari et al. 2016, arXiv:1606.04797 (squared); Drozdzal et al. 2016, arXiv:1608.04117 (plain)"
    )

    def __post_init__(self) -> None:
        check_eps(self.kind, self.eps)

    @override
    def of(self, log_p: Logits, truth: Truth) -> Scalar:
        overlap = Overlap.of(log_p, truth, power=1 if self.denominator == "plain" else 2)
        return averaged(self._cost, overlap, truth, background=self.background, batch=self.batch)

    def _cost(self, overlap: Overlap) -> PerClass:
        return 1 - (2 * overlap.both + self.eps) / (overlap.predicted + overlap.true + self.eps)
