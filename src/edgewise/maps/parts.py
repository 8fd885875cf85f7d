"""Parts of an image, such as its classes or its connected components, and what is largest in each."""

from dataclasses import dataclass

import cc3d
import numpy as np
import torch

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
        return self._extreme(values, "amax")

    def smallest(self, values: FieldBatch) -> FieldBatch:
        """At every voxel the smallest of `values` in the voxel's part, (B, *space)."""
        return self._extreme(values, "amin")

    def _extreme(self, values: FieldBatch, which: str) -> FieldBatch:
        index = self.index.flatten(1).long()
        table = values.new_zeros(len(index), self.count)
        table = table.scatter_reduce(1, index, values.flatten(1), which, include_self=False)
        return table.gather(1, index).reshape(values.shape)


def connected_components(labels: LabelBatch) -> Parts:
    """Connected components of every class, background included, with full connectivity (8 in 2D, 26 in 3D).

    Touching classes are told apart. One multi-label pass an image.

    Args:
        labels: (B, *space) integers, not negative.

    Returns:
        The components of each image.
    """
    dims = labels.ndim - 1
    indices, count = np.zeros(labels.shape, np.int32), 1
    for image, index in zip(labels.cpu().numpy(), indices, strict=True):
        if image.size:
            shifted = np.ascontiguousarray(image, dtype=np.uint32) + 1  # 0 is no component to the library
            found, number = cc3d.connected_components(shifted, connectivity=26 if dims == 3 else 8, return_N=True)
            np.subtract(found, 1, out=index, casting="unsafe")
            count = max(count, number)
    return Parts(index=torch.from_numpy(indices).to(labels.device), count=count)


def classwise(labels: LabelBatch, classes: int) -> Parts:
    """The classes themselves as parts."""
    return Parts(index=labels, count=classes)
