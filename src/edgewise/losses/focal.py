"""The focal loss."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from typing_extensions import override

from edgewise.errors import ExperimentError
from edgewise.losses.base import Loss
from edgewise.losses.class_weights import check_class_weights, class_weights
from edgewise.truth import Truth
from edgewise.types import Logits, Scalar


@dataclass(frozen=True, kw_only=True)
class Focal(Loss):
    r"""Cross entropy in which voxels that are right already count little, a mean over batch and voxels.

    $$L = -\frac{1}{B|\Omega|} \sum_{b,x} \alpha_{t(x)}\, (1 - p_{t(x)}(x))^\gamma \log p_{t(x)}(x)$$

    Not negative; 0 at the reference alone. It is the softmax form for classes that exclude each other;
    $\gamma = 0$ is the cross entropy. MONAI's `FocalLoss(use_softmax=True)` also divides by the number of classes.

    Attributes:
        gamma: $\gamma$, not negative.
        alpha: one factor a class, background first, which is not divided by its sum; `()` for 1 each.
    """

    kind: Literal["focal"] = "focal"
    gamma: float = 2.0
    alpha: tuple[float, ...] = ()
    needs: ClassVar = ()
    source: ClassVar[str] = "Lin et al. 2017, arXiv:1708.02002"

    def __post_init__(self) -> None:
        check_class_weights(self.kind, "alpha", self.alpha)
        if not 0 <= self.gamma < math.inf:
            raise ExperimentError(f"focal: gamma is {self.gamma}, but must be finite and not negative.")

    @override
    def of(self, log_p: Logits, truth: Truth) -> Scalar:
        own = truth.own(log_p)
        doubt = -own.expm1()  # 1 - p, exact near p = 1
        losses = doubt.clamp(min=1e-12).pow(self.gamma) * -own  # not 0: 0^gamma has no slope for gamma < 1
        if self.alpha:
            losses = losses * class_weights(self.alpha, truth, losses)[truth.labels]
        return truth.mean(losses)
