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

from edgewise.components import numbered
from edgewise.metrics.base import OVERLAP, Better, Empty, Metric, Unit
from edgewise.metrics.comparison import Comparison
from edgewise.metrics.components import hull, overlaps
from edgewise.metrics.overlap import Dice

LARGE = 9001.0  # what the script puts for a distance that does not exist
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
class LitsLesion(Metric):
    r"""Mean of another metric over the lesions that were found.

    Surface metrics take 18-neighbour borders here.

    Attributes:
        measured: the other metric.
        iou: see `LitsLesionRecall`.
        nothing: the value where no lesion was found, or where a mask is empty; 9001 for a distance.
    """

    kind: Literal["lits_lesion"] = "lits_lesion"
    measured: Metric = Dice()
    iou: float = 0.5
    nothing: float = 0.0
    in_default: ClassVar = False
    definition: ClassVar[str] = (
        f"LiTS: mean {{measured[kind]}} of the found lesions (18-neighbour borders), {{nothing:g}} if none is; {GROUPS}"
    )
    source: ClassVar[str] = SOURCE

    @property
    @override
    def unit(self) -> Unit:
        return self.measured.unit

    @property
    @override
    def better(self) -> Better:
        return self.measured.better

    @property
    @override
    def empty(self) -> Empty:
        return Empty(both=self.measured.empty.both, prediction=self.nothing, reference=self.nothing)

    @override
    def of(self, comparison: Comparison) -> float:
        """In the range of `measured`, or `nothing`."""
        whole = _in_order(comparison)
        pieces = comparison.once(("lits pieces", self.iou), lambda: _pieces(whole, _groups(comparison, self.iou)))
        return sum(self.measured.of(each) for each in pieces) / len(pieces) if pieces else self.nothing


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
