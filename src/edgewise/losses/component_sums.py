"""Sums over connected components, the stuff of component-aware losses, without a loop over components."""

import math

from jaxtyping import Bool, Float64, Int64, Shaped
from torch import Tensor

from edgewise.errors import ExperimentError
from edgewise.truth import Truth
from edgewise.types import FieldBatch, PerClass, Scalar

Index = Int64[Tensor, "B voxels"]
Sums = Float64[Tensor, "B bins"]


def sums(values: Shaped[Tensor, "B *space"], index: Index, bins: int) -> Sums:
    """Sum of the values of each component.

    In float64: it costs little for one channel, a float32 running sum of a million voxels loses digits, and the order
    in which a GPU happens to add no longer shows.

    Args:
        values: (B, *space) floats or booleans.
        index: the component of each voxel, below `bins`.
        bins: room for that many components in each image.
    """
    flat = values.flatten(1).double()
    return flat.new_zeros(len(flat), bins).scatter_add(1, index, flat)


def mean_over_components(
    costs: Sums, classes: Index, there: Bool[Tensor, "B bins"], truth: Truth
) -> tuple[PerClass, PerClass]:
    """Mean cost of the components of each class in each image, and their number; (B, C) each, 0 where there is none."""
    room = costs.new_zeros(len(costs), truth.classes)
    number = room.scatter_add(1, classes, there.double())
    total = room.scatter_add(1, classes, costs.where(there, 0))
    return total / number.clamp(min=1), number


def over_components(means: PerClass, number: PerClass, truth: Truth, like: FieldBatch) -> Scalar:
    """Mean over the foreground classes that an image has components of, then over the images that have any.

    Args:
        means: (B, C) a cost for each class; class 0 does not count.
        number: (B, C) how many components each class has.
        truth: knows the weights of the images.
        like: of the type of the result.
    """
    present = (number > 0)[:, 1:]
    classes = present.sum(1)
    images = (means[:, 1:] * present).sum(1) / classes.clamp(min=1)
    share = len(means) / (classes > 0).sum().clamp(min=1)
    return (truth.over_images(images) * share).to(like.dtype)


def check_shares(kind: str, *, alpha: float, beta: float) -> None:
    """Refuse weights of the two terms of a component-aware loss that make no sense.

    Raises:
        ExperimentError: one is negative or not finite, or both are 0.
    """
    if not (0 <= alpha < math.inf and 0 <= beta < math.inf and alpha + beta > 0):
        raise ExperimentError(
            f"{kind}: alpha is {alpha} and beta {beta}, but both must be finite and not negative, and one positive."
        )
