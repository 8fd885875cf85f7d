"""What a loss may know about the right answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from edgewise.errors import ShapeError
from edgewise.maps.base import DistanceMap, checked_labels, checked_spacing
from edgewise.types import LabelBatch, Spacing


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """One batch of reference labels, with the distance maps that the loss asked for.

    `Truth.of` checks the labels and builds the maps; the plain constructor trusts its caller, so that nothing
    is read back from a GPU in the training loop.

    Attributes:
        labels: (B, *space) int64 in 0..classes-1.
        classes: number of classes, background included.
        spacing: voxel size along each spatial axis in mm, the same for the whole batch.
        maps: the field of each distance map, (B, *space) float32, keyed by the map itself.
    """

    labels: LabelBatch
    classes: int
    spacing: Spacing
    maps: Mapping[DistanceMap, Tensor] = field(default_factory=dict)

    @staticmethod
    def of(
        labels: Tensor,
        *,
        classes: int,
        spacing: Sequence[float] | Literal["voxels"] = "voxels",
        needs: Sequence[DistanceMap] = (),
    ) -> "Truth":
        """Check labels and build the maps in `needs` on the device of the labels.

        Args:
            labels: (B, *space) or (B, 1, *space) integers in 0..classes-1, two or three spatial axes.
            classes: number of classes, background included.
            spacing: voxel size along each spatial axis in mm, or `"voxels"` to measure in voxels. With
                `"voxels"` four axes of which the second has length 1 are read as (B, 1, y, x).
            needs: the maps to build, such as `loss.needs`.

        Returns:
            The truth, on the device of `labels`.

        Raises:
            LabelError: labels are not integers, or out of range.
            ShapeError: labels have the wrong number of axes.
            SpacingError: `spacing` does not fit.
        """
        ndim = _spatial_axes(labels, spacing)
        sizes = checked_spacing(spacing, ndim)
        if labels.ndim == ndim + 2:
            labels = labels[:, 0]
        checked_labels(labels, classes)
        maps = {each: each(labels, classes=classes, spacing=sizes) for each in needs}
        return Truth(labels=labels.long(), classes=classes, spacing=sizes, maps=maps)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "Truth":
        """The same truth with labels and maps on `device`."""
        maps = {key: value.to(device, non_blocking=non_blocking) for key, value in self.maps.items()}
        return replace(self, labels=self.labels.to(device, non_blocking=non_blocking), maps=maps)


def _spatial_axes(labels: Tensor, spacing: Sequence[float] | Literal["voxels"]) -> int:
    if spacing == "voxels":
        ndim = 2 if labels.ndim == 4 and labels.shape[1] == 1 else min(labels.ndim - 1, 3)
    else:
        ndim = len(spacing)
    channel = labels.ndim == ndim + 2 and labels.shape[1] == 1
    if ndim < 2 or not (labels.ndim == ndim + 1 or channel):
        raise ShapeError(
            f"labels of shape {tuple(labels.shape)} with spacing {spacing}: expected (B, *space) or (B, 1, "
            "*space) with two or three spatial axes and one size for each. For one-hot labels pass "
            "`labels.argmax(1)`."
        )
    return ndim
