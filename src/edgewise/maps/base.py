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
from edgewise.maps.regions import Regions
from edgewise.types import LabelBatch, Maps, Spacing


@dataclass(frozen=True, kw_only=True)
class DistanceMap(Component):
    """A pure function (labels, spacing) -> field, which carries its parameters and serves as a mapping key.

    Two maps of the same kind with equal parameters are equal, so `truth.maps[Rectified()]` finds what
    `Rectified()` made anywhere. Built image by image: nothing crosses the items of a batch.

    Attributes:
        channels: `own`: one channel, which holds the value of each voxel's own class; or `all`: one a class.
        values: `measures`; or `names`, which cannot be averaged, interpolated or compared between images.
        range: between which values the channels of the foreground classes lie, whatever the parameters.
    """

    package: ClassVar[str] = "edgewise.maps"
    channels: ClassVar[Literal["own", "all"]] = "own"
    values: ClassVar[Literal["measures", "names"]] = "measures"
    range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)

    @property
    @abstractmethod
    def elsewhere(self) -> float | Literal["own"]:
        """For a map of one channel: what a voxel holds for every other class; `own`: the same as for its own.

        A plain class attribute will do. Not used by a map of all channels.
        """

    @abstractmethod
    def of(self, regions: Regions) -> Maps:
        """The map of every image: (B, *space), or (B, C, *space) where `channels` is `all`; float32, finite."""

    @overload
    def __call__(
        self, labels: ndarray, *, classes: int, spacing: Sequence[float], channels: Literal["fewest", "all"] = "fewest"
    ) -> ndarray: ...
    @overload
    def __call__(
        self, labels: Tensor, *, classes: int, spacing: Sequence[float], channels: Literal["fewest", "all"] = "fewest"
    ) -> Tensor: ...
    def __call__(
        self, labels: Any, *, classes: int, spacing: Sequence[float], channels: Literal["fewest", "all"] = "fewest"
    ) -> Any:
        """Build the map of an image or of every image of a batch.

        Args:
            labels: (*space) or (B, *space) integers in 0..classes-1, two or three spatial axes; for two
                classes also a mask, boolean or soft (floats in [0, 1], foreground from 0.5 on). It is a batch
                when it has one axis more than `spacing` has entries.
            classes: number of classes, background included.
            spacing: voxel size along each spatial axis, in mm; ones measure in voxels.
            channels: `fewest`: one channel if one can hold the map; `all`: a channel for every class.

        Returns:
            float32, on the device of `labels`, numpy for numpy: (*space) or (B, *space), with an axis of
            `classes` channels before the space where there is more than one.

        Raises:
            LabelError: labels are not integers (or a mask in [0, 1] for two classes), or out of range.
            ShapeError: the number of axes fits neither an image nor a batch.
            SpacingError: a size is missing or not positive.
        """
        sizes = checked_spacing(spacing, len(spacing))
        tensor = _tensor(labels, classes)
        if tensor.ndim not in {len(sizes), len(sizes) + 1}:
            raise ShapeError(
                f"labels of shape {tuple(labels.shape)} do not fit spacing {sizes}: expected {len(sizes)} axes "
                f"(an image) or {len(sizes) + 1} (a batch). Drop a channel axis of length 1, or give one "
                "size an axis."
            )
        if 0 in tensor.shape[tensor.ndim - len(sizes) :]:
            raise ShapeError(f"labels of shape {tuple(labels.shape)} hold no voxel: every axis needs one.")
        batch = tensor if tensor.ndim > len(sizes) else tensor[None]
        field = self.of(Regions(labels=batch, classes=classes, spacing=sizes))
        if channels == "all":
            field = self.expanded(field, batch, classes)
        field = field if tensor.ndim > len(sizes) else field[0]
        return field if isinstance(labels, Tensor) else field.numpy()

    def expanded(self, field: Maps, labels: LabelBatch, classes: int) -> Float[Tensor, "B C *space"]:
        """A built map as one channel a class.

        Args:
            field: (B, *space) or (B, C, *space), as `of` makes it.
            labels: (B, *space), those it was made of.
            classes: number of classes C.

        Returns:
            (B, C, *space): `field` itself if it has all channels.
        """
        if self.channels == "all":
            return field
        if self.elsewhere == "own":
            return field[:, None].expand(-1, classes, *field.shape[1:])
        full = field.new_full((len(field), classes, *field.shape[1:]), self.elsewhere)
        return torch.scatter(full, 1, labels[:, None].long(), field[:, None])


def _tensor(labels: ndarray | Tensor, classes: int) -> Tensor:
    """Labels or a mask, array or tensor, as a contiguous tensor of integers in 0..classes-1."""
    labels = labels.detach() if isinstance(labels, Tensor) else _from_array(np.asarray(labels))
    if labels.is_floating_point() and classes == 2:
        labels = _hard(labels)
    checked_labels(labels, classes)
    return compact(labels, classes)


def compact(labels: Tensor, classes: int) -> Tensor:
    """Labels in 0..classes-1, contiguous, one byte each if that will do."""
    return labels.to(torch.uint8 if classes <= 256 else torch.int64).contiguous()


def _from_array(labels: ndarray) -> Tensor:
    """A tensor of an array of any numeric type, byte order and layout, some of which torch does not know."""
    wide = {"uint16": np.int32, "uint32": np.int64, "uint64": np.int64, "float16": np.float32}
    known = wide.get(labels.dtype.name, labels.dtype.newbyteorder("="))
    if labels.dtype.kind not in "iubf":
        raise LabelError(f"labels are {labels.dtype}, not integers: convert them (`.astype(int)`).")
    plain = np.ascontiguousarray(labels, dtype=known).reshape(labels.shape)
    awkward = not plain.flags.writeable or any(stride < 0 for stride in plain.strides)
    return torch.from_numpy(plain.copy() if awkward else plain)


def _hard(mask: Tensor) -> Tensor:
    if not ((mask >= 0) & (mask <= 1)).all():  # NaN is neither
        raise LabelError(
            f"a soft mask must lie in [0, 1], but this {mask.dtype} array does not (or holds NaN): give integer "
            "labels, or probabilities (`logits.sigmoid()`)."
        )
    return (mask >= 0.5).byte()


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
            f"spacing {tuple(spacing)} does not fit a {ndim}D image: expected {ndim} positive sizes in mm, for two "
            "or three axes. Pass the case's spacing, or (1.0,) * ndim to measure in voxels."
        )
    return tuple(float(size) for size in spacing)


def checked_labels(labels: Tensor, classes: int) -> None:
    """Raise unless `labels` are integers in 0..classes-1.

    Raises:
        LabelError: they are not.
    """
    if labels.is_floating_point() or labels.is_complex():
        raise LabelError(
            f"labels are {labels.dtype}, not integers: round resampled labels with nearest interpolation, "
            "then convert them (numpy: `.astype(int)`, torch: `.long()`)."
        )
    if labels.dtype == torch.bool or not labels.numel():
        return
    low, high = (int(value) for value in labels.aminmax())
    if low < 0 or high >= classes:
        raise LabelError(
            f"labels range from {low} to {high}, but there are {classes} classes (0 to {classes - 1}): "
            "raise the number of classes, or name an ignored value (`Truth.of(..., ignore=...)`) or map it to the "
            "background."
        )
