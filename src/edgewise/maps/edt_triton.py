"""The distance transforms of `edt_torch` as Triton kernels, for GPUs; Triton's interpreter runs them on the CPU.

Import this module only where Triton is installed and a tensor lies on a GPU: nothing else imports Triton.

A pass along one axis sees its tensor as (images, rows, columns) in row-major order, with that axis as the rows or the
columns: any axis is read in place, neighbouring threads read neighbouring addresses, and any length will do. A
program owns a tile of voxels and tries one offset after the other until no voxel farther away can improve the worst
of its tile. That is decided on the device; the host never waits.
"""

from math import prod
from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Int64
from torch import Tensor

from edgewise.maps.edt_torch import in_mm, relative
from edgewise.types import FieldBatch, LabelBatch, MaskBatch, Spacing

TILE = 1024  # voxels a program: enough to share loads, few enough to stop early and to stay in registers
OFFSETS = 4  # offsets tried between two looks at the worst voxel of the tile


def inside_distance(labels: LabelBatch, spacing: Spacing) -> FieldBatch:
    """Distance to the nearest voxel of another label: `edt_torch.inside_distance`, which it equals to 1e-6.

    Args:
        labels: (B, *space) integers on a GPU, two or three spatial axes.
        spacing: voxel size along each spatial axis, in mm.

    Returns:
        (B, *space) float32, in mm.
    """
    labels = labels.contiguous()
    unit, squares = relative(spacing)
    squared, spare = (torch.empty(labels.shape, dtype=torch.float32, device=labels.device) for _ in range(2))
    last = len(squares) - 1
    for axis in range(last, -1, -1):
        squared, spare = spare, squared
        _launch(_lowered, labels, axis, spare, squared, squares[axis], FIRST=axis == last)
    return in_mm(squared, unit)


def nearest(mask: MaskBatch, spacing: Spacing) -> Int64[Tensor, "B *space"]:
    """The nearest voxel of `mask` in the same image: `edt_torch.nearest`, ties included.

    Args:
        mask: (B, *space) on a GPU, two or three spatial axes.
        spacing: voxel size along each spatial axis, in mm.

    Returns:
        (B, *space) int64: flat index within the image; -1 where the mask of the image is empty.
    """
    _, squares = relative(spacing)
    squared = torch.where(mask, 0.0, torch.inf).contiguous()
    index = torch.arange(prod(mask.shape[1:]), device=mask.device).view(mask.shape[1:]).expand(mask.shape).contiguous()
    spare = torch.empty_like(squared), torch.empty_like(index)
    for axis in range(len(squares) - 1, -1, -1):
        _launch(_nearer, squared, axis, index, *spare, squares[axis])
        (squared, index), spare = spare, (squared, index)
    return index.masked_fill_(squared.isinf(), -1)


