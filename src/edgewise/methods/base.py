"""What a method is: it turns settings into a learner that the training loop can drive."""

from abc import abstractmethod
from typing import ClassVar

from edgewise.catalog import Component
from edgewise.training.learner import Learner, Setting


class Method(Component):
    """How one or several networks are trained together."""

    package: ClassVar = "edgewise.methods"

    @abstractmethod
    def learner(self, setting: Setting) -> Learner:
        """A fresh learner; weights are drawn from torch's global random generator."""
