"""The active contour loss."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from typing_extensions import override

from edgewise.errors import ExperimentError
from edgewise.losses.base import Loss
from edgewise.losses.region_wise import RegionWise
from edgewise.maps.region_wise import active_contour
from edgewise.truth import Truth
from edgewise.types import Logits, MaskBatch, Scalar, Spacing

SMOOTH = 1e-3  # per mm: gradients below this count by their square, so that a flat probability has a derivative


@dataclass(frozen=True, kw_only=True)
class ActiveContour(Loss):
    r"""Probability of the wrong classes, and the length (in 3D: the area) of the predicted boundaries.

    $$L = \frac{1}{C}\,\mathrm{mean}_{b,x} \Bigl[ 1 - p_t + \frac{\lambda}{2} \sum_c \lVert \nabla p_c \rVert \Bigr]$$

    The first term is the region-wise loss with the `active_contour` map. The second is the total variation, which
    for certain predictions is the length of all boundaries, each counted once, over the size of the image
    ($mm / mm^2$, or $mm^2 / mm^3$); $\nabla$ is taken in mm between the centres of voxels, the edge of the image
    is no boundary. Smooth where $p$ is flat. Voxels next to unknown ones have no length.

    Attributes:
        length: $\lambda$ in mm, finite and not negative; 0 for the region alone. The source sums both terms with
            equal weights in pixels, which costs thin structures more than they can gain; the default is less.
    """

    kind: Literal["active_contour"] = "active_contour"
    length: float = 0.1
    needs: ClassVar = (active_contour,)
    source: ClassVar[str] = "Chen et al. 2019, doi:10.1109/CVPR.2019.01190"

    def __post_init__(self) -> None:
        if not 0 <= self.length < math.inf:
            raise ExperimentError(f"active_contour: length is {self.length}, but must be finite and not negative.")

    @override
    def of(self, log_p: Logits, truth: Truth) -> Scalar:
        region = RegionWise(map=active_contour).of(log_p, truth)
        if self.length == 0:
            return region
        steepness = _steepness(log_p.exp(), truth.spacing).sum(1) / 2
        if not isinstance(truth.known, str):
            steepness = steepness.where(_whole(truth.known), 0)
        # A cell is as large as a voxel; there is one less along every axis.
        missing = [side for size in reversed(truth.labels.shape[1:]) for side in (0, int(size > 1))]
        return region + self.length / truth.classes * truth.mean(torch.nn.functional.pad(steepness, missing))


def _steepness(p: Logits, spacing: Spacing) -> Tensor:
    """Length of the gradient in every cell between voxel centres, per mm: (B, C, *cells).

    Root of the mean square over the parallel edges of the cell: the same for mirror images, exact for
    plane boundaries across an axis, and no pattern, such as a chessboard, is invisible to it.
    """
    square = p.new_zeros(())
    for axis, size in enumerate(spacing, start=2):
        slope = (p.diff(dim=axis) / size).square()
        for other in range(2, p.ndim):
            if other != axis and p.shape[other] > 1:
                length = p.shape[other] - 1
                slope = (slope.narrow(other, 0, length) + slope.narrow(other, 1, length)) / 2
        square = square + slope if p.shape[axis] > 1 else square
    return (square + SMOOTH**2).sqrt() - SMOOTH


def _whole(known: MaskBatch) -> Tensor:
    """Cells with no unknown corner, (B, *cells) bool."""
    whole: Tensor = known
    for axis in range(1, known.ndim):
        length = known.shape[axis] - 1
        if length:
            whole = whole.narrow(axis, 0, length) & whole.narrow(axis, 1, length)
    return whole
