r"""The gradient of a loss with respect to the logits: what it moves, and whether it moves it the right way.

A negative component pushes its class up. A voxel has one true class, so exactly one component should be negative, that
of the true class: the principle of Valverde & Tohka 2022, doi:10.1016/j.patcog.2022.109208, Section 3.4.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer
from numpy import ndarray
from torch import Tensor

from edgewise.compare.simplex import SURE, Points, Scene
from edgewise.errors import DataError
from edgewise.losses.base import Loss
from edgewise.truth import Truth

FLAT = 1e-12
"""Components below this share of the largest of their voxel count as 0, and so do voxels below this share of all."""
PATTERNS = ("no component", "the true class alone", "one wrong class alone", "two components", "three or more")
"""What may be negative at a voxel; the second is as it should be."""
COUNTED = 4
"""Voxels are told apart by 0, 1, 2, and 3 or more negative components."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Field:
    """The gradient of a loss at one voxel, for many probabilities of that voxel.

    Attributes:
        p: (C, n) probabilities.
        gradient: (C, n) with respect to the logits.
        true: the true class.
        held: what was held fixed, in words.
        values: what the loss's map holds at the voxel, one number a class; `()` for a loss without a map, or several.
    """

    p: Points
    gradient: Points
    true: int
    held: str
    values: tuple[float, ...]

    @property
    def negative(self) -> Bool[ndarray, "C n"]:
        """Which components are negative."""
        return negative(self.gradient)

    @property
    def several(self) -> float:
        """Share of the points where more than one component is negative."""
        return float((self.negative.sum(0) > 1).mean())

    @property
    def right(self) -> float:
        """Share of the points where the true class's component is negative, and no other."""
        return float(alone(self.negative, np.full(self.p.shape[1], self.true)).mean())


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How many pixels have how many negative components.

    Attributes:
        label: true class of the pixels; `all` for any.
        counts: pixels with 0, 1, 2, and 3 or more negative components.
        right: pixels whose only negative component is the true class's.
    """

    label: int | Literal["all"]
    counts: tuple[int, int, int, int]
    right: int

    @property
    def pixels(self) -> int:
        """How many there are."""
        return sum(self.counts)

    @property
    def shares(self) -> tuple[float, ...]:
        """The counts as shares of the pixels; `nan` where there are none."""
        return tuple(count / self.pixels if self.pixels else float("nan") for count in self.counts)

    @property
    def share_right(self) -> float:
        """`right` as a share of the pixels."""
        return self.right / self.pixels if self.pixels else float("nan")


def negative(gradient: Float[ndarray, "C *n"]) -> Bool[ndarray, "C *n"]:
    """Which components are negative; what is 0 but for rounding (see `FLAT`) is not."""
    own = np.abs(gradient).max(0)
    steep = own > FLAT * own.max(initial=0.0)
    found: ndarray = (gradient < -FLAT * own) & steep
    return found


def alone(found: Bool[ndarray, "C *n"], labels: Integer[ndarray, "*n"]) -> Bool[ndarray, "*n"]:
    """Where the true class's component is negative, and no other."""
    own = np.take_along_axis(found, labels[None].astype(np.int64), axis=0)[0]
    result: ndarray = own & (found.sum(0) == 1)
    return result


def pattern(found: Bool[ndarray, "C *n"], labels: Integer[ndarray, "*n"]) -> Integer[ndarray, "*n"]:
    """Which of the `PATTERNS` each voxel shows, by its number."""
    count = found.sum(0)
    result: ndarray = np.where(count == 1, np.where(alone(found, labels), 1, 2), np.minimum(count + 1, 4) * (count > 0))
    return result


def field(loss: Loss, scene: Scene, p: Points) -> Field:
    """The gradient at the voxel of a scene, for each of many probabilities of it.

    Args:
        loss: any loss; schedules in it count as in epoch 0.
        scene: the voxel, and what is held fixed.
        p: (C, n) probabilities of the C classes, all positive.

    Returns:
        One gradient a point. It is that of the loss of the whole image, so its scale depends on the image's size.

    Raises:
        DataError: a probability is not positive; or the scene gives values, and they do not fit the loss's map.
        EdgewiseError: the loss refuses the labels.
    """
    if not (p > 0).all():
        raise DataError("a probability is not positive, so that it has no logit: leave the edge of the simplex out.")
    truth, voxel = _truth(loss, scene, len(p))
    slopes = [_slope(loss, logits, truth)[_at(voxel)] for logits in _logits(scene, truth, voxel, p)]
    return Field(
        p=p,
        gradient=torch.stack(slopes, dim=1).numpy(),
        true=scene.true,
        held=scene.held,
        values=_values(loss, truth, voxel),
    )


