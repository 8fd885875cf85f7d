"""The cross entropy of the worst voxels."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from typing_extensions import override

from edgewise.errors import ExperimentError
from edgewise.losses.base import Loss
from edgewise.truth import Truth, per_image
from edgewise.types import Logits, Scalar

_ROUNDING = 1e-6  # 0.29 * 100 is less than 29


@dataclass(frozen=True, kw_only=True)
class TopK(Loss):
    r"""Mean cross entropy of the voxels of the batch in which it is largest.

    $$L = \frac{1}{k} \sum_{i=1}^{k} \ell_{(i)}, \qquad \ell_{(1)} \ge \ell_{(2)} \ge \dots, \quad
    \ell(x) = -w_b \log p_{t(x)}(x), \quad k = \max(1, \lfloor r N \rfloor)$$

    for the $N$ known voxels of the whole batch and the weights $w_b$ of its images. Not negative; 0 at the
    reference alone. Which voxels count is decided anew each time, exactly: nothing is sampled. The others have no
    gradient.

    Attributes:
        fraction: $r$, the share of the voxels that counts, in (0, 1]; 1 is the cross entropy.
    """

    kind: Literal["top_k"] = "top_k"
    fraction: float = 0.1
    needs: ClassVar = ()
    source: ClassVar[str] = "Wu et al. 2016, arXiv:1605.06885; Isensee et al. 2021, doi:10.1038/s41592-020-01008-z"

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ExperimentError(f"top_k: fraction is {self.fraction}, but must be above 0 and at most 1.")

    @override
    def of(self, log_p: Logits, truth: Truth) -> Scalar:
        losses = -truth.own(log_p)
        if not isinstance(truth.weights, str):
            losses = losses * per_image(truth.weights, losses)
        most = max(1, int(self.fraction * losses.numel() + _ROUNDING))
        if isinstance(truth.known, str):
            return losses.flatten().topk(most, sorted=False).values.mean()
        # How many voxels are known is not read back from the device: of the most there can be, the first k count.
        # The others cost 0, being background that is certain (`Loss.of`).
        worst = losses.flatten().topk(most).values
        k = (self.fraction * truth.known.sum().double() + _ROUNDING).floor().clamp(min=1)
        counts = torch.arange(most, device=worst.device) < k
        return worst.where(counts, 0).sum() / k.to(worst.dtype)
