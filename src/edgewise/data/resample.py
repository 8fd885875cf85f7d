"""Resample volumes as separable matrix products: exact cubic B-splines at the price of linear interpolation.

Grids share their outer borders (half-pixel centres), as `scipy.ndimage.zoom(grid_mode=True)` has them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Integer
from scipy import ndimage
from torch import Tensor

from edgewise.errors import ShapeError
from edgewise.types import Image, Labels, Spacing

Order: TypeAlias = Literal["cubic", "linear", "nearest"]
Matrix: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
ResampledImage = Float[np.ndarray, "K *resampled"]
ResampledLabels = Integer[np.ndarray, "*resampled"]
Band: TypeAlias = tuple[slice, slice, Tensor]

_DEGREE = {"cubic": 3, "linear": 1, "nearest": 0}
# Cubic weights fall by 3.7 a voxel. Below this they change nothing, but cost 10x the time as denormals.
_NEGLIGIBLE = 1e-9
# Output rows a product: few enough that the input rows they touch are a narrow band (32: best of 32 to 512).
_ROWS = 32
_SLAB_BYTES = 16 << 20
# Equal linear weights differ by float32 rounding; a tie goes to the lower label.
_TIE = 1e-6


def resampled_shape(shape: Sequence[int], spacing_in: Spacing, spacing_out: Spacing) -> tuple[int, ...]:
    """Size of the grid of `spacing_out` (mm) that covers what `shape` covers at `spacing_in` (mm)."""
    return tuple(max(1, round(n * a / b)) for n, a, b in zip(shape, spacing_in, spacing_out, strict=True))


@lru_cache(maxsize=64)
def operator(size_in: int, size_out: int, order: Order) -> Matrix:
    """The matrix that resamples one axis: SciPy's zoom of the identity, prefilter and boundary included.

    Args:
        size_in: voxels along the axis.
        size_out: voxels along it afterwards.
        order: cubic B-spline, linear, or nearest neighbour.

    Returns:
        (size_out, size_in) float64, read only; every row sums to 1. Outside, the border value goes on.
    """
    matrix: Matrix = np.eye(size_in)
    if size_in != size_out:
        zoom = (size_out / size_in, 1.0)
        matrix = ndimage.zoom(matrix, zoom, order=_DEGREE[order], mode="nearest", grid_mode=True)
    matrix[np.abs(matrix) < _NEGLIGIBLE] = 0.0
    matrix.flags.writeable = False
    return matrix


def resample(image: Image, shape: Sequence[int], order: Order = "cubic") -> ResampledImage:
    r"""Resample every channel onto `shape`: $y = (M_1 \otimes M_2 \otimes M_3)\,x$ with one matrix an axis.

    Equal to `scipy.ndimage.zoom(order=3, mode="nearest", grid_mode=True)` within 1e-5 of the value range.
    As there, nothing is smoothed before shrinking, and cubic overshoots at sharp edges.

    Args:
        image: (K, *space) float32, finite.
        shape: wanted *space.
        order: interpolation.

    Returns:
        (K, *shape) float32, C-contiguous; a copy even where nothing changes.

    Raises:
        ShapeError: `shape` has another rank, or a size below 1.
    """
    _check(image.shape[1:], shape)
    resampled = np.empty((len(image), *shape), np.float32)
    for channel, target in zip(image, resampled, strict=True):
        if order == "nearest":
            target[...] = _nearest(channel, shape)
        else:
            _resample_channel(channel, target, order)
    return resampled


def resample_labels(labels: Labels, shape: Sequence[int], mode: Literal["nearest", "linear"]) -> ResampledLabels:
    """Resample a label map.

    Args:
        labels: (*space) uint8.
        shape: wanted *space.
        mode: "nearest" takes the nearest voxel's label; "linear" interpolates each class's indicator
            and takes the class with most weight, a tie going to the lower label.

    Returns:
        (*shape) uint8.

    Raises:
        ShapeError: `shape` has another rank, or a size below 1.
    """
    _check(labels.shape, shape)
    if mode == "nearest" or tuple(shape) == labels.shape:
        return np.array(_nearest(labels, shape), order="C")
    resampled = np.empty(tuple(shape), np.uint8)
    for slab in slabs(labels.shape, shape):
        source = np.ascontiguousarray(labels[slab.source])
        present = np.flatnonzero(np.bincount(source.ravel()))
        if len(present) == 1:
            resampled[slab.target] = present[0]
        else:
            indicators = ((int(c), torch.from_numpy((source == c).astype(np.float32))) for c in present)
            resampled[slab.target] = slab.strongest(indicators, tie=_TIE)
    return resampled


@dataclass(frozen=True)
class Slab:
    """Some rows of a linearly resampled volume, and the input rows they come from.

    Attributes:
        source: rows of the input, along axis 0.
        target: rows of the output, along axis 0.
        bands: what to multiply with along each axis; `None` where the size stays.
    """

    source: slice
    target: slice
    bands: tuple[tuple[Band, ...] | None, ...]

    def resample(self, rows: Tensor) -> Tensor:
        """Resample `rows`: the `source` rows of one volume, (rows, ...) float32."""
        return _apply(rows, self.bands)

    def strongest(self, volumes: Iterable[tuple[int, Tensor]], *, tie: float = 0.0) -> np.ndarray:
        """Which volume is largest at each voxel after resampling, one volume at a time.

        Args:
            volumes: ascending (label, its `source` rows as float32).
            tie: by how much a higher label must exceed a lower one.

        Returns:
            (rows, ...) uint8 labels.
        """
        best = labels = None
        for label, rows in volumes:
            weight = self.resample(rows)
            if best is None or labels is None:
                best, labels = weight, torch.full_like(weight, label, dtype=torch.uint8)
            else:
                labels.masked_fill_(weight > best + tie, label)
                best = torch.maximum(best, weight)
        if labels is None:
            raise ShapeError("there is no volume to choose from. Pass at least one class.")
        return labels.numpy()


def slabs(shape_in: Sequence[int], shape_out: Sequence[int]) -> Iterator[Slab]:
    """Cut a linear resampling into slabs along axis 0, so that a volume need never be whole in memory.

    Args:
        shape_in: *space of the input.
        shape_out: *space of the output.

    Yields:
        Slabs that cover the output, in order; one float32 volume of a slab takes about 16 MB.
    """
    plane = 4 * max(prod(shape_in[1:]), prod(shape_out[1:]))
    height = max(1, min(shape_out[0], _SLAB_BYTES // max(plane, 1)))
    in_plane = tuple(_bands(n, m, "linear", _ROWS) for n, m in zip(shape_in[1:], shape_out[1:], strict=True))
    rows = _bands(shape_in[0], shape_out[0], "linear", height)
    if rows is None:
        for start in range(0, shape_out[0], height):
            same = slice(start, min(start + height, shape_out[0]))
            yield Slab(same, same, (None, *in_plane))
        return
    for target, source, weights in rows:
        local = (slice(0, target.stop - target.start), slice(0, source.stop - source.start), weights)
        yield Slab(source, target, ((local,), *in_plane))


@lru_cache(maxsize=64)
def _bands(size_in: int, size_out: int, order: Order, height: int) -> tuple[Band, ...] | None:
    """`operator` cut into blocks of rows, each with the columns it needs; `None` for the identity."""
    if size_in == size_out:
        return None
    matrix = operator(size_in, size_out, order)
    bands = []
    for start in range(0, size_out, height):
        block = matrix[start : start + height]
        columns = np.flatnonzero(block.any(axis=0))
        used = slice(int(columns[0]), int(columns[-1]) + 1)
        weights = torch.from_numpy(block[:, used].astype(np.float32))
        bands.append((slice(start, start + len(block)), used, weights))
    return tuple(bands)


def _resample_channel(channel: np.ndarray, target: np.ndarray, order: Order) -> None:
    bands = tuple(_bands(n, m, order, _ROWS) for n, m in zip(channel.shape, target.shape, strict=True))
    if any(bands):
        _apply(torch.from_numpy(np.require(channel, np.float32, ["C", "W"])), bands, torch.from_numpy(target))
    else:
        target[...] = channel


def _apply(volume: Tensor, bands: Sequence[tuple[Band, ...] | None], target: Tensor | None = None) -> Tensor:
    """Multiply along each axis, shrinking axes first: they leave the others less to do."""
    work = [(axis, band, band[-1][0].stop) for axis, band in enumerate(bands) if band is not None]
    work.sort(key=lambda item: item[2] / volume.shape[item[0]])
    for step, (axis, band, size) in enumerate(work, start=1):
        shape = (*volume.shape[:axis], size, *volume.shape[axis + 1 :])
        last = target is not None and step == len(work)
        product = target if last and target is not None else torch.empty(shape)
        _along(volume, axis, band, product)
        volume = product
    return volume


def _along(volume: Tensor, axis: int, bands: tuple[Band, ...], product: Tensor) -> None:
    outer, inner = prod(volume.shape[:axis]), prod(volume.shape[axis + 1 :])
    source, target = volume.reshape(outer, -1, inner), product.view(outer, -1, inner)
    for rows, used, weights in bands:
        if inner == 1:
            torch.mm(source[:, used, 0], weights.T, out=target[:, rows, 0])
        else:
            torch.bmm(weights.expand(outer, -1, -1), source[:, used], out=target[:, rows])


def _nearest(volume: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Pick voxels, axis by axis, shrinking axes first."""
    ratio = [m / n for n, m in zip(volume.shape, shape, strict=True)]
    for axis in sorted(range(volume.ndim), key=ratio.__getitem__):
        if volume.shape[axis] != shape[axis]:
            picks = operator(volume.shape[axis], shape[axis], "nearest").argmax(axis=1)
            volume = np.take(volume, picks, axis=axis)
    return volume


def _check(shape_in: Sequence[int], shape_out: Sequence[int]) -> None:
    if len(shape_in) != len(shape_out) or min(shape_in) < 1 or min(shape_out) < 1:
        raise ShapeError(
            f"cannot resample a volume of shape {tuple(shape_in)} to {tuple(shape_out)}: "
            "both need the same number of axes, and at least one voxel along each."
        )
