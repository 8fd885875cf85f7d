"""Sums over each class, the stuff of overlap losses, without one-hot labels."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from edgewise.errors import ExperimentError
from edgewise.truth import Truth, per_image
from edgewise.types import FieldBatch, LabelBatch, Logits, PerClass, Scalar


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
    def of(log_p: Logits, truth: Truth, *, power: int = 1) -> "Overlap":
        """Sums of the probabilities `log_p.exp()`; `power` 2 squares them in `predicted`."""
        p = log_p.exp()
        if not isinstance(truth.known, str):
            p = p.where(truth.known[:, None], 0)
        both, true = class_sums(truth.own(p), truth)
        predicted = (p if power == 1 else p.pow(power)).flatten(2).sum(-1)
        return Overlap(both=both, predicted=predicted, true=true)

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


def class_sums(values: FieldBatch, truth: Truth) -> tuple[PerClass, PerClass]:
    """Sum of `values` over the known voxels of each class, and the number of those voxels."""
    ones = values.new_ones(()).expand_as(values)
    if not isinstance(truth.known, str):
        values, ones = values.where(truth.known, 0), ones.where(truth.known, 0)
    by_class = _scattered if values.device.type == "cpu" else _masked
    return by_class(values, ones, truth.labels, truth.classes)


def _scattered(values: FieldBatch, ones: FieldBatch, labels: LabelBatch, classes: int) -> tuple[Tensor, Tensor]:
    """One pass for all classes; a row of the first axis is short enough to be summed in float32."""
    rows, index = values.flatten(2), labels.flatten(2)
    bins = rows.new_zeros(*rows.shape[:2], classes)
    sums = bins.scatter_add(2, index, rows).sum(1)
    return sums, bins.scatter_add(2, index, ones.flatten(2)).sum(1)


def _masked(values: FieldBatch, ones: FieldBatch, labels: LabelBatch, classes: int) -> tuple[Tensor, Tensor]:
    """One pass a class: on a GPU, scattering collides, which is slow and differs from run to run."""
    masks = [labels == each for each in range(classes)]
    sums = torch.stack([values.where(mask, 0).flatten(1).sum(1) for mask in masks], 1)
    return sums, torch.stack([ones.where(mask, 0).flatten(1).sum(1) for mask in masks], 1)
