"""The cross entropy, plain or with weights for classes."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from typing_extensions import override

from edgewise.losses.base import Loss
from edgewise.losses.class_weights import check_class_weights, class_weights
from edgewise.losses.overlap import class_sizes, class_sums
from edgewise.truth import Truth
from edgewise.types import Logits, Scalar


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(Loss):
    r"""Minus the log-probability of the true class, a mean over batch and voxels.

    $$L = -\frac{\sum_{b,x} w_{t(x)} \log p_{t(x)}(x)}{\sum_{b,x} w_{t(x)}}$$

    As in `torch.nn.CrossEntropyLoss` the weights are divided by their sum over the voxels of the batch, so their
    scale does not matter. Not negative; 0 at the reference alone. An absent class has no term of its own; a batch in
    which every weight is 0 has the loss 0 (in torch NaN).

    Attributes:
        class_weights: one weight a class, background first, such as one over its frequency in the training set; `()`
            for 1 each.
        balance: whether all `voxels` count alike, or all `classes` that are present in the batch: each class is then
            divided by the number of its voxels in the batch (inverse frequency). `class_weights` come on top.
    """

    kind: Literal["cross_entropy"] = "cross_entropy"
    class_weights: tuple[float, ...] = ()
    balance: Literal["voxels", "classes"] = "voxels"
    needs: ClassVar = ()
    source: ClassVar[str] = "Ronneberger et al. 2015, arXiv:1505.04597"

    def __post_init__(self) -> None:
        check_class_weights(self.kind, "class_weights", self.class_weights)

    @override
    def of(self, log_p: Logits, truth: Truth) -> Scalar:
        losses = -truth.own(log_p)
        if not self.class_weights and self.balance == "voxels":
            return truth.mean(losses)
        sums, sizes = class_sums(losses, truth), class_sizes(truth, losses)
        weights = class_weights(self.class_weights, truth, losses)
        if self.balance == "classes":
            weights = weights / sizes.sum(0).clamp(min=1)
        return truth.over_images(sums @ weights) / (sizes @ weights).mean().clamp(min=1e-12)
