"""The soft Dice loss."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from typing_extensions import override

from edgewise.errors import ExperimentError
from edgewise.losses.base import Loss
from edgewise.losses.overlap import Overlap
from edgewise.truth import Truth
from edgewise.types import Logits, PerClass, Scalar


@dataclass(frozen=True, kw_only=True)
class Dice(Loss):
    r"""One minus the soft Dice overlap, averaged over classes (and over the batch, unless pooled).

    $$L = 1 - \frac{1}{BC} \sum_{b,c} \frac{2 \sum_x p_c y_c + \epsilon}{\sum_x p_c + \sum_x y_c + \epsilon}$$

    with $p_c^2$ for $p_c$ in the denominator when it is `squared` ($y_c$ is 0 or 1, its own square).

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
    source: ClassVar[str] = "Milletari et al. 2016, arXiv:1606.04797; Drozdzal et al. 2016, arXiv:1608.04117"

    def __post_init__(self) -> None:
        if not self.eps > 0:
            raise ExperimentError(f"dice: eps is {self.eps}, but must be positive, or an absent class gives 0/0.")

    @override
    def of(self, log_p: Logits, truth: Truth) -> Scalar:
        overlap = Overlap.of(log_p, truth, power=1 if self.denominator == "plain" else 2)
        first = 0 if self.background else 1
        if self.batch == "pooled":
            return 1 - self._score(overlap.pooled(truth))[:, first:].mean()
        return truth.over_images(1 - self._score(overlap)[:, first:])

    def _score(self, overlap: Overlap) -> PerClass:
        return (2 * overlap.both + self.eps) / (overlap.predicted + overlap.true + self.eps)
