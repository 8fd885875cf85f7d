"""What a metric is: one expression on a comparison, and everything a report needs to print it honestly."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from edgewise.catalog import Component
from edgewise.metrics.comparison import Comparison


@dataclass(frozen=True, kw_only=True)
class Metric(Component):
    """Base of the metrics. Call the metric; implement `of`.

    Attributes:
        unit: what the number is measured in.
        better: which way is up.
        both_empty: the value where neither mask has a voxel.
        one_empty: the value where only one has; `inf` is kept and counted, and tables aggregate it by a named
            policy.
        definition: one sentence that settles every choice on which implementations differ.
    """

    package: ClassVar[str] = "edgewise.metrics"
    unit: ClassVar[Literal["1", "mm", "ml"]]
    better: ClassVar[Literal["higher", "lower"]]
    both_empty: ClassVar[float]
    one_empty: ClassVar[float]
    definition: ClassVar[str]

    @abstractmethod
    def of(self, comparison: Comparison) -> float:
        """The value where both masks have voxels."""

    def __call__(self, comparison: Comparison) -> float:
        """The value, or the stated one where a mask is empty."""
        prediction, reference, _ = comparison.voxels
        if prediction and reference:
            return self.of(comparison)
        return self.one_empty if prediction or reference else self.both_empty
