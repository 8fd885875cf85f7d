"""The smooth L1 distance to a distance map."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor
from torch.nn.functional import smooth_l1_loss
from typing_extensions import override

from edgewise.errors import ExperimentError, ShapeError
from edgewise.losses.base import Loss
from edgewise.maps.base import DistanceMap
from edgewise.maps.inverse import normalized_inverse
from edgewise.truth import Truth
from edgewise.types import FieldBatch, Logits, Scalar


@dataclass(frozen=True, kw_only=True)
class SmoothL1(Loss):
    r"""Smooth L1 between the foreground channels and those of a distance map, averaged over batch, classes, voxels.

    $$L = \frac{1}{B(C-1)|\Omega|} \sum_{b,\,c \ge 1,\,x} s(q_c - m_c), \qquad
    s(d) = \begin{cases} d^2 / 2\beta & |d| < \beta \\ |d| - \beta/2 & \text{else} \end{cases}$$

    with the map $m$. As a loss of logits $q$ is the probability; for a network that predicts the map itself $q$ is its
    output: see `between`. A map of one channel is not expanded. An absent class has the map's value for such.

    Attributes:
        map: $m$.
        beta: where the square passes into the line; positive, in the unit of the map.
    """

    kind: Literal["smooth_l1"] = "smooth_l1"
    map: DistanceMap = normalized_inverse
    beta: float = 1.0
    source: ClassVar[str] = "Li et al. 2020 (LR-Net), doi:10.1007/978-3-030-59861-7_24, arXiv:2501.09116"

    def __post_init__(self) -> None:
        if not 0 < self.beta < math.inf:
            raise ExperimentError(f"smooth_l1: beta is {self.beta}, but must be a finite number above 0.")

    @property
    @override
    def needs(self) -> tuple[DistanceMap, ...]:
        """Its map."""
        return (self.map,)

    @override
    def of(self, log_p: Logits, truth: Truth) -> Scalar:
        return self.between(log_p[:, 1:].exp(), truth)

    def between(self, predicted: Tensor, truth: Truth) -> Scalar:
        """The loss of a predicted map.

        Args:
            predicted: (B, C-1, *space) floats, one channel for each foreground class.
            truth: labels of C classes, with the map; what is predicted for unknown voxels does not count.

        Returns:
            A scalar; float32 for half-precision input.

        Raises:
            ShapeError: `predicted` does not fit the labels, or the truth has not the map.
        """
        expected = (truth.labels.shape[0], truth.classes - 1, *truth.labels.shape[1:])
        if predicted.shape != expected or self.map not in truth.maps:
            raise ShapeError(
                f"a predicted map of shape {tuple(predicted.shape)} for {truth.classes} classes, with the maps "
                f"{[str(key) for key in truth.maps] or 'none'}: expected shape {expected}, one channel for each class "
                f"but the background, and {self.map}. Build it: `Truth.of(labels, ..., needs=loss.needs)`."
            )
        exact = predicted if predicted.element_size() >= 4 else predicted.float()
        return truth.mean(self._of_classes(exact, truth) / (truth.classes - 1))

    def _of_classes(self, predicted: Tensor, truth: Truth) -> FieldBatch:
        """Sum over the foreground classes."""
        field, elsewhere = truth.maps[self.map].to(predicted.dtype), self.map.elsewhere
        if self.map.channels == "all":
            return self._smooth(predicted, field[:, 1:]).sum(1)
        if isinstance(elsewhere, str):
            return self._smooth(predicted, field[:, None]).sum(1)
        far = field.new_full((), elsewhere)
        index = (truth.labels - 1).clamp(min=0)[:, None]
        own = predicted.gather(1, index).squeeze(1)
        excess = self._smooth(own, field) - self._smooth(own, far)
        return self._smooth(predicted, far).sum(1) + excess.where(truth.labels > 0, 0)

    def _smooth(self, value: Tensor, target: Tensor) -> Tensor:
        return smooth_l1_loss(value, target.expand_as(value), reduction="none", beta=self.beta)
