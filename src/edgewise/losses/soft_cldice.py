"""The soft clDice loss."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from torch import Tensor
from torch.autograd import Function
from typing_extensions import override

from edgewise.errors import ExperimentError
from edgewise.losses.base import Loss
from edgewise.losses.overlap import check_eps
from edgewise.truth import Truth
from edgewise.types import FieldBatch, Logits, PerImage, Scalar

Slices: TypeAlias = tuple[slice, ...]


@dataclass(frozen=True, kw_only=True)
class SoftClDice(Loss):
    r"""One minus the centre-line Dice, which asks whether the skeleton of each of two masks lies in the other.

    $$L = 1 - \frac{1}{B (C - 1)} \sum_{b, c \ge 1} \frac{2\, T_p T_s}{T_p + T_s}, \qquad
    T_p = \frac{\sum_x s(p_c)\, y_c + \epsilon}{\sum_x s(p_c) + \epsilon}, \quad
    T_s = \frac{\sum_x s(y_c)\, p_c + \epsilon}{\sum_x s(y_c) + \epsilon}$$

    A gap in a vessel costs it part of the skeleton, however thin the vessel is; thickness costs little. The soft
    skeleton $s$ keeps what an opening removes, after $0 \dots n$ erosions: with $o(q)$ the opening,
    $s_0 = [q - o(q)]_+$, and while $q$ is eroded $s_i = s_{i-1} + [d_i - s_{i-1} d_i]_+$, $d_i = [q - o(q)]_+$.
    Erosion is the lowest value among the face neighbours, dilation the highest among all neighbours; outside the image
    there is nothing. They count voxels, so the spacing has no part in it.

    In [0, 1). Not 0 at the reference alone: a mask with the right skeleton and the wrong thickness can do as well.
    The paper combines it with Dice, $(1 - \alpha) L_{Dice} + \alpha L$: a `sum` of two terms.

    The paper has one foreground class; here each is by itself, and their losses are averaged (MONAI adds the sums of
    all classes before it divides, and adds $10^{-4}$ to $T_p + T_s$; for one foreground class and without the latter it
    is the same). A class absent from the reference has $T_s = 1$, and costs nothing where none of it is predicted.

    Attributes:
        iterations: $n$, erosions; at least as many as the largest radius in voxels.
        eps: added to both sides of both fractions, in voxels; positive. 1 as in the authors' code.
    """

    kind: Literal["soft_cldice"] = "soft_cldice"
    iterations: int = 3
    eps: float = 1.0
    needs: ClassVar = ()
    source: ClassVar[str] = "Shit et al. 2021, doi:10.1109/CVPR46437.2021.01629, arXiv:2003.07311"

    def __post_init__(self) -> None:
        if self.iterations < 0:
            raise ExperimentError(f"soft_cldice: iterations is {self.iterations}, but must be 0 or more.")
        check_eps(self.kind, self.eps)

    @override
    def of(self, log_p: Logits, truth: Truth) -> Scalar:
        # Unknown voxels are background on both sides, and in no skeleton.
        scores = [self._score(log_p[:, each].exp(), truth.labels == each) for each in range(1, truth.classes)]
        return truth.over_images(1 - torch.stack(scores, 1))

    def _score(self, p: FieldBatch, mask: Tensor) -> PerImage:
        y = mask.to(p.dtype)
        precision = self._share(soft_skeleton(p, self.iterations), y)
        with torch.no_grad():
            skeleton = soft_skeleton(y, self.iterations)
        sensitivity = self._share(skeleton, p)
        return 2 * precision * sensitivity / (precision + sensitivity)

    def _share(self, skeleton: FieldBatch, mask: FieldBatch) -> PerImage:
        return ((skeleton * mask).flatten(1).sum(1) + self.eps) / (skeleton.flatten(1).sum(1) + self.eps)


def soft_skeleton(mask: FieldBatch, iterations: int) -> FieldBatch:
    """The soft skeleton of soft masks (B, *space) in [0, 1], by the recursion in `SoftClDice`; in [0, 1]."""
    skeleton = torch.zeros_like(mask)
    for step in range(iterations + 1):
        eroded = _eroded(mask)
        left = (mask - _dilated(eroded)).relu()
        skeleton = skeleton + (left - skeleton * left).relu() if step else left
        mask = eroded
    return skeleton


def _eroded(mask: FieldBatch) -> FieldBatch:
    eroded: Tensor = _Extreme.apply(mask, tuple(range(1, mask.ndim)), torch.minimum)  # type: ignore[no-untyped-call]
    return eroded


def _dilated(mask: FieldBatch) -> FieldBatch:
    for axis in range(1, mask.ndim):
        mask = _Extreme.apply(mask, (axis,), torch.maximum)  # type: ignore[no-untyped-call]
    return mask


class _Extreme(Function):
    """The extreme of every voxel and its two neighbours along each of `axes`.

    The gradient goes to where the extreme was found, in equal shares if at several places: mirrored images have
    mirrored gradients. Nothing is stored but input and output, which the graph holds anyway; pooling in torch
    stores int64 indices. MONAI's loss, which pools, was measured to take 4 times the time and the memory.
    """

    @staticmethod
    @override
    def forward(ctx: Any, values: Tensor, axes: tuple[int, ...], pick: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        extreme = values.clone()
        for here, there in _neighbours(axes):
            extreme[here] = pick(extreme[here], values[there])
        ctx.save_for_backward(values, extreme)
        ctx.axes = axes
        return extreme

    @staticmethod
    @override
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        values, extreme = ctx.saved_tensors
        own, pairs = values == extreme, _neighbours(ctx.axes)
        places = own.to(values.dtype)
        for here, there in pairs:
            places[here] += values[there] == extreme[here]
        share = gradients[0] / places
        total = share * own
        for here, there in pairs:
            total[there] += share[here] * (values[there] == extreme[here])
        return total, None, None


def _neighbours(axes: tuple[int, ...]) -> list[tuple[Slices, Slices]]:
    """For each direction the voxels that have a neighbour there, and those neighbours."""
    pairs = []
    for axis in axes:
        before = (slice(None),) * axis
        low, high = (*before, slice(None, -1)), (*before, slice(1, None))
        pairs += [(low, high), (high, low)]
    return pairs
