# mypy: disallow-untyped-defs=False
r"""Squared distance to the nearest voxel of another label, one axis after the other.

Along the last axis, the distance to the end of the run of equal labels. Along every other axis, with the run's
end at $r_i$ steps,
$$D'_i = \min\bigl(r_i^2 w^2,\ \min_j\ (i - j)^2 w^2 + D_j\bigr).$$
No label is compared inside the minimum: a source $j$ beyond the end of the run is at least $r_i$ steps away, so
that it never wins. Source: Felzenszwalb & Huttenlocher 2012, doi:10.4086/toc.2012.v008a019, for the separable
minimum; Saito & Toriwaki 1994, doi:10.1016/0031-3203(94)90133-3, for the search outwards from $i$.

The search takes the lines of a tile side by side, 64 at a time. It ends at the first $k$ with
$k^2 w^2 + \min D \ge \max D'_i$ over the tile; the distance changes by at most $w$ from one row to the next,
which bounds $\max D'_i$ before row $i$ is begun.
"""

from collections import namedtuple

import numpy as np

from edgewise.maps.kernels import lanes
from edgewise.maps.kernels.lanes import kernel

WIDTH = 4 * lanes.COUNT
_INF = np.float32(np.inf)
_SLACK = 1 + 1e-6
_STRIDE = 4

Tile = namedtuple("Tile", "labels source best lowest run squares")
"""Lines side by side, WIDTH to a row: labels, values before and after the pass; smallest value of a row;
steps since the last change of label; $k^2 w^2$ by k."""


@kernel
def planes(labels, distance, empty, steps, part):
    """Squared distances within the planes part[0] .. part[1] - 1 of (planes, rows, columns).

    A plane of one label has none: it is marked in `empty` and not written. steps: sizes of a row and a column.
    """
    _, rows, columns = labels.shape
    tile = _tile(labels, rows, steps[0])
    squares = _squares(columns, steps[1])
    alone = np.empty(rows, np.bool_)
    for plane in range(part[0], part[1]):
        flat = labels[plane].reshape(-1)
        empty[plane] = _one_label(flat, 0, flat.size)
        if empty[plane]:
            continue
        for row in range(rows):
            alone[row] = _runs(labels[plane, row], distance[plane, row], squares)
        if rows > 1:
            for start in range(0, columns, WIDTH):
                lines = (start, columns)
                _settle(tile, labels[plane], distance[plane], alone, lines)
                _write(tile, distance[plane], lines)


@kernel
def stack(labels, distance, empty, step, part, lonely):
    """Distances from the squared distances within planes: columns part[0] .. part[1] - 1 of (planes, columns).

    lonely: the distance where there is no other label.
    """
    planes = labels.shape[0]
    tile = _tile(labels, planes, step)
    for start in range(part[0], part[1], WIDTH):
        lines = (start, part[1])
        if _settle(tile, labels, distance, empty, lines):
            for i in range(tile.best.size):
                tile.best[i] = np.sqrt(tile.best[i])
        else:
            _fill(tile.best, lonely)
        _write(tile, distance, lines)


@kernel
def _tile(labels, rows, step):
    size = rows * WIDTH
    source, best = np.empty(size, np.float32), np.empty(size, np.float32)
    lowest, run = np.empty(rows, np.float32), np.empty(WIDTH, np.float32)
    return Tile(np.empty(size, labels.dtype), source, best, lowest, run, _squares(rows, step))


@kernel
def _squares(count, step):
    squares = np.empty(count + 1, np.float32)
    for k in range(count + 1):
        squares[k] = (k * step) ** 2
    return squares


@kernel
def _one_label(flat, start, stop):
    """Whether flat[start:stop] holds a single label."""
    return _run_end(flat, start, stop) == stop


@kernel
def _run_end(flat, start, stop):
    label = flat[start]
    labels = lanes.splat(label)
    end = start + 1
    while end + lanes.COUNT <= stop and lanes.every(lanes.equal(lanes.load(flat, end), labels)):
        end += lanes.COUNT
    while end < stop and flat[end] == label:
        end += 1
    return end


@kernel
def _runs(labels, out, squares):
    """Squared distance to the nearer end of the run of equal labels. True, and nothing written, for one run."""
    size = labels.size
    start = 0
    while start < size:
        end = _run_end(labels, start, size)
        if end - start == size:
            return True
        middle = (start + end) // 2
        if start == 0:
            middle = 0
        elif end == size:
            middle = size
        for k in range(middle - start):
            out[start + k] = squares[k + 1]
        for k in range(end - middle):
            out[middle + k] = squares[end - middle - k]
        start = end
    return False


@kernel
def _settle(tile, labels, distance, empty, lines):
    """One pass over the first WIDTH of the lines lines[0] .. lines[1] - 1; False where no label differs."""
    _gather(tile, labels, distance, empty, lines)
    rows = labels.shape[0]
    changes = _ends_of_runs(tile, rows)
    first, last, lowest = rows, -1, _INF
    for row in range(rows):
        if not empty[row]:
            first, last = min(first, row), row
            lowest = min(lowest, tile.lowest[row])
    if last < 0:
        return changes
    bound, step = _INF, np.sqrt(tile.squares[1])
    for row in range(rows):
        farthest = _search(tile, row, (first, last), lowest, bound)
        bound = np.float32((np.sqrt(farthest) + step) ** 2 * _SLACK)
    return True


