"""Lesion-wise scores of LiTS: in its preset only, to compare with published numbers.

The public script pools lesions over all cases; these are its numbers of one case. It counts a found group of lesions
once, against all lesions. We do what its comments say where the code slips: it takes one component's label for
another's when it measures a union, and takes undetected lesions off more than once where it had merged them.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Integer
from numpy import ndarray
from scipy import ndimage
from typing_extensions import override

from edgewise.metrics.base import OVERLAP, Empty, Metric
from edgewise.metrics.comparison import Comparison
from edgewise.metrics.components import hull, numbered, overlaps
from edgewise.metrics.overlap import RVD, VOE, Dice
from edgewise.metrics.surface import ASSD, MSD, RMSD

LARGE = 9001.0  # what the script puts for a distance that does not exist
LARGE_DISTANCE = Empty(both=0.0, prediction=LARGE, reference=LARGE)
GROUPS = (
    "6-connected components; references with the same best-overlapping prediction are merged, and so are predictions "
    "with the same best-overlapping merged reference; found if their IoU is above {iou:g}"
)
SOURCE = "Bilic et al. 2023, doi:10.1016/j.media.2022.102680; code: PatrickChrist/lits-challenge-scoring"


@dataclass(frozen=True, kw_only=True)
class LitsLesionRecall(Metric):
    r"""Found groups of lesions over reference lesions; a group of several counts once.

    Attributes:
        iou: a group is found if the intersection over union of its two sides is above this; LiTS reports 0.5 and 0.
    """

    kind: Literal["lits_lesion_recall"] = "lits_lesion_recall"
    iou: float = 0.5
    unit: ClassVar = "1"
    better: ClassVar = "higher"
    empty: ClassVar[Empty] = OVERLAP
    in_default: ClassVar = False
    definition: ClassVar[str] = f"LiTS: found groups of lesions / reference lesions; {GROUPS}"
    source: ClassVar[str] = SOURCE

    @override
    def of(self, comparison: Comparison) -> float:
        """In [0, 1]."""
        groups = _groups(comparison, self.iou)
        return groups.found / len(groups.reference)


@dataclass(frozen=True, kw_only=True)
class LitsLesionPrecision(Metric):
    r"""Found groups of lesions over predicted lesions; a group of several counts once.

    Attributes:
        iou: see `LitsLesionRecall`.
    """

    kind: Literal["lits_lesion_precision"] = "lits_lesion_precision"
    iou: float = 0.5
    unit: ClassVar = "1"
    better: ClassVar = "higher"
    empty: ClassVar[Empty] = OVERLAP
    in_default: ClassVar = False
    definition: ClassVar[str] = f"LiTS: found groups of lesions / predicted lesions; {GROUPS}"
    source: ClassVar[str] = SOURCE

    @override
    def of(self, comparison: Comparison) -> float:
        """In [0, 1]."""
        groups = _groups(comparison, self.iou)
        return groups.found / len(groups.prediction)


@dataclass(frozen=True, kw_only=True)
class LitsLesionDice(Metric):
    r"""Mean Dice of the lesions that were found; 0 where none was.

    Attributes:
        iou: see `LitsLesionRecall`.
    """

    kind: Literal["lits_lesion_dice"] = "lits_lesion_dice"
    iou: float = 0.5
    unit: ClassVar = "1"
    better: ClassVar = "higher"
    empty: ClassVar[Empty] = OVERLAP
    in_default: ClassVar = False
    definition: ClassVar[str] = f"LiTS: mean Dice of the found lesions, 0 if none is; {GROUPS}"
    source: ClassVar[str] = SOURCE

    @override
    def of(self, comparison: Comparison) -> float:
        """In [0, 1]."""
        return _mean(Dice(), comparison, self.iou, 0.0)


@dataclass(frozen=True, kw_only=True)
class LitsLesionVOE(Metric):
    r"""Mean volume overlap error of the lesions that were found; 1 where none was.

    Attributes:
        iou: see `LitsLesionRecall`.
    """

    kind: Literal["lits_lesion_voe"] = "lits_lesion_voe"
    iou: float = 0.5
    unit: ClassVar = "1"
    better: ClassVar = "lower"
    empty: ClassVar[Empty] = Empty(both=0.0, prediction=1.0, reference=1.0)
    in_default: ClassVar = False
    definition: ClassVar[str] = f"LiTS: mean volume overlap error of the found lesions, 1 if none is; {GROUPS}"
    source: ClassVar[str] = SOURCE

    @override
    def of(self, comparison: Comparison) -> float:
        """In [0, 1]."""
        return _mean(VOE(), comparison, self.iou, 1.0)


@dataclass(frozen=True, kw_only=True)
class LitsLesionRVD(Metric):
    r"""Mean of $(|R| - |P|) / |P|$ of the lesions that were found, signed as the script does; 9001 where none was.

    Attributes:
        iou: see `LitsLesionRecall`.
    """

    kind: Literal["lits_lesion_rvd"] = "lits_lesion_rvd"
    iou: float = 0.5
    unit: ClassVar = "1"
    better: ClassVar = "zero"
    empty: ClassVar[Empty] = LARGE_DISTANCE
    in_default: ClassVar = False
    definition: ClassVar[str] = f"LiTS: mean of (|R|-|P|) / |P| of the found lesions, 9001 if none is; {GROUPS}"
    source: ClassVar[str] = SOURCE

    @override
    def of(self, comparison: Comparison) -> float:
        """Above -1."""
        return _mean(RVD(relative_to="prediction"), comparison, self.iou, LARGE)


@dataclass(frozen=True, kw_only=True)
class LitsLesionASSD(Metric):
    r"""Mean average symmetric surface distance of the lesions that were found; 9001 where none was.

    Attributes:
        iou: see `LitsLesionRecall`.
    """

    kind: Literal["lits_lesion_assd"] = "lits_lesion_assd"
    iou: float = 0.5
    unit: ClassVar = "mm"
    better: ClassVar = "lower"
    empty: ClassVar[Empty] = LARGE_DISTANCE
    in_default: ClassVar = False
    definition: ClassVar[str] = f"LiTS: mean ASSD of the found lesions, 18-neighbour borders, 9001 if none is; {GROUPS}"
    source: ClassVar[str] = SOURCE

    @override
    def of(self, comparison: Comparison) -> float:
        """Not negative, in mm."""
        return _mean(ASSD(), comparison, self.iou, LARGE)


@dataclass(frozen=True, kw_only=True)
class LitsLesionRMSD(Metric):
    r"""Mean root mean square surface distance of the lesions that were found; 9001 where none was.

    Attributes:
        iou: see `LitsLesionRecall`.
    """

    kind: Literal["lits_lesion_rmsd"] = "lits_lesion_rmsd"
    iou: float = 0.5
    unit: ClassVar = "mm"
    better: ClassVar = "lower"
    empty: ClassVar[Empty] = LARGE_DISTANCE
    in_default: ClassVar = False
    definition: ClassVar[str] = f"LiTS: mean RMSD of the found lesions, 18-neighbour borders, 9001 if none is; {GROUPS}"
    source: ClassVar[str] = SOURCE

    @override
    def of(self, comparison: Comparison) -> float:
        """Not negative, in mm."""
        return _mean(RMSD(), comparison, self.iou, LARGE)


@dataclass(frozen=True, kw_only=True)
class LitsLesionMSD(Metric):
    r"""Mean maximum symmetric surface distance of the lesions that were found; 9001 where none was.

    Attributes:
        iou: see `LitsLesionRecall`.
    """

    kind: Literal["lits_lesion_msd"] = "lits_lesion_msd"
    iou: float = 0.5
    unit: ClassVar = "mm"
    better: ClassVar = "lower"
    empty: ClassVar[Empty] = LARGE_DISTANCE
    in_default: ClassVar = False
    definition: ClassVar[str] = f"LiTS: mean MSD of the found lesions, 18-neighbour borders, 9001 if none is; {GROUPS}"
    source: ClassVar[str] = SOURCE

    @override
    def of(self, comparison: Comparison) -> float:
        """Not negative, in mm."""
        return _mean(MSD(), comparison, self.iou, LARGE)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Groups:
    """The group of each component, counted from 0 in both masks; components of no found group have -1.

    Attributes:
        prediction: (p) group of each predicted component.
        reference: (r) group of each reference component.
        found: how many groups there are.
    """

    prediction: Integer[ndarray, " p"]
    reference: Integer[ndarray, " r"]
    found: int


def _groups(comparison: Comparison, iou: float) -> _Groups:
    return comparison.once(("lits groups", iou), lambda: _grouped(_in_order(comparison), iou))


def _in_order(comparison: Comparison) -> Comparison:
    """The same masks in memory as SciPy scans them: the script takes the first of components that overlap alike."""
    return comparison.once(
        "lits",
        lambda: replace(
            comparison,
            prediction=np.ascontiguousarray(comparison.prediction),
            reference=np.ascontiguousarray(comparison.reference),
        ),
    )


def _grouped(comparison: Comparison, iou: float) -> _Groups:
    found = overlaps(comparison, "faces")
    predicted, true = found.pairs.T
    predictions, references = len(found.prediction), len(found.reference)
    # A merged reference is called by the prediction that overlaps most of each of its parts.
    merged = _best(true, predicted, found.shared, references)
    keys, inverse = np.unique(np.stack([predicted, merged[true]], axis=1), axis=0, return_inverse=True)
    shared = np.bincount(inverse.ravel(), weights=found.shared, minlength=len(keys)).astype(np.int64)
    taken = _best(keys[:, 0], keys[:, 1], shared, predictions)
    own = taken[keys[:, 0]] == keys[:, 1]
    both = np.bincount(keys[own, 1], weights=shared[own], minlength=predictions)
    voxels = sum(
        np.bincount(group[group >= 0], weights=sizes[group >= 0], minlength=predictions)
        for group, sizes in ((taken, found.prediction), (merged, found.reference))
    )
    chosen = both > iou * (voxels - both)
    numbers = np.append(np.where(chosen, np.cumsum(chosen) - 1, -1), -1)  # what belongs to no group is called -1
    return _Groups(prediction=numbers[taken], reference=numbers[merged], found=int(np.count_nonzero(chosen)))


def _best(
    of: Integer[ndarray, " k"], among: Integer[ndarray, " k"], shared: Integer[ndarray, " k"], count: int
) -> Integer[ndarray, " n"]:
    """For each of `count` the one that shares most with it, the first of several; -1 where none does."""
    best = np.full(count, -1)
    order = np.lexsort((-among, shared))  # the last to be written stays
    best[of[order]] = among[order]
    return best


def _mean(metric: Metric, comparison: Comparison, iou: float, nothing: float) -> float:
    """Mean of a metric over the groups that were found."""
    pieces = comparison.once(("lits pieces", iou), lambda: _pieces(_in_order(comparison), _groups(comparison, iou)))
    return float(sum(metric.of(each) for each in pieces)) / len(pieces) if pieces else nothing


def _pieces(comparison: Comparison, groups: _Groups) -> tuple[Comparison, ...]:
    sides = ((comparison.prediction, groups.prediction), (comparison.reference, groups.reference))
    prediction, reference = (
        np.append(-1, group).astype(np.int32)[numbered(mask, "faces")[0]] + 1 for mask, group in sides
    )
    boxes = zip(*(ndimage.find_objects(numbers) for numbers in (prediction, reference)), strict=True)
    return tuple(
        Comparison.of(prediction[box] == number, reference[box] == number, comparison.spacing, border="edges")
        for number, box in enumerate(map(hull, boxes), start=1)
    )
