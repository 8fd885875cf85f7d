"""The Tversky loss."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from typing_extensions import override

from edgewise.errors import ExperimentError
from edgewise.losses.base import Loss
from edgewise.losses.overlap import Overlap, averaged, check_eps
from edgewise.truth import Truth
from edgewise.types import Logits, PerClass, Scalar


@dataclass(frozen=True, kw_only=True)
class Tversky(Loss):
    r"""One minus the soft Tversky index, averaged over classes (and over the batch, unless pooled).

    $$L = 1 - \frac{1}{BC} \sum_{b,c} T_c, \qquad
    T_c = \frac{TP_c + \epsilon}{TP_c + \alpha\,FP_c + \beta\,FN_c + \epsilon}$$

    with $TP_c = \sum_x p_c y_c$, $FP_c = \sum_x p_c (1 - y_c)$ and $FN_c = \sum_x (1 - p_c) y_c$. In [0, 1]; 0 at the
    reference. $\alpha = \beta = 1/2$ is Dice with twice the `eps`, $\alpha = \beta = 1$ is Jaccard. An absent class
    is treated as in `Dice`. What one class misses another has too much of, so with two classes, both counted,
    $\alpha$ and $\beta$ partly cancel; `background=False` is the binary form of the paper.

    Attributes:
        alpha: weight of what is predicted and not there; not negative.
        beta: weight of what is there and not predicted; not negative, and above 0 if `alpha` is not.
        background: whether class 0 counts as a class.
        batch: one overlap an image (`each`), or one for the whole batch (`pooled`).
        eps: added to both sides of the fraction, in voxels; positive.
    """

    kind: Literal["tversky"] = "tversky"
    alpha: float = 0.3
    beta: float = 0.7
    background: bool = True
    batch: Literal["each", "pooled"] = "each"
    eps: float = 1e-5
    needs: ClassVar = ()
    takes: ClassVar = "logits"
    source: ClassVar[str] = "Salehi et al. 2017, arXiv:1706.05721"

    def __post_init__(self) -> None:
        check_eps(self.kind, self.eps)
        check_tversky(self.kind, self.alpha, self.beta)

    @override
    def of(self, log_p: Logits, truth: Truth) -> Scalar:
        overlap = Overlap.of(log_p, truth)
        return averaged(self._cost, overlap, truth, background=self.background, batch=self.batch)

    def _cost(self, overlap: Overlap) -> PerClass:
        return tversky_distance(overlap, self.alpha, self.beta, self.eps)


def tversky_distance(overlap: Overlap, alpha: float, beta: float, eps: float) -> PerClass:
    r"""$1 - T_c$ of every class, as one fraction: nothing is lost where $T_c$ is almost 1."""
    wrong = alpha * (overlap.predicted - overlap.both) + beta * (overlap.true - overlap.both)
    return wrong / (overlap.both + wrong + eps)


def check_tversky(kind: str, alpha: float, beta: float) -> None:
    """Refuse weights of mistakes that are negative, or both 0.

    Raises:
        ExperimentError: `alpha` and `beta` make no loss.
    """
    if not (alpha >= 0 and beta >= 0 and 0 < alpha + beta < math.inf):
        raise ExperimentError(
            f"{kind}: alpha {alpha} and beta {beta} weigh false positives and false negatives: both must be finite "
            "and not negative, and one of them above 0."
        )
