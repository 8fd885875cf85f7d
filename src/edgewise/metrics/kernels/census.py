# mypy: disallow-untyped-defs=False
"""How many voxels each label has, and the box that holds them: one pass over a label image, no copy of it.

Labels come in runs along a row, most of them background, so runs are counted and not voxels.
"""

from edgewise.maps.kernels import lanes
from edgewise.maps.kernels.lanes import kernel


@kernel
def tally(labels, counts, low, high):
    """Add (planes, rows, columns) labels to the counts, and widen each label's box low[label] .. high[label] - 1."""
    for plane in range(labels.shape[0]):
        for row in range(labels.shape[1]):
            line = labels[plane, row]
            start = 0
            while start < line.size:
                label = line[start]
                end = _end_of_run(line, start)
                counts[label] += end - start
                _widen(low[label], high[label], plane, plane + 1, 0)
                _widen(low[label], high[label], row, row + 1, 1)
                _widen(low[label], high[label], start, end, 2)
                start = end


@kernel
def _widen(low, high, start, end, axis):
    low[axis] = min(low[axis], start)
    high[axis] = max(high[axis], end)


@kernel
def _end_of_run(line, start):
    label = line[start]
    labels = lanes.splat(label)
    end = start + 1
    while end + lanes.COUNT <= line.size and lanes.every(lanes.equal(lanes.load(line, end), labels)):
        end += lanes.COUNT
    while end < line.size and line[end] == label:
        end += 1
    return end
