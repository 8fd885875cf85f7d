"""The Hausdorff distance loss by distance transforms."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from typing_extensions import override

from edgewise.errors import ExperimentError
from edgewise.losses.base import Loss
from edgewise.maps.boundary import boundary
from edgewise.maps.edt import inside_distance
from edgewise.truth import Truth
from edgewise.types import Logits, Scalar


@dataclass(frozen=True, kw_only=True)
class HausdorffDT(Loss):
    r"""Squared errors times distances to the boundaries, of the reference and of the prediction.

    $$L = \frac{1}{BK|\Omega|} \sum_{b,k,x} (p_k - y_k)^2 \bigl( d_{\hat k}^{\,\alpha} + d_k^{\,\alpha} \bigr)$$

    $d_k$ is the distance (mm), from either side, to the boundary of class $k$ in the reference; $d_{\hat k}$ to that
    of the prediction, where $p_k > \frac12$, without a gradient of its own; $K$ is the number of classes that count.
    0 for a class without a boundary: absent, or filling the image. The errors farthest from a boundary count most,
    as in the Hausdorff distance, which this estimates. It equals MONAI's `HausdorffDTLoss(softmax=True)` at
    spacing 1. The distances of the prediction are transformed at every step; those of the reference are prepared.

    Attributes:
        sides: `two`, or `one`: the distances to the reference alone, which needs no transform while training.
        alpha: the power, above 0.
        background: whether class 0 counts as a class.
    """

    kind: Literal["hausdorff"] = "hausdorff"
    sides: Literal["two", "one"] = "two"
    alpha: float = 2.0
    background: bool = False
    needs: ClassVar = (boundary,)
    source: ClassVar[str] = "Karimi & Salcudean 2020, arXiv:1904.10030"

    def __post_init__(self) -> None:
        if not 0 < self.alpha < math.inf:
            raise ExperimentError(f"hausdorff: alpha is {self.alpha}, but must be a finite number above 0.")

    @override
    def of(self, log_p: Logits, truth: Truth) -> Scalar:
        first = 0 if self.background else 1
        p = log_p[:, first:].exp()
        distance = truth.maps[boundary][:, first:].abs().pow_(self.alpha)
        if self.sides == "two":
            distance += _to_boundary(p.detach() > 0.5, truth.spacing).pow_(self.alpha)
        counts = truth.labels[:, None] >= first
        index = (truth.labels[:, None] - first).clamp(min=0)
        error = p.scatter_add(1, index, -counts.to(p.dtype))
        return truth.mean((error.square() * distance).sum(1)) / error.shape[1]


# An operator of its own, so that torch.compile takes the transform as it is instead of looking into it.
@torch.library.custom_op("edgewise::to_boundary", mutates_args=())
def _to_boundary(masks: Tensor, spacing: Sequence[float]) -> Tensor:
    """Distance to the boundary of every mask (B, K, *space) from either side, in mm; 0 without a boundary."""
    flat = masks.flatten(0, 1).byte()
    inside = inside_distance(flat, tuple(spacing))
    voxels = flat.flatten(1)
    bounded = (voxels.amax(1) != voxels.amin(1)).reshape(-1, *(1,) * (flat.ndim - 1))
    return (inside * bounded).reshape(masks.shape)


@_to_boundary.register_fake
def _(masks: Tensor, spacing: Sequence[float]) -> Tensor:  # noqa: ARG001
    return torch.empty_like(masks, dtype=torch.float32)
