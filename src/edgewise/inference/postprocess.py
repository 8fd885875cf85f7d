"""What is mended in a predicted label map: gaps closed, and all but the largest components removed."""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy import ndarray
from scipy import ndimage

from edgewise.components import numbered
from edgewise.errors import ExperimentError
from edgewise.maps import edt_cpu
from edgewise.types import Labels, Mask, Spacing

ROUNDING = 1 + 1e-5
"""A voxel as far from the centre of a ball as its radius belongs to the ball, whatever the rounding of distances."""


@dataclass(frozen=True, kw_only=True)
class Postprocessing:
    """What is done to the label map of a prediction, on the image's own grid, class by class; by default nothing.

    First every class is closed: a ball of the given radius, in mm, closes gaps and holes into which it does not fit.
    Only background is turned into a class, never another class; where two classes would take the same voxel, the one
    with the lower label gets it. Then only the largest connected components of each class stay (voxels that share a
    corner are connected); the others become background. Of components of equal size the one that comes first in the
    order of x, then y, then z stays.

    Attributes:
        closing: radius of the ball in mm; 0 closes nothing.
        components: how many components of each class stay: `all`, one number for every class, or numbers by class
            name; classes without a number keep all.

    Source:
        Calivà et al. 2019, arXiv:1908.03679 (3D closing, then the three largest components); they name no radius.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    closing: float = 0.0
    components: int | Literal["all"] | Mapping[str, int] = "all"

    def __post_init__(self) -> None:
        if not 0 <= self.closing < math.inf:
            raise ExperimentError(f"closing is {self.closing}, but must be a radius of at least 0 mm.")
        given = self.components
        for name, count in given.items() if isinstance(given, Mapping) else (("every class", given),):
            if count != "all" and count < 1:
                raise ExperimentError(f"components of {name}: {count}, but at least 1 must stay (or all).")

    def kept(self, classes: Sequence[str]) -> dict[int, int]:
        """How many components stay, by label; classes that keep all are left out.

        Args:
            classes: class names; the index is the label, 0 is the background.

        Raises:
            ExperimentError: a number is given for a class that does not exist.
        """
        labels = {name: label for label, name in enumerate(classes) if label}
        match self.components:
            case "all":
                return {}
            case int(count):
                return dict.fromkeys(labels.values(), count)
        unknown = [name for name in self.components if name not in labels]
        if unknown:
            near = difflib.get_close_matches(unknown[0], labels, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise ExperimentError(
                f"postprocessing.components: there is no class {unknown[0]}.{hint} Known: {', '.join(labels)}."
            )
        return {labels[name]: count for name, count in self.components.items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class Mended:
    """A label map after post-processing.

    Attributes:
        labels: (*space), of the type and shape that came in.
        warnings: what a user must know, in words: classes of which there was nothing to mend, a ball without effect.
    """

    labels: Labels
    warnings: tuple[str, ...]


def postprocess(labels: Labels, spacing: Spacing, classes: Sequence[str], settings: Postprocessing) -> Mended:
    """Mend a label map as the settings say.

    Args:
        labels: (*space) integers, background 0, two or three axes; not changed.
        spacing: voxel size along each axis in mm.
        classes: class names; the index is the label.
        settings: what to do.

    Raises:
        ExperimentError: the settings name a class that does not exist.

    Example:
        >>> row = np.array([[1, 1, 1, 0, 1, 1, 0, 0, 0, 0, 1]])
        >>> mend = Postprocessing(closing=1.0, components=1)
        >>> postprocess(row, (1.0, 1.0), ("background", "bone"), mend).labels
        array([[1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0]])
    """
    kept = settings.kept(classes)
    wanted = range(1, len(classes)) if settings.closing else sorted(kept)
    if not wanted:
        return Mended(labels=labels, warnings=())
    boxes = dict(enumerate(ndimage.find_objects(labels, len(classes) - 1), start=1))
    warnings = [
        f"{classes[label]} was not predicted: post-processing found nothing to keep"
        for label in wanted
        if boxes[label] is None
    ]
    result = labels.copy()
    if settings.closing:
        if not any(_reach(labels.shape, spacing, settings.closing)):
            warnings.append(f"closing with {settings.closing:g} mm does nothing: no voxel is as small, {spacing} mm")
        for label in wanted:
            if boxes[label] is not None:
                boxes[label] = _close(result, labels, label, boxes[label], spacing, settings.closing)
    for label, count in kept.items():
        if boxes[label] is not None:
            part = result[boxes[label]]
            mask = part == label
            part[mask & ~largest(mask, count)] = 0
    return Mended(labels=result, warnings=tuple(warnings))


def closed(mask: Mask, spacing: Spacing, radius: float) -> Mask:
    r"""Morphological closing with a ball: $\{x : \text{every ball that holds } x \text{ meets the mask}\}$.

    Around the image is background without end, so nothing is eroded at its edge, and a hole that the edge cuts open is
    a hole still. Axes of a single voxel do not count: a slice is closed with a disc.

    Args:
        mask: (*space) bool, up to three axes longer than 1.
        spacing: voxel size along each axis in mm.
        radius: of the ball, in mm. Where it is smaller than every voxel size, nothing changes.

    Returns:
        (*space) bool: the mask and what was closed.
    """
    reach = _reach(mask.shape, spacing, radius)
    if not any(reach) or not mask.any():
        return mask.copy()
    # Farther than the ball reaches, so that there is always background to measure to.
    margin = [(n + 1, n + 1) if size > 1 else (0, 0) for n, size in zip(reach, mask.shape, strict=True)]
    grown = np.pad(mask, margin)
    grown |= _distance(grown, spacing) <= radius * ROUNDING
    grown &= _distance(grown, spacing) > radius * ROUNDING
    inside = tuple(slice(first, first + size) for (first, _), size in zip(margin, mask.shape, strict=True))
    result: ndarray = grown[inside] | mask
    return result


def largest(mask: Mask, count: int) -> Mask:
    """The largest connected components of a mask.

    Args:
        mask: (*space) bool, two or three axes; voxels that share a corner are connected.
        count: how many stay; all do where there are no more.

    Returns:
        (*space) bool. Of components of equal size, those whose first voxel comes first in C order stay.
    """
    numbers, found = numbered(mask, "corners")
    if found <= count:
        return mask.copy()
    within = numbers[mask]  # in C order, whatever the layout in memory
    sizes = np.bincount(within, minlength=found + 1)
    least = np.partition(sizes[1:], found - count)[found - count]
    stays = sizes > least
    rivals, first = np.unique(within[(sizes == least)[within]], return_index=True)
    stays[rivals[np.argsort(first)][: count - int(stays.sum())]] = True
    stays[0] = False
    result: ndarray = stays[numbers]
    return result


def _close(
    result: Labels, labels: Labels, label: int, box: tuple[slice, ...], spacing: Spacing, radius: float
) -> tuple[slice, ...]:
    """Close one class of `labels` and write what was gained into `result`; the box that holds the class now."""
    reach = _reach(labels.shape, spacing, radius)
    wide = tuple(
        slice(max(side.start - n, 0), min(side.stop + n, size))
        for side, n, size in zip(box, reach, labels.shape, strict=True)
    )
    part = result[wide]
    part[closed(labels[wide] == label, spacing, radius) & (part == 0)] = label
    return wide


def _reach(shape: tuple[int, ...], spacing: Spacing, radius: float) -> tuple[int, ...]:
    """How many voxels a ball reaches from its centre along each axis; 0 along axes of a single voxel."""
    return tuple(int(radius * ROUNDING / size) if n > 1 else 0 for n, size in zip(shape, spacing, strict=True))


def _distance(mask: Mask, spacing: Spacing) -> ndarray:
    """Distance of every voxel to the nearest one on the other side of the mask's border, in mm."""
    distance: ndarray = edt_cpu.inside_distance(mask[None].view(np.uint8), spacing, torch.get_num_threads())[0]
    return distance
