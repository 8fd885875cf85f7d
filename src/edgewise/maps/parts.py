"""Parts of an image, such as its classes or its connected components, and what is largest in each."""

from dataclasses import dataclass
from typing import Literal

import cc3d
import numpy as np
import torch

from edgewise.maps import edt_cpu, edt_torch
from edgewise.types import FieldBatch, LabelBatch


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """A partition of every image of a batch; no part reaches over two images.

    Attributes:
        index: (B, *space) integers: the part of each voxel, counted within its image.
        count: more than the largest index.
    """

    index: LabelBatch
    count: int

    def largest(self, values: FieldBatch) -> FieldBatch:
        """At every voxel the largest of `values` in the voxel's part, (B, *space)."""
        return self._spread(values, "amax")

    def smallest(self, values: FieldBatch) -> FieldBatch:
        """At every voxel the smallest of `values` in the voxel's part, (B, *space)."""
        return self._spread(values, "amin")

    def share(self, values: FieldBatch) -> FieldBatch:
        """At every voxel `values` over the largest in the voxel's part, which must not be 0."""
        if values.device.type != "cpu":
            return values / self.largest(values)
        return self._scaled(values, from_smallest=0.0)

    def share_above_smallest(self, values: FieldBatch) -> FieldBatch:
        """At every voxel what `values` exceed the smallest of the part by, over the largest, which must not be 0."""
        if values.device.type != "cpu":
            return (values - self.smallest(values)) / self.largest(values)
        return self._scaled(values, from_smallest=1.0)

    def _scaled(self, values: FieldBatch, from_smallest: float) -> FieldBatch:
        scaled = values.contiguous().clone()
        for image, parts in zip(scaled.flatten(1).numpy(), self.index.flatten(1).numpy(), strict=True):
            smallest, largest = edt_cpu.extremes(image, parts, self.count)
            largest[largest == 0] = 1  # parts without a voxel
            edt_cpu.scale_by_part(image, parts, from_smallest * smallest, largest)
        return scaled

    def _spread(self, values: FieldBatch, which: Literal["amax", "amin"]) -> FieldBatch:
        if values.device.type != "cpu":
            index = self.index.flatten(1).long()
            table = values.new_zeros(len(index), self.count)
            table = table.scatter_reduce(1, index, values.flatten(1), which, include_self=False)
            return table.gather(1, index).reshape(values.shape)
        spread = torch.empty_like(values, memory_format=torch.contiguous_format)
        rows = zip(*(each.flatten(1).numpy() for each in (values, self.index, spread)), strict=True)
        for image, parts, out in rows:
            smallest, largest = edt_cpu.extremes(image, parts, self.count)
            np.take(largest if which == "amax" else smallest, parts, out=out, mode="clip")
        return spread


def connected_components(labels: LabelBatch) -> Parts:
    """Connected components of every class, background included, with full connectivity (8 in 2D, 26 in 3D).

    Touching classes are told apart. One multi-label pass an image on the CPU; on a GPU labels spread until nothing
    changes, and after each round the host asks once whether anything did.

    Args:
        labels: (B, *space) integers, not negative.

    Returns:
        The components of each image.
    """
    if labels.device.type == "cpu":
        return _labelled(labels, 1)
    voxels = labels[0].numel() if len(labels) else 0
    first = torch.arange(len(labels), device=labels.device) * voxels
    index = edt_torch.components(labels) - first.reshape(-1, *(1,) * (labels.ndim - 1))
    return Parts(index=index, count=voxels)


def objects(labels: LabelBatch) -> Parts:
    """Connected components of the foreground classes: as `connected_components`, but cheaper on the CPU.

    There the whole background is part 0.
    """
    return _labelled(labels, 0) if labels.device.type == "cpu" else connected_components(labels)


def _labelled(labels: LabelBatch, shift: Literal[0, 1]) -> Parts:
    """Components of what is not 0 after the shift, numbered from 1."""
    found, count = list[np.ndarray](), 1
    for image in labels.numpy():
        values = np.add(image, 1, dtype=np.uint16 if image.dtype == np.uint8 else None) if shift else image
        index, number = cc3d.connected_components(
            values, connectivity=26 if image.ndim == 3 else 8, return_N=True, out_dtype=np.uint32
        )
        found.append(index.view(np.int32))
        count = max(count, number + 1)
    indices = found[0][None] if len(found) == 1 else np.stack(found) if found else np.zeros(labels.shape, np.int32)
    return Parts(index=torch.from_numpy(indices), count=count)
