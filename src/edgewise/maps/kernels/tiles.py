"""The search of the separable distance transforms as Triton kernels. Importing this module imports Triton.

A kernel sees its tensors as (images, rows, columns) in row-major order and searches along the rows: an axis that is not
the last is read in place, neighbouring threads read neighbouring addresses, and any length will do. A program owns
a tile of `high` times `wide` voxels. It tries one offset after the other, `offsets` of them between two looks at the
worst voxel of its tile, until no voxel farther away can improve on that one.

Triton's interpreter runs these kernels on the CPU, but accepts code that the compiler does not: test both.
`no_type_check` keeps run-time type checkers, which wrap functions, away from code that Triton compiles.
"""

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check
def _tile(rows, columns, high: tl.constexpr, wide: tl.constexpr):
    """Where the tile begins; its voxels, counted from there; which of them exist; their rows."""
    tile = tl.program_id(0)
    across = tl.cdiv(columns, wide)
    deep = tl.cdiv(rows, high)
    top = tile // across % deep * high
    left = tile % across * wide
    begin = ((tile // across // deep).to(tl.int64) * rows + top) * columns + left
    row = tl.arange(0, high)[:, None]
    column = tl.arange(0, wide)[None, :]
    exists = (top + row < rows) & (left + column < columns)
    return begin, row * columns + column, exists, top + row


@triton.jit
@no_type_check
def _squared(offset):
    """As float32: the square of 46341 does not fit int32."""
    return offset.to(tl.float32) * offset.to(tl.float32)


@triton.jit
@no_type_check
def lowered(before, after, square, rows, columns, high: tl.constexpr, wide: tl.constexpr, offsets: tl.constexpr):  # noqa: PLR0913, PLR0917
    """after(i) = min(after(i), min_j (i - j)^2 square + before(j)), in place."""
    begin, voxel, exists, row = _tile(rows, columns, high, wide)
    before += begin
    after += begin
    best = tl.minimum(tl.load(after + voxel, mask=exists, other=0.0), tl.load(before + voxel, mask=exists, other=0.0))
    offset = 1
    while (offset < rows) & (_squared(offset) * square < tl.max(best)):
        for _ in tl.static_range(offsets):
            added = _squared(offset) * square
            for side in tl.static_range(-1, 2, 2):
                there = exists & (row + side * offset >= 0) & (row + side * offset < rows)
                shift = (side * offset).to(tl.int64) * columns
                value = tl.load(before + shift + voxel, mask=there, other=float("inf"))
                best = tl.minimum(best, value + added)
            offset += 1
    tl.store(after + voxel, best, mask=exists)
