"""What a network is: settings that build a module for the topology that the plan derived from the data."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from edgewise.catalog import Component


@dataclass(frozen=True, kw_only=True)
class Topology:
    """What the data and the memory allow; the plan derives it, a network is built for it.

    Attributes:
        channels: image channels.
        classes: output channels, background included.
        strides: down-sampling per axis on the way into each level; the first entry is the stem's (ones: none).
        kernels: convolution kernel per axis in each level.
        widths: feature channels of each level.
    """

    channels: int
    classes: int
    strides: tuple[tuple[int, ...], ...]
    kernels: tuple[tuple[int, ...], ...]
    widths: tuple[int, ...]

    @property
    def dims(self) -> int:
        """Number of spatial axes, 2 or 3."""
        return len(self.strides[0])


class Network(Component):
    """Settings of a segmentation network.

    The module that `build` returns maps images (B, K, *space) to logits (B, C, *space), where every side of `space`
    is a multiple of the product of the strides along it. In training mode it may return a list of logits, from full
    resolution to coarse, for deep supervision; in evaluation mode it returns the full resolution only.
    """

    package: ClassVar = "edgewise.networks"

    @abstractmethod
    def build(self, topology: Topology) -> nn.Module:
        """A module with fresh weights, drawn from torch's global random generator."""
