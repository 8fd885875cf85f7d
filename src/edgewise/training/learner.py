"""What the loop trains: anything that takes a batch, learns from it, and can say all it knows."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn

from edgewise.data.batches import Batch
from edgewise.losses.base import Loss
from edgewise.networks.base import Network, Topology
from edgewise.training.arithmetic import Arithmetic
from edgewise.training.group import ALONE, Group
from edgewise.training.optimise import AnyOptimiser, AnySchedule
from edgewise.types import Spacing


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Everything a method needs to build its learner.

    Attributes:
        network: the segmentation network's settings.
        topology: what the plan derived for it.
        loss: the segmentation loss.
        spacing: voxel size along the network's axes, in mm.
        optimiser: which optimiser, and how fast.
        schedule: how its rate changes.
        steps: training steps in all.
        seed: what is drawn at a step follows from it and the number of the step.
        epoch: training steps that a loss's schedules call an epoch.
        clip: gradient norms are scaled down to this.
        average: decay of the moving average of the weights; 0 uses the last weights.
        arithmetic: precision, memory format, threads.
        device: where to train.
        group: the processes that train together, each on its share of a batch.
    """

    network: Network
    topology: Topology
    loss: Loss
    spacing: Spacing
    optimiser: AnyOptimiser
    schedule: AnySchedule
    steps: int
    seed: int
    epoch: int
    clip: float
    average: float
    arithmetic: Arithmetic
    device: torch.device
    group: Group = ALONE

    def draws(self, step: int) -> np.random.Generator:
        """The random numbers of a step; every process has its own."""
        own = (self.group.rank,) if self.group.rank else ()
        return np.random.default_rng((self.seed, 3, step, *own))


@runtime_checkable
class Learner(Protocol):
    """The state of a training: weights, optimisers, averages."""

    def step(self, batch: Batch, step: int) -> float:
        """Learn from one batch; return the loss.

        Raises:
            DivergedError: the loss, the gradient or a weight is not finite; the state is spoilt and must not be saved.
        """

    def observe(self, score: float) -> None:
        """Take note of a validation score (higher is better)."""

    @property
    def rate(self) -> float:
        """Learning rate of the last step."""

    @property
    def predictor(self) -> nn.Module:
        """The network to predict with, in evaluation mode."""

    def state(self) -> dict[str, Any]:
        """Everything needed to go on exactly: tensors and plain values only."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
