# mypy: disallow-untyped-defs=False
"""Borders and bands on flat grids with room on every side, so that no step runs from one row into the next."""

import numpy as np

from edgewise.maps.kernels import lanes
from edgewise.maps.kernels.lanes import kernel

_BLOCK = 1 << 13


@kernel
def peel(solid, shifts, border):
    """Set border[i] where solid[i] is set and solid[i + shift] is not, for any of the shifts; 0 and 1, flat.

    Returns the number of border elements. Block by block, so that what the shifts need stays near the processor.
    """
    reach = 0
    for shift in shifts:
        reach = max(reach, abs(shift))
    count = 0
    for start in range(reach, solid.size - reach, _BLOCK):
        stop = min(start + _BLOCK, solid.size - reach)
        out = border[start:stop]
        for shift in shifts:
            _outer(solid[start + shift : stop + shift], out)
        count += _keep(solid[start:stop], out)
    return count


@kernel
def _outer(neighbours, out):
    for i in range(out.size):
        out[i] |= neighbours[i] ^ 1


@kernel
def _keep(solid, out):
    count = 0
    for i in range(out.size):
        out[i] &= solid[i]
        count += out[i]
    return count


@kernel
def positions(grid, at):
    """Write the positions of the elements of a flat grid that are not 0 to `at`, which has room for them."""
    none = lanes.splat(np.uint8(0))
    count = start = 0
    while start < grid.size and count < at.size:
        stop = min(start + lanes.COUNT, grid.size)
        if stop - start < lanes.COUNT or not lanes.every(lanes.equal(lanes.load(grid, start), none)):
            for i in range(start, stop):
                if grid[i]:
                    at[count] = i
                    count += 1
        start = stop


@kernel
def mark(band, at, starts, length):
    """Set the runs of length[k] elements that begin at[i] + starts[k]."""
    for i in range(at.size):
        for k in range(starts.size):
            start = at[i] + starts[k]
            for j in range(length[k]):
                band[start + j] = 1
