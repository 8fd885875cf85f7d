"""The generalised Dice loss."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from typing_extensions import override

from edgewise.losses.base import Loss
from edgewise.losses.overlap import Overlap, averaged, check_eps
from edgewise.truth import Truth
from edgewise.types import Logits, PerClass, PerImage, Scalar

_EXPONENTS = {"square": 2.0, "simple": 1.0, "uniform": 0.0}


@dataclass(frozen=True, kw_only=True)
class GeneralisedDice(Loss):
    r"""One minus one overlap of all classes, in which small classes weigh more; averaged over the batch.

    $$L = 1 - \frac{1}{B} \sum_b \frac{2 \sum_c w_c \sum_x p_c y_c + \epsilon}
    {\sum_c w_c \left(\sum_x p_c + \sum_x y_c\right) + \epsilon}, \qquad
    w_c = \left(\frac{\min_k n_k}{n_c}\right)^2, \quad n_c = \sum_x y_c$$

    In [0, 1]; 0 at the reference alone. The loss does not depend on the scale of the weights; the paper's
    $1/n_c^2$ are here divided by the largest of them, so that `eps` counts voxels of the smallest class.
    (MONAI's `GeneralizedDiceLoss` adds its `eps` to sums of about $1/n_c$, so large structures hardly count: to miss
    a cube of 80 voxels in one of 160 costs 0.16 there, 0.78 here. With `eps` near 0 both are the same.)

    A class absent from the reference has the weight of the smallest that is there, as in MONAI: what is predicted
    of it counts as much as a mistake about that one. If no class is there at all, which needs
    `background=False`, all weigh 1 (MONAI's weigh 0: any prediction would do).

    Attributes:
        weighting: `square` as above, `simple` without the square, or `uniform`, all 1.
        background: whether class 0 counts as a class.
        batch: one overlap an image (`each`), or one for the whole batch (`pooled`).
        eps: added to both sides of the fraction, in voxels of the smallest class; positive.
    """

    kind: Literal["generalised_dice"] = "generalised_dice"
    weighting: Literal["square", "simple", "uniform"] = "square"
    background: bool = True
    batch: Literal["each", "pooled"] = "each"
    eps: float = 1e-5
    needs: ClassVar = ()
    takes: ClassVar = "logits"
    source: ClassVar[str] = "Sudre et al. 2017, doi:10.1007/978-3-319-67558-9_28, arXiv:1707.03237"

    def __post_init__(self) -> None:
        check_eps(self.kind, self.eps)

    @override
    def of(self, log_p: Logits, truth: Truth) -> Scalar:
        overlap = Overlap.of(log_p, truth)
        return averaged(self._cost, overlap, truth, background=self.background, batch=self.batch)

    def _cost(self, overlap: Overlap) -> PerImage:
        weights = self._weights(overlap.true)
        both = (weights * overlap.both).sum(1)
        sizes = (weights * (overlap.predicted + overlap.true)).sum(1)
        return 1 - (2 * both + self.eps) / (sizes + self.eps)

    def _weights(self, sizes: PerClass) -> PerClass:
        present = sizes > 0
        smallest = sizes.where(present, float("inf")).amin(1, keepdim=True)
        share = (smallest / sizes.where(present, 1)).where(present, 1)
        return share.pow(_EXPONENTS[self.weighting])
