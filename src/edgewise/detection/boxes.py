"""Boxes around the objects of label maps, and how well two boxes agree."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from scipy import ndimage
from torch import Tensor

from edgewise.components import numbered
from edgewise.types import Labels

Grouping: TypeAlias = Literal["class", "component", "foreground"]
"""What an object is: all voxels of a class, each connected component of a class, or all that is not background."""
Box: TypeAlias = tuple[float, ...]
Boxes = Float[Tensor, "... sides"]


@dataclass(frozen=True, kw_only=True)
class Object:
    """Something to be found.

    Attributes:
        box: where it lies.
        kind: its number among the kinds of objects: the class less one, or 0 where all classes are one object.
    """

    box: Box
    kind: int


def kinds(classes: int, grouping: Grouping) -> int:
    """How many kinds of objects there are, for `classes` classes with the background."""
    return 1 if grouping == "foreground" else classes - 1


def objects(labels: Labels, classes: int, grouping: Grouping) -> tuple[Object, ...]:
    """The objects of a label map and their boxes, kind by kind.

    Args:
        labels: (*space), background 0, two or three axes.
        classes: number of classes, background included.
        grouping: what an object is. Components touch at faces, edges or corners.

    Example:
        >>> row = np.array([[0, 1, 1, 0, 1, 2]])
        >>> [each.box for each in objects(row, 3, "component")]
        [(-0.5, 0.5, 0.5, 2.5), (-0.5, 3.5, 0.5, 4.5), (-0.5, 4.5, 0.5, 5.5)]
    """
    found = []
    for kind in range(kinds(classes, grouping)):
        mask = labels != 0 if grouping == "foreground" else labels == kind + 1
        if not mask.any():
            continue
        parts = numbered(mask, "corners")[0] if grouping == "component" else mask.astype(np.uint8)
        boxes = sorted(_box(slices) for slices in ndimage.find_objects(parts) if slices is not None)
        found += [Object(box=box, kind=kind) for box in boxes]
    return tuple(found)


def _box(slices: tuple[slice, ...]) -> Box:
    return (*(float(s.start) - 0.5 for s in slices), *(float(s.stop) - 0.5 for s in slices))


def grown(boxes: Boxes, margin: float) -> Boxes:
    """Boxes with `margin` voxels more on every side."""
    low, high = boxes.chunk(2, dim=-1)
    return torch.cat((low - margin, high + margin), dim=-1)


def clipped(boxes: Boxes, space: Sequence[int]) -> Boxes:
    """Boxes without what lies outside an image.

    Args:
        boxes: (*n, 2d) in voxels; the gradient reaches the sides that lie inside.
        space: shape of the image. A box that lies outside has no extent, at the border.
    """
    top = torch.tensor([n - 0.5 for n in space], dtype=boxes.dtype, device=boxes.device)
    return boxes.clamp(min=-0.5).minimum(torch.cat((top, top)))


def iou(first: Boxes, second: Boxes) -> Tensor:
    r"""Intersection over union, $|A \cap B| / |A \cup B|$.

    Args:
        first: (*n, 2d) boxes, no low side above its high side.
        second: likewise; shapes broadcast.

    Returns:
        (*n) in [0, 1]; 0 where both boxes are empty.
    """
    shared = _volume((_sides(first, second)[0]).clamp(min=0))
    union = _volume(_extent(first)) + _volume(_extent(second)) - shared
    return shared / union.clamp(min=1e-9)


def diou_loss(predicted: Boxes, wanted: Boxes) -> Tensor:
    r"""Distance-IoU loss: $1 - IoU + \rho^2 / c^2$.

    $\rho$ is the distance of the centres and $c$ the diagonal of the smallest box that holds both.

    Args:
        predicted: (*n, 2d) boxes; the gradient reaches every side, also where the boxes do not touch.
        wanted: likewise.

    Returns:
        (*n) in [0, 2).

    Source:
        Zheng et al. 2020, doi:10.1609/aaai.v34i07.6999 (in 2D; the same formula serves in 3D).
    """
    apart = (_centre(predicted) - _centre(wanted)).square().sum(dim=-1)
    diagonal = _sides(predicted, wanted)[1].square().sum(dim=-1)
    return 1 - iou(predicted, wanted) + apart / diagonal.clamp(min=1e-9)


def contained(mask: ndarray, boxes: ndarray) -> float:
    """The share of a mask's voxels whose centre lies in at least one of the boxes.

    Args:
        mask: (*space) bool.
        boxes: (n, 2d); may reach beyond the image.

    Returns:
        In [0, 1]; `nan` for an empty mask.
    """
    inside = np.zeros(mask.shape, bool)
    for box in boxes.reshape(len(boxes), 2, mask.ndim):
        low, high = np.ceil(box[0] - 1e-4).astype(int), np.floor(box[1] + 1e-4).astype(int) + 1
        inside[tuple(slice(max(a, 0), max(b, 0)) for a, b in zip(low, high, strict=True))] = True
    total = np.count_nonzero(mask)
    return float(np.count_nonzero(mask & inside) / total) if total else float("nan")


def _extent(boxes: Tensor) -> Tensor:
    low, high = boxes.chunk(2, dim=-1)
    return high - low


def _centre(boxes: Tensor) -> Tensor:
    low, high = boxes.chunk(2, dim=-1)
    return (low + high) / 2


def _sides(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Lengths of what two boxes share (negative where they do not touch), and of the smallest box around both."""
    (a, b), (c, d) = first.chunk(2, dim=-1), second.chunk(2, dim=-1)
    return b.minimum(d) - a.maximum(c), b.maximum(d) - a.minimum(c)


def _volume(lengths: Tensor) -> Tensor:
    return lengths.prod(dim=-1)
