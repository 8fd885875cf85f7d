"""Where the classes of a label map lie: what foreground sampling draws from."""

import numpy as np
from numpy.typing import NDArray

from edgewise.types import Labels

MOST = 10_000


def locations(labels: Labels, most: int = MOST) -> tuple[NDArray[np.int32], ...]:
    """Voxels of each class: all of them, or `most`, one drawn from each of `most` equal shares.

    Args:
        labels: (*space) uint8.
        most: how many voxels a class at most.

    Returns:
        For each label from 0 to the largest: (n, ndim) int32 voxel indices in raster order, no rows where it
        does not occur. Equal labels give equal rows.
    """
    counts = np.array([np.bincount(plane.ravel(), minlength=256) for plane in labels])
    before = np.cumsum(counts, axis=0) - counts
    largest = int(np.flatnonzero(counts.sum(axis=0)).max(initial=0))
    return tuple(_places(labels, label, counts[:, label], before[:, label], most) for label in range(largest + 1))


def _places(
    labels: Labels, label: int, counts: NDArray[np.int64], before: NDArray[np.int64], most: int
) -> NDArray[np.int32]:
    """Voxels of one label, plane by plane: the flat indices of a whole CT would take a gigabyte."""
    ranks = spread(int(counts.sum()), most)
    rows = np.empty((len(ranks), labels.ndim), np.int32)
    for index in np.flatnonzero(counts):
        start, stop = np.searchsorted(ranks, (before[index], before[index] + counts[index]))
        if start < stop:
            flat = np.flatnonzero(labels[index] == label)[ranks[start:stop] - before[index]]
            rows[start:stop, 0] = index
            rows[start:stop, 1:] = np.stack(np.unravel_index(flat, labels.shape[1:]), axis=1)
    return rows


def spread(count: int, most: int) -> NDArray[np.int64]:
    """`most` ascending ranks below `count`, or all: random in equal shares, because even steps follow grid lines."""
    if count <= most:
        return np.arange(count)
    edges = np.arange(most + 1) * count // most
    return np.random.default_rng(0).integers(edges[:-1], edges[1:])
