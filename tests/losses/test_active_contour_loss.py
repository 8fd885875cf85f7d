"""The active contour loss: its length is the length of the boundary, in mm."""

import math

import pytest
import torch
from torch.nn.functional import one_hot

from edgewise.errors import ExperimentError
from edgewise.losses.active_contour import SMOOTH, ActiveContour
from edgewise.truth import Truth


def certain(labels, classes=2):
    return 80.0 * one_hot(labels, classes).movedim(-1, 1).double()


def length(labels, spacing, classes=2):
    """What the length term finds in certain predictions, in mm (2D) or mm2 (3D)."""
    logits = certain(labels, classes)
    with_, without = (ActiveContour(length=each)(logits, labels, spacing=spacing) for each in (1.0, 0.0))
    return float(with_ - without) * classes * labels.numel() * math.prod(spacing)


@pytest.mark.parametrize(("axis", "area"), [(1, 6 * 5 * 0.5 * 3.0), (2, 8 * 5 * 2.0 * 3.0), (3, 8 * 6 * 2.0 * 0.5)])
def test_a_plane_across_an_axis_has_its_exact_area(axis, area):
    labels = torch.zeros(1, 9, 7, 6, dtype=torch.long)
    labels.narrow(axis, 0, 2).fill_(1)
    # Cells lie between voxel centres: along the plane there is one less than voxels.
    assert length(labels, (2.0, 0.5, 3.0)) == pytest.approx(area, rel=3 * SMOOTH)


def test_a_boundary_counts_once_however_many_classes_there_are():
    labels = torch.zeros(1, 12, 9, dtype=torch.long)
    labels[:, 6:] = 2
    two = length(labels.clamp(max=1), (1.0, 1.0))
    assert length(labels, (1.0, 1.0), classes=4) == pytest.approx(two, rel=1e-6)


def test_the_length_of_a_smooth_circle_is_that_of_the_circle():
    axis = (torch.arange(96, dtype=torch.float64) + 0.5) * 0.5 - 24
    radius, soft = 15.0, 1.0
    r = (axis[:, None] ** 2 + axis**2).sqrt()
    logits = torch.stack([torch.zeros_like(r), (radius - r) / soft])[None]
    labels = (logits[:, 1] > 0).long()
    with_, without = (ActiveContour(length=each)(logits, labels, spacing=(0.5, 0.5)) for each in (1.0, 0.0))
    found = float(with_ - without) * 2 * labels.numel() * 0.25
    assert found == pytest.approx(2 * math.pi * radius, rel=0.02)


def test_no_pattern_is_invisible_to_the_length():
    chessboard = (torch.arange(8)[:, None] + torch.arange(8))[None] % 2
    assert length(chessboard, (1.0, 1.0)) == pytest.approx(math.sqrt(2) * 49, rel=0.01)


def test_a_flat_prediction_has_no_length_and_a_finite_gradient():
    logits = torch.zeros(1, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    labels = torch.zeros(1, 6, 6, dtype=torch.long)
    long, short = (ActiveContour(length=each)(logits, labels) for each in (1.0, 0.0))
    assert long == short
    (gradient,) = torch.autograd.grad(long, logits)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("space", [(1, 7), (7, 1), (1, 5, 6), (1, 1, 4)])
def test_an_axis_of_one_voxel_has_no_slope(space):
    labels = torch.zeros(1, *space, dtype=torch.long)
    labels[..., -2:] = 1
    wide = length(labels, (1.0,) * len(space))
    assert math.isfinite(wide)
    assert (wide > 0.5) == (space[-1] > 1)


def test_next_to_unknown_voxels_there_is_no_length():
    labels = torch.zeros(1, 6, 9, dtype=torch.long)
    labels[:, :, 5:] = 1
    labels[:, :, 4] = 255
    truth = Truth.of(labels, classes=2, ignore=255, needs=ActiveContour().needs)
    logits = certain(labels.where(labels < 2, 0))
    assert ActiveContour(length=1.0)(logits, truth) == pytest.approx(0, abs=1e-9)
    labels[:, 0, 4] = 0
    truth = Truth.of(labels, classes=2, ignore=255, needs=ActiveContour().needs)
    assert ActiveContour(length=1.0)(logits, truth) == pytest.approx(0, abs=1e-9)  # no cell has four known corners


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_a_length_that_is_no_weight_is_refused(weight):
    with pytest.raises(ExperimentError, match="finite and not negative"):
        ActiveContour(length=weight)
