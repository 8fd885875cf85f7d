"""Cross entropy with a penalty on confident predictions."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from typing_extensions import override

from edgewise.errors import ExperimentError
from edgewise.losses.base import Loss
from edgewise.truth import Truth
from edgewise.types import Logits, Scalar


@dataclass(frozen=True, kw_only=True)
class ConfidencePenalty(Loss):
    r"""Cross entropy minus the entropy of the prediction, a mean over batch and voxels.

    $$L = \frac{1}{B|\Omega|} \sum_{b,x} \left[-\log p_{t(x)}(x) - \beta H(p(x))\right], \qquad
    H(p) = -\sum_c p_c \log p_c$$

    A certain and right voxel costs 0, yet it is not the minimum: for $\beta > 0$ some doubt is rewarded, and the
    minimum is negative. In natural logarithms, at least $-\beta \log C$.

    Attributes:
        beta: $\beta$, not negative; 0 is the cross entropy.
    """

    kind: Literal["confidence_penalty"] = "confidence_penalty"
    beta: float = 0.1
    needs: ClassVar = ()
    source: ClassVar[str] = "Pereyra et al. 2017, arXiv:1701.06548"

    def __post_init__(self) -> None:
        if not 0 <= self.beta < math.inf:
            raise ExperimentError(f"confidence_penalty: beta is {self.beta}, but must be finite and not negative.")

    @override
    def of(self, log_p: Logits, truth: Truth) -> Scalar:
        entropy = -(log_p.exp() * log_p).sum(1)
        return truth.mean(-truth.own(log_p) - self.beta * entropy)
