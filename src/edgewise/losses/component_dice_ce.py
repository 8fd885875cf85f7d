"""Dice and cross entropy in the neighbourhood of every connected component."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from typing_extensions import override

from edgewise.losses.base import Loss
from edgewise.losses.component_sums import check_shares, over_components, sums
from edgewise.losses.cross_entropy import CrossEntropy
from edgewise.losses.dice import Dice
from edgewise.losses.overlap import check_eps
from edgewise.maps.components import most_components, nearest_component
from edgewise.truth import Truth
from edgewise.types import FieldBatch, Logits, PerImage, Scalar


@dataclass(frozen=True, kw_only=True)
class ComponentDiceCE(Loss):
    r"""CC-DiceCE: Dice + cross entropy of the image, plus their mean over the Voronoi regions of the components.

    $$L = \alpha\, L_{Dice+CE} + \frac{\beta}{B} \sum_b \frac{1}{C_b} \sum_c \frac{1}{K_c} \sum_{k=1}^{K_c}
    \left[ 1 - \frac{2 \sum_{x \in k} p_c}{\sum_{x \in R_k} p_c + n_k}
    - \frac{1}{|R_k|} \sum_{x \in R_k} \log p_{t(x)} \right]$$

    The region $R_k$ of a component $k$ of class $c$, with $n_k$ voxels, holds what lies nearer to it than to any other
    component of the class, in mm; what lies equally near to two belongs to none. A small lesion weighs as much as a
    large one, and a false positive counts once, for the lesion that it lies nearest to. $L_{Dice+CE}$ is the Dice loss
    of the foreground classes plus the cross entropy, as in nnU-Net. Not negative; 0 at the reference alone.

    The paper has one foreground class; several are averaged as in Kundu et al. 2026, arXiv:2604.24276, each with
    regions of its own. The cross entropy in a region is then that of all classes, which for one foreground class
    is the same as that of the class against the rest. $C_b$ counts the foreground classes that are there: a
    class without a component has no region, and the mean over images is one over those with components. (The authors'
    code takes the whole image for the region then: that term is the global cross entropy once more.)

    Attributes:
        alpha: weight of the Dice and cross entropy of the image.
        beta: weight of the regions; both not negative, and not both 0. 1 each, as in the authors' code.
        eps: added to both sides of the fraction of the global Dice, in voxels; positive. Regions need none.
    """

    kind: Literal["component_dice_ce"] = "component_dice_ce"
    alpha: float = 1.0
    beta: float = 1.0
    eps: float = 1e-5
    needs: ClassVar = (nearest_component,)
    source: ClassVar[str] = "Bouteille et al. 2025, arXiv:2511.17146"

    def __post_init__(self) -> None:
        check_shares(self.kind, alpha=self.alpha, beta=self.beta)
        check_eps(self.kind, self.eps)

    @override
    def of(self, log_p: Logits, truth: Truth) -> Scalar:
        total = log_p.new_zeros(())
        if self.alpha:
            whole = Dice(background=False, eps=self.eps).of(log_p, truth) + CrossEntropy().of(log_p, truth)
            total = total + self.alpha * whole
        if self.beta:
            entropy = -truth.own(log_p)
            each = [_regions(log_p, entropy, truth, number) for number in range(truth.classes)]
            means, number = (torch.stack(both, 1) for both in zip(*each, strict=True))
            total = total + self.beta * over_components(means, number, truth, log_p)
        return total


def _regions(log_p: Logits, entropy: FieldBatch, truth: Truth, each: int) -> tuple[PerImage, PerImage]:
    """Mean cost of the regions of one class in each image, and their number."""
    if each == 0:
        none = log_p.new_zeros(len(log_p), dtype=torch.float64)
        return none, none
    bins = most_components(tuple(truth.labels.shape[1:]), 1) + 1
    region = truth.maps[nearest_component][:, each]
    if not isinstance(truth.known, str):
        region = region.where(truth.known, 0)
    index = region.flatten(1).long()
    inside, p = truth.labels == each, log_p[:, each].exp()

    def total(values: Tensor) -> Tensor:
        return sums(values, index, bins)[:, 1:]  # the first bin holds what belongs to no region

    size = total(torch.ones_like(inside))
    dice = 2 * total(p.where(inside, 0)) / total(p + inside).clamp(min=1)
    costs = (1 - dice + total(entropy) / size.clamp(min=1)).where(size > 0, 0)
    number = (size > 0).sum(1).double()
    return costs.sum(1) / number.clamp(min=1), number
