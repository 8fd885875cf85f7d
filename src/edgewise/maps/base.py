"""What a distance map is: a frozen, hashable recipe that turns labels and voxel spacing into a field."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, overload

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from edgewise.catalog import Component
from edgewise.errors import LabelError, ShapeError, SpacingError
from edgewise.types import Labels, Spacing


@dataclass(frozen=True, kw_only=True)
class DistanceMap(Component):
    """A pure function (labels, spacing) -> field, which carries its parameters and serves as a mapping key.

    Two maps of the same kind with equal parameters are equal, so `truth.maps[Rectified()]` finds what
    `Rectified()` made anywhere. Built image by image: nothing crosses the items of a batch.
    """

    package: ClassVar[str] = "edgewise.maps"

    @abstractmethod
    def of(self, labels: Labels, *, classes: int, spacing: Spacing) -> Float[ndarray, "..."]:
        """The map of one image: (*space), or (C, *space) where one channel cannot hold it; finite.

        Called with integer labels in 0..classes-1 and positive sizes, one an axis, in mm.
        """

    @overload
    def __call__(self, labels: ndarray, *, classes: int, spacing: Spacing) -> ndarray: ...
    @overload
    def __call__(self, labels: Tensor, *, classes: int, spacing: Spacing) -> Tensor: ...
    def __call__(self, labels: Any, *, classes: int, spacing: Spacing) -> Any:
        """Build the map of an image or of every image of a batch.

        Args:
            labels: (*space) or (B, *space) integers in 0..classes-1 (or a mask), two or three spatial axes.
                It is a batch when it has one axis more than `spacing` has entries.
            classes: number of classes, background included.
            spacing: voxel size along each spatial axis, in mm; ones measure in voxels.

        Returns:
            float32, of the shape of `labels` (one channel holds every class), numpy for numpy and a tensor on
            the device of `labels` for a tensor. Tensors on a GPU travel through host memory.

        Raises:
            LabelError: labels are not integers, or out of range.
            ShapeError: the number of axes fits neither an image nor a batch.
            SpacingError: a size is missing or not positive.
        """
        if isinstance(labels, Tensor):
            built = self(labels.detach().cpu().numpy(), classes=classes, spacing=spacing)
            return torch.from_numpy(built).to(labels.device)
        checked_spacing(spacing, len(spacing))
        checked_labels(labels, classes)
        if labels.dtype == np.bool_:
            labels = labels.view(np.uint8)
        if labels.ndim == len(spacing):
            return np.asarray(self.of(labels, classes=classes, spacing=spacing), dtype=np.float32)
        if labels.ndim != len(spacing) + 1:
            raise ShapeError(
                f"labels of shape {labels.shape} do not fit spacing {spacing}: expected {len(spacing)} axes "
                f"(an image) or {len(spacing) + 1} (a batch). Drop a channel axis of length 1, or give one "
                "size an axis."
            )
        if len(labels) == 0:
            return np.zeros(labels.shape, dtype=np.float32)
        items = [self.of(item, classes=classes, spacing=spacing) for item in labels]
        return np.stack(items).astype(np.float32, copy=False)


def checked_spacing(spacing: Sequence[float] | Literal["voxels"], ndim: int) -> Spacing:
    """Return `spacing` as `ndim` positive floats in mm; `"voxels"` stands for ones.

    Raises:
        SpacingError: wrong length, or an entry that is not a positive finite number.
    """
    if isinstance(spacing, str):
        if spacing != "voxels":
            raise SpacingError(f"spacing {spacing!r} is not a size: give {ndim} sizes in mm, or 'voxels'.")
        return (1.0,) * ndim
    if len(spacing) != ndim or ndim not in {2, 3} or not all(size > 0 and math.isfinite(size) for size in spacing):
        raise SpacingError(
            f"spacing {spacing} does not fit a {ndim}D image: expected {ndim} positive sizes in mm, for two "
            "or three axes. Pass the case's spacing, or (1.0,) * ndim to measure in voxels."
        )
    return tuple(float(size) for size in spacing)


def checked_labels(labels: ndarray | Tensor, classes: int) -> None:
    """Raise unless `labels` are integers (or a boolean mask) in 0..classes-1.

    Raises:
        LabelError: they are not.
    """
    if isinstance(labels, Tensor):
        integral = not (labels.is_floating_point() or labels.is_complex())
        low, high = (int(v) for v in labels.aminmax()) if integral and labels.numel() else (0, 0)
    else:
        integral = labels.dtype.kind in "iub"
        low, high = (int(labels.min()), int(labels.max())) if integral and labels.size else (0, 0)
    if not integral:
        raise LabelError(
            f"labels are {labels.dtype}, not integers: round resampled labels with nearest interpolation, "
            "then convert them (numpy: `.astype(int)`, torch: `.long()`)."
        )
    if low < 0 or high >= classes:
        raise LabelError(
            f"labels range from {low} to {high}, but there are {classes} classes (0 to {classes - 1}): "
            "raise the number of classes, or map other values (such as an ignore label) to the background."
        )
