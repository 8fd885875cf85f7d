"""Localisation by keypoints and boxes, as a part of methods: the network, its targets and its loss."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from edgewise.data.batches import Batch
from edgewise.detection.boxes import Grouping, Object, kinds, objects
from edgewise.detection.heatmap import Targets, box_loss, heat_loss, targets
from edgewise.errors import ExperimentError
from edgewise.inference.locators import Keypoints
from edgewise.networks.base import Topology
from edgewise.networks.lnet import LNet
from edgewise.training.learner import Setting


@dataclass(frozen=True, kw_only=True)
class Localisation:
    r"""How objects are found: by an L-Net that looks at whole images.

    $$L = \frac{1}{P}\sum |h - p|^\gamma CE(p, h) + w\,(1 - Dice(p, h)) + DIoU$$

    with the heatmap $h$ of Gaussians around the centres of the objects' boxes, what the network answers $p$, and the
    DIoU loss of the boxes that the $P$ cells near a centre ($h > ½$) speak of.

    Attributes:
        network: the L-Net.
        objects: `class` gives one box to all voxels of a class (in a slice, in 2D), `component` one to each connected
            component of a class, `foreground` one to all classes together.
        shrink: how much smaller than the image what it sees is: one number, or one for each axis of the network. In
            3D a small view makes a look at a whole scan cheap.
        sigma: width of the Gaussians, in cells of 4 pixels of what the network sees.
        gamma: $\gamma$ of the focal loss.
        dice: weight $w$ of the Dice loss of the heatmap.
        threshold: predicted probability above which cells are a keypoint.
        most: regions of an image at most, the surest.

    Source:
        Xie et al. 2021, arXiv:2102.05971
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}
    network: LNet = LNet()
    objects: Grouping = "class"
    shrink: int | tuple[int, ...] = 1
    sigma: Annotated[float, Field(gt=0)] = 2.5
    gamma: Annotated[float, Field(ge=0)] = 2.0
    dice: Annotated[float, Field(ge=0)] = 0.2
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    most: Annotated[int, Field(ge=1)] = 8

    def build(self, topology: Topology) -> Keypoints:
        """The locator, with fresh weights."""
        network = self.network.build(topology.channels, kinds(topology.classes, self.objects), topology.dims)
        return Keypoints(network, factors(self.shrink, topology.dims), threshold=self.threshold, most=self.most)

    def wanted(self, found: list[list[Object]], topology: Topology, cells: tuple[int, ...]) -> Targets:
        """What the network should answer about the objects of each image, their boxes in voxels of the image."""
        scale = factors(self.shrink, topology.dims) * 2
        small = [
            [
                Object(box=tuple((b + 0.5) / s - 0.5 for b, s in zip(o.box, scale, strict=True)), kind=o.kind)
                for o in row
            ]
            for row in found
        ]
        return targets(small, kinds(topology.classes, self.objects), cells, self.sigma)

    def loss(self, locator: Keypoints, batch: Batch, setting: Setting) -> Tensor:
        """The loss of the locator on a batch."""
        with setting.arithmetic.autocast(setting.device):
            logits, boxes = locator.answers(setting.arithmetic.arrange(batch.image))
        found = objects_of(batch, setting, self.objects)
        wanted = self.wanted(found, setting.topology, tuple(logits.shape[2:]))
        wanted = Targets(heat=wanted.heat.to(setting.device), boxes=wanted.boxes.to(setting.device))
        heat = heat_loss(logits, wanted.heat, self.gamma, self.dice)
        drawn = box_loss(boxes, wanted)
        return heat if drawn is None else heat + drawn


def objects_of(batch: Batch, setting: Setting, grouping: Grouping) -> list[list[Object]]:
    """The objects of each image of a batch."""
    classes = setting.topology.classes
    return [list(objects(labels, classes, grouping)) for labels in batch.labels.to(torch.uint8).cpu().numpy()]


def factors(shrink: int | tuple[int, ...], dims: int) -> tuple[int, ...]:
    """One factor for each axis.

    Raises:
        ExperimentError: their number is not that of the axes, or one is below 1.
    """
    each = (shrink,) * dims if isinstance(shrink, int) else shrink
    if len(each) != dims or min(each) < 1:
        raise ExperimentError(
            f"shrink is {shrink}, but must be one number, or one for each of the {dims} axes of the network, from 1."
        )
    return each


def multiple(topology: Topology) -> tuple[int, ...]:
    """What the sides of images must be multiples of, for a network of this topology."""
    product = [1] * topology.dims
    for stride in topology.strides:
        product = [p * s for p, s in zip(product, stride, strict=True)]
    return tuple(product)
