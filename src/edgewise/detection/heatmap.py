r"""Objects as points on a heatmap: what a network is taught, and what is read from its answer."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from edgewise.components import numbered
from edgewise.detection.boxes import Box, Object, diou_loss

STRIDE = 4
"""Pixels from one cell of a heatmap to the next."""
CENTRAL = 0.5
"""A cell whose target is above it answers for a box, and a predicted cell above it is part of a keypoint."""

Heat = Float[Tensor, "B O *cells"]
Sides = Float[Tensor, "B sides O *cells"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """What a localisation network should answer.

    Attributes:
        heat: (B, O, *cells) in [0, 1], 1 at the centre of an object.
        boxes: (B, O, *cells, 2d): at every cell the box of the object that is nearest by its centre.
    """

    heat: Tensor
    boxes: Tensor


def positions(cells: Sequence[int], device: torch.device) -> Tensor:
    """Where the cells lie in pixels, (*cells, d): cell i at (i + ½)·4 - ½, the middle of the pixels it stands for."""
    axes = [(torch.arange(n, device=device, dtype=torch.float32) + 0.5) * STRIDE - 0.5 for n in cells]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


def targets(images: Sequence[Sequence[Object]], kinds: int, cells: Sequence[int], sigma: float) -> Targets:
    r"""The heatmap and the boxes that describe some objects.

    $$h(x) = \max_c \exp\left(-\frac{|x - c|^2}{2 \sigma^2}\right)$$ over the centres $c$ of the boxes of a kind.

    Args:
        images: the objects of each image, their boxes in pixels.
        kinds: number O of kinds.
        cells: shape of the heatmap.
        sigma: $\sigma$ in cells.

    Returns:
        The targets, on the CPU. Where an image has no object of a kind, the heat is 0 and the boxes are empty.

    Source:
        Xie et al. 2021, arXiv:2102.05971, equation 1.
    """
    where = positions(cells, torch.device("cpu"))
    dims = where.shape[-1]
    heat = torch.zeros(len(images), kinds, *cells)
    boxes = torch.zeros(len(images), kinds, *cells, 2 * dims)
    for image, found in enumerate(images):
        for each in found:
            box = torch.tensor(each.box, dtype=torch.float32)
            centre = (box[:dims] + box[dims:]) / 2
            squared = ((where - centre) / STRIDE).square().sum(dim=-1)
            own = torch.exp(-squared / (2 * sigma**2))
            nearer = own > heat[image, each.kind]
            heat[image, each.kind].copy_(own.maximum(heat[image, each.kind]))
            boxes[image, each.kind][nearer] = box
    return Targets(heat=heat, boxes=boxes)


def boxes_at_cells(distances: Tensor) -> Tensor:
    """The box that every cell speaks of.

    Args:
        distances: (B, O, 2d, *cells) to the low sides of all axes, then to the high sides, in pixels.

    Returns:
        (B, O, *cells, 2d) in pixels.
    """
    dims = distances.ndim - 3
    where = positions(distances.shape[3:], distances.device)
    low, high = torch.split(distances.movedim(2, -1).float(), dims, dim=-1)
    return torch.cat((where - low, where + high), dim=-1)


def heat_loss(logits: Tensor, wanted: Tensor, gamma: float, dice: float) -> Tensor:
    r"""Focal and Dice loss against a heatmap: $\frac{1}{P}\sum |h - p|^\gamma\,CE(p, h) + w\,(1 - Dice(p, h))$.

    Between 0 and 1 targets are neither class, so that the focal weight is the distance to the target; where the target
    is 0 or 1 it is Lin's. $P$ is the number of cells with $h > ½$, at least 1. The Dice has squares in its
    denominator: only so it is best where p = h.

    Args:
        logits: (B, O, *cells); p is their sigmoid.
        wanted: (B, O, *cells) in [0, 1].
        gamma: $\gamma$.
        dice: weight $w$.

    Returns:
        A scalar, at least 0.

    Source:
        Lin et al. 2017, arXiv:1708.02002, in the form of Li et al. 2020, arXiv:2006.04388; Milletari et al. 2016,
        arXiv:1606.04797.
    """
    logits = logits.float()
    p = logits.sigmoid()
    entropy = binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    focal = ((wanted - p).abs() ** gamma * entropy).sum() / (wanted > CENTRAL).sum().clamp(min=1)
    overlap = (2 * (p * wanted).sum() + 1) / (p.square().sum() + wanted.square().sum() + 1)
    return focal + dice * (1 - overlap)


def box_loss(boxes: Tensor, wanted: Targets) -> Tensor | None:
    """Mean DIoU loss over the cells near the centre of an object; `None` where there is no object.

    Args:
        boxes: (B, O, *cells, 2d) that the cells speak of.
        wanted: the targets.
    """
    near = wanted.heat > CENTRAL
    if not bool(near.any()):
        return None
    return diou_loss(boxes[near], wanted.boxes[near]).mean()


@dataclass(frozen=True, kw_only=True)
class Peak:
    """A keypoint of a heatmap.

    Attributes:
        kind: of the object.
        cell: the index of the cell nearest to its centre.
        score: its largest probability.
    """

    kind: int
    cell: tuple[int, ...]
    score: float


def peaks(heat: Tensor, threshold: float, most: int) -> list[Peak]:
    """The keypoints of one image's heatmap: the connected components above a threshold.

    The centre of a component is the mean of its cells, weighted by their probability. Where that cell lies outside the
    component, its most probable cell takes its place.

    Args:
        heat: (O, *cells) probabilities.
        threshold: a cell above it belongs to a keypoint.
        most: how many are kept, the most probable first.
    """
    found = []
    for kind, field in enumerate(heat.detach().float().cpu().numpy()):
        numbers, count = numbered(field > threshold, "corners")
        for number in range(1, count + 1):
            cells = (numbers == number).nonzero()
            weight = field[cells]
            centre = tuple(round(float((axis * weight).sum() / weight.sum())) for axis in cells)
            if numbers[centre] != number:
                best = int(weight.argmax())
                centre = tuple(int(axis[best]) for axis in cells)
            found.append(Peak(kind=kind, cell=centre, score=float(weight.max())))
    return sorted(found, key=lambda peak: -peak.score)[:most]


def box_of(boxes: Tensor, peak: Peak) -> Box:
    """The box that the cell of a keypoint speaks of.

    Args:
        boxes: (O, *cells, 2d) of one image.
        peak: of the same image.
    """
    return tuple(boxes[(peak.kind, *peak.cell)].tolist())
