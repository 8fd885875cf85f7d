"""Localisation: does the box around the prediction say where the structure is?"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from typing_extensions import override

from edgewise.metrics.base import OVERLAP, Empty, Metric
from edgewise.metrics.census import Box
from edgewise.metrics.comparison import Comparison, bounding_box

ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class BoxIoU(Metric):
    r"""Intersection over union of the two bounding boxes, which end at the outer faces of the voxels.

    Voxel size cancels. One far false voxel can lower it to nearly 0, as it would mislead whoever crops to the box.

    Example:
        >>> reference = np.zeros((8, 8), bool)
        >>> reference[2:6, 2:6] = True
        >>> BoxIoU()(Comparison.of(np.roll(reference, 2, axis=0), reference, (1.0, 1.0))) * 3
        1.0
    """

    kind: Literal["box_iou"] = "box_iou"
    unit: ClassVar = "1"
    better: ClassVar = "higher"
    empty: ClassVar[Empty] = OVERLAP
    definition: ClassVar[str] = "intersection over union of the bounding boxes of the two masks, to outer voxel faces"
    source: ClassVar[str] = "Everingham et al. 2010, doi:10.1007/s11263-009-0275-4"

    @override
    def of(self, comparison: Comparison) -> float:
        """In (0, 1], or 0 for boxes that do not overlap."""
        boxes = _boxes(comparison)
        shared = math.prod(max(min(a.stop, b.stop) - max(a.start, b.start), 0) for a, b in zip(*boxes, strict=True))
        both = sum(math.prod(side.stop - side.start for side in box) for box in boxes)
        return float(shared / (both - shared))


@dataclass(frozen=True, kw_only=True)
class Containment(Metric):
    r"""Share of the reference inside the bounding box of the prediction: what a crop to the prediction would keep.

    A box that is too large loses nothing here; read it beside the box IoU.

    Attributes:
        margin: by what the box is enlarged on every side, in mm; a voxel is inside if its centre is.
    """

    kind: Literal["containment"] = "containment"
    margin: float = 0.0
    unit: ClassVar = "1"
    better: ClassVar = "higher"
    empty: ClassVar[Empty] = OVERLAP
    definition: ClassVar[str] = (
        "share of the reference's voxels inside the bounding box of the prediction, enlarged by {margin:g} mm"
    )
    source: ClassVar[str] = "Xie et al. 2021, arXiv:2102.05971: crop to a predicted box, then segment"

    @override
    def of(self, comparison: Comparison) -> float:
        """In [0, 1]."""
        box = tuple(
            slice(max(side.start - more, 0), side.stop + more)
            for side, size in zip(_boxes(comparison)[0], comparison.spacing, strict=True)
            for more in [math.floor(self.margin / size + 0.5 + ROUNDING)]
        )
        return float(np.count_nonzero(comparison.reference[box]) / comparison.voxels[1])


def _boxes(comparison: Comparison) -> tuple[Box, Box]:
    """The bounding boxes of the prediction and of the reference."""
    return comparison.once("boxes", lambda: (bounding_box(comparison.prediction), bounding_box(comparison.reference)))
