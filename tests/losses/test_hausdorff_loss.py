"""The Hausdorff distance loss against MONAI's, and against its definition where there is spacing."""

import pytest
import torch
from monai.losses import HausdorffDTLoss
from scipy.ndimage import distance_transform_edt
from torch.nn.functional import one_hot

from edgewise.errors import ExperimentError
from edgewise.losses import HausdorffDT, RegionWise
from edgewise.maps.hausdorff import Hausdorff

SPACES = {"2d": (14, 11), "3d": (9, 8, 10)}
each_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


def batch(space):
    """A sharp prediction with a wrong shape, noise, and nothing but background; class 3 is absent."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.zeros(3, *space, dtype=torch.long)
    labels[0, 2:7, 3:8] = 1
    labels[0, 5:, :2] = 2
    labels[1] = torch.randint(3, space, generator=generator)
    predicted = labels.roll(2, 1)
    predicted[2] = 0
    logits = 4.0 * one_hot(predicted, 4).movedim(-1, 1) + torch.randn(3, 4, *space, generator=generator)
    return logits.double().requires_grad_(), labels


@each_space
@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("alpha", [2.0, 1.0, 0.5])
def test_value_and_gradient_agree_with_monai_in_voxels(space, background, alpha):
    logits, labels = batch(space)
    ours = HausdorffDT(alpha=alpha, background=background)(logits, labels)
    theirs = HausdorffDTLoss(alpha=alpha, include_background=background, softmax=True, to_onehot_y=True)(
        logits, labels[:, None]
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)
    (a,), (b,) = torch.autograd.grad(ours, logits), torch.autograd.grad(theirs, logits)
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-9)


def to_boundary(masks, spacing):
    """Distance of every voxel to the other side, mask by mask, (B, K, *space)."""
    field = torch.zeros(masks.shape, dtype=torch.float64)
    for mask, distance in zip(masks.flatten(0, 1).numpy(), field.flatten(0, 1), strict=True):
        if mask.any() and not mask.all():
            inside = distance_transform_edt(mask, sampling=spacing)
            distance.add_(torch.from_numpy(inside + distance_transform_edt(~mask, sampling=spacing)))
    return field


@each_space
@pytest.mark.parametrize("sides", ["two", "one"])
def test_value_agrees_with_the_definition_in_mm(space, sides):
    spacing = (2.5, 0.7, 1.2)[: len(space)]
    logits, labels = batch(space)
    ours = HausdorffDT(sides=sides, background=True)(logits, labels, spacing=spacing)
    p, y = logits.detach().softmax(1), one_hot(labels, 4).movedim(-1, 1)
    distance = to_boundary(y.bool(), spacing) ** 2
    if sides == "two":
        distance += to_boundary(p > 0.5, spacing) ** 2
    torch.testing.assert_close(ours.detach(), ((p - y) ** 2 * distance).mean(), rtol=1e-6, atol=1e-8)


@each_space
def test_with_two_classes_one_side_is_the_region_wise_loss_of_squared_probabilities(space):
    logits, labels = batch(space)
    logits, labels = logits[:, :2], labels.clamp(max=1)
    one = HausdorffDT(sides="one", background=True)(logits, labels)
    both_channels = RegionWise(map=Hausdorff(), probability="squared")(logits, labels)  # each true on one side only
    torch.testing.assert_close(one, 2 * both_channels)


def test_the_distances_of_the_prediction_have_no_gradient_and_only_two_sides_use_them():
    labels = torch.zeros(1, 9, 9, dtype=torch.long)
    labels[0, 2:5, 2:5] = 1
    hesitant = torch.zeros(1, 2, 9, 9, dtype=torch.float64)
    hesitant[:, 1, 3:8, 3:8] = 1e-9  # where p is 1/2 up to rounding, and just above it
    costs = {sides: HausdorffDT(sides=sides)(hesitant, labels) for sides in ("one", "two")}
    flat = {sides: HausdorffDT(sides=sides)(torch.zeros_like(hesitant), labels) for sides in ("one", "two")}
    torch.testing.assert_close(costs["one"], flat["one"])  # no boundary is predicted in `flat`
    torch.testing.assert_close(flat["two"], flat["one"])
    assert costs["two"] > 1.5 * costs["one"]


def test_a_perfect_answer_costs_nothing_and_a_farther_error_more():
    labels = torch.zeros(1, 30, 30, dtype=torch.long)
    labels[0, 3:9, 3:9] = 1
    costs = []
    for speck in (None, (12, 12), (20, 20), (28, 28)):
        wrong = labels.clone()
        if speck:
            wrong[0, speck[0], speck[1]] = 1
        costs.append(HausdorffDT()(80.0 * one_hot(wrong, 2).movedim(-1, 1), labels))
    assert costs[0] == pytest.approx(0, abs=1e-9)
    assert costs == sorted(costs)
    assert costs[1] > 0


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_an_alpha_that_is_no_power_is_refused(alpha):
    with pytest.raises(ExperimentError, match="finite number above 0"):
        HausdorffDT(alpha=alpha)
