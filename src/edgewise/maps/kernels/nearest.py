# mypy: disallow-untyped-defs=False
r"""Index of the nearest true voxel, one axis after the other.

$D'_i = \min_j\ (i - j)^2 w^2 + D_j$ in float64, carrying the index of the winner along. Of equal ones the
lowest $j$ wins on every axis, which is the lowest flat index. The search is the one of `inside`, and ends only
when no source can draw level.
"""

from collections import namedtuple

import numpy as np

from edgewise.maps.kernels import lanes
from edgewise.maps.kernels.lanes import kernel

WIDTH = 2 * lanes.COUNT
_SLACK = 1 + 1e-12

Tile = namedtuple("Tile", "source origin best winner lowest squares")
"""Lines side by side, WIDTH to a row: squared distance and index before and after the pass; smallest value of
a row; $k^2 w^2$ by k."""


@kernel
def planes(mask, squared, index, empty, steps, part):
    """Nearest within the planes part[0] .. part[1] - 1 of (planes, rows, columns); flat indices in the image.

    A plane without a true voxel is marked in `empty` and not written; empty: (images, planes of an image).
    steps: sizes of a row and a column.
    """
    _, rows, columns = mask.shape
    depth = empty.shape[1]
    tile = _tile(rows, steps[0])
    alone = np.empty(rows, np.bool_)
    for plane in range(part[0], part[1]):
        nothing = True
        for row in range(rows):
            first = (plane % depth * rows + row) * columns
            alone[row] = _line(mask[plane, row], squared[plane, row], index[plane, row], steps[1], first)
            nothing &= alone[row]
        empty[plane // depth, plane % depth] = nothing
        if rows > 1 and not nothing:
            for start in range(0, columns, WIDTH):
                _settle(tile, squared[plane], index[plane], alone, (start, columns))


@kernel
def stack(squared, index, empty, step, part):
    """Nearest in the image from the nearest within planes: columns part[0] .. part[1] - 1 of (planes, columns)."""
    tile = _tile(squared.shape[0], step)
    if empty.all():
        for plane in range(squared.shape[0]):
            for column in range(part[0], part[1]):
                index[plane, column] = -1
        return
    for start in range(part[0], part[1], WIDTH):
        _settle(tile, squared, index, empty, (start, part[1]))


@kernel
def _tile(rows, step):
    size = rows * WIDTH
    source, best = np.zeros(size, np.float64), np.empty(size, np.float64)
    origin, winner = np.zeros(size, np.int64), np.empty(size, np.int64)
    squares = np.empty(rows + 1, np.float64)
    for k in range(rows + 1):
        squares[k] = (k * step) ** 2
    return Tile(source, origin, best, winner, np.empty(rows, np.float64), squares)


@kernel
def _line(mask, squared, index, step, first):
    """Nearest along the contiguous axis; True, and nothing of use written, for a line without a true voxel."""
    size = mask.size
    last = -1
    for i in range(size):
        if mask[i]:
            last = i
        index[i] = last
    if last < 0:
        return True
    after = -1
    for i in range(size - 1, -1, -1):
        if mask[i]:
            after = i
        before = index[i]
        if before < 0 or (after >= 0 and after - i < i - before):
            before = after
        index[i] = first + before
        squared[i] = ((i - before) * step) ** 2
    return False


@kernel
def _settle(tile, squared, index, empty, lines):
    """One pass over the first WIDTH of the lines lines[0] .. lines[1] - 1; some row is not empty."""
    start, stop = lines[0], min(lines[0] + WIDTH, lines[1])
    rows = squared.shape[0]
    first, last, lowest = rows, -1, np.inf
    for row in range(rows):
        tile.lowest[row] = np.inf
        if not empty[row]:
            first, last = min(first, row), row
            low = np.inf
            for line in range(start, stop):
                at = row * WIDTH + line - start
                tile.source[at] = squared[row, line]
                tile.origin[at] = index[row, line]
                low = min(low, squared[row, line])
            tile.lowest[row] = low
            lowest = min(lowest, low)
    bound, step = np.inf, np.sqrt(tile.squares[1])
    for row in range(rows):
        farthest = _search(tile, row, (first, last), lowest, bound)
        bound = (np.sqrt(farthest) + step) ** 2 * _SLACK
        for line in range(start, stop):
            squared[row, line] = tile.best[row * WIDTH + line - start]
            index[row, line] = tile.winner[row * WIDTH + line - start]


@kernel
def _search(tile, row, span, lowest, bound):
    """Find row `row` of `best` and `winner` from the sources in span[0] .. span[1]; return its largest value."""
    first, last = span
    none, minus = lanes.splat(np.inf), lanes.splat(np.int64(-1))
    best = (none, none, minus, minus)
    k = max(0, first - row, row - last)
    limit = max(row - first, last - row)
    farthest = min(bound, np.finfo(np.float64).max)
    while k <= limit and tile.squares[k] + lowest <= farthest:
        square = tile.squares[k]
        if row - k >= first and tile.lowest[row - k] + square <= farthest:
            best = _before(best, tile, row - k, square)
        if row + k <= last and tile.lowest[row + k] + square <= farthest:
            best = _after(best, tile, row + k, square)
        farthest = min(farthest, lanes.highest(lanes.higher(best[0], best[1])))
        k += 1
    at = row * WIDTH
    lanes.store(tile.best, at, best[0])
    lanes.store(tile.best, at + lanes.COUNT, best[1])
    lanes.store(tile.winner, at, best[2])
    lanes.store(tile.winner, at + lanes.COUNT, best[3])
    return farthest


@kernel
def _before(best, tile, row, square):
    """Let the sources of an earlier row win where they draw level."""
    at = row * WIDTH
    away = lanes.splat(square)
    left = lanes.add(lanes.load(tile.source, at), away)
    right = lanes.add(lanes.load(tile.source, at + lanes.COUNT), away)
    return _take(best, tile, at, (left, right), (lanes.at_most(left, best[0]), lanes.at_most(right, best[1])))


@kernel
def _after(best, tile, row, square):
    """Let the sources of a later row win where they are nearer."""
    at = row * WIDTH
    away = lanes.splat(square)
    left = lanes.add(lanes.load(tile.source, at), away)
    right = lanes.add(lanes.load(tile.source, at + lanes.COUNT), away)
    return _take(best, tile, at, (left, right), (lanes.below(left, best[0]), lanes.below(right, best[1])))


@kernel
def _take(best, tile, at, found, wins):
    return (
        lanes.choose(wins[0], found[0], best[0]),
        lanes.choose(wins[1], found[1], best[1]),
        lanes.choose(wins[0], lanes.load(tile.origin, at), best[2]),
        lanes.choose(wins[1], lanes.load(tile.origin, at + lanes.COUNT), best[3]),
    )
