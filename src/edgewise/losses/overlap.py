"""Sums over each class, the stuff of overlap losses, without one-hot labels."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from typing_extensions import override

from edgewise.errors import ExperimentError
from edgewise.truth import Truth, per_image
from edgewise.types import FieldBatch, LabelBatch, Logits, MaskBatch, PerClass, Scalar


@dataclass(frozen=True, kw_only=True, eq=False)
class Overlap:
    r"""Soft sizes of every class in every image; unknown voxels count for nothing.

    Attributes:
        both: $\sum_x p_c y_c$.
        predicted: $\sum_x p_c$, or $\sum_x p_c^2$.
        true: $\sum_x y_c$.
    """

    both: PerClass
    predicted: PerClass
    true: PerClass

    @staticmethod
    def of(logits: Logits, truth: Truth, *, power: int = 1) -> "Overlap":
        """Sums of the softmax of logits, or of log-probabilities; `power` 2 squares it in `predicted`."""
        known = None if isinstance(truth.known, str) else truth.known
        both, predicted = SoftSums.apply(logits, truth.labels, known, power)  # type: ignore[no-untyped-call]
        return Overlap(both=both, predicted=predicted, true=class_sizes(truth, logits))

    def pooled(self, truth: Truth) -> "Overlap":
        """One image made of all the images of the batch, each multiplied by its weight; (1, C)."""
        sums = (self.both, self.predicted, self.true)
        if not isinstance(truth.weights, str):
            sums = tuple(each * per_image(truth.weights, each) for each in sums)  # type: ignore[assignment]
        both, predicted, true = (each.sum(0, keepdim=True) for each in sums)
        return Overlap(both=both, predicted=predicted, true=true)

    def foreground(self) -> "Overlap":
        """Without class 0."""
        return Overlap(both=self.both[:, 1:], predicted=self.predicted[:, 1:], true=self.true[:, 1:])


class SoftSums(torch.autograd.Function):
    r"""$\sum_x p_c y_c$ and $\sum_x p_c^n$ of every class, (B, C) each, from logits $x$; $n$ is `power`.

    With $a_c$ and $b_c$ the gradients of the two, and $h_c = a_c [c = t] + n\, b_c\, p_c^{n-1}$, the gradient of logit
    $k$ is $p_k (h_k - \sum_c p_c h_c)$. It takes one tensor of the size of the logits beside the probabilities, half of
    what autograd keeps. Its sum over $k$ is 0, which leaves it as it is on its way through a log-softmax.
    """

    @staticmethod
    @override
    def forward(
        ctx: Any, logits: Logits, labels: LabelBatch, known: MaskBatch | None, power: int
    ) -> tuple[PerClass, PerClass]:
        p = logits.softmax(1)
        p = p if known is None else p * known[:, None]
        ctx.save_for_backward(logits, labels, known, p)
        ctx.power = power
        own = p.gather(1, labels[:, None]).squeeze(1)
        predicted = (p if power == 1 else p.pow(power)).flatten(2).sum(-1)
        return _by_class(own, labels, logits.shape[1]), predicted

    @staticmethod
    @override
    def backward(ctx: Any, both: PerClass, predicted: PerClass) -> tuple[Tensor, None, None, None]:
        logits, labels, known, p = ctx.saved_tensors
        again = torch.is_grad_enabled()  # a second derivative is wanted: through p, and nothing may be overwritten
        if again:
            p = logits.softmax(1) if known is None else logits.softmax(1) * known[:, None]
        index = labels[:, None]
        slope = ctx.power * predicted.reshape(*predicted.shape, *(1,) * (p.ndim - 2))
        pull = both.gather(1, labels.flatten(1)).reshape(index.shape) * p.gather(1, index)
        ph = (p if ctx.power == 1 else p.pow(ctx.power)) * slope
        if again:
            ph = ph.scatter_add(1, index, pull)
            return ph - p * ph.sum(1, keepdim=True), None, None, None
        ph.scatter_add_(1, index, pull)
        return ph.addcmul_(p, ph.sum(1, keepdim=True), value=-1), None, None, None


def averaged(
    cost: Callable[[Overlap], Tensor],
    overlap: Overlap,
    truth: Truth,
    *,
    background: bool,
    batch: Literal["each", "pooled"],
) -> Scalar:
    """Mean of a cost over classes and images, or of the cost of the whole batch taken as one image.

    Args:
        cost: from sums (B, C) to costs (B, C), one a class, or (B,), one an image.
        overlap: the sums of every class.
        truth: knows the weights of the images.
        background: whether class 0 takes part.
        batch: `each` image by itself, or all `pooled`.
    """
    if not background:
        overlap = overlap.foreground()
    if batch == "pooled":
        return cost(overlap.pooled(truth)).mean()
    return truth.over_images(cost(overlap))


def check_eps(kind: str, eps: float) -> None:
    """Refuse an `eps` that lets a class absent from both sides be 0/0.

    Raises:
        ExperimentError: `eps` is not positive and finite.
    """
    if not 0 < eps < math.inf:
        raise ExperimentError(f"{kind}: eps is {eps}, but must be positive and finite, or an absent class gives 0/0.")


def softened_power(x: Tensor, exponent: float) -> Tensor:
    r"""$x^e$ for $x \ge 10^{-6}$; below, the straight line from there to 0.

    For $e < 1$ the slope of $x^e$ is infinite at 0, where a perfect answer lies; that of the line is $10^{6 (1 - e)}$.
    An `x` that rounding has made slightly negative does no harm.
    """
    return x * x.clamp(min=1e-6).pow(exponent - 1)


def class_sums(values: FieldBatch, truth: Truth) -> PerClass:
    """Sum of `values` over the known voxels of each class."""
    counted = values if isinstance(truth.known, str) else values.where(truth.known, 0)
    return _by_class(counted, truth.labels, truth.classes)


def class_sizes(truth: Truth, like: Tensor) -> PerClass:
    """Number of known voxels of each class, on the device and in the type of `like`."""
    return class_sums(like.new_ones(()).expand(truth.labels.shape), truth)


def _by_class(values: FieldBatch, labels: LabelBatch, classes: int) -> PerClass:
    return (_scattered if values.device.type == "cpu" else _masked)(values, labels, classes)


def _scattered(values: FieldBatch, labels: LabelBatch, classes: int) -> PerClass:
    """One pass for all classes; a row of the first axis is short enough to be summed in float32."""
    rows = values.flatten(2)
    return rows.new_zeros(*rows.shape[:2], classes).scatter_add(2, labels.flatten(2), rows).sum(1)


def _masked(values: FieldBatch, labels: LabelBatch, classes: int) -> PerClass:
    """One pass a class: on a GPU, scattering collides, which is slow and differs from run to run."""
    return torch.stack([values.where(labels == each, 0).flatten(1).sum(1) for each in range(classes)], 1)
