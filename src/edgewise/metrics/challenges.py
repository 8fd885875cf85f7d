"""Lesion-wise scores of BraTS 2023: in its presets only, to compare with published numbers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Integer
from numpy import ndarray
from scipy import ndimage
from typing_extensions import override

from edgewise.components import numbered
from edgewise.metrics.base import Empty, Metric
from edgewise.metrics.comparison import Comparison
from edgewise.metrics.components import hull, pairs_of
from edgewise.metrics.surface import HD95
from edgewise.types import Spacing

SURFACES = HD95(rule="cumulative")
WORST_DISTANCE = 374.0  # mm, about the diagonal of BraTS' images of 240 x 240 x 155 mm
BRATS_SOURCE = "Moawad et al. 2023, arXiv:2306.00838; code: rachitsaluja/BraTS-2023-Metrics"


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """What BraTS 2023 takes for one lesion of the reference.

    Attributes:
        dilations: components of the reference are one lesion if they touch (26 neighbours) after so many dilations
            with 18 neighbours, and predicted components that touch the dilated lesion are taken for it.
        ignored: reference lesions of at most this volume do not count, found or not; in mm³ (in 2D, mm²).
    """

    dilations: int = 3
    ignored: float = 50.0


GLIOMA = Grouping()
BRATS_2023: Mapping[str, Grouping] = {
    "glioma": GLIOMA,
    "sub-saharan": GLIOMA,
    "paediatric": GLIOMA,
    "meningioma": Grouping(dilations=1),
    "metastases": Grouping(dilations=1, ignored=2.0),
}
GROUPS = (
    "reference components that touch after {lesions[dilations]} dilation(s) are one lesion, predicted components that "
    "touch the dilated lesion are taken for it, lesions up to {lesions[ignored]:g} mm³ are ignored"
)


@dataclass(frozen=True, kw_only=True)
class BratsLesionDice(Metric):
    r"""Mean Dice of the lesions, found, missed or false: $\sum_r D_r / (n_R + n_{FP})$.

    $D_r$ is the Dice of a reference lesion with the union of the predicted components taken for it, which may be
    taken for several lesions. A predicted component that is taken for none is false and counts as a lesion of Dice
    0, as a missed one does; one that is taken for an ignored lesion is not false. 1 where there is nothing to count.

    Attributes:
        lesions: what a lesion is; `BRATS_2023` has the settings of the challenges.
    """

    kind: Literal["brats_lesion_dice"] = "brats_lesion_dice"
    lesions: Grouping = GLIOMA
    unit: ClassVar = "1"
    better: ClassVar = "higher"
    empty: ClassVar[Empty] = Empty(both=1.0, prediction="formula", reference=0.0)
    in_default: ClassVar = False
    definition: ClassVar[str] = f"BraTS 2023 lesion-wise Dice, each false component adds a 0; {GROUPS}"
    source: ClassVar[str] = BRATS_SOURCE

    @override
    def of(self, comparison: Comparison) -> float:
        """In [0, 1]."""
        groups = _groups(comparison, self.lesions)
        counted = groups.counted + groups.false
        return float(groups.dice[groups.large].sum()) / counted if counted else 1.0


@dataclass(frozen=True, kw_only=True)
class BratsLesionHD95(Metric):
    r"""Mean 95th percentile Hausdorff distance of the lesions, found, missed or false.

    $(\sum_r h_r + 374\,n_{FP}) / (n_R + n_{FP})$ mm, with $h_r$ the distance between the surfaces of a reference
    lesion and of the predicted components taken for it, weighted by surface area; 374 for a missed lesion. See
    `BratsLesionDice` for what counts. 0 where there is nothing to count.

    Attributes:
        lesions: what a lesion is; `BRATS_2023` has the settings of the challenges.
    """

    kind: Literal["brats_lesion_hd95"] = "brats_lesion_hd95"
    lesions: Grouping = GLIOMA
    unit: ClassVar = "mm"
    better: ClassVar = "lower"
    empty: ClassVar[Empty] = Empty(both=0.0, prediction="formula", reference=WORST_DISTANCE)
    in_default: ClassVar = False
    definition: ClassVar[str] = (
        "BraTS 2023 lesion-wise HD95 of area-weighted surface elements, 374 for a missed lesion and for each false "
        f"component; {GROUPS}"
    )
    source: ClassVar[str] = BRATS_SOURCE

    @override
    def of(self, comparison: Comparison) -> float:
        """Not negative, in mm."""
        groups = _groups(comparison, self.lesions)
        counted = groups.counted + groups.false
        found = [SURFACES(each) for each in groups.found(comparison.spacing)]
        missed = counted - len(found)
        return (float(sum(found)) + missed * WORST_DISTANCE) / counted if counted else 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class _Groups:
    """BraTS' lesions: groups of reference components, and the predicted components taken for each.

    Attributes:
        reference: (*space) bool.
        predicted: (*space) numbers of the predicted components, from 1.
        near: (*space) numbers of the dilated groups, from 1.
        pairs: (k, 2) which predicted component is taken for which group, counted from 0.
        dice: (g) of each group with what is taken for it.
        large: (g) whether a group counts.
        false: number of predicted components that are taken for none.
    """

    reference: Bool[ndarray, "*space"]
    predicted: Integer[ndarray, "*space"]
    near: Integer[ndarray, "*space"]
    pairs: Integer[ndarray, "k 2"]
    dice: ndarray
    large: Bool[ndarray, " g"]
    false: int

    @property
    def counted(self) -> int:
        """Number of groups that count."""
        return int(np.count_nonzero(self.large))

    def found(self, spacing: Spacing) -> Iterator[Comparison]:
        """What is taken for each group that counts, compared with it; not where nothing is."""
        boxes = [ndimage.find_objects(numbers) for numbers in (self.predicted, self.near)]
        for group in np.flatnonzero(self.large):
            taken = self.pairs[self.pairs[:, 1] == group, 0]
            if len(taken):
                box = hull([boxes[1][group], *(boxes[0][each] for each in taken)])
                yield Comparison.of(
                    np.isin(self.predicted[box], taken + 1),
                    self.reference[box] & (self.near[box] == group + 1),
                    spacing,
                    border="surfels",
                )


def _groups(comparison: Comparison, grouping: Grouping) -> _Groups:
    return comparison.once(("brats", grouping), lambda: _grouped(comparison, grouping))


def _grouped(comparison: Comparison, grouping: Grouping) -> _Groups:
    prediction, reference = comparison.prediction, comparison.reference
    predicted, predictions = numbered(prediction, "corners")
    # The crop is enough: where two dilations meet outside the box around two voxels, they also meet inside.
    dilated = reference
    if grouping.dilations:
        cross = ndimage.generate_binary_structure(reference.ndim, 2)
        dilated = ndimage.binary_dilation(reference, cross, grouping.dilations)
    # A dilated component is the dilation of the group in it, so that one pass finds what touches each group.
    near, groups = numbered(dilated, "corners")
    touching = dilated & prediction
    pairs, _ = pairs_of(predicted[touching] - 1, near[touching] - 1)
    sizes = np.bincount(predicted[prediction] - 1, minlength=predictions)
    voxels = np.bincount(near[reference] - 1, minlength=groups)
    shared = np.bincount(near[prediction & reference] - 1, minlength=groups)
    taken = np.bincount(pairs[:, 1], weights=sizes[pairs[:, 0]], minlength=groups)
    return _Groups(
        reference=reference,
        predicted=predicted,
        near=near,
        pairs=pairs,
        dice=2 * shared / (voxels + taken),
        large=voxels * np.prod(comparison.spacing) > grouping.ignored,
        false=predictions - len(np.unique(pairs[:, 0])),
    )