def _launch(kernel: Any, batch: Tensor, axis: int, *arguments: Tensor | float, **constants: bool) -> None:
    """Run `kernel` on every tile of `batch` (B, *space), along spatial axis `axis`."""
    if batch.numel() == 0:
        return
    inner = prod(batch.shape[axis + 2 :])
    down = axis + 2 < batch.ndim
    rows, columns = (batch.shape[axis + 1], inner) if down else (prod(batch.shape[:-1]), batch.shape[-1])
    wide = min(triton.next_power_of_2(columns), 32 if down else 128)
    high = min(triton.next_power_of_2(rows), TILE // wide)
    wide = min(triton.next_power_of_2(columns), TILE // high)
    tiles = batch.numel() // (rows * columns) * triton.cdiv(rows, high) * triton.cdiv(columns, wide)
    constants |= {"DOWN": down, "HIGH": high, "WIDE": wide, "OFFSETS": OFFSETS}
    with torch.cuda.device_of(batch):
        kernel[(tiles,)](batch, *arguments, rows, columns, **constants)


@triton.jit
@no_type_check
def _tile(rows, columns, DOWN: tl.constexpr, HIGH: tl.constexpr, WIDE: tl.constexpr):
    """Where the tile begins; its voxels counted from there; which exist; place on the axis; its length and stride."""
    down, across = tl.cdiv(rows, HIGH), tl.cdiv(columns, WIDE)
    tile = tl.program_id(0)
    top = tile // across % down * HIGH
    left = tile % across * WIDE
    begin = ((tile // across // down).to(tl.int64) * rows + top) * columns + left
    row = tl.arange(0, HIGH)[:, None]
    column = tl.arange(0, WIDE)[None, :]
    exists = (top + row < rows) & (left + column < columns)
    voxel = row * columns + column
    if DOWN:
        return begin, voxel, exists, top + row, rows, columns
    return begin, voxel, exists, left + column, columns, 1


@triton.jit
@no_type_check
def _lowered(
    labels, before, after, square, rows, columns,
    FIRST: tl.constexpr, DOWN: tl.constexpr, HIGH: tl.constexpr, WIDE: tl.constexpr, OFFSETS: tl.constexpr,
):  # fmt: skip
    """D(i) = min_j (i - j)^2 square + (before(j) if labels(j) = labels(i) else 0); FIRST: `before` is infinite."""
    begin, voxel, exists, place, length, stride = _tile(rows, columns, DOWN, HIGH, WIDE)
    labels += begin
    before += begin
    own = tl.load(labels + voxel, mask=exists, other=0)
    if FIRST:
        best = tl.where(exists, float("inf"), 0.0)
    else:
        best = tl.load(before + voxel, mask=exists, other=0.0)
    offset = 1
    while (offset < length) & ((offset * offset).to(tl.float32) * square < tl.max(best)):
        for _ in tl.static_range(OFFSETS):
            added = (offset * offset).to(tl.float32) * square
            for side in tl.static_range(-1, 2, 2):
                there = exists & (place + side * offset >= 0) & (place + side * offset < length)
                shift = (side * offset).to(tl.int64) * stride
                same = tl.load(labels + shift + voxel, mask=there, other=0) == own
                value = float("inf")
                if not FIRST:
                    value = tl.load(before + shift + voxel, mask=there & same, other=float("inf"))
                best = tl.minimum(best, tl.where(there & (same == 0), 0.0, value) + added)
            offset += 1
    tl.store(after + begin + voxel, best, mask=exists)


@triton.jit
@no_type_check
def _nearer(
    squared, index, nearer, chosen, square, rows, columns,
    DOWN: tl.constexpr, HIGH: tl.constexpr, WIDE: tl.constexpr, OFFSETS: tl.constexpr,
):  # fmt: skip
    """The lowest (i - j)^2 square + squared(j) and, of the j that attain it, the lowest index(j)."""
    begin, voxel, exists, place, length, stride = _tile(rows, columns, DOWN, HIGH, WIDE)
    squared += begin
    index += begin
    best = tl.load(squared + voxel, mask=exists, other=-1.0)
    where = tl.load(index + voxel, mask=exists, other=0)
    offset = 1
    while (offset < length) & ((offset * offset).to(tl.float32) * square <= tl.max(best)):
        for _ in tl.static_range(OFFSETS):
            added = (offset * offset).to(tl.float32) * square
            for side in tl.static_range(-1, 2, 2):
                there = exists & (place + side * offset >= 0) & (place + side * offset < length)
                shift = (side * offset).to(tl.int64) * stride
                value = tl.load(squared + shift + voxel, mask=there, other=float("inf")) + added
                source = tl.load(index + shift + voxel, mask=there, other=0)
                closer = (value < best) | ((value == best) & there & (source < where))
                best = tl.where(closer, value, best)
                where = tl.where(closer, source, where)
            offset += 1
    tl.store(nearer + begin + voxel, best, mask=exists)
    tl.store(chosen + begin + voxel, where, mask=exists)
