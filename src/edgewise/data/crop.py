"""Find the part of an image that is worth keeping."""

from dataclasses import dataclass, replace
from math import ceil
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np

from edgewise.components import numbered
from edgewise.errors import ExperimentError
from edgewise.types import Image, Labels, Mask, Spacing

Box: TypeAlias = tuple[tuple[int, int], ...]

AIR_HU = -500.0
MARGIN_MM = 5.0
_STEP_MM = 4.0  # less than the margin, so what lies between two samples stays inside the box
_SHARE = 1 / 8


@dataclass(frozen=True, kw_only=True)
class LabelRange:
    """The slices that hold chosen classes, and a margin, of cases that train: the "effective range" of LR-Net's paper.

    Attributes:
        classes: names (or label values) of the classes; `foreground` is all but the background.
        margin: what is kept before the first and after the last of these slices.
        unit: of the margin: `slices` of the prepared grid, as the paper counts after interpolation, or `mm`.
        within: what the slices are cut from; where there is no reference, as at prediction, all of it is kept.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}
    kind: Literal["labels"] = "labels"
    classes: tuple[str | int, ...] | Literal["foreground"] = "foreground"
    margin: float = 10.0
    unit: Literal["slices", "mm"] = "slices"
    within: Literal["none", "body"] = "body"

    def __post_init__(self) -> None:
        if not 0 <= self.margin < float("inf"):
            raise ExperimentError(f"margin is {self.margin}, but must be a number from 0.")
        if not self.classes:
            raise ExperimentError("classes is empty. Name at least one, or write foreground.")

    @property
    def by_value(self) -> bool:
        """Whether the classes are label values, or all."""
        return self.classes == "foreground" or all(isinstance(name, int) for name in self.classes)

    def known(self, classes: tuple[str, ...]) -> "LabelRange":
        """The same range with label values for the names of classes.

        Args:
            classes: class names; the index is the label value.

        Raises:
            ExperimentError: there is no such class.
        """
        if self.classes == "foreground":
            return self
        for name in self.classes:
            if name not in classes[1:] and name not in range(1, len(classes)):
                raise ExperimentError(
                    f"plan.crop: {name} is no class of this dataset. Its classes are {', '.join(classes[1:])}."
                )
        values = sorted({classes.index(name) if isinstance(name, str) else name for name in self.classes})
        return replace(self, classes=tuple(values))

    def slices(self, labels: Labels, box: Box, axis: int, spacing: float, slice_mm: float) -> tuple[int, int] | None:
        """The slices to keep.

        Args:
            labels: (*space) of the whole image.
            box: the part of it that counts.
            axis: across which slices are cut.
            spacing: distance of its slices in mm.
            slice_mm: distance of the slices that `margin` counts, in mm.

        Returns:
            (start, stop) along `axis`, within the box; `None` where the box holds none of the classes.
        """
        wanted = np.zeros(256, bool)
        wanted[[value for value in range(1, 256) if self.classes == "foreground" or value in self.classes]] = True
        part = np.moveaxis(labels[tuple(slice(*edges) for edges in box)], axis, 0)
        held = np.flatnonzero([wanted[plane].any() for plane in part])
        if not held.size:
            return None
        margin = self.margin * (slice_mm if self.unit == "slices" else 1.0)
        more = ceil(margin / spacing - 1e-6)
        start, stop = box[axis]
        return max(start + int(held[0]) - more, start), min(start + int(held[-1]) + 1 + more, stop)


AnyCrop: TypeAlias = Literal["none", "body"] | LabelRange


def body_box(image: Image, spacing: Spacing) -> Box:
    """The box of the body, or of what is not background.

    In an image with values below -500 (CT: air), it holds the connected regions above -500 HU in the first
    channel that are at least an eighth as large as the largest one, looked for on a grid of about 4 mm: two
    legs stay, a table and tubes go. In any other image it holds the voxels that differ from the background,
    if the eight corners of every channel agree on one background value. Where nothing is found, it is the
    whole image.

    Args:
        image: (K, *space).
        spacing: voxel size in mm.

    Returns:
        (start, stop) in voxels along each axis, with a margin of 5 mm and at least one voxel.
    """
    shape = image.shape[1:]
    if image[0].min() < AIR_HU:
        step = tuple(max(1, int(_STEP_MM / size)) for size in spacing)
        kept = _large_regions(image[0][tuple(slice(None, None, s) for s in step)] > AIR_HU)
    else:
        step = (1,) * len(shape)
        kept = _unlike_corners(image)
    box = []
    for axis, (size, stride, length) in enumerate(zip(spacing, step, shape, strict=True)):
        others = tuple(other for other in range(len(shape)) if other != axis)
        inside = np.flatnonzero(kept.any(axis=others)) * stride
        margin = max(1, ceil(MARGIN_MM / size))
        if inside.size:
            box.append((max(int(inside[0]) - margin, 0), min(int(inside[-1]) + 1 + margin, length)))
        else:
            box.append((0, length))
    return tuple(box)


def _large_regions(mask: Mask) -> Mask:
    regions, _ = numbered(mask, "corners")
    sizes = np.bincount(regions.ravel())
    sizes[0] = 0
    large = (sizes > 0) & (sizes >= _SHARE * sizes.max(initial=0))
    kept: Mask = large[regions]
    return kept


def _unlike_corners(image: Image) -> Mask:
    corners = image[(slice(None), *(slice(None, None, max(n - 1, 1)) for n in image.shape[1:]))]
    different = np.zeros(image.shape[1:], bool)
    for channel, values in zip(image, corners, strict=True):
        if values.min() < values.max():
            return np.ones(image.shape[1:], bool)
        different |= channel != values.flat[0]
    return different
