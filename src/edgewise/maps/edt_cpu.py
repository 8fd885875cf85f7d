"""Exact distance transforms and extremes of parts on the CPU, compiled.

Numba is imported, and a kernel compiled, on first use; the compiled code is kept beside the kernels, or in the
user's cache folder where that is read-only. Threads share the work through a pool that lives as long as the
call, so that forked workers are safe.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
from jaxtyping import Float, Integer
from numpy import ndarray

from edgewise.errors import LabelError, ShapeError, SpacingError
from edgewise.types import Spacing

_WORTH_A_PART = 1 << 17
"""Voxels that outweigh handing a part to a thread: about 0.5 ms."""
_LANES = 64
"""Lines that a kernel takes side by side; a shorter last axis leaves some idle."""

_COMPILED = [np.dtype(kind) for kind in (np.uint8, np.uint32, np.int32, np.int64)]

Part: TypeAlias = tuple[int, int]
W = TypeVar("W")
R = TypeVar("R")
Labels = Integer[ndarray, "B *space"]
Values = Float[ndarray, " N"]
Parts = Integer[ndarray, " N"]
PerPart = Float[ndarray, " count"]


def inside_distance(labels: Integer[ndarray, "B *space"], spacing: Spacing, threads: int) -> Float[ndarray, "B *space"]:
    r"""Distance from every voxel centre to the nearest voxel centre of another label of its image, in mm.

    $d_{in}(x) = \min_{y:\, t(y) \ne t(x)} \lVert x - y \rVert$, for every label in one pass.

    Args:
        labels: (B, *space), up to three axes longer than 1. No copy is made of contiguous uint8 or uint32.
        spacing: voxel size along each spatial axis, in mm.
        threads: how many threads share the work.

    Returns:
        (B, *space) float32, within 1e-6 of the exact value. The edge of the image is no boundary. In an image
        of one label there is no other voxel to measure to: the smallest voxel size everywhere.

    Raises:
        ShapeError: more than three axes are longer than 1.
        SpacingError: `spacing` does not have one size for each spatial axis.
    """
    if labels.size == 0:
        return np.empty(labels.shape, np.float32)
    from edgewise.maps.kernels import inside

    grid = _grid(labels.shape, spacing)
    order = _longest_last(grid.shape)
    volume = np.ascontiguousarray(_narrow(labels, threads).reshape(grid.shape).transpose(order))
    images, depth, rows, columns = volume.shape
    distance = np.empty(volume.shape, np.float32)
    empty = np.empty((images, depth), np.bool_)
    planes = volume.reshape(-1, rows, columns), distance.reshape(-1, rows, columns), empty.reshape(-1)
    stacks = volume.reshape(images, depth, -1), distance.reshape(images, depth, -1), empty
    steps, lonely = tuple(grid.steps[axis - 1] for axis in order[1:]), np.float32(min(spacing))

    def within(part: Part) -> None:
        inside.planes(*planes, steps[1:], part)

    def across(image: int, part: Part) -> None:
        inside.stack(*(array[image] for array in stacks), steps[0], part, lonely)

    _two_passes(volume.shape, within, across, threads)
    return np.ascontiguousarray(distance.transpose(np.argsort(order))).reshape(labels.shape)


def extremes(values: Values, parts: Parts, count: int) -> tuple[PerPart, PerPart]:
    """Smallest and largest value of each part; 0 for a part without values.

    Args:
        values: (N,) float32, no NaN.
        parts: (N,) the part of each value, 0 .. count - 1. No copy is made of uint8, uint32, int32 and int64.
        count: number of parts.

    Returns:
        Smallest and largest, (count,) float32 each.

    Raises:
        LabelError: a part is outside 0 .. count - 1.
    """
    from edgewise.maps.kernels import parts as kernels

    low, high = np.full(count, np.inf, np.float32), np.full(count, -np.inf, np.float32)
    _check(parts, kernels.widen(low, high, np.ascontiguousarray(values), _indexable(parts)), count)
    none = low > high
    low[none] = high[none] = 0
    return low, high


def scale_by_part(values: Values, parts: Parts, offsets: PerPart, divisors: PerPart) -> None:
    """Scale every value by numbers of its part, in place: `values = (values - offsets[parts]) / divisors[parts]`.

    Args:
        values: (N,) float32, contiguous.
        parts: (N,) the part of each value, 0 .. count - 1. No copy is made of uint8, uint32, int32 and int64.
        offsets: (count,) float32.
        divisors: (count,) float32.

    Raises:
        LabelError: a part is outside 0 .. count - 1; the values before it are changed already.
    """
    from edgewise.maps.kernels import parts as kernels

    _check(parts, kernels.scale(values, _indexable(parts), offsets, divisors), divisors.size)


def _check(parts: Parts, stopped: int, count: int) -> None:
    if stopped >= 0:
        raise LabelError(
            f"part {parts[stopped]} at position {stopped}: expected 0 .. {count - 1}. Pass a larger count."
        )


def _indexable(parts: Parts) -> Parts:
    """Contiguous, in one of the few types that kernels are compiled for."""
    return np.ascontiguousarray(parts, dtype=parts.dtype if parts.dtype in _COMPILED else np.int64)


def _narrow(labels: Labels, threads: int) -> Labels:
    """The same partition in uint8 where it fits, else uint32: the two types that kernels are compiled for."""
    if labels.dtype in (np.uint8, np.uint32):
        return labels
    for few in (np.uint8, np.uint32):
        narrow, whole = _cast(labels, few, threads)
        if whole:
            return narrow
    return np.unique(labels, return_inverse=True)[1].astype(np.uint32).reshape(labels.shape)


def _cast(labels: Labels, few: type, threads: int) -> tuple[Labels, bool]:
    """Labels in another type, and whether every one fits."""
    from edgewise.maps.kernels import parts as kernels

    flat = _indexable(labels.reshape(-1))
    narrow: Labels = np.empty(labels.size, few)
    fits = _spread(lambda part: kernels.fit(flat, narrow, part), _parts(labels.size, 1, threads), threads)
    return narrow.reshape(labels.shape), all(fits)


class _Grid(NamedTuple):
    """Images as (B, 3 axes), and the voxel size along the three axes."""

    shape: tuple[int, ...]
    steps: tuple[float, ...]


def _grid(shape: tuple[int, ...], spacing: Spacing) -> _Grid:
    """Drop axes of length 1, and put them back where threads and lanes fare best: (Z, Y, X), (Y, 1, X), (1, 1, X)."""
    if len(spacing) != len(shape) - 1:
        raise SpacingError(f"spacing {spacing} does not fit images {shape[1:]}: expected {len(shape) - 1} sizes in mm.")
    axes = [(length, float(step)) for length, step in zip(shape[1:], spacing, strict=True) if length > 1]
    if len(axes) > 3:
        raise ShapeError(f"images {shape[1:]} have {len(axes)} axes: expected 2 or 3. Split them into a batch.")
    short = (1, 1.0)
    axes = (
        axes if len(axes) == 3 else [axes[0], short, axes[1]] if len(axes) == 2 else [short, short, *(axes or [short])]
    )
    return _Grid((shape[0], *(length for length, _ in axes)), tuple(step for _, step in axes))


def _longest_last(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Order of the axes that fills the lanes of the kernels: as they are, unless the last one is short."""
    if shape[3] >= min(_LANES, max(shape[1:])):
        return (0, 1, 2, 3)
    return (0, *sorted((1, 2, 3), key=lambda axis: shape[axis]))


def _two_passes(
    shape: tuple[int, ...], within: Callable[[Part], None], across: Callable[[int, Part], None], threads: int
) -> None:
    """Every plane of every image, then every column of every image."""
    images, depth, rows, columns = shape
    _spread(within, _parts(images * depth, rows * columns, threads), threads)
    stacks = [(image, part) for image in range(images) for part in _parts(rows * columns, depth, threads)]
    _spread(lambda stack: across(*stack), stacks, threads)


def _spread(work: Callable[[W], R], parts: list[W], threads: int) -> list[R]:
    if threads == 1 or len(parts) == 1:
        return [work(part) for part in parts]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, parts))


def _parts(count: int, weight: int, threads: int) -> list[Part]:
    """Cut 0 .. count - 1 into parts that even out over threads; `weight` voxels each."""
    pieces = 1 if threads == 1 else max(1, min(8 * threads, count * weight // _WORTH_A_PART))
    length = -(-count // pieces)
    if count > _LANES * pieces:
        length = -(-length // _LANES) * _LANES
    return [(start, min(start + length, count)) for start in range(0, count, length)]
