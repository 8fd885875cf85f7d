"""Surface metrics, all from the distances between the two borders."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from typing_extensions import override

from edgewise.metrics.base import Metric
from edgewise.metrics.comparison import Comparison

BORDER = (
    "border voxels are those removed by an erosion with face connectivity, the array edge counts as "
    "background, distances join voxel centres; both masks empty: 0, one empty: inf."
)


@dataclass(frozen=True, kw_only=True)
class HD95(Metric):
    r"""95th percentile Hausdorff distance: $\max(q_{95}(d_{PR}), q_{95}(d_{RP}))$.

    As in MONAI and Metrics Reloaded. MedPy pools both sets of distances before the percentile, which forgives
    a false structure far away if its surface is small.
    """

    kind: Literal["hd95"] = "hd95"
    unit: ClassVar = "mm"
    better: ClassVar = "lower"
    both_empty: ClassVar = 0.0
    one_empty: ClassVar = np.inf
    definition: ClassVar = (
        "95th percentile Hausdorff distance: the larger of the two directed 95th percentiles (linear "
        f"interpolation); {BORDER}"
    )
    source: ClassVar[str] = "Maier-Hein et al. 2024, doi:10.1038/s41592-023-02151-z"

    @override
    def of(self, comparison: Comparison) -> float:
        """Not negative, in mm."""
        return max(float(np.percentile(each, 95)) for each in comparison.gaps)


@dataclass(frozen=True, kw_only=True)
class ASSD(Metric):
    r"""Average symmetric surface distance: $(\sum d_{PR} + \sum d_{RP}) / (n_P + n_R)$."""

    kind: Literal["assd"] = "assd"
    unit: ClassVar = "mm"
    better: ClassVar = "lower"
    both_empty: ClassVar = 0.0
    one_empty: ClassVar = np.inf
    definition: ClassVar = (
        f"average symmetric surface distance: mean of the distances of both borders, pooled; {BORDER}"
    )
    source: ClassVar[str] = "Heimann et al. 2009, doi:10.1109/TMI.2009.2013851"

    @override
    def of(self, comparison: Comparison) -> float:
        """Not negative, in mm."""
        from_prediction, from_reference = comparison.gaps
        total = from_prediction.sum() + from_reference.sum()
        return float(total / (len(from_prediction) + len(from_reference)))
