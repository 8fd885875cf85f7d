"""A distance map that counts how often it is built."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal

from typing_extensions import override

from edgewise.losses.smooth_l1 import SmoothL1
from edgewise.maps.base import DistanceMap
from edgewise.maps.inverse import normalized_inverse

BUILT: list[str] = []


@dataclass(frozen=True, kw_only=True)
class Counted(DistanceMap):
    """The normalised inverse distance; `name` tells two of them apart."""

    kind: Literal["counted"] = "counted"
    name: str = "first"
    elsewhere: ClassVar = 0.0
    range: ClassVar = (0.0, 1.0)
    source: ClassVar = "none"

    @override
    def of(self, regions):
        BUILT.append(self.name)
        return normalized_inverse.of(regions)

    def loss(self) -> SmoothL1:
        """A segmentation loss that needs it."""
        return SmoothL1(map=self)

    def built(self) -> int:
        """How often it was built since `counting` began, of whichever."""
        return BUILT.count(self.name)

    @contextmanager
    def counting(self) -> Iterator:
        """Start to count; gives a function that says how often it was built since."""
        BUILT.clear()
        yield self.built
