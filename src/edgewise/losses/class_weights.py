"""How much each class counts, as numbers in an experiment and as a tensor in a loss."""

import math

from jaxtyping import Float
from torch import Tensor

from edgewise.errors import ExperimentError
from edgewise.truth import Truth


def check_class_weights(kind: str, name: str, weights: tuple[float, ...]) -> None:
    """Refuse weights that are negative, not finite or all 0; `()` is none, and fine.

    Raises:
        ExperimentError: names the loss `kind`, its field `name` and what came.
    """
    if weights and not (all(0 <= each < math.inf for each in weights) and any(weights)):
        raise ExperimentError(
            f"{kind}: {name} {weights} must be finite and not negative, one a class, background first, and not all 0."
        )


def class_weights(weights: tuple[float, ...], truth: Truth, like: Tensor) -> Float[Tensor, "C"]:
    """The weights on the device and in the type of `like`; 1 for every class if there are none.

    Raises:
        ExperimentError: there are not as many as classes.
    """
    if len(weights) not in {0, truth.classes}:
        raise ExperimentError(
            f"{len(weights)} class weights {weights} for labels of {truth.classes} classes: give one a class, "
            "background first."
        )
    return like.new_tensor(weights or (1.0,) * truth.classes)
