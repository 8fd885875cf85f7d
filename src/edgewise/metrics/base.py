"""What a metric is: one expression on a comparison, and everything a report needs to print it honestly."""

from abc import abstractmethod
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal, TypeAlias

from edgewise.catalog import Component
from edgewise.metrics.comparison import Comparison

Unit: TypeAlias = Literal["1", "mm", "ml"]
Better: TypeAlias = Literal["higher", "lower", "zero", "neither"]
Stated: TypeAlias = float | Literal["formula"]


@dataclass(frozen=True, kw_only=True)
class Empty:
    """The values of a metric where a mask has no voxel; `inf` and `nan` are kept, counted and listed.

    `"formula"`: no value is stated, because the metric's formula has one.

    Attributes:
        both: neither mask has a voxel.
        prediction: only the prediction has none: the structure was missed.
        reference: only the reference has none: a structure was invented.
    """

    both: Stated
    prediction: Stated
    reference: Stated


OVERLAP = Empty(both=1.0, prediction=0.0, reference=0.0)
DISTANCE = Empty(both=0.0, prediction=float("inf"), reference=float("inf"))


@dataclass(frozen=True, kw_only=True)
class Metric(Component):
    """Base of the metrics. Call the metric; implement `of`.

    Attributes:
        in_default: whether the default definitions have it; a challenge's own score is in its preset only.
        of_borders: the value depends on what counts as border.
        definition: what is measured, with every setting on which implementations differ as a `{field}`; what
            counts as border and the values for empty masks are said elsewhere.
    """

    package: ClassVar[str] = "edgewise.metrics"
    in_default: ClassVar[bool] = True
    of_borders: ClassVar[bool] = False
    definition: ClassVar[str]

    @property
    @abstractmethod
    def unit(self) -> Unit:
        """What the number is measured in. A plain class attribute will do, here and below."""

    @property
    @abstractmethod
    def better(self) -> Better:
        """Which way is up: `zero` for signed errors, `neither` for numbers that only describe."""

    @property
    @abstractmethod
    def empty(self) -> Empty:
        """The values where a mask has no voxel, unless a set of definitions says otherwise."""

    @abstractmethod
    def of(self, comparison: Comparison) -> float:
        """The value where both masks have voxels."""

    def described(self) -> str:
        """The definition with this metric's own settings."""
        return self.definition.format(**asdict(self))

    def __call__(self, comparison: Comparison, empty: Empty | Literal["own"] = "own") -> float:
        """The value, or the stated one where a mask is empty."""
        prediction, reference, _ = comparison.voxels
        stated = self.empty if empty == "own" else empty
        value: Stated = "formula"
        if not (prediction and reference):
            value = stated.reference if prediction else stated.prediction if reference else stated.both
        return self.of(comparison) if value == "formula" else value
