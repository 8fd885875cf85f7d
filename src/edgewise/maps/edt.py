"""Exact Euclidean distance transforms of label images, in mm, on the device of the labels.

On the CPU compiled kernels do the work (`edt_cpu`), on a GPU Triton's (`edt_triton`), elsewhere plain torch
(`edt_torch`). All agree to about 1e-6 of the distance.
"""

import torch

from edgewise.maps import edt_cpu, edt_torch, edt_triton
from edgewise.types import FieldBatch, LabelBatch, Spacing


def inside_distance(labels: LabelBatch, spacing: Spacing) -> FieldBatch:
    r"""Distance from every voxel centre to the nearest voxel centre of another class, in mm.

    $d_{in}(x) = \min_{y:\, t(y) \ne t(x)} \lVert x - y \rVert$. The classes partition the image, so one
    channel holds the inside distance of every class, background included, and one multi-label pass computes
    it.

    Args:
        labels: (B, *space) integers, not negative.
        spacing: voxel size along each spatial axis, in mm.

    Returns:
        (B, *space) float32, at least the smallest voxel size. The edge of the image is no boundary. Where one
        class fills an image there is no other voxel to measure to: the smallest voxel size everywhere.

    Example:
        >>> inside_distance(torch.tensor([[[0, 0, 1, 1, 1, 0]]]), (1.0, 0.5))
        tensor([[[1.0000, 0.5000, 0.5000, 1.0000, 0.5000, 0.5000]]])
    """
    if labels.device.type == "cpu":
        return torch.from_numpy(edt_cpu.inside_distance(labels.numpy(), spacing, torch.get_num_threads()))
    if edt_triton.runs_on(labels.device):
        return edt_triton.inside_distance(labels, spacing)
    return edt_torch.inside_distance(labels, spacing)
