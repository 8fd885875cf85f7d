"""Soft class sizes, on which the overlap losses stand."""

import pytest
import torch
from torch.nn.functional import one_hot

from edgewise.losses.overlap import Overlap, _masked, _scattered, class_sizes, class_sums
from edgewise.truth import Truth


def scene():
    generator = torch.Generator().manual_seed(0)
    log_p = torch.randn(2, 4, 7, 6, 5, generator=generator, dtype=torch.float64).log_softmax(1)
    return log_p, torch.randint(4, (2, 7, 6, 5), generator=generator)


def test_the_sums_for_a_gpu_are_those_for_a_cpu():
    values, labels = torch.rand(2, 7, 6, 5, dtype=torch.float64), scene()[1]
    torch.testing.assert_close(_masked(values, labels, 4), _scattered(values, labels, 4))


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("ignored", [False, True])
def test_first_and_second_derivatives_are_right(power, ignored):
    logits = torch.randn(
        2, 3, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    ).requires_grad_()
    labels = torch.randint(3, (2, 3, 2, 2), generator=torch.Generator().manual_seed(1))
    labels[0, 0] = 255 if ignored else 0
    truth = Truth.of(labels, classes=3, ignore=255)

    def sums(x):
        overlap = Overlap.of(x, truth, power=power)
        return overlap.both, overlap.predicted

    assert torch.autograd.gradcheck(sums, logits)
    assert torch.autograd.gradgradcheck(sums, logits)


def test_are_the_sums_over_one_hot_labels():
    log_p, labels = scene()
    y = one_hot(labels, 4).movedim(-1, 1).double()
    overlap = Overlap.of(log_p, Truth.of(labels, classes=4), power=2)
    torch.testing.assert_close(overlap.both, (log_p.exp() * y).flatten(2).sum(-1))
    torch.testing.assert_close(overlap.predicted, log_p.exp().square().flatten(2).sum(-1))
    torch.testing.assert_close(overlap.true, y.flatten(2).sum(-1))


def test_unknown_voxels_count_for_nothing():
    log_p, labels = scene()
    labels[labels == 3] = 255
    truth = Truth.of(labels, classes=4, ignore=255)
    sums, sizes = class_sums(torch.ones_like(labels, dtype=torch.float64), truth), class_sizes(truth, log_p)
    expected = torch.stack([(labels == each).flatten(1).sum(1) for each in range(4)], 1).double()
    torch.testing.assert_close(sums, expected)
    torch.testing.assert_close(sizes, expected)
    known = (labels != 255)[:, None]
    torch.testing.assert_close(Overlap.of(log_p, truth).predicted, (log_p.exp() * known).flatten(2).sum(-1))


def test_a_pooled_image_counts_each_image_by_its_weight():
    log_p, labels = scene()
    alone = Overlap.of(log_p, Truth.of(labels, classes=4))
    truth = Truth.of(labels, classes=4, weights=torch.tensor([2.0, 0.5]))
    torch.testing.assert_close(Overlap.of(log_p, truth).pooled(truth).both[0], 2 * alone.both[0] + 0.5 * alone.both[1])
