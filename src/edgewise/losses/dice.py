"""The soft Dice loss."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from edgewise.errors import ExperimentError
from edgewise.losses.base import Loss
from edgewise.truth import Truth
from edgewise.types import FieldBatch, LabelBatch, Logits, Scalar

PerClass = Float[Tensor, "B C"]


@dataclass(frozen=True, kw_only=True)
class Dice(Loss):
    r"""One minus the soft Dice overlap, averaged over classes (and over the batch, unless pooled).

    $$L = 1 - \frac{1}{BC} \sum_{b,c} \frac{2 \sum_x p_c y_c + \epsilon}{\sum_x p_c + \sum_x y_c + \epsilon}$$

    with $p_c^2$ for $p_c$ in the denominator when it is `squared` ($y_c$ is 0 or 1, its own square).

    A class absent from the reference contributes $1 - \epsilon / (\sum_x p_c + \epsilon)$: 0 where the
    network predicts none of it, close to 1 with almost no gradient where it predicts much more than `eps`
    voxels of it. `batch="pooled"` makes absent classes rare; a large `eps`, such as 1, gives them a gradient.

    Attributes:
        denominator: `plain` sums, or `squared` as in V-Net.
        background: whether class 0 counts as a class.
        batch: one overlap an image (`each`), or one for the whole batch (`pooled`, nnU-Net's batch Dice).
        eps: added to both sides of the fraction, in voxels; positive.
    """

    kind: Literal["dice"] = "dice"
    denominator: Literal["plain", "squared"] = "plain"
    background: bool = True
    batch: Literal["each", "pooled"] = "each"
    eps: float = 1e-5
    needs: ClassVar = ()
    source: ClassVar[str] = "Milletari et al. 2016, arXiv:1606.04797; Drozdzal et al. 2016, arXiv:1608.04117"

    def __post_init__(self) -> None:
        if not self.eps > 0:
            raise ExperimentError(f"dice: eps is {self.eps}, but must be positive, or an absent class gives 0/0.")

    @override
    def of(self, log_p: Logits, truth: Truth) -> Scalar:
        p = log_p.exp()
        overlap, size = _per_class(p.gather(1, truth.labels[:, None]).squeeze(1), truth.labels, truth.classes)
        predicted = (p if self.denominator == "plain" else p.square()).flatten(2).sum(-1)
        if self.batch == "pooled":
            overlap, size, predicted = (each.sum(0, keepdim=True) for each in (overlap, size, predicted))
        first = 0 if self.background else 1
        score = (2 * overlap + self.eps) / (predicted + size + self.eps)
        return 1 - score[:, first:].mean()


def _per_class(values: FieldBatch, labels: LabelBatch, classes: int) -> tuple[PerClass, PerClass]:
    """Sum of `values` over the voxels of each class, and the number of those voxels."""
    return (_scattered if values.device.type == "cpu" else _masked)(values, labels, classes)


def _scattered(values: FieldBatch, labels: LabelBatch, classes: int) -> tuple[PerClass, PerClass]:
    """One pass for all classes; a row of the first axis is short enough to be summed in float32."""
    rows, index = values.flatten(2), labels.flatten(2)
    bins = rows.new_zeros(*rows.shape[:2], classes)
    sums = bins.scatter_add(2, index, rows).sum(1)
    return sums, bins.scatter_add(2, index, rows.new_ones(()).expand_as(rows)).sum(1)


def _masked(values: FieldBatch, labels: LabelBatch, classes: int) -> tuple[PerClass, PerClass]:
    """One pass a class: on a GPU, scattering collides, which is slow and differs from run to run."""
    masks = [labels == each for each in range(classes)]
    sums = torch.stack([values.where(mask, 0).flatten(1).sum(1) for mask in masks], 1)
    return sums, torch.stack([mask.flatten(1).sum(1) for mask in masks], 1).to(sums.dtype)
