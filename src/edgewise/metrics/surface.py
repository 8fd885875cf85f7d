"""Surface metrics, all from the distances between the two borders."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from typing_extensions import override

from edgewise.metrics.base import DISTANCE, Empty, Metric
from edgewise.metrics.comparison import Comparison


@dataclass(frozen=True, kw_only=True)
class HD95(Metric):
    r"""95th percentile Hausdorff distance: $\max(q_{95}(d_{PR}), q_{95}(d_{RP}))$.

    As in MONAI and Metrics Reloaded. MedPy pools both sets of distances before the percentile, which forgives
    a false structure far away if its surface is small.
    """

    kind: Literal["hd95"] = "hd95"
    unit: ClassVar = "mm"
    better: ClassVar = "lower"
    empty: ClassVar[Empty] = DISTANCE
    of_borders: ClassVar = True
    definition: ClassVar = "95th percentile Hausdorff distance: the larger of the two directed 95th percentiles"
    source: ClassVar[str] = "Maier-Hein et al. 2024, doi:10.1038/s41592-023-02151-z"

    @override
    def of(self, comparison: Comparison) -> float:
        """Not negative, in mm."""
        return max(float(np.percentile(each.distances, 95)) for each in comparison.gaps)


@dataclass(frozen=True, kw_only=True)
class ASSD(Metric):
    r"""Average symmetric surface distance: $(\sum d_{PR} + \sum d_{RP}) / (n_P + n_R)$."""

    kind: Literal["assd"] = "assd"
    unit: ClassVar = "mm"
    better: ClassVar = "lower"
    empty: ClassVar[Empty] = DISTANCE
    of_borders: ClassVar = True
    definition: ClassVar = "average symmetric surface distance: mean of the distances of both borders, pooled"
    source: ClassVar[str] = "Heimann et al. 2009, doi:10.1109/TMI.2009.2013851"

    @override
    def of(self, comparison: Comparison) -> float:
        """Not negative, in mm."""
        total = sum(float(each.distances @ each.weights) for each in comparison.gaps)
        return total / sum(float(each.weights.sum()) for each in comparison.gaps)
