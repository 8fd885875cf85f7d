"""The soft Jaccard loss."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from typing_extensions import override

from edgewise.losses.base import Loss
from edgewise.losses.overlap import Overlap, averaged, check_eps
from edgewise.truth import Truth
from edgewise.types import Logits, PerClass, Scalar


@dataclass(frozen=True, kw_only=True)
class Jaccard(Loss):
    r"""One minus the soft intersection over union, averaged over classes (and over the batch, unless pooled).

    $$L = 1 - \frac{1}{BC} \sum_{b,c} \frac{\sum_x p_c y_c + \epsilon}
    {\sum_x p_c + \sum_x y_c - \sum_x p_c y_c + \epsilon}$$

    with $p_c^2$ for $p_c$ alone when the denominator is `squared`, which is the Tanimoto form. In [0, 1]; 0 at the
    reference alone. For one class it orders predictions as Dice does ($J = D / (2 - D)$), and it punishes the worst
    more. An absent class is treated as in `Dice`. With twice this `eps` MONAI's
    `DiceLoss(jaccard=True)` is the same.

    Attributes:
        denominator: `plain` or `squared` sums.
        background: whether class 0 counts as a class.
        batch: one overlap an image (`each`), or one for the whole batch (`pooled`).
        eps: added to both sides of the fraction, in voxels; positive.
    """

    kind: Literal["jaccard"] = "jaccard"
    denominator: Literal["plain", "squared"] = "plain"
    background: bool = True
    batch: Literal["each", "pooled"] = "each"
    eps: float = 1e-5
    needs: ClassVar = ()
    takes: ClassVar = "logits"
    source: ClassVar[str] = (
        "Rahman & Wang 2016, doi:10.1007/978-3-319-50835-1_22 (plain); "
        "Diakogiannis et al. 2020, doi:10.1016/j.isprsjprs.2020.01.013 (squared)"
    )

    def __post_init__(self) -> None:
        check_eps(self.kind, self.eps)

    @override
    def of(self, log_p: Logits, truth: Truth) -> Scalar:
        overlap = Overlap.of(log_p, truth, power=1 if self.denominator == "plain" else 2)
        return averaged(self._cost, overlap, truth, background=self.background, batch=self.batch)

    def _cost(self, overlap: Overlap) -> PerClass:
        union = overlap.predicted + overlap.true - overlap.both
        return 1 - (overlap.both + self.eps) / (union + self.eps)
