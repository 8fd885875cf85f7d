"""The two cross entropies with a distance map, against torch's cross entropy, voxel by voxel."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from edgewise.losses import CrossEntropy
from edgewise.losses.penalised_cross_entropy import PenalisedCrossEntropy
from edgewise.losses.rectified_cross_entropy import RectifiedCrossEntropy
from edgewise.maps.boundary import Boundary
from edgewise.maps.penalty import Penalty
from edgewise.maps.region_wise import NonDistance, Rectified

SPACING = (2.0, 0.5)


def batch():
    labels = torch.zeros(2, 12, 10, dtype=torch.long)
    labels[0, 2:9, 3:8] = 1
    labels[0, 4, 4] = 2
    return torch.randn(2, 3, 12, 10, dtype=torch.float64, requires_grad=True), labels


def assert_like(loss, weights):
    logits, labels = batch()
    ours = loss(logits, labels, spacing=SPACING)
    theirs = (cross_entropy(logits, labels, reduction="none") * weights(labels)).mean()
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours, logits), torch.autograd.grad(theirs, logits))


@pytest.mark.parametrize("field", [Rectified(), Rectified(per="component"), Boundary()], ids=str)
def test_the_rectified_one_weighs_every_voxel_by_the_size_of_the_map_in_its_class(field):
    def weights(labels):
        z = field(labels, classes=3, spacing=SPACING, channels="all").abs()
        return z.gather(1, labels[:, None])[:, 0]

    assert_like(RectifiedCrossEntropy(map=field), weights)


@pytest.mark.parametrize("scale", ["raw", "normalized"])
@pytest.mark.parametrize("per", ["class", "component"])
def test_the_penalised_one_weighs_every_voxel_by_one_plus_the_penalty(scale, per):
    field = Penalty(scale=scale, per=per)
    assert_like(PenalisedCrossEntropy(map=field), lambda labels: 1 + field(labels, classes=3, spacing=SPACING))


def test_with_a_map_of_size_one_it_is_the_cross_entropy():
    logits, labels = batch()
    torch.testing.assert_close(RectifiedCrossEntropy(map=NonDistance())(logits, labels), CrossEntropy()(logits, labels))


def test_an_error_at_the_boundary_costs_more_when_penalised_and_less_when_rectified():
    labels = torch.zeros(1, 15, 15, dtype=torch.long)
    labels[:, 3:12, 3:12] = 1
    right = 5.0 * torch.nn.functional.one_hot(labels, 2).movedim(-1, 1)
    edge, middle = right.clone(), right.clone()
    edge[:, :, 7, 3] = right[:, :, 7, 3].flip(1)
    middle[:, :, 7, 7] = right[:, :, 7, 7].flip(1)
    assert PenalisedCrossEntropy()(edge, labels) > PenalisedCrossEntropy()(middle, labels)
    assert RectifiedCrossEntropy()(edge, labels) < RectifiedCrossEntropy()(middle, labels)
