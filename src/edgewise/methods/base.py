"""What a method is: it turns settings into a learner that the training loop can drive."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from torch import nn

from edgewise.catalog import Component
from edgewise.networks.base import Network, Topology
from edgewise.training.learner import Learner, Setting

Laid: TypeAlias = Mapping[str, Mapping[str, Any]]
"""The weights that every groundwork of a method has trained, by its name."""


@dataclass(frozen=True, kw_only=True)
class Groundwork:
    """A training on reference masks alone that goes before the main one.

    Its learner's predictor maps one-hot labels (B, C, *space) to one channel a foreground class, (B, C-1, *space).
    A validation scores the Dice of what lies above `threshold` there with the mask of the class.

    Attributes:
        name: of the network that it trains; the file `checkpoints/NAME.pt` holds its weights.
        learner: what is trained.
        steps: training steps at most.
        batch: patches in a batch.
        validate_every: steps between validations.
        threshold: above it a predicted map stands for its class.
        enough: mean validation Dice at which this training ends.
        expected: mean validation Dice below which the user is warned.
    """

    name: str
    learner: Learner
    steps: int
    batch: int
    validate_every: int
    threshold: float
    enough: float
    expected: float


class Method(Component):
    """How one or several networks are trained together."""

    package: ClassVar = "edgewise.methods"

    @abstractmethod
    def predictor(self, network: Network, topology: Topology) -> nn.Module:
        """The module to predict with: images to logits, fresh weights from torch's global random generator."""

    @abstractmethod
    def groundwork(self, setting: Setting) -> tuple[Groundwork, ...]:
        """What has to be trained first; mostly nothing."""

    @abstractmethod
    def learner(self, setting: Setting, laid: Laid) -> Learner:
        """A fresh learner; weights are drawn from torch's global random generator.

        Args:
            setting: what to train, and how.
            laid: the weights that each groundwork has trained.
        """
