"""The Dice loss against MONAI's, and where it is exact."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.losses import DiceLoss

from edgewise.errors import ExperimentError
from edgewise.losses import Dice
from edgewise.truth import Truth


def batch(shape=(2, 4, 7, 6, 5), seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    return logits, torch.randint(shape[1], (shape[0], *shape[2:]), generator=generator)


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("denominator", ["plain", "squared"])
@pytest.mark.parametrize("pooling", ["each", "pooled"])
def test_value_and_gradient_agree_with_monai(background, denominator, pooling):
    logits, labels = batch()
    labels[0].clamp_(max=2)  # class 3 is absent from the first image
    ours = Dice(background=background, denominator=denominator, batch=pooling, eps=0.3)(logits, labels)
    theirs = DiceLoss(
        include_background=background, to_onehot_y=True, softmax=True, squared_pred=denominator == "squared",
        batch=pooling == "pooled", smooth_nr=0.3, smooth_dr=0.3,
    )(logits, labels[:, None])  # fmt: skip
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours, logits), torch.autograd.grad(theirs, logits))


def test_a_certain_and_right_answer_has_no_loss_even_where_classes_are_absent():
    labels = torch.zeros(2, 6, 6, dtype=torch.long)
    labels[0, 2:4, 2:4] = 1
    logits = 200.0 * torch.nn.functional.one_hot(labels, 3).movedim(-1, 1)
    assert Dice()(logits, labels) == pytest.approx(0, abs=1e-6)


def test_an_absent_class_that_is_predicted_costs_its_share():
    labels = torch.zeros(1, 6, 6, dtype=torch.long)
    logits = torch.zeros(1, 2, 6, 6)
    logits[:, 1, :2] = 50
    logits[:, 0, 2:] = 50
    background = 2 * 24 / (24 + 36)
    assert Dice()(logits, labels) == pytest.approx(1 - background / 2, abs=1e-5)


def test_counts_and_sums_stay_exact_in_float32_beyond_its_integers():
    labels = torch.zeros(1, 1, 4200, 4200, dtype=torch.uint8)  # 17.6 million voxels > 2^24
    labels[..., :1000] = 1
    logits = torch.zeros(1, 2, 4200, 4200)
    p, voxels = 0.5, 4200 * 4200
    sizes = (4200 * 3200, 4200 * 1000)
    expected = 1 - sum(2 * p * size / (p * voxels + size) for size in sizes) / 2
    assert Dice()(logits, labels) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("eps", [0.0, -1.0, float("nan")])
def test_an_eps_that_allows_zero_by_zero_is_refused(eps):
    with pytest.raises(ExperimentError, match="must be positive"):
        Dice(eps=eps)


# Theorem one of Liu & Fu 2018: in the probabilities, the DSC loss is continuous, and differentiable almost everywhere.
DSC = Dice(denominator="squared", background=False)
CORNER = torch.tensor([[[0, 1, 1, 0, 0, 1], [1, 1, 0, 0, 1, 0]]])


def dsc(p, labels=CORNER):
    """The loss of any probabilities of the foreground, in [0, 1]."""
    return DSC.of(torch.stack([1 - p, p], 1).log(), Truth(labels=labels, classes=2, spacing=(1.0, 1.0)))


def near_a_corner(seed, distance):
    """Each probability close to 0 or 1: near the reference, near its opposite, or anywhere."""
    generator = torch.Generator().manual_seed(seed)
    corner = [CORNER, 1 - CORNER, torch.randint(2, CORNER.shape, generator=generator), torch.zeros_like(CORNER)]
    corner = corner[seed % 4].double()
    step = distance * (0.1 + 0.9 * torch.rand(corner.shape, generator=generator, dtype=torch.float64))
    return corner, torch.where(corner > 0, corner - step, corner + step)


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), distance=st.sampled_from([1e-1, 1e-2, 1e-3, 1e-4]))
def test_the_squared_form_is_differentiable_near_every_corner(seed, distance):
    _, p = near_a_corner(seed, distance)
    assert torch.autograd.gradcheck(dsc, p.requires_grad_(), eps=distance * 1e-3, atol=1e-5)


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6))
def test_the_squared_form_is_continuous_at_every_corner(seed):
    corner, _ = near_a_corner(seed, 1.0)
    apart = [abs(dsc(near_a_corner(seed, distance)[1]) - dsc(corner)) for distance in (1e-3, 1e-5, 1e-7)]
    assert apart[0] < 0.1
    assert apart[1] < 1e-3
    assert apart[2] < 1e-5


def test_the_squared_form_of_two_empty_masks_is_zero_and_continuous_there():
    def loss(p):
        return dsc(torch.full((1, 2, 6), p, dtype=torch.float64), torch.zeros(1, 2, 6, dtype=torch.long))

    assert loss(0.0) == 0
    assert loss(1e-5) < 1e-3
    assert loss(0.1) > 0.99


def test_the_squared_form_is_the_dsc_loss_of_two_vectors():
    _, p = near_a_corner(2, 0.3)
    y = CORNER.double()
    expected = 1 - 2 * (p * y).sum() / (p.norm() ** 2 + y.norm() ** 2)
    torch.testing.assert_close(dsc(p), expected, rtol=1e-5, atol=0)
