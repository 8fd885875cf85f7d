"""The generalised surface loss against its definition with SciPy's distance transform."""

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from edgewise.losses.generalised_surface import GeneralisedSurface
from edgewise.truth import Truth

EXPONENTS = {"simple": 1, "square": 2, "uniform": 0}


def by_definition(logits, labels, spacing, exponent, first):
    p, costs = logits.softmax(1).numpy(), []
    for image, picture in enumerate(labels.numpy()):
        recovered = whole = 0.0
        for each in range(first, logits.shape[1]):
            y = picture == each
            if y.any() and not y.all():
                phi = distance_transform_edt(y, sampling=spacing) - distance_transform_edt(~y, sampling=spacing)
                recovered += ((phi * (1 - y - p[image, each])) ** 2).sum() / y.sum() ** exponent
                whole += (phi**2).sum() / y.sum() ** exponent
        costs.append(1 - recovered / whole if whole else 0.0)
    return float(np.mean(costs))


def scene(space):
    labels = torch.zeros(3, *space, dtype=torch.long)
    labels[0, 1:5, 2:6] = 1
    labels[0, 6:, 1:3] = 2
    labels[1, 3, 3] = 2
    return labels  # the third image is all background


def certain(labels, classes=3):
    return 100.0 * torch.nn.functional.one_hot(labels, classes).movedim(-1, 1).double()


@pytest.mark.parametrize(("space", "spacing"), [((9, 8), (3.0, 0.7)), ((8, 7, 6), (2.5, 0.8, 0.8))], ids=["2d", "3d"])
@pytest.mark.parametrize("weighting", EXPONENTS)
@pytest.mark.parametrize("background", [True, False])
def test_agrees_with_its_definition(space, spacing, weighting, background):
    labels = scene(space)
    logits = torch.randn(3, 3, *space, dtype=torch.float64)
    loss = GeneralisedSurface(weighting=weighting, background=background)
    expected = by_definition(logits, labels, spacing, EXPONENTS[weighting], 0 if background else 1)
    assert loss(logits, labels, spacing=spacing).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("weighting", EXPONENTS)
def test_the_reference_costs_0_and_its_opposite_1(weighting):
    labels = torch.zeros(2, 9, 8, dtype=torch.long)
    labels[:, 2:5, 3:6] = 1
    loss = GeneralisedSurface(weighting=weighting)
    assert loss(certain(labels, 2), labels).item() == pytest.approx(0, abs=1e-12)
    assert loss(certain(1 - labels, 2), labels).item() == pytest.approx(1, abs=1e-12)


def test_lies_between_0_and_1_and_is_0_at_the_reference_alone():
    labels = scene((9, 8))[:1]
    for seed in range(10):
        logits = 3 * torch.randn(1, 3, 9, 8, generator=torch.Generator().manual_seed(seed))
        assert 0 < GeneralisedSurface()(logits, labels) < 1


def test_the_farther_from_the_boundary_a_mistake_lies_the_more_it_costs():
    labels = torch.zeros(1, 9, 30, dtype=torch.long)
    labels[0, 3:6, 2:5] = 1
    costs = []
    for place in (6, 10, 18, 28):
        wrong = labels.clone()
        wrong[0, 4, place] = 1
        costs.append(GeneralisedSurface()(certain(wrong, 2), labels).item())
    assert costs == sorted(costs)
    assert costs[-1] > 10 * costs[0]


def test_the_more_small_classes_weigh_the_less_a_mistake_between_large_ones_costs():
    labels = torch.zeros(1, 20, 20, dtype=torch.long)
    labels[0, 1:12, 1:12] = 1
    labels[0, 15:17, 15:17] = 2
    thinner = labels.clone()
    thinner[0, :4, :12] = 0
    losses = [GeneralisedSurface(weighting=each) for each in ("uniform", "simple", "square")]
    uniform, simple, square = (loss(certain(thinner), labels).item() for loss in losses)
    assert uniform > 2 * simple > 4 * square > 0


def test_the_unit_of_length_does_not_matter_and_the_shape_of_voxels_does():
    labels, logits = scene((9, 8)), torch.randn(3, 3, 9, 8, dtype=torch.float64)
    small, large, tall = (GeneralisedSurface()(logits, labels, spacing=s) for s in ((1.0, 1.0), (7.0, 7.0), (4.0, 1.0)))
    torch.testing.assert_close(small, large)
    assert small != tall


@pytest.mark.parametrize("value", [0, 2])
def test_images_without_any_boundary_cost_nothing_and_have_no_gradient(value):
    labels = torch.full((2, 6, 7), value)
    logits = torch.randn(2, 3, 6, 7, requires_grad=True)
    loss = GeneralisedSurface()(logits, labels)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss == 0
    assert (gradient == 0).all()


def test_unlabelled_voxels_take_no_part():
    labels = torch.zeros(1, 8, 12, dtype=torch.long)
    labels[0, 2:5, 2:5] = 1
    unknown = labels.clone()
    unknown[0, :, 9:] = 255
    logits = torch.randn(1, 2, 8, 12, dtype=torch.float64)
    truth = Truth.of(unknown, classes=2, needs=GeneralisedSurface().needs, ignore=255)
    # What is cut off is background, and lies behind the rest: no distance changes.
    torch.testing.assert_close(
        GeneralisedSurface()(logits, truth), GeneralisedSurface()(logits[..., :9], labels[..., :9])
    )
