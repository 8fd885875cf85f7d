"""The rectified region-wise loss."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from typing_extensions import override

from edgewise.losses.base import Loss
from edgewise.maps.region_wise import rectified
from edgewise.truth import Truth
from edgewise.types import Logits, Scalar


@dataclass(frozen=True, kw_only=True)
class RegionWise(Loss):
    r"""Probability times the rectified region-wise map: rewards depth, punishes every miss alike.

    $$L = \frac{1}{B C |\Omega|} \sum_{b,c,x} p_c(x)\, z_c(x) = \frac{1}{C}\,\mathrm{mean}_{b,x}
    \bigl[1 - p_t(x)\,(1 - z_t(x))\bigr]$$

    with $z_t = -d_{in} / \max d_{in}$ for the true class $t$ and $z_c = 1$ for every other, background
    included. The right form needs one channel: no one-hot labels and no map per class. In [-1/C, 1/C], so
    negative values are normal. A class absent from an image is penalised alike wherever it is predicted in
    it.
    """

    kind: Literal["region_wise"] = "region_wise"
    needs: ClassVar = (rectified,)
    source: ClassVar[str] = "Valverde & Tohka 2022, doi:10.1016/j.patcog.2022.109208"

    @override
    def of(self, log_p: Logits, truth: Truth) -> Scalar:
        reward = truth.own(log_p).exp() * (1 - truth.maps[rectified])
        return truth.mean(1 - reward) / truth.classes
