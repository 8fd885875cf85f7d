"""Lesion-wise metrics: each connected component counts once, however large it is."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from typing_extensions import override

from edgewise.components import Connectivity
from edgewise.metrics.base import OVERLAP, Empty, Metric
from edgewise.metrics.comparison import Comparison
from edgewise.metrics.components import ANY_OVERLAP, Matching, lesions, overlaps

LESIONS = "lesions are connected components ({matching[connectivity]} connectivity) and match if their IoU is above "
THEY_MATCH = f"{LESIONS}{{matching[iou]:g}} (0: one shared voxel)"
SEGMENTS = "components ({connectivity} connectivity) match if their IoU is above 0.5"


@dataclass(frozen=True, kw_only=True)
class LesionRecall(Metric):
    r"""Share of the reference lesions that were found: $TP_R / n_R$.

    Attributes:
        matching: when a lesion is found.

    Example:
        >>> reference = np.zeros((7, 7), bool)
        >>> reference[1:3, 1:3] = reference[5, 5] = True
        >>> prediction = np.roll(reference, 1, axis=0) & (np.arange(7) < 4)
        >>> LesionRecall()(Comparison.of(prediction, reference, (1.0, 1.0)))
        0.5
    """

    kind: Literal["lesion_recall"] = "lesion_recall"
    matching: Matching = ANY_OVERLAP
    unit: ClassVar = "1"
    better: ClassVar = "higher"
    empty: ClassVar[Empty] = OVERLAP
    definition: ClassVar[str] = f"share of the reference lesions that a predicted lesion matches; {THEY_MATCH}"
    source: ClassVar[str] = "Kuijf et al. 2019, doi:10.1109/TMI.2019.2905770"

    @override
    def of(self, comparison: Comparison) -> float:
        """In [0, 1]."""
        _, reference = lesions(comparison, self.matching)
        return float(reference.matched.mean())


@dataclass(frozen=True, kw_only=True)
class LesionPrecision(Metric):
    r"""Share of the predicted lesions that are not false: $TP_P / n_P$.

    Attributes:
        matching: when a predicted lesion is not false.
    """

    kind: Literal["lesion_precision"] = "lesion_precision"
    matching: Matching = ANY_OVERLAP
    unit: ClassVar = "1"
    better: ClassVar = "higher"
    empty: ClassVar[Empty] = OVERLAP
    definition: ClassVar[str] = f"share of the predicted lesions that a reference lesion matches; {THEY_MATCH}"
    source: ClassVar[str] = "Kuijf et al. 2019, doi:10.1109/TMI.2019.2905770"

    @override
    def of(self, comparison: Comparison) -> float:
        """In [0, 1]."""
        prediction, _ = lesions(comparison, self.matching)
        return float(prediction.matched.mean())


@dataclass(frozen=True, kw_only=True)
class LesionF1(Metric):
    r"""Harmonic mean of lesion-wise recall and precision: $2 \, TP_R \, TP_P / (TP_R n_P + TP_P n_R)$.

    A predicted lesion may cover two reference lesions, so that as many found lesions $TP_R$ as true predictions
    $TP_P$ are not a matter of course, and $2 TP / (n_P + n_R)$ would be ambiguous.

    Attributes:
        matching: when two lesions are the same.
    """

    kind: Literal["lesion_f1"] = "lesion_f1"
    matching: Matching = ANY_OVERLAP
    unit: ClassVar = "1"
    better: ClassVar = "higher"
    empty: ClassVar[Empty] = OVERLAP
    definition: ClassVar[str] = f"harmonic mean of lesion-wise recall and precision; {THEY_MATCH}"
    source: ClassVar[str] = "Kuijf et al. 2019, doi:10.1109/TMI.2019.2905770"

    @override
    def of(self, comparison: Comparison) -> float:
        """In [0, 1]; 0 where nothing matches."""
        precision, recall = (float(each.matched.mean()) for each in lesions(comparison, self.matching))
        return 2 * precision * recall / (precision + recall) if recall else 0.0


@dataclass(frozen=True, kw_only=True)
class LesionDice(Metric):
    r"""Mean over the reference lesions of their Dice with what was predicted for them.

    $$\frac{1}{n_R} \sum_r \frac{2 |r \cap P_r|}{|r| + |P_r|}$$

    where $P_r$ is the union of the predicted lesions that match $r$: all of their voxels, also those in another
    reference lesion, so that merging two lesions costs. A missed lesion counts 0. A false lesion does not count: it
    is in the lesion-wise precision, and in BraTS' score (`brats_lesion_dice`), which counts it as a lesion of Dice 0.
    (Per-component Dice by Voronoi regions, as Jaus et al. define it, charges a false lesion to the nearest reference
    lesion instead.)

    Attributes:
        matching: which predicted lesions are taken for a reference lesion.
    """

    kind: Literal["lesion_dice"] = "lesion_dice"
    matching: Matching = ANY_OVERLAP
    unit: ClassVar = "1"
    better: ClassVar = "higher"
    empty: ClassVar[Empty] = OVERLAP
    definition: ClassVar[str] = (
        "mean over the reference lesions of the Dice of each with the union of the predicted lesions that match it, 0 "
        f"if none does; a false lesion does not count; {THEY_MATCH}"
    )
    source: ClassVar[str] = "Moawad et al. 2023, arXiv:2306.00838; Jaus et al. 2024, arXiv:2410.18684"

    @override
    def of(self, comparison: Comparison) -> float:
        """In [0, 1]."""
        _, reference = lesions(comparison, self.matching)
        return float(reference.dice.mean())


@dataclass(frozen=True, kw_only=True)
class PanopticQuality(Metric):
    r"""Recognition times segmentation quality: $\sum_{(p, r) \in TP} IoU(p, r) / (TP + FP / 2 + FN / 2)$.

    Attributes:
        connectivity: which voxels are neighbours.
    """

    kind: Literal["pq"] = "pq"
    connectivity: Connectivity = "corners"
    unit: ClassVar = "1"
    better: ClassVar = "higher"
    empty: ClassVar[Empty] = OVERLAP
    definition: ClassVar[str] = f"panoptic quality: sum of the IoU of matches over TP + FP/2 + FN/2; {SEGMENTS}"
    source: ClassVar[str] = "Kirillov et al. 2019, doi:10.1109/CVPR.2019.00963"

    @override
    def of(self, comparison: Comparison) -> float:
        """In [0, 1]; 0 where nothing matches."""
        matches, segments = _segments(comparison, self.connectivity)
        return 2 * float(matches.sum()) / segments


@dataclass(frozen=True, kw_only=True)
class SegmentationQuality(Metric):
    r"""Mean intersection over union of the matches: $\sum_{(p, r) \in TP} IoU(p, r) / TP$.

    Attributes:
        connectivity: which voxels are neighbours.
    """

    kind: Literal["sq"] = "sq"
    connectivity: Connectivity = "corners"
    unit: ClassVar = "1"
    better: ClassVar = "higher"
    empty: ClassVar[Empty] = OVERLAP
    definition: ClassVar[str] = f"segmentation quality: mean IoU of the matches, 0 if there is none; {SEGMENTS}"
    source: ClassVar[str] = "Kirillov et al. 2019, doi:10.1109/CVPR.2019.00963"

    @override
    def of(self, comparison: Comparison) -> float:
        """In (0.5, 1], or 0 where nothing matches."""
        matches, _ = _segments(comparison, self.connectivity)
        return float(matches.mean()) if len(matches) else 0.0


@dataclass(frozen=True, kw_only=True)
class RecognitionQuality(Metric):
    r"""F1 of the matches: $TP / (TP + FP / 2 + FN / 2)$.

    Attributes:
        connectivity: which voxels are neighbours.
    """

    kind: Literal["rq"] = "rq"
    connectivity: Connectivity = "corners"
    unit: ClassVar = "1"
    better: ClassVar = "higher"
    empty: ClassVar[Empty] = OVERLAP
    definition: ClassVar[str] = f"recognition quality: TP / (TP + FP/2 + FN/2) of the matches; {SEGMENTS}"
    source: ClassVar[str] = "Kirillov et al. 2019, doi:10.1109/CVPR.2019.00963"

    @override
    def of(self, comparison: Comparison) -> float:
        """In [0, 1]; 0 where nothing matches."""
        matches, segments = _segments(comparison, self.connectivity)
        return 2 * len(matches) / segments


def _segments(comparison: Comparison, connectivity: Connectivity) -> tuple[np.ndarray, int]:
    """The IoU of each match, of which no component has two, and the number of components of both masks."""
    found = overlaps(comparison, connectivity)
    return found.iou[found.iou > 0.5], len(found.prediction) + len(found.reference)
