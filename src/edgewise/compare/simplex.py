"""The simplex of three classes, cut into triangles of equal area, and the voxel that moves over it."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float, Integer
from numpy import ndarray

from edgewise.errors import DataError
from edgewise.maps.edt_cpu import inside_distance

Points: TypeAlias = Float[ndarray, "C n"]
Others: TypeAlias = Literal["reference", "same", "even"]
Depth: TypeAlias = Literal["deep", "edge"]

CLASSES = 3
SURE = 0.98
"""Probability of the true class where a voxel is held at its reference."""


def corners(resolution: int) -> Float[ndarray, "n 3 3"]:
    """The simplex cut into resolution² triangles of equal area: (triangle, corner, class) probabilities."""
    steps = range(resolution)
    upright = [((i, j), (i + 1, j), (i, j + 1)) for i in steps for j in range(resolution - i)]
    turned = [((i + 1, j + 1), (i + 1, j), (i, j + 1)) for i in steps for j in range(resolution - i - 1)]
    first_two = np.array(upright + turned, float) / resolution
    return np.concatenate([first_two, 1 - first_two.sum(-1, keepdims=True)], axis=-1)


def cells(resolution: int) -> Points:
    """The middles of the triangles of `corners`: (3, n) probabilities, none of which is 0.

    A mean over them is a mean over the simplex: they are its midpoint rule.
    """
    middles: Points = corners(resolution).mean(1).T
    return middles


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """The voxel whose probabilities move over the simplex, and what is held fixed meanwhile.

    A loss that compares sums over an image, such as Dice, has no gradient of a voxel by itself: it depends on what all
    others predict, so that this has to be said.

    Attributes:
        labels: (*space) reference labels, two or three axes.
        voxel: where the voxel lies.
        others: what all other voxels predict: their `reference` (their own class with probability `SURE`, the rest
            equally), the `same` as the voxel, or all classes `even`ly.
        values: what the loss's only map holds at the voxel, one number a class; the image is then this one voxel.
            `built`: the maps are those of the labels.
    """

    labels: Integer[ndarray, "*space"]
    voxel: tuple[int, ...]
    others: Others = "reference"
    values: tuple[float, ...] | Literal["built"] = "built"

    def __post_init__(self) -> None:
        shape = self.labels.shape
        if len(self.voxel) != len(shape) or not all(0 <= at < size for at, size in zip(self.voxel, shape, strict=True)):
            raise DataError(f"voxel {self.voxel} does not lie in an image of shape {shape}: give one index an axis.")

    @property
    def true(self) -> int:
        """The true class of the voxel."""
        return int(self.labels[self.voxel])

    @property
    def held(self) -> str:
        """What is held fixed, in words."""
        if not isinstance(self.values, str):
            return "the image is one voxel, whose map holds " + ", ".join(f"{value:g}" for value in self.values)
        others = {
            "reference": f"hold their reference with probability {SURE:g}",
            "same": "predict what this voxel predicts",
            "even": "predict all classes evenly",
        }[self.others]
        place = ", ".join(str(index) for index in self.voxel)
        return f"voxel ({place}) of a label map of {' × '.join(map(str, self.labels.shape))}; all others {others}"


def heart() -> Integer[ndarray, "28 28"]:
    """A small label map: a ring of class 1 about a disc of class 2, which is not in its middle, on background."""
    y, x = np.mgrid[:28, :28].astype(float)
    labels = np.zeros((28, 28), np.int64)
    labels[np.hypot(y - 14, x - 13) < 10.5] = 1
    labels[np.hypot(y - 14, x - 15) < 6] = 2
    return labels


def placed(labels: Integer[ndarray, "*space"], true: int, depth: Depth) -> tuple[int, ...]:
    """A voxel of a class: one that lies deepest in it, or the first of those at its edge.

    Raises:
        DataError: the labels do not hold the class.
    """
    mask = labels == true
    if not mask.any():
        raise DataError(f"no voxel has class {true}: there are {sorted(set(labels.ravel().tolist()))}.")
    inside = inside_distance(labels.astype(np.uint8)[None], (1.0,) * labels.ndim, 1)[0]
    chosen = np.where(mask, inside, -np.inf).argmax() if depth == "deep" else np.where(mask, inside, np.inf).argmin()
    return tuple(int(index) for index in np.unravel_index(chosen, labels.shape))
