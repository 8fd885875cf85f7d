"""The blob loss."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from typing_extensions import override

from edgewise.losses.base import Loss
from edgewise.losses.component_sums import check_shares, mean_over_components, over_components, sums
from edgewise.losses.dice import Dice
from edgewise.losses.overlap import check_eps
from edgewise.maps.components import component, most_components
from edgewise.truth import Truth
from edgewise.types import Logits, Scalar


@dataclass(frozen=True, kw_only=True)
class Blob(Loss):
    r"""The Dice loss, plus the mean Dice loss of every single connected component with the others masked out.

    $$L = \alpha\, L_{Dice} + \frac{\beta}{B} \sum_b \frac{1}{C_b} \sum_c \frac{1}{K_c} \sum_{k=1}^{K_c}
    \left[ 1 - \frac{2 \sum_{x \in k} p_c}{\sum_{x \in k} p_c + \sum_{t(x) \ne c} p_c + n_k} \right]$$

    A component $k$ of class $c$ has $n_k$ voxels; the voxels of the other components of its class are left out, all
    other voxels of the image count. A small lesion thus weighs as much as a large one, and a false positive once for
    every component. $L_{Dice}$ is the Dice loss of the foreground classes, each image by itself. Not negative; 0
    at the reference alone.

    The paper has one foreground class; several are averaged as in Kundu et al. 2026, arXiv:2604.24276, each against
    all others. $C_b$ counts the foreground classes that are there: a class without a component has a Dice loss, but no
    blob term, and the mean over images is one over those with components, as in the authors' code.

    Attributes:
        alpha: weight of the Dice loss.
        beta: weight of the blob term; both not negative, and not both 0.
        eps: added to both sides of the fraction of $L_{Dice}$, in voxels; positive. The blob term needs none.
    """

    kind: Literal["blob"] = "blob"
    alpha: float = 2.0
    beta: float = 1.0
    eps: float = 1e-5
    needs: ClassVar = (component,)
    source: ClassVar[str] = "Kofler et al. 2023, arXiv:2205.08209"

    def __post_init__(self) -> None:
        check_shares(self.kind, alpha=self.alpha, beta=self.beta)
        check_eps(self.kind, self.eps)

    @override
    def of(self, log_p: Logits, truth: Truth) -> Scalar:
        total = log_p.new_zeros(())
        if self.alpha:
            total = total + self.alpha * Dice(background=False, eps=self.eps).of(log_p, truth)
        if self.beta:
            total = total + self.beta * _blobs(log_p, truth)
        return total


def _blobs(log_p: Logits, truth: Truth) -> Scalar:
    labels = truth.labels
    index = truth.maps[component].flatten(1).long()
    bins = most_components(tuple(labels.shape[1:]), truth.classes - 1) + 1
    p = log_p.exp()
    # Summed without the class itself, not as a difference: beside a large lesion that would drown a small one. Unknown
    # voxels are no component, and the foreground has no probability there.
    outside = p.scatter(1, labels[:, None], 0.0).flatten(2).sum(-1).double()
    both = sums(truth.own(p), index, bins)
    size = sums(torch.ones_like(labels, dtype=torch.bool), index, bins)
    classes = torch.zeros_like(size, dtype=torch.int64).scatter(1, index, labels.flatten(1))
    dice = 2 * both / (both + outside.gather(1, classes) + size.clamp(min=1))
    means, number = mean_over_components(1 - dice, classes, size > 0, truth)
    return over_components(means, number, truth, log_p)
