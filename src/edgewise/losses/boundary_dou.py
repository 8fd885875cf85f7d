"""The boundary difference over union loss."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool
from torch import Tensor
from typing_extensions import override

from edgewise.errors import ExperimentError
from edgewise.losses.base import Loss
from edgewise.losses.overlap import Overlap, check_eps, class_sums
from edgewise.truth import Truth
from edgewise.types import LabelBatch, Logits, Scalar


@dataclass(frozen=True, kw_only=True)
class BoundaryDoU(Loss):
    r"""Difference of two masks over their union less a share of their intersection; averaged over batch and classes.

    $$L = \frac{1}{BC} \sum_{b,c} \frac{\sum_x p_c^2 + \sum_x y_c - 2 \sum_x p_c y_c}
    {\sum_x p_c^2 + \sum_x y_c - (1 + \alpha_{b,c}) \sum_x p_c y_c + \epsilon}, \qquad
    \alpha = 1 - 2\,\frac{\text{voxels on the boundary of } c}{\text{voxels of } c}$$

    In 2D and 3D. The larger a structure, the nearer $\alpha$ is to 1 and the more is subtracted, so that what is
    left is about as large as the boundary region. At $\alpha = 0$ it is the Jaccard loss, at $-1$ the Dice loss (with
    squared $p$). In [0, 1]; 0 at the reference alone.

    A voxel lies on the boundary if one of its face neighbours (4 in 2D, 6 in 3D) is of another class, or outside the
    image, as in the authors' code; an axis of one voxel has no outside. The spacing has no part in it. A class absent
    from the reference costs $1 - \epsilon / (\sum_x p_c^2 + \epsilon)$: 0 where none of it is predicted.

    The paper's $\alpha \in [0, 1)$ is the default. The authors' code clips it at 0.8 from above and not from below,
    pools the batch into one image, and adds $\epsilon$ to the numerator too: there an absent class costs exactly 1
    whatever is predicted, and the reference more than 0.

    Attributes:
        lowest: $\alpha$ is not below it, from -1 on.
        highest: $\alpha$ is not above it, up to 1.
        background: whether class 0 counts as a class.
        eps: added to the denominator, in voxels; positive.
    """

    kind: Literal["boundary_dou"] = "boundary_dou"
    lowest: float = 0.0
    highest: float = 1.0
    background: bool = True
    eps: float = 1e-5
    needs: ClassVar = ()
    source: ClassVar[str] = "Sun et al. 2023, doi:10.1007/978-3-031-43901-8_28, arXiv:2308.00220"

    def __post_init__(self) -> None:
        if not -1 <= self.lowest <= self.highest <= 1:
            raise ExperimentError(
                f"boundary_dou: alpha is kept from lowest {self.lowest} to highest {self.highest}, but these must be "
                "in order and lie in [-1, 1]."
            )
        check_eps(self.kind, self.eps)

    @override
    def of(self, log_p: Logits, truth: Truth) -> Scalar:
        overlap = Overlap.of(log_p, truth, power=2)
        boundary = class_sums(on_boundary(truth.labels).to(log_p.dtype), truth)
        alpha = (1 - 2 * boundary / overlap.true.clamp(min=1)).clamp(self.lowest, self.highest)
        sizes = overlap.predicted + overlap.true
        difference = sizes - 2 * overlap.both
        costs = difference / (sizes - (1 + alpha) * overlap.both + self.eps)
        return truth.over_images(costs if self.background else costs[:, 1:])


def on_boundary(labels: LabelBatch) -> Bool[Tensor, "B *space"]:
    """Where a face neighbour is of another class or outside the image; an axis of one voxel has no outside."""
    boundary = torch.zeros_like(labels, dtype=torch.bool)
    for axis in range(1, labels.ndim):
        length = labels.shape[axis]
        if length == 1:
            continue
        step = labels.narrow(axis, 1, length - 1) != labels.narrow(axis, 0, length - 1)
        edge = torch.ones_like(step.narrow(axis, 0, 1))
        boundary = boundary | torch.cat([edge, step], axis) | torch.cat([step, edge], axis)
    return boundary
