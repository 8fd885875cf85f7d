"""What a method is: it turns settings into a learner that the training loop can drive."""

from abc import abstractmethod
from typing import ClassVar

from torch import nn

from edgewise.catalog import Component
from edgewise.methods.groundwork import Groundwork, Laid
from edgewise.networks.base import Network, Topology
from edgewise.training.learner import Learner, Setting


class Method(Component):
    """How one or several networks are trained together."""

    package: ClassVar = "edgewise.methods"

    @abstractmethod
    def require(self, network: Network, topology: Topology) -> None:
        """Refuse what this method cannot train, before anything costs time.

        Raises:
            ExperimentError: it cannot train this network.
            RunError: a file that it starts from is missing or does not fit.
        """

    @abstractmethod
    def predictor(self, network: Network, topology: Topology) -> nn.Module:
        """The module to predict with: images to logits, fresh weights from torch's global random generator."""

    @abstractmethod
    def seen(self, patch: tuple[int, ...]) -> tuple[int, ...]:
        """Size of what the segmentation network sees of a training patch: mostly all of it."""

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
