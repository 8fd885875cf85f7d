"""The exponential logarithmic loss."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from typing_extensions import override

from edgewise.errors import ExperimentError
from edgewise.losses.base import Loss
from edgewise.losses.class_weights import check_class_weights, class_weights
from edgewise.losses.overlap import Overlap, averaged, check_eps, softened_power
from edgewise.truth import Truth
from edgewise.types import Logits, PerClass, Scalar


@dataclass(frozen=True, kw_only=True)
class ExponentialLogarithmic(Loss):
    r"""Powers of the logarithms of Dice and of the probabilities, which lift small and hard classes.

    $$L = w_D\, \frac{1}{BC} \sum_{b,c} (-\ln D_c)^\gamma
    + w_X\, \frac{1}{B|\Omega|} \sum_{b,x} \sqrt{\frac{\sum_k f_k}{f_{t(x)}}}\, (-\ln p_{t(x)}(x))^\gamma,
    \qquad D_c = \frac{2 \sum_x p_c y_c + \epsilon}{\sum_x p_c + \sum_x y_c + \epsilon}$$

    with $f_k$ the frequency of class $k$. Not negative; 0 at the reference alone. For $\gamma < 1$ both powers have
    an infinite slope at a perfect answer; where their argument is below $10^{-6}$ a straight line takes their
    place, so that the gradient stays finite. An absent class has $D_c = \epsilon / (\sum_x p_c + \epsilon)$: with
    the paper's `eps` of one voxel and the logarithm it keeps a gradient, unlike in `Dice`.

    Attributes:
        dice: $w_D$, not negative.
        cross_entropy: $w_X$, not negative, and above 0 if `dice` is not.
        gamma: $\gamma$, positive.
        frequencies: how frequent each class is in the training set, background included: positive, as voxels or as
            fractions; empty to count the known voxels of the batch.
        background: whether class 0 counts in the Dice part.
        batch: one Dice an image (`each`), or one for the whole batch (`pooled`).
        eps: added to both sides of the fraction, in voxels; positive.
    """

    kind: Literal["exponential_logarithmic"] = "exponential_logarithmic"
    dice: float = 0.8
    cross_entropy: float = 0.2
    gamma: float = 0.3
    frequencies: tuple[float, ...] = ()
    background: bool = True
    batch: Literal["each", "pooled"] = "each"
    eps: float = 1.0
    needs: ClassVar = ()
    source: ClassVar[str] = "Wong et al. 2018, doi:10.1007/978-3-030-00931-1_70, arXiv:1809.00076"

    def __post_init__(self) -> None:
        check_eps(self.kind, self.eps)
        check_class_weights(self.kind, "frequencies", self.frequencies)
        if 0.0 in self.frequencies:
            raise ExperimentError(f"{self.kind}: frequencies {self.frequencies} must all be above 0.")
        if not (self.dice >= 0 and self.cross_entropy >= 0 and 0 < self.dice + self.cross_entropy < math.inf):
            raise ExperimentError(
                f"{self.kind}: the weights dice {self.dice} and cross_entropy {self.cross_entropy} must be finite and "
                "not negative, and one of them above 0."
            )
        if not 0 < self.gamma < math.inf:
            raise ExperimentError(f"{self.kind}: gamma is {self.gamma}, but must be positive and finite.")

    @override
    def of(self, log_p: Logits, truth: Truth) -> Scalar:
        overlap = Overlap.of(log_p, truth)
        dice = averaged(self._cost, overlap, truth, background=self.background, batch=self.batch)
        if self.frequencies:
            frequencies = class_weights(self.frequencies, truth, log_p)
        else:
            frequencies = overlap.true.sum(0).clamp(min=1)  # an absent class has no voxel to weigh
        weights = (frequencies.sum() / frequencies).sqrt()[truth.labels]
        voxels = truth.mean(weights * softened_power(-truth.own(log_p), self.gamma))
        return self.dice * dice + self.cross_entropy * voxels

    def _cost(self, overlap: Overlap) -> PerClass:
        dice = (2 * overlap.both + self.eps) / (overlap.predicted + overlap.true + self.eps)
        return softened_power(-dice.log(), self.gamma)
