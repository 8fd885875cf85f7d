"""The generalised surface loss."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from typing_extensions import override

from edgewise.losses.base import Loss
from edgewise.losses.overlap import class_sizes
from edgewise.maps.boundary import boundary
from edgewise.truth import Truth
from edgewise.types import Logits, PerClass, Scalar

_EXPONENTS = {"square": 2.0, "simple": 1.0, "uniform": 0.0}


@dataclass(frozen=True, kw_only=True)
class GeneralisedSurface(Loss):
    r"""One minus how much of the squared distance map is recovered: far mistakes cost most, and none costs more than 1.

    $$L = 1 - \frac{1}{B} \sum_b \frac{\sum_c w_c \sum_x \bigl[\phi_c\, (1 - y_c - p_c)\bigr]^2}
    {\sum_c w_c \sum_x \phi_c^2}, \qquad w_c \propto \frac{1}{n_c}, \quad n_c = \sum_x y_c$$

    with $\phi_c$ the distance to the boundary of class $c$ in mm. $(1 - y_c - p_c)^2$ is 1 where the prediction is
    right and 0 where it is certainly wrong. In [0, 1]; 0 at the reference, and at nothing else where every class has a
    boundary. The scales of $\phi$ and of $w$ do not matter.

    A class without a boundary, absent or filling the image, has $\phi = 0$ and takes no part: what is predicted of an
    absent class costs only where another class is missed for it. The loss of an image without any boundary is 0, and
    has no gradient. So it wants a region loss beside it, as in the paper: $\alpha L_{Dice+CE} + (1 - \alpha) L$ with
    $\alpha$ falling, a `sum` with schedules.

    The paper takes the weights from the sizes in the whole training set, here they are those of the image. The authors'
    code squares them; MIST, by the same authors, leaves out the weights and the background.

    Attributes:
        weighting: `simple` as above, `square` with $1 / n_c^2$, or `uniform`, all alike.
        background: whether class 0 counts as a class.
    """

    kind: Literal["generalised_surface"] = "generalised_surface"
    weighting: Literal["simple", "square", "uniform"] = "simple"
    background: bool = True
    needs: ClassVar = (boundary,)
    source: ClassVar[str] = "Celaya et al. 2023, arXiv:2302.03868"

    @override
    def of(self, log_p: Logits, truth: Truth) -> Scalar:
        distance = truth.maps[boundary].to(log_p.dtype)
        if not isinstance(truth.known, str):
            distance = distance.where(truth.known[:, None], 0)
        first = 0 if self.background else 1
        weights = self._weights(log_p, truth)[:, first:]
        p = log_p.exp()
        right = (1 - p).scatter(1, truth.labels[:, None], truth.own(p)[:, None])
        recovered = (weights * _squares((distance * right)[:, first:])).sum(1)
        whole = (weights * _squares(distance[:, first:])).sum(1)
        bounded = whole > 0
        return truth.over_images((1 - recovered / whole.where(bounded, 1)).where(bounded, 0))

    def _weights(self, log_p: Logits, truth: Truth) -> PerClass:
        """At most 1; a class without voxels has no distances to weigh."""
        size = class_sizes(truth, log_p).clamp(min=1)
        return (size.amin(1, keepdim=True) / size).pow(_EXPONENTS[self.weighting])


def _squares(values: Logits) -> PerClass:
    return values.square().flatten(2).sum(-1)
