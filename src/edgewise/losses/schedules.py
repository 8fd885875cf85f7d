"""Weights that change while a network trains: functions of the epoch, which may be a fraction."""

import math
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from typing_extensions import override

from edgewise.catalog import Component
from edgewise.errors import ExperimentError


@dataclass(frozen=True, kw_only=True)
class Schedule(Component):
    """Base of the schedules: a number for every moment of a training."""

    package: ClassVar[str] = "edgewise.losses"

    @abstractmethod
    def value(self, epoch: float) -> float:
        """The value after `epoch` epochs; `epoch` is not negative."""


@dataclass(frozen=True, kw_only=True)
class Linear(Schedule):
    r"""A straight line, then a constant: $w(e) = s + (t - s) \min(e / E, 1)$.

    From 1 to 0.01 over 99 epochs it is the $\max(1 - e/100,\, 0.01)$ of the region-wise paper.

    Attributes:
        start: $s$, the value at the beginning.
        end: $t$, the value from epoch `epochs` on.
        epochs: $E$; positive.
    """

    kind: Literal["linear"] = "linear"
    start: float = 1.0
    end: float = 0.01
    epochs: float = 99.0
    source: ClassVar[str] = "Kervadec et al. 2021, doi:10.1016/j.media.2020.101851"

    def __post_init__(self) -> None:
        _check(self.kind, self.start, self.end, self.epochs)

    @override
    def value(self, epoch: float) -> float:
        return self.start + (self.end - self.start) * min(epoch / self.epochs, 1.0)


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    r"""Half a cosine wave, then a constant: $w(e) = t + (s - t) (1 + \cos(\pi \min(e / E, 1))) / 2$.

    Attributes:
        start: $s$, the value at the beginning.
        end: $t$, the value from epoch `epochs` on.
        epochs: $E$; positive.
    """

    kind: Literal["cosine"] = "cosine"
    start: float = 1.0
    end: float = 0.0
    epochs: float = 100.0
    source: ClassVar[str] = "Loshchilov & Hutter 2017, arXiv:1608.03983"

    def __post_init__(self) -> None:
        _check(self.kind, self.start, self.end, self.epochs)

    @override
    def value(self, epoch: float) -> float:
        phase = math.pi * min(epoch / self.epochs, 1.0)
        return self.end + (self.start - self.end) * (1 + math.cos(phase)) / 2


@dataclass(frozen=True, kw_only=True)
class Complement(Schedule):
    """One minus another schedule, so that two weights sum to one."""

    kind: Literal["complement"] = "complement"
    to: Schedule = field(default_factory=Linear)
    source: ClassVar[str] = "Kervadec et al. 2021, doi:10.1016/j.media.2020.101851"

    @override
    def value(self, epoch: float) -> float:
        return 1 - self.to.value(epoch)


def _check(kind: str, start: float, end: float, epochs: float) -> None:
    if not (math.isfinite(start) and math.isfinite(end) and 0 < epochs < math.inf):
        raise ExperimentError(
            f"{kind}: start {start} and end {end} must be finite, and epochs {epochs} finite and above 0."
        )
