# mypy: disallow-untyped-defs=False
"""Extremes of the parts of an array, values scaled by numbers of their part, and parts in a narrower type.

Neighbours mostly belong to one part, so blocks of one part are folded at once.
"""

from edgewise.maps.kernels import lanes
from edgewise.maps.kernels.lanes import kernel

_BLOCK = 4 * lanes.COUNT


@kernel
def widen(lows, highs, values, parts):
    """Fold every value into the low and the high of its part.

    Returns the position of the first part outside 0 .. count - 1, where it stops, or -1.
    """
    start = 0
    while start < values.size:
        part = parts[start]
        if part < 0 or part >= lows.size:
            return start
        if _one_part(parts, start):
            low = high = lanes.load(values, start)
            for g in range(start + lanes.COUNT, start + _BLOCK, lanes.COUNT):
                more = lanes.load(values, g)
                low, high = lanes.lower(low, more), lanes.higher(high, more)
            lows[part] = min(lows[part], lanes.lowest(low))
            highs[part] = max(highs[part], lanes.highest(high))
            start += _BLOCK
        else:
            stop = min(start + lanes.COUNT, values.size)
            while start < stop and 0 <= parts[start] < lows.size:
                lows[parts[start]] = min(lows[parts[start]], values[start])
                highs[parts[start]] = max(highs[parts[start]], values[start])
                start += 1
    return -1


@kernel
def scale(values, parts, offsets, divisors):
    """Subtract the offset of its part from every value and divide by the divisor, in place; returns as `widen`."""
    start = 0
    while start < values.size:
        part = parts[start]
        if part < 0 or part >= divisors.size:
            return start
        if _one_part(parts, start):
            less, divisor = lanes.splat(-offsets[part]), lanes.splat(divisors[part])
            for g in range(start, start + _BLOCK, lanes.COUNT):
                lanes.store(values, g, lanes.divide(lanes.add(lanes.load(values, g), less), divisor))
            start += _BLOCK
        else:
            stop = min(start + lanes.COUNT, values.size)
            while start < stop and 0 <= parts[start] < divisors.size:
                values[start] = (values[start] - offsets[parts[start]]) / divisors[parts[start]]
                start += 1
    return -1


@kernel
def fit(parts, out, span):
    """Copy parts[span[0]:span[1]] to the narrower unsigned `out`; whether all of them fit."""
    wide, narrow = parts[span[0] : span[1]], out[span[0] : span[1]]
    lost = 0
    for i in range(wide.size):
        narrow[i] = wide[i]
        lost |= wide[i] ^ narrow[i]
    return lost == 0


@kernel
def _one_part(parts, start):
    """Whether a whole block from here on is one part."""
    if start + _BLOCK > parts.size:
        return False
    part = lanes.splat(parts[start])
    for g in range(start, start + _BLOCK, lanes.COUNT):  # noqa: SIM110 no generator in a kernel
        if not lanes.every(lanes.equal(lanes.load(parts, g), part)):
            return False
    return True
