"""Exact Euclidean distance transforms of label images, in mm, on the device of the labels."""

import edt
import numpy as np
import torch

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
    images = [_one(image, spacing) for image in labels.cpu().numpy()]
    return torch.from_numpy(np.stack(images) if images else np.zeros(labels.shape, np.float32)).to(labels.device)


def _one(labels: np.ndarray, spacing: Spacing) -> np.ndarray:
    if labels.size == 0 or (labels == labels.flat[0]).all():
        return np.full(labels.shape, min(spacing), dtype=np.float32)
    shifted = np.ascontiguousarray(labels, dtype=np.uint32) + 1  # 0 is outside to the library
    distance: np.ndarray = edt.edt(shifted, anisotropy=spacing, black_border=False, parallel=torch.get_num_threads())
    return distance
