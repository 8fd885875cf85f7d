"""Smooth L1 on distance maps, against torch's with all channels of the map."""

import pytest
import torch
from torch.nn.functional import smooth_l1_loss

from edgewise.errors import ExperimentError, ShapeError
from edgewise.losses.smooth_l1 import SmoothL1
from edgewise.maps.boundary import Boundary
from edgewise.maps.inverse import Distance, NormalizedInverse, SignedNormalizedInverse
from edgewise.maps.penalty import Penalty
from edgewise.maps.region_wise import Rectified
from edgewise.truth import Truth

SPACING = (2.0, 0.5)
MAPS = [NormalizedInverse(), Distance(), SignedNormalizedInverse(), Boundary(), Rectified(), Penalty()]


def batch():
    labels = torch.zeros(3, 12, 10, dtype=torch.long)
    labels[0, 2:9, 3:8] = 1
    labels[0, 4, 4] = 2
    labels[1, :3] = 2
    return torch.randn(3, 3, 12, 10, dtype=torch.float64, requires_grad=True), labels


@pytest.mark.parametrize("field", MAPS, ids=lambda field: field.kind)
@pytest.mark.parametrize("beta", [1.0, 0.1])
def test_value_and_gradient_agree_with_torch_on_all_foreground_channels(field, beta):
    logits, labels = batch()
    loss = SmoothL1(map=field, beta=beta)
    target = field(labels, classes=3, spacing=SPACING, channels="all")[:, 1:].double()
    truth = Truth.of(labels, classes=3, spacing=SPACING, needs=loss.needs)
    ours, theirs = loss(logits, truth), smooth_l1_loss(logits.softmax(1)[:, 1:], target, beta=beta)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours, logits), torch.autograd.grad(theirs, logits))
    predicted = torch.randn(3, 2, 12, 10, dtype=torch.float64, requires_grad=True)
    found, theirs = loss.between(predicted, truth), smooth_l1_loss(predicted, target, beta=beta)
    torch.testing.assert_close(found, theirs)
    torch.testing.assert_close(torch.autograd.grad(found, predicted), torch.autograd.grad(theirs, predicted))


def test_a_map_that_is_predicted_right_costs_nothing():
    _, labels = batch()
    loss = SmoothL1()
    truth = Truth.of(labels, classes=3, needs=loss.needs)
    right = NormalizedInverse()(labels, classes=3, spacing=(1.0, 1.0), channels="all")[:, 1:]
    assert loss.between(right, truth) == 0
    assert loss.between(right.half(), truth).dtype == torch.float32


def test_what_is_predicted_for_unknown_voxels_does_not_count():
    _, labels = batch()
    labels[:, 5] = 255
    truth = Truth.of(labels, classes=3, needs=SmoothL1().needs, ignore=255)
    predicted = torch.rand(3, 2, 12, 10)
    other = predicted.clone()
    other[:, :, 5] = 7
    torch.testing.assert_close(SmoothL1().between(predicted, truth), SmoothL1().between(other, truth))


@pytest.mark.parametrize("shape", [(3, 3, 12, 10), (3, 2, 12, 9), (3, 12, 10)])
def test_a_predicted_map_of_another_shape_is_one_clear_error(shape):
    _, labels = batch()
    truth = Truth.of(labels, classes=3, needs=SmoothL1().needs)
    with pytest.raises(ShapeError, match=r"expected shape \(3, 2, 12, 10\)"):
        SmoothL1().between(torch.zeros(shape), truth)


def test_a_truth_without_the_map_is_an_error_that_says_how_to_build_it():
    _, labels = batch()
    with pytest.raises(ShapeError, match=r"needs=loss\.needs"):
        SmoothL1().between(torch.zeros(3, 2, 12, 10), Truth.of(labels, classes=3))


@pytest.mark.parametrize("beta", [0.0, -1.0, float("nan"), float("inf")])
def test_a_beta_that_is_no_width_is_refused(beta):
    with pytest.raises(ExperimentError, match="finite number above 0"):
        SmoothL1(beta=beta)