@kernel
def _gather(tile, labels, distance, empty, lines):
    for row in range(labels.shape[0]):
        _copy(labels[row], lines, tile.labels, row)
        if empty[row]:
            none = lanes.splat(_INF)
            _store(tile.best, row, (none, none, none, none))
            tile.lowest[row] = _INF
        else:
            _copy(distance[row], lines, tile.source, row)
            values = _load(tile.source, row)
            _store(tile.best, row, values)
            low = lanes.lower(lanes.lower(values[0], values[1]), lanes.lower(values[2], values[3]))
            tile.lowest[row] = lanes.lowest(low)


@kernel
def _copy(values, lines, to, row):
    """Fill a row of a tile; where there are too few lines, the last one fills up."""
    start, stop = lines
    at = row * WIDTH
    if start + WIDTH <= stop:
        for g in range(0, WIDTH, lanes.COUNT):
            lanes.store(to, at + g, lanes.load(values, start + g))
    else:
        for g in range(WIDTH):
            to[at + g] = values[min(start + g, stop - 1)]


@kernel
def _ends_of_runs(tile, rows):
    """Lower `best` to the squared distance to the end of the run along the line; False if no label changes."""
    changes = False
    for at in range(WIDTH, rows * WIDTH, lanes.COUNT):
        if not lanes.every(lanes.equal(lanes.load(tile.labels, at), lanes.load(tile.labels, at - WIDTH))):
            changes = True
            break
    if changes:
        _fill(tile.run, _INF)
        for row in range(1, rows):
            _step(tile, row, row - 1)
        _fill(tile.run, _INF)
        for row in range(rows - 2, -1, -1):
            _step(tile, row, row + 1)
    return changes


@kernel
def _step(tile, row, before):
    one, square = lanes.splat(np.float32(1)), lanes.splat(tile.squares[1])
    to, back = row * WIDTH, before * WIDTH
    for g in range(0, WIDTH, lanes.COUNT):
        same = lanes.equal(lanes.load(tile.labels, to + g), lanes.load(tile.labels, back + g))
        run = lanes.choose(same, lanes.add(lanes.load(tile.run, g), one), one)
        lanes.store(tile.run, g, run)
        end = lanes.multiply(lanes.multiply(run, run), square)
        lanes.store(tile.best, to + g, lanes.lower(lanes.load(tile.best, to + g), end))


@kernel
def _search(tile, row, span, lowest, bound):
    """Lower row `row` of `best` by the sources in span[0] .. span[1]; return its largest value."""
    first, last = span
    best = _load(tile.best, row)
    k = max(1, first - row, row - last)
    limit = max(row - first, last - row)
    farthest = min(bound, _highest(best))
    while k <= limit and tile.squares[k] + lowest < farthest:
        stop = min(k + _STRIDE, limit + 1)
        while k < stop:
            square = tile.squares[k]
            if row - k >= first and tile.lowest[row - k] + square < farthest:
                best = _lower(best, _load(tile.source, row - k), square)
            if row + k <= last and tile.lowest[row + k] + square < farthest:
                best = _lower(best, _load(tile.source, row + k), square)
            k += 1
        farthest = min(farthest, _highest(best))
    _store(tile.best, row, best)
    return farthest


@kernel
def _fill(values, value):
    for i in range(values.size):
        values[i] = value


@kernel
def _load(values, row):
    at = row * WIDTH
    return (
        lanes.load(values, at),
        lanes.load(values, at + lanes.COUNT),
        lanes.load(values, at + 2 * lanes.COUNT),
        lanes.load(values, at + 3 * lanes.COUNT),
    )


@kernel
def _store(values, row, quad):
    for g in range(4):
        lanes.store(values, row * WIDTH + g * lanes.COUNT, quad[g])


@kernel
def _lower(best, source, square):
    away = lanes.splat(square)
    return (
        lanes.lower(best[0], lanes.add(source[0], away)),
        lanes.lower(best[1], lanes.add(source[1], away)),
        lanes.lower(best[2], lanes.add(source[2], away)),
        lanes.lower(best[3], lanes.add(source[3], away)),
    )


@kernel
def _highest(quad):
    return lanes.highest(lanes.higher(lanes.higher(quad[0], quad[1]), lanes.higher(quad[2], quad[3])))


@kernel
def _write(tile, distance, lines):
    start, stop = lines
    for row in range(distance.shape[0]):
        values = distance[row]
        at = row * WIDTH
        if start + WIDTH <= stop:
            for g in range(0, WIDTH, lanes.COUNT):
                lanes.store(values, start + g, lanes.load(tile.best, at + g))
        else:
            for g in range(stop - start):
                values[start + g] = tile.best[at + g]
