"""The cross entropy."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from typing_extensions import override

from edgewise.losses.base import Loss
from edgewise.truth import Truth
from edgewise.types import Logits, Scalar


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(Loss):
    r"""Minus the log-probability of the true class: $-\frac{1}{B|\Omega|} \sum_{b,x} \log p_{t(x)}(x)$.

    Mean over batch and voxels, every class alike. An absent class has no term of its own.
    """

    kind: Literal["cross_entropy"] = "cross_entropy"
    needs: ClassVar = ()
    source: ClassVar[str] = "Ronneberger et al. 2015, arXiv:1505.04597"

    @override
    def of(self, log_p: Logits, truth: Truth) -> Scalar:
        return truth.mean(-truth.own(log_p))
