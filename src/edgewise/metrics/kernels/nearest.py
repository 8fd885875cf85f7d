# mypy: disallow-untyped-defs=False
"""The nearest border element, exactly.

`nearby` tries offsets in the order of their length: most elements of a good prediction are a few voxels away.
`among` compares what is left with all elements, block by block: a block of starting points looks only into blocks
that are nearer than the farthest corner of the best one.
"""

from collections import namedtuple

import numpy as np

from edgewise.maps.kernels.lanes import kernel

Blocks = namedtuple("Blocks", "points first low high")
"""Points (n, 3) in voxels, sorted by block; where each block begins in them (m + 1); corners of its box (m, 3)."""


@kernel
def nearby(border, at, steps, lengths, out):
    """Write to out[i] the first of `lengths` whose step leads from at[i] to a border element, or infinity.

    border: flat grid with room for every step. Returns the number of infinities.
    """
    missing = 0
    for i in range(at.size):
        found = np.inf
        for k in range(steps.size):
            if border[at[i] + steps[k]]:
                found = lengths[k]
                break
        out[i] = found
        missing += found == np.inf
    return missing


@kernel
def among(starts, border, sizes, out):
    """Write to out[i] the distance from point i of the blocks `starts` to the nearest point of the blocks `border`."""
    squares = np.empty(border.first.size - 1)
    candidates = np.empty(squares.size, np.int64)
    for block in range(starts.first.size - 1):
        bound = _bounds(starts, block, border, sizes, squares)
        count = _candidates(squares, bound, candidates)
        for i in range(starts.first[block], starts.first[block + 1]):
            best = np.inf
            for candidate in candidates[:count]:
                if squares[candidate] < best and _outside(starts.points[i], border, candidate, sizes) < best:
                    best = min(best, _closest(starts.points[i], border, candidate, sizes))
            out[i] = np.sqrt(best)


@kernel
def _candidates(squares, bound, candidates):
    """Write the blocks within a bound to `candidates`, the nearest first, and return how many there are."""
    count = 0
    for block in range(squares.size):
        if squares[block] <= bound:
            candidates[count] = block
            if squares[block] < squares[candidates[0]]:
                candidates[count], candidates[0] = candidates[0], block
            count += 1
    return count


@kernel
def _bounds(starts, block, border, sizes, squares):
    """Squared distances between a block's box and every other; return what no point of the block can exceed."""
    bound = np.inf
    for other in range(squares.size):
        nearest = farthest = 0.0
        for axis in range(3):
            above = border.low[other, axis] - starts.high[block, axis]
            below = starts.low[block, axis] - border.high[other, axis]
            across = border.high[other, axis] - starts.low[block, axis]
            back = starts.high[block, axis] - border.low[other, axis]
            nearest += (max(0.0, above, below) * sizes[axis]) ** 2
            farthest += (max(across, back) * sizes[axis]) ** 2
        squares[other] = nearest
        bound = min(bound, farthest)
    return bound


@kernel
def _outside(point, border, block, sizes):
    """Squared distance from a point to a block's box."""
    square = 0.0
    for axis in range(3):
        away = max(0.0, border.low[block, axis] - point[axis], point[axis] - border.high[block, axis])
        square += (away * sizes[axis]) ** 2
    return square


@kernel
def _closest(point, border, block, sizes):
    """Squared distance from a point to the nearest point of a block."""
    best = np.inf
    x, y, z = point
    for j in range(border.first[block], border.first[block + 1]):
        other = border.points[j]
        square = ((x - other[0]) * sizes[0]) ** 2 + ((y - other[1]) * sizes[1]) ** 2 + ((z - other[2]) * sizes[2]) ** 2
        best = min(best, square)
    return best
