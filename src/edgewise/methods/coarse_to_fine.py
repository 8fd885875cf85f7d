"""Coarse to fine: a first network finds the region, which is cut out, and a second one segments the cut."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from edgewise.data.batches import Batch
from edgewise.detection.boxes import Grouping
from edgewise.inference.locators import CoarseMask, Keypoints, shrunk
from edgewise.inference.roi import Crop, fitting, padded
from edgewise.inference.two_stage import TwoStage
from edgewise.methods.base import Method
from edgewise.methods.groundwork import Groundwork, Laid
from edgewise.methods.localisation import Localisation, factors, multiple, objects_of
from edgewise.methods.regions import kinds_of, region_loss
from edgewise.networks.base import Network, Topology
from edgewise.networks.resnet import Encoder
from edgewise.networks.resnet_unet import ResNetUNet
from edgewise.training.descent import Descent, Reading, Turn, outputs_of, segmentation_loss, truth_of
from edgewise.training.learner import Learner, Setting


@dataclass(frozen=True, kw_only=True)
class Segmenting:
    """The first stage segments the whole image, and its regions are the boxes of what it finds.

    Attributes:
        network: which network.
        objects: what gets a box: a class, each connected component of a class, or all classes together.
        shrink: how much smaller than the image what it sees is: one number, or one for each axis.
        most: regions of an image at most, the largest.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}
    kind: Literal["segmentation"] = "segmentation"
    network: Network = ResNetUNet(encoder=Encoder(depth=18))
    objects: Grouping = "class"
    shrink: int | tuple[int, ...] = 1
    most: Annotated[int, Field(ge=1)] = 8


@dataclass(frozen=True, kw_only=True)
class Detecting:
    """The first stage is an L-Net.

    Attributes:
        localisation: how it finds regions.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}
    kind: Literal["detection"] = "detection"
    localisation: Localisation = Localisation()


FirstStage: TypeAlias = Segmenting | Detecting


@dataclass(frozen=True, kw_only=True)
class CoarseToFine(Method):
    """Two networks that know nothing of each other: one finds the region, the other segments what is cut out there.

    In every step the first is trained on the images, and the second on cuts around the objects of the reference, with
    a border; images without an object teach it nothing. In prediction the cuts lie where the first stage finds
    something. This is the rival that L-SNet was measured against.

    Attributes:
        first: the first stage.
        crop: how regions are cut out.
        deep_supervision: how coarse outputs of the networks are compared with the labels.
    """

    kind: Literal["coarse_to_fine"] = "coarse_to_fine"
    first: Annotated[FirstStage, Field(discriminator="kind")] = Segmenting()
    crop: Crop = Crop()
    deep_supervision: Reading = "resized_labels"
    source: ClassVar = "Zhou et al. 2017, doi:10.1007/978-3-319-66182-7_79"

    @override
    def require(self, network: Network, topology: Topology) -> None:
        shrink = self.first.shrink if isinstance(self.first, Segmenting) else self.first.localisation.shrink
        factors(shrink, topology.dims)

    @override
    def predictor(self, network: Network, topology: Topology) -> nn.Module:
        return TwoStage(
            self._locator(topology),
            network.build(topology),
            self.crop,
            classes=topology.classes,
            grouping=self._objects,
            multiple=multiple(topology),
        )

    @override
    def seen(self, patch: tuple[int, ...]) -> tuple[int, ...]:
        return patch

    @override
    def groundwork(self, setting: Setting) -> tuple[Groundwork, ...]:
        return ()

    @override
    def learner(self, setting: Setting, laid: Laid) -> Learner:
        def locate(both: nn.Module, batch: Batch, step: int) -> Tensor:
            assert isinstance(both, TwoStage)
            if isinstance(self.first, Detecting):
                assert isinstance(both.locate, Keypoints)
                return self.first.localisation.loss(both.locate, batch, setting)
            assert isinstance(both.locate, CoarseMask)
            return self._coarse_loss(both.locate, batch, setting, step)

        def segment(both: nn.Module, batch: Batch, step: int) -> Tensor:
            assert isinstance(both, TwoStage)
            image, labels, kinds = self._cuts(batch, setting, step)
            if not len(image):
                return torch.zeros((), device=batch.image.device)
            logits = outputs_of(both.segment, image, setting)
            return region_loss(logits, labels, kinds, setting, step, self.deep_supervision)

        turns = (Turn(objective=locate, over=("locate",)), Turn(objective=segment, over=("segment",)))
        return Descent(setting, self.predictor(setting.network, setting.topology), turns)

    @property
    def _objects(self) -> Grouping:
        return self.first.objects if isinstance(self.first, Segmenting) else self.first.localisation.objects

    def _locator(self, topology: Topology) -> CoarseMask | Keypoints:
        match self.first:
            case Detecting() as first:
                return first.localisation.build(topology)
            case Segmenting() as first:
                return CoarseMask(
                    first.network.build(topology),
                    factors(first.shrink, topology.dims),
                    grouping=first.objects,
                    most=first.most,
                    multiple=multiple(topology),
                )

    def _coarse_loss(self, locator: CoarseMask, batch: Batch, setting: Setting, step: int) -> Tensor:
        """The loss of the first stage, on the images as it sees them."""
        image = shrunk(batch.image, locator.shrink)
        size = fitting(image.shape[2:], locator.multiple)
        labels = padded(_nearest(batch.labels, locator.shrink), size)
        logits = outputs_of(locator.network, padded(image, size), setting)
        truth = truth_of(Batch(image=image, labels=labels, cases=batch.cases), setting, setting.loss.needs)
        return segmentation_loss(logits, truth, setting.loss.at(step / setting.epoch), self.deep_supervision)

    def _cuts(self, batch: Batch, setting: Setting, step: int) -> tuple[Tensor, Tensor, Sequence[int]]:
        """Cuts (n, K, *size) around one object of each image that has any, drawn at random, their labels and kinds."""
        space, images, labels, kinds = tuple(batch.labels.shape[1:]), [], [], []
        by, rng = multiple(setting.topology), setting.draws(step)
        for n, found in enumerate(objects_of(batch, setting, self._objects)):
            if found:
                each = found[rng.integers(len(found))]
                roi = self.crop.roi(each.box, space)
                kinds.append(each.kind)
                images.append(self.crop.cut(batch.image[n : n + 1], roi, space, by))
                labels.append(self.crop.cut(batch.labels[n : n + 1, None], roi, space, by))
        if not images:
            return batch.image[:0], batch.labels[:0], ()
        size = [max(sides) for sides in zip(*(image.shape[2:] for image in images), strict=True)]
        cut = torch.cat([padded(image, size) for image in images])
        truth = torch.cat([padded(each, size) for each in labels])[:, 0]
        return cut, truth, kinds_of(kinds, self._objects)


def _nearest(labels: Tensor, factor: tuple[int, ...]) -> Tensor:
    """Labels of a shrunk image: those in the middle of its blocks, as many as there are blocks."""
    for axis, f in enumerate(factor, start=1):
        n = labels.shape[axis]
        picks = (torch.arange(-(-n // f), device=labels.device) * f + f // 2).clamp(max=n - 1)
        labels = labels.index_select(axis, picks)
    return labels
