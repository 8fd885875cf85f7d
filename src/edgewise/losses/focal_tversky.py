"""The focal Tversky loss."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from typing_extensions import override

from edgewise.errors import ExperimentError
from edgewise.losses.base import Loss
from edgewise.losses.overlap import Overlap, averaged, check_eps, softened_power
from edgewise.losses.tversky import check_tversky, tversky_distance
from edgewise.truth import Truth
from edgewise.types import Logits, PerClass, Scalar


@dataclass(frozen=True, kw_only=True)
class FocalTversky(Loss):
    r"""The Tversky loss of every class to a power, then averaged over classes (and the batch, unless pooled).

    $$L = \frac{1}{BC} \sum_{b,c} (1 - T_c)^{1/\gamma}$$

    with $T_c$ as in `Tversky`. In [0, 1]; 0 at the reference. The exponent is the paper's: $\gamma > 1$ makes it
    less than 1, so that the slope grows as a class gets better, without bound at $T_c = 1$. There, where
    $1 - T_c < 10^{-6}$, we go on with a straight line, so that the gradient stays finite. $\gamma < 1$ does what
    "focal" says of other losses: it lets classes that are good already count less. $\gamma = 1$ is `Tversky`.

    The paper's $\alpha$ weighs false negatives (0.7) and its $\beta$ false positives. Here the names are those of
    `Tversky`, and the defaults mean the same.

    Attributes:
        alpha: weight of what is predicted and not there; not negative.
        beta: weight of what is there and not predicted; not negative, and above 0 if `alpha` is not.
        gamma: the exponent is one over it; positive.
        background: whether class 0 counts as a class.
        batch: one overlap an image (`each`), or one for the whole batch (`pooled`).
        eps: added to both sides of the fraction, in voxels; positive.
    """

    kind: Literal["focal_tversky"] = "focal_tversky"
    alpha: float = 0.3
    beta: float = 0.7
    gamma: float = 4 / 3
    background: bool = True
    batch: Literal["each", "pooled"] = "each"
    eps: float = 1e-5
    needs: ClassVar = ()
    takes: ClassVar = "logits"
    source: ClassVar[str] = "Abraham & Khan 2019, doi:10.1109/ISBI.2019.8759329, arXiv:1810.07842"

    def __post_init__(self) -> None:
        check_eps(self.kind, self.eps)
        check_tversky(self.kind, self.alpha, self.beta)
        if not 0 < self.gamma < math.inf:
            raise ExperimentError(f"focal_tversky: gamma is {self.gamma}, but must be positive and finite.")

    @override
    def of(self, log_p: Logits, truth: Truth) -> Scalar:
        overlap = Overlap.of(log_p, truth)
        return averaged(self._cost, overlap, truth, background=self.background, batch=self.batch)

    def _cost(self, overlap: Overlap) -> PerClass:
        return softened_power(tversky_distance(overlap, self.alpha, self.beta, self.eps), 1 / self.gamma)
