"""Connected components of two masks and their overlaps: what every lesion-wise number is made of."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Integer
from numpy import ndarray

from edgewise.components import Connectivity, numbered
from edgewise.metrics.census import Box
from edgewise.metrics.comparison import Comparison


@dataclass(frozen=True, kw_only=True)
class Matching:
    """When a predicted and a reference lesion are the same lesion.

    Attributes:
        connectivity: voxels of one lesion share a face (4 neighbours in 2D, 6 in 3D), a face or an edge (8, 18), or
            at least a corner (8, 26).
        iou: lesions match if their intersection over union is above this. 0: one shared voxel is enough. From 0.5 on
            no lesion matches two.
    """

    connectivity: Connectivity = "corners"
    iou: float = 0.0


ANY_OVERLAP = Matching()


@dataclass(frozen=True, kw_only=True, eq=False)
class Overlaps:
    """The components of two masks, and every pair of them that shares voxels.

    Attributes:
        prediction: (p) voxels of each predicted component.
        reference: (r) voxels of each reference component.
        pairs: (k, 2) the predicted and the reference component of each pair, counted from 0.
        shared: (k) voxels that both have; at least one.
    """

    prediction: Integer[ndarray, " p"]
    reference: Integer[ndarray, " r"]
    pairs: Integer[ndarray, "k 2"]
    shared: Integer[ndarray, " k"]

    @property
    def iou(self) -> Float[ndarray, " k"]:
        """Intersection over union of each pair, in (0, 1]."""
        both = self.prediction[self.pairs[:, 0]] + self.reference[self.pairs[:, 1]]
        ratio: ndarray = self.shared / (both - self.shared)
        return ratio


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesions:
    """The lesions of one mask, as the other mask sees them.

    Attributes:
        voxels: (n) voxels of each.
        matched: (n) whether a lesion of the other mask matches it: a reference lesion was found, a predicted one is
            not false.
        dice: (n) the Dice of each with the union of all lesions of the other mask that match it; 0 where none does.
    """

    voxels: Integer[ndarray, " n"]
    matched: Bool[ndarray, " n"]
    dice: Float[ndarray, " n"]


def lesions(comparison: Comparison, matching: Matching) -> tuple[Lesions, Lesions]:
    """The lesions of the prediction and of the reference, matched."""
    found = overlaps(comparison, matching.connectivity)
    match = found.iou > matching.iou
    predicted, true = found.pairs[match].T
    shared = found.shared[match]
    return (
        _seen(found.prediction, predicted, found.reference[true], shared),
        _seen(found.reference, true, found.prediction[predicted], shared),
    )


def overlaps(comparison: Comparison, connectivity: Connectivity) -> Overlaps:
    """The components of the two masks of a comparison; found once for each connectivity."""
    return comparison.once(("overlaps", connectivity), lambda: _overlaps(comparison, connectivity))


def pairs_of(
    first: Integer[ndarray, " n"], second: Integer[ndarray, " n"]
) -> tuple[Integer[ndarray, "k 2"], Integer[ndarray, " k"]]:
    """Which numbers stand at the same places.

    Args:
        first: (n) numbers from 0.
        second: (n) numbers from 0.

    Returns:
        Every pair that occurs, in the order of the first and then of the second number; and how often it does.
    """
    width = int(second.max(initial=0)) + 1
    keys = first.astype(np.int64) * width + second
    if width * (int(first.max(initial=0)) + 1) <= max(keys.size, 1 << 16):  # counting beats sorting where it has room
        counts = np.bincount(keys)
        occurring = np.flatnonzero(counts)
        times = counts[occurring]
    else:
        occurring, times = np.unique(keys, return_counts=True)
    return np.stack(np.divmod(occurring, width), axis=1), times


def hull(boxes: Iterable[Box]) -> Box:
    """The smallest box that holds all of them, of which there is one at least."""
    return tuple(
        slice(min(side.start for side in sides), max(side.stop for side in sides)) for sides in zip(*boxes, strict=True)
    )


def _overlaps(comparison: Comparison, connectivity: Connectivity) -> Overlaps:
    masks = (comparison.prediction, comparison.reference)
    (predicted, predictions), (true, references) = (numbered(mask, connectivity) for mask in masks)
    both = masks[0] & masks[1]
    pairs, shared = pairs_of(predicted[both] - 1, true[both] - 1)
    return Overlaps(
        prediction=np.bincount(predicted[masks[0]] - 1, minlength=predictions),
        reference=np.bincount(true[masks[1]] - 1, minlength=references),
        pairs=pairs,
        shared=shared,
    )


def _seen(
    voxels: Integer[ndarray, " n"],
    which: Integer[ndarray, " k"],
    others: Integer[ndarray, " k"],
    shared: Integer[ndarray, " k"],
) -> Lesions:
    """The lesions of `voxels`, each matched by `others` voxels, of which it has `shared`."""
    union, common = (np.bincount(which, weights=each, minlength=len(voxels)) for each in (others, shared))
    return Lesions(
        voxels=voxels,
        matched=np.bincount(which, minlength=len(voxels)) > 0,
        dice=2 * common / (voxels + union),
    )
