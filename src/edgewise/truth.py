"""What a loss may know about the right answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from edgewise.errors import LabelError, ShapeError
from edgewise.maps.base import DistanceMap, checked_labels, checked_spacing, compact
from edgewise.maps.regions import Regions
from edgewise.types import FieldBatch, LabelBatch, Maps, MaskBatch, PerImage, Scalar, Spacing


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """One batch of reference labels, with the distance maps that the loss asked for.

    `Truth.of` checks the labels and builds the maps; the plain constructor trusts its caller, so that nothing
    is read back from a GPU in the training loop.

    Attributes:
        labels: (B, *space) int64 in 0..classes-1.
        classes: number of classes, background included.
        spacing: voxel size along each spatial axis in mm, the same for the whole batch.
        maps: the field of each distance map, (B, *space) or (B, C, *space) float32, keyed by the map itself.
        known: (B, *space): where the labels are known, or `all`. Elsewhere labels are 0 and count for nothing.
        weights: (B,) not negative: how much each image counts, or `equal` for one each.
    """

    labels: LabelBatch
    classes: int
    spacing: Spacing
    maps: Mapping[DistanceMap, Maps] = field(default_factory=dict)
    known: MaskBatch | Literal["all"] = "all"
    weights: PerImage | Literal["equal"] = "equal"

    @staticmethod
    def of(
        labels: Tensor,
        *,
        classes: int,
        spacing: Sequence[float] | Literal["voxels"] = "voxels",
        needs: Sequence[DistanceMap] = (),
        ignore: int | Literal["none"] = "none",
        weights: Tensor | Literal["equal"] = "equal",
    ) -> "Truth":
        """Check labels and build the maps in `needs` on the device of the labels.

        Args:
            labels: (B, *space) or (B, 1, *space) integers in 0..classes-1, two or three spatial axes.
            classes: number of classes, background included.
            spacing: voxel size along each spatial axis in mm, or `"voxels"` to measure in voxels. With
                `"voxels"` four axes of which the second has length 1 are read as (B, 1, y, x).
            needs: the maps to build, such as `loss.needs`.
            ignore: a label outside 0..classes-1 that marks voxels nobody labelled, such as 255 or -1. They are
                background to the maps, and what is predicted there has no effect.
            weights: (B,) how much each image counts: less for doubtful labels or a foreign source.

        Returns:
            The truth, on the device of `labels`.

        Raises:
            LabelError: labels are not integers, or out of range; `ignore` is a class.
            ShapeError: labels have the wrong number of axes, or `weights` do not fit them.
            SpacingError: `spacing` does not fit.
        """
        ndim = _spatial_axes(labels, spacing)
        sizes = checked_spacing(spacing, ndim)
        if labels.ndim == ndim + 2:
            labels = labels[:, 0]
        known: MaskBatch | Literal["all"] = "all"
        if ignore != "none":
            labels, known = _without(labels, ignore, classes)
        checked_labels(labels, classes)
        if not isinstance(weights, str):
            weights = _checked_weights(weights, labels)
        labels = labels.long()
        maps = built(labels, classes, sizes, needs)
        return Truth(labels=labels, classes=classes, spacing=sizes, maps=maps, known=known, weights=weights)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "Truth":
        """The same truth with labels and maps on `device`."""
        return self._changed(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Truth":
        """The same truth in page-locked memory; a `DataLoader` with `pin_memory=True` calls this."""
        return self._changed(Tensor.pin_memory)

    def _changed(self, change: Callable[[Tensor], Tensor]) -> "Truth":
        return replace(
            self,
            labels=change(self.labels),
            maps={key: change(value) for key, value in self.maps.items()},
            known=self.known if isinstance(self.known, str) else change(self.known),
            weights=self.weights if isinstance(self.weights, str) else change(self.weights),
        )

    def own(self, values: Tensor) -> FieldBatch:
        """Of values (B, C, *space) that of the true class, (B, *space)."""
        return values.gather(1, self.labels[:, None]).squeeze(1)

    def mean(self, values: FieldBatch) -> Scalar:
        """Mean over the known voxels of the batch, each multiplied by the weight of its image."""
        if not isinstance(self.weights, str):
            values = values * per_image(self.weights, values)
        if isinstance(self.known, str):
            # Not `mean`, whose gradient is a dense field of one number.
            return values.sum() / values.numel()
        return values.where(self.known, 0).sum() / self.known.sum().clamp(min=1)

    def over_images(self, values: Tensor) -> Scalar:
        """Mean over images of values (B, ...), each image multiplied by its weight."""
        if not isinstance(self.weights, str):
            values = values * per_image(self.weights, values)
        return values.mean()


def built(labels: LabelBatch, classes: int, spacing: Spacing, needs: Sequence[DistanceMap]) -> dict[DistanceMap, Maps]:
    """The maps in `needs`, which share what geometry they have in common. The labels are taken as checked."""
    regions = Regions(labels=compact(labels, classes), classes=classes, spacing=spacing)
    return {each: each.of(regions) for each in needs}


def per_image(values: PerImage, like: Tensor) -> Tensor:
    """Values (B,) shaped to broadcast against `like` (B, ...)."""
    return values.reshape(-1, *(1,) * (like.ndim - 1)).to(like.dtype)


def _without(labels: Tensor, ignore: int, classes: int) -> tuple[Tensor, MaskBatch]:
    if 0 <= ignore < classes:
        raise LabelError(
            f"ignore={ignore} is one of the {classes} classes: mark unlabelled voxels with a value outside "
            f"0..{classes - 1}, such as 255 or -1."
        )
    known = labels != ignore
    return labels.where(known, torch.zeros((), dtype=labels.dtype, device=labels.device)), known


def _checked_weights(weights: Tensor, labels: Tensor) -> Tensor:
    if weights.shape != labels.shape[:1] or not bool(((weights >= 0) & weights.isfinite()).all()):
        raise ShapeError(
            f"weights {weights.tolist()} do not fit {len(labels)} images: expected one finite number >= 0 an image."
        )
    return weights.to(labels.device, torch.float32)


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