def slice_gradient(
    loss: Loss, logits: Float[Tensor, "C *space"], labels: Integer[ndarray, "*space"], spacing: Sequence[float]
) -> Float[ndarray, "C *space"]:
    """The gradient of the loss of one image with respect to the logits of all its pixels.

    Args:
        loss: any loss; schedules in it count as in epoch 0.
        logits: of one image, two or three axes.
        labels: its reference.
        spacing: pixel size along each axis in mm.
    """
    reference = torch.from_numpy(np.ascontiguousarray(labels, np.int64))[None]
    truth = Truth.of(reference, classes=len(logits), spacing=spacing, needs=loss.needs)
    slope: ndarray = _slope(loss, logits.double()[None], truth)[0].numpy()
    return slope


def tallies(
    images: Iterable[tuple[Bool[ndarray, "C *space"], Integer[ndarray, "*space"]]], classes: int
) -> tuple[Tally, ...]:
    """The pixels of several images by their number of negative components: all of them, then those of each true class.

    Args:
        images: (which components are negative, labels) of each image.
        classes: number of classes.
    """
    counts, right = np.zeros((classes, COUNTED), int), np.zeros(classes, int)
    for found, labels in images:
        number, good = np.minimum(found.sum(0), COUNTED - 1), alone(found, labels)
        np.add.at(counts, (labels, number), 1)
        np.add.at(right, labels[good], 1)
    each = [_tally(label, counts[label], int(right[label])) for label in range(classes)]
    return (_tally("all", counts.sum(0), int(right.sum())), *each)


def _tally(label: int | Literal["all"], counts: ndarray, right: int) -> Tally:
    none, one, two, more = (int(count) for count in counts)
    return Tally(label=label, counts=(none, one, two, more), right=right)


def _at(voxel: tuple[int, ...]) -> Any:
    """All classes of a voxel of the only image."""
    return (0, slice(None), *voxel)


def _slope(loss: Loss, logits: Tensor, truth: Truth) -> Tensor:
    leaf = logits.detach().requires_grad_()
    (slope,) = torch.autograd.grad(loss(leaf, truth), leaf)
    return slope


def _logits(scene: Scene, truth: Truth, voxel: tuple[int, ...], p: Points) -> Iterator[Tensor]:
    """Of the whole image, for each point."""
    classes, labels = len(p), truth.labels[0]
    if scene.others == "reference":
        rest = (1 - SURE) / (classes - 1)
        fixed = torch.full((classes, *labels.shape), rest, dtype=torch.float64)
        fixed.scatter_(0, labels[None], SURE)
    else:
        fixed = torch.full((classes, *labels.shape), 1 / classes, dtype=torch.float64)
    for point in torch.from_numpy(np.ascontiguousarray(p.T, np.float64)):
        image = point.reshape(-1, *(1,) * labels.ndim).expand(fixed.shape) if scene.others == "same" else fixed
        image = image.clone()
        image = image[None]
        image[_at(voxel)] = point
        yield image.log()


def _truth(loss: Loss, scene: Scene, classes: int) -> tuple[Truth, tuple[int, ...]]:
    """What the loss is told, and where in it the voxel lies."""
    if isinstance(scene.values, str) or not loss.needs:
        labels = torch.from_numpy(np.ascontiguousarray(scene.labels, np.int64))[None]
        return Truth.of(labels, classes=classes, needs=loss.needs), scene.voxel
    if len(loss.needs) > 1:
        kinds = ", ".join(need.kind for need in loss.needs)
        raise DataError(f"{loss.kind} reads {len(loss.needs)} maps ({kinds}), so that one set of values is not enough.")
    values, (need,) = scene.values, loss.needs
    if len(values) != classes:
        raise DataError(f"{len(values)} map values are given for {classes} classes: give one for each.")
    if need.channels == "own":
        other = values[scene.true] if need.elsewhere == "own" else float(need.elsewhere)
        right = tuple(values[scene.true] if k == scene.true else other for k in range(classes))
        if values != right:
            raise DataError(
                f"the map {need.kind} of {loss.kind} holds one value for all classes but the true one, {scene.true}, "
                f"and not {','.join(f'{v:g}' for v in values)}: give this loss values of its own, such as "
                f"{','.join(f'{v:g}' for v in right)}."
            )
    single = torch.tensor(values[scene.true : scene.true + 1] if need.channels == "own" else values)
    labels = torch.full((1, 1, 1), scene.true)
    shape = (1, 1, 1) if need.channels == "own" else (1, classes, 1, 1)
    return Truth(labels=labels, classes=classes, spacing=(1.0, 1.0), maps={need: single.reshape(shape)}), (0, 0)


def _values(loss: Loss, truth: Truth, voxel: tuple[int, ...]) -> tuple[float, ...]:
    if len(loss.needs) != 1:
        return ()
    (need,) = loss.needs
    channels = need.expanded(truth.maps[need], truth.labels, truth.classes)
    return tuple(float(value) for value in channels[_at(voxel)])
