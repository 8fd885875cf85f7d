"""Overlap metrics, from three numbers of voxels."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from typing_extensions import override

from edgewise.metrics.base import OVERLAP, Empty, Metric
from edgewise.metrics.comparison import Comparison


@dataclass(frozen=True, kw_only=True)
class Dice(Metric):
    r"""Overlap of two masks relative to their mean size: $2 |P \cap R| / (|P| + |R|)$."""

    kind: Literal["dice"] = "dice"
    unit: ClassVar = "1"
    better: ClassVar = "higher"
    empty: ClassVar[Empty] = OVERLAP
    definition: ClassVar[str] = "Dice similarity 2|P∩R| / (|P|+|R|) of voxels"
    source: ClassVar[str] = "Dice 1945, doi:10.2307/1932409"

    @override
    def of(self, comparison: Comparison) -> float:
        """In (0, 1], or 0 for masks that do not touch."""
        prediction, reference, both = comparison.voxels
        return 2 * both / (prediction + reference)
