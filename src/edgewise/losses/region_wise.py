"""The region-wise loss, with any distance map."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from typing_extensions import override

from edgewise.errors import ExperimentError
from edgewise.losses.base import Loss
from edgewise.losses.class_weights import check_class_weights, class_weights
from edgewise.maps.base import DistanceMap
from edgewise.maps.region_wise import rectified
from edgewise.truth import Truth
from edgewise.types import FieldBatch, LabelBatch, Logits, Scalar


@dataclass(frozen=True, kw_only=True)
class RegionWise(Loss):
    r"""Probability times a distance map: rewards depth in the true class, punishes misses.

    $$L = \frac{1}{B C |\Omega|} \sum_{b,c,x} w_{t(x)}\, p_c(x)\, z_c(x)$$

    with the map $z_c$ of class $c$, the true class $t$, and $p_c^2$ for $p_c$ where the probability is `squared`.
    Its gradient with respect to the logit of class $k$ is $p_k (z_k - \sum_j p_j z_j)$ over $BC|\Omega|$. Exactly
    one component of it, the true class's, is negative for every $p$ if the map holds one equal value $e$ for all
    other classes and less for the true one, $z_t < e$: so do `Rectified`, `ActiveContour`, `NonDistance` and the
    `Rectification` of such maps, and so does not `Boundary` with three classes or more, which does not train
    stably alone. A map that is largest inside its class (`Distance`, `Inverse` and their like) rewards the wrong
    one. A map with one $e$ takes one channel: no map per class, and no one-hot labels,

    $$L = \frac{1}{C}\,\mathrm{mean}_{b,x}\, w_t \bigl[e - p_t (e - z_t)\bigr].$$

    With the rectified map $L$ is in [-1/C, 1/C], so negative values are normal. A class absent from an image is
    penalised alike wherever it is predicted in it. Weights of images (`Truth.of(..., weights=...)`) say which
    labels are doubtful, or foreign.

    Attributes:
        map: $z$; one that holds the same value for all classes of a voxel (`Penalty`) gives no gradient.
        class_weights: $w_c$, one finite number >= 0 for each class, background first: how much the voxels of the
            class count. Being a factor common to a voxel it leaves the signs as they are. `()` is one each.
        probability: `plain`, or `squared`: with the `Hausdorff` map, the one-sided Hausdorff loss (Prop. 3).
    """

    kind: Literal["region_wise"] = "region_wise"
    map: DistanceMap = rectified
    class_weights: tuple[float, ...] = ()
    probability: Literal["plain", "squared"] = "plain"
    takes: ClassVar = "logits"
    source: ClassVar[str] = "Valverde & Tohka 2022, doi:10.1016/j.patcog.2022.109208"

    def __post_init__(self) -> None:
        if self.map.channels == "own" and self.map.elsewhere == "own":
            raise ExperimentError(
                f"region_wise: the map {self.map.kind} is the same for all classes of a voxel, which gives no "
                "gradient: take another map, or `penalised_cross_entropy`."
            )
        check_class_weights(self.kind, "class_weights", self.class_weights)

    @property
    @override
    def needs(self) -> tuple[DistanceMap, ...]:
        """Its map."""
        return (self.map,)

    @override
    def of(self, log_p: Logits, truth: Truth) -> Scalar:
        """As the base says; `log_p` may also be any logits: softmax makes probabilities of both."""
        field, elsewhere = truth.maps[self.map], self.map.elsewhere
        if self.map.channels == "all" or isinstance(elsewhere, str):
            p = log_p.softmax(1)
            values = ((p if self.probability == "plain" else p.square()) * field).sum(1)
            return truth.mean(self._weighted(values, truth)) / truth.classes
        gain = self._weighted(elsewhere - field, truth)
        if self.probability == "plain":
            missed = self._weighted(field.new_full((), elsewhere), truth)
            gained = Gained.apply(log_p, truth.labels, gain)  # type: ignore[no-untyped-call]
            return -truth.mean(gained - missed) / truth.classes  # so turned, its gradient takes no memory
        p = log_p.softmax(1)
        missed = self._weighted(elsewhere * p.square().sum(1), truth)
        return truth.mean(missed - truth.own(p).square() * gain) / truth.classes

    def _weighted(self, values: Tensor, truth: Truth) -> Tensor:
        """Values, broadcast against (B, *space), times the weight of each voxel's class."""
        if not self.class_weights:
            return values
        return values * class_weights(self.class_weights, truth, values)[truth.labels]


class Gained(torch.autograd.Function):
    r"""Probability of the true class times a gain without gradient: $a = p_t\, g$, (B, *space).

    $\partial a / \partial x_k = a\,([k = t] - p_k)$ with respect to logits $x$. It is written over the probabilities
    while they are at hand, and scaled in place on the way back: one softmax, and one tensor of the size of the logits
    instead of three. (On a second way back through the same graph it is made anew.) Its sum over $k$ is 0, which
    leaves it as it is on its way through a log-softmax.
    """

    @staticmethod
    @override
    def forward(ctx: Any, logits: Logits, labels: LabelBatch, gain: FieldBatch) -> FieldBatch:
        p = logits.softmax(1)
        gained = p.gather(1, labels[:, None]).squeeze(1) * gain
        ctx.save_for_backward(logits, labels, gained)
        # A compiler orders the work by itself, and does not see what is kept elsewhere.
        ready = ctx.needs_input_grad[0] and not torch.compiler.is_compiling()
        ctx.slope = _slope(p, labels, gained) if ready else None
        return gained

    @staticmethod
    @override
    def backward(ctx: Any, gradient: FieldBatch) -> tuple[Tensor, None, None]:
        slope, ctx.slope = ctx.slope, None
        logits, labels, gained = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted: nothing may be overwritten
            pull = (gained * gradient)[:, None]
            return (logits.softmax(1) * -pull).scatter_add(1, labels[:, None], pull), None, None
        if slope is None:
            slope = _slope(logits.softmax(1), labels, gained)
        return slope.mul_(gradient[:, None]), None, None


def _slope(p: Logits, labels: LabelBatch, gained: FieldBatch) -> Logits:
    """The derivative of `Gained`, written over `p`."""
    return p.mul_(-gained[:, None]).scatter_add_(1, labels[:, None], gained[:, None])
