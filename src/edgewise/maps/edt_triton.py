"""The distance transforms of `edt_torch` with the search along the axes as Triton kernels, for GPUs.

Importable anywhere: Triton is imported by the first call. Nothing waits for the device. Triton's interpreter runs
the same code on the CPU (set TRITON_INTERPRET=1 before Triton is imported).
"""

from importlib.util import find_spec
from math import prod
from typing import Any

import torch
from torch import Tensor

from edgewise.maps.edt_torch import gaps, in_mm, relative
from edgewise.types import FieldBatch, LabelBatch, Spacing

_TILE = 1024
"""Voxels a program: enough to share what they read, few enough to stay in registers and to stop early."""
_OFFSETS = 4
"""Offsets tried between two looks at the worst voxel of the tile, which cost a barrier."""


def runs_on(device: torch.device) -> bool:
    """Whether this module can work on tensors of `device`: a GPU, with Triton installed. Imports nothing."""
    return device.type == "cuda" and find_spec("triton") is not None


def inside_distance(labels: LabelBatch, spacing: Spacing) -> FieldBatch:
    """Distance to the nearest voxel of another label: `edt_torch.inside_distance`, which it equals to 1e-6.

    Args:
        labels: (B, *space) integers, two or three spatial axes.
        spacing: voxel size along each spatial axis, in mm.

    Returns:
        (B, *space) float32, in mm.
    """
    from edgewise.maps.kernels import tiles

    unit, squares = relative(spacing)
    squared = gaps(labels, labels.ndim - 1).square_().mul_(squares[-1]).contiguous()
    for axis in range(len(squares) - 1, 0, -1):
        lowered = gaps(labels, axis).square_().mul_(squares[axis - 1]).contiguous()
        _launch(tiles.lowered, axis, squared, lowered, squares[axis - 1])
        squared = lowered
    return in_mm(squared, unit)


def _launch(kernel: Any, axis: int, *arguments: Any) -> None:
    """Run `kernel` along `axis` on every tile of its tensors; all are row-major (B, *space), `axis` is not the last."""
    batch: Tensor = arguments[0]
    if batch.numel() == 0:
        return
    rows, columns = batch.shape[axis], prod(batch.shape[axis + 1 :])
    high = min(_power_of_two(rows), _TILE // min(_power_of_two(columns), 32))
    wide = min(_power_of_two(columns), _TILE // high)
    count = prod(batch.shape[:axis]) * -(-rows // high) * -(-columns // wide)
    with torch.cuda.device_of(batch):  # type: ignore[no-untyped-call]
        kernel[(count,)](*arguments, rows, columns, high=high, wide=wide, offsets=_OFFSETS, enable_fp_fusion=False)


def _power_of_two(size: int) -> int:
    """The lowest power of two that is not below `size`."""
    return 1 << (size - 1).bit_length()
