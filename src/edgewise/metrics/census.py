"""Which labels two images hold, and in which box: found in one pass over each, without copies of their size."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy import ndarray

Box: TypeAlias = tuple[slice, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Census:
    """The labels of a predicted and a reference image of one shape.

    Attributes:
        values: (n) the label behind each index, ascending.
        images: the two images as indices into `values`, unsigned integers.
        present: (n) whether either image has the label.
        low: (n, axes) where the box of each label begins, both images together.
        high: (n, axes) where it ends.
    """

    values: ndarray
    images: tuple[ndarray, ndarray]
    present: ndarray
    low: ndarray
    high: ndarray

    @staticmethod
    def of(prediction: ndarray, reference: ndarray) -> "Census":
        """Count.

        Args:
            prediction: (*space) integers or bool of any type and memory layout, two or three axes.
            reference: (*space) likewise. No copy is made of contiguous uint8 or bool.
        """
        from edgewise.metrics.kernels.census import tally

        values, images = _indexed(prediction, reference)
        ndim, size = reference.ndim, len(values)
        order = sorted(range(ndim), key=lambda axis: -reference.strides[axis])
        counts = np.zeros(size, np.int64)
        low, high = np.full((size, 3), np.iinfo(np.int64).max), np.zeros((size, 3), np.int64)
        for image in images:
            volume = np.ascontiguousarray(image.transpose(order))
            tally(volume if ndim == 3 else volume[None], counts, low, high)
        back = [3 - ndim + order.index(axis) for axis in range(ndim)]
        return Census(values=values, images=images, present=counts > 0, low=low[:, back], high=high[:, back])

    def labels(self) -> list[int]:
        """Those that occur, ascending."""
        return [int(value) for value in self.values[self.present]]

    def box(self, labels: Iterable[int]) -> Box:
        """The smallest box that holds the labels in both images; empty where neither has one."""
        found = [index for index in self._indices(labels) if self.present[index]]
        if not found:
            return (slice(0, 0),) * self.images[0].ndim
        low, high = self.low[found].min(axis=0), self.high[found].max(axis=0)
        return tuple(slice(int(start), int(end)) for start, end in zip(low, high, strict=True))

    def masks(self, labels: Iterable[int], box: Box) -> tuple[ndarray, ndarray]:
        """Where prediction and reference have one of the labels, within a box."""
        wanted = self._indices(labels)
        one, other = (_any_of(image[box], wanted) for image in self.images)
        return one, other

    def _indices(self, labels: Iterable[int]) -> list[int]:
        at = {int(value): index for index, value in enumerate(self.values)}
        return [at[label] for label in labels if label in at]


def _any_of(image: ndarray, indices: list[int]) -> ndarray:
    return image == indices[0] if len(indices) == 1 else np.isin(image, indices)


def _indexed(prediction: ndarray, reference: ndarray) -> tuple[ndarray, tuple[ndarray, ndarray]]:
    """The labels that may occur, and both images as indices into them: bytes wherever these suffice."""
    one, other = _bytes(prediction), _bytes(reference)
    if one is not None and other is not None:
        return np.arange(256), (one, other)
    values = np.union1d(prediction, reference)
    one, other = (np.searchsorted(values, image).astype(np.uint32) for image in (prediction, reference))
    return values, (one, other)


def _bytes(image: ndarray) -> ndarray | None:
    """The same labels as uint8, if none is lost; slice by slice, for a comparison needs a copy."""
    if image.dtype in (np.uint8, np.bool_):
        return image.view(np.uint8)
    narrow = np.empty_like(image, dtype=np.uint8)
    axis = int(np.argmax(image.strides))
    for part, out in zip(np.moveaxis(image, axis, 0), np.moveaxis(narrow, axis, 0), strict=True):
        out[...] = part
        if (out != part).any():
            return None
    return narrow
