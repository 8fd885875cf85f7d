"""L-SNet: one network finds regions, another segments them, and the second one's loss teaches the first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from edgewise.data.batches import Batch
from edgewise.detection.boxes import grown
from edgewise.errors import ExperimentError
from edgewise.inference.locators import Keypoints
from edgewise.inference.roi import Recalibration, labels_in, recalibrated
from edgewise.inference.two_stage import TwoStage
from edgewise.methods.base import Method
from edgewise.methods.groundwork import Groundwork, Laid
from edgewise.methods.localisation import Localisation, factors, multiple
from edgewise.methods.regions import kinds_of, region_loss
from edgewise.networks.base import Network, Topology
from edgewise.training.descent import Descent, Reading, Turn, outputs_of
from edgewise.training.learner import Learner, Setting


@dataclass(frozen=True, kw_only=True)
class LSNet(Method):
    r"""Locate regions with an L-Net, recalibrate them to one size, segment them with the network: all differentiable.

    Every step has two turns. First L-Net moves down its own loss. Then, for every image, one of its most probable
    keypoints is drawn, the region there is sampled, and both networks move down the loss of the second on it: the
    gradient that reaches L-Net through the sides of the box is scaled by $\lambda$. Each network has an optimiser of
    its own. The region is drawn before L-Net can be right, and from empty images, too: so the second network learns
    what a false region looks like.

    Where objects are classes or components, a region is segmented for the class of its object: all else in it is
    background, until its own region is pasted. Where the foreground is one object, a region holds every class.

    The labels of a region follow it, but the gradient goes through the image alone. A loss with distance maps measures
    them in voxels of the region, as if they were of the plan's spacing.

    Attributes:
        localisation: how regions are found.
        recalibration: how they are sampled and pasted back.
        decay: $\lambda$; 0 trains L-Net by its own loss alone.
        keypoints: how many of the most probable cells the region is drawn from.
        deep_supervision: how coarse outputs of the network are compared with the labels.
    """

    kind: Literal["lsnet"] = "lsnet"
    localisation: Localisation = Localisation()
    recalibration: Recalibration = Recalibration()
    decay: Annotated[float, Field(ge=0)] = 0.1
    keypoints: Annotated[int, Field(ge=1)] = 3
    deep_supervision: Reading = "resized_labels"
    source: ClassVar = "Xie et al. 2021, arXiv:2102.05971"

    @override
    def require(self, network: Network, topology: Topology) -> None:
        factors(self.localisation.shrink, topology.dims)
        require_size(self.recalibration, topology)

    @override
    def predictor(self, network: Network, topology: Topology) -> nn.Module:
        self.require(network, topology)
        return TwoStage(
            self.localisation.build(topology),
            network.build(topology),
            self.recalibration,
            classes=topology.classes,
            grouping=self.localisation.objects,
            multiple=multiple(topology),
        )

    @override
    def seen(self, patch: tuple[int, ...]) -> tuple[int, ...]:
        return self.recalibration.seen(patch)

    @override
    def groundwork(self, setting: Setting) -> tuple[Groundwork, ...]:
        return ()

    @override
    def learner(self, setting: Setting, laid: Laid) -> Learner:
        def locate(both: nn.Module, batch: Batch, step: int) -> Tensor:  # noqa: ARG001 - an objective
            return self.localisation.loss(_locator(both), batch, setting)

        def segment(both: nn.Module, batch: Batch, step: int) -> Tensor:
            assert isinstance(both, TwoStage)
            rois, kinds = self._regions(_locator(both), batch, setting, step)
            size = self.seen(tuple(batch.image.shape[2:]))
            logits = outputs_of(both.segment, recalibrated(batch.image, rois, size), setting)
            labels = labels_in(batch.labels, rois, size)
            return region_loss(logits, labels, kinds, setting, step, self.deep_supervision)

        turns = (
            Turn(objective=locate, over=("locate",)),
            Turn(objective=segment, over=("locate", "segment") if self.decay else ("segment",)),
        )
        return Descent(setting, self.predictor(setting.network, setting.topology), turns)

    def _regions(self, locator: Keypoints, batch: Batch, setting: Setting, step: int) -> tuple[Tensor, Sequence[int]]:
        """One region for each image, (B, 2d) in voxels, its gradient scaled by lambda; and the kinds of objects."""
        rng = setting.draws(step)
        present = [labels.unique().tolist() for labels in batch.labels]
        with torch.set_grad_enabled(self.decay > 0), setting.arithmetic.autocast(setting.device):
            heat, boxes = locator.answers(setting.arithmetic.arrange(batch.image))
        boxes = locator.boxes_in(boxes, tuple(batch.image.shape[2:]))
        drawn = [self._drawn(one, held, rng) for one, held in zip(heat.detach(), present, strict=True)]
        chosen = torch.stack([there[cell] for there, cell in zip(boxes, drawn, strict=True)])
        kinds = kinds_of([kind for kind, *_ in drawn], self.localisation.objects)
        return grown(scaled_gradient(chosen, self.decay), self.recalibration.margin), kinds

    def _drawn(self, heat: Tensor, present: list[int], rng: np.random.Generator) -> tuple[int, ...]:
        """Kind and cell of a keypoint, at random among the most probable of a kind that the image holds."""
        held = [label - 1 for label in present if 0 < label <= len(heat)] if len(heat) > 1 else [0]
        pool = held or list(range(len(heat)))
        kind = pool[rng.integers(len(pool))]
        best = heat[kind].float().flatten().topk(min(self.keypoints, heat[kind].numel())).indices
        cell = torch.unravel_index(best[rng.integers(len(best))], heat.shape[1:])
        return (kind, *(int(axis) for axis in cell))


def scaled_gradient(value: Tensor, factor: float) -> Tensor:
    """The value itself, whose gradient counts `factor` times."""
    fixed = value.detach()
    return fixed + factor * (value - fixed) if factor else fixed


def require_size(recalibration: Recalibration, topology: Topology) -> None:
    """Refuse a size of regions that the network cannot take.

    Raises:
        ExperimentError: it has another number of axes, or is not divisible by the network's strides.
    """
    if recalibration.size == "auto":
        return
    size, by = recalibration.size, multiple(topology)
    if len(size) != len(by):
        raise ExperimentError(
            f"recalibration.size {list(size)} does not fit a {len(by)}D network. Give {len(by)} sides."
        )
    if any(n % m for n, m in zip(size, by, strict=True)):
        fitting = [-(-n // m) * m for n, m in zip(size, by, strict=True)]
        raise ExperimentError(
            f"recalibration.size {list(size)} is not divisible by the strides {list(by)}. Use {fitting}."
        )


def _locator(both: nn.Module) -> Keypoints:
    assert isinstance(both, TwoStage)
    assert isinstance(both.locate, Keypoints)
    return both.locate
