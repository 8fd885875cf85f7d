"""Generalised Dice, Jaccard, Tversky, focal Tversky and exponential logarithmic: peers, definitions and laws."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.losses import DiceLoss, GeneralizedDiceLoss, TverskyLoss
from torch.nn.functional import one_hot

from edgewise.errors import ExperimentError
from edgewise.losses import LOSSES, Dice
from edgewise.losses.exponential_logarithmic import ExponentialLogarithmic
from edgewise.losses.focal_tversky import FocalTversky
from edgewise.losses.generalised_dice import GeneralisedDice
from edgewise.losses.jaccard import Jaccard
from edgewise.losses.overlap import softened_power
from edgewise.losses.tversky import Tversky
from edgewise.truth import Truth

FAMILY = [Dice(), GeneralisedDice(), Jaccard(), Tversky(), FocalTversky(), ExponentialLogarithmic(cross_entropy=0.0)]
named = pytest.mark.parametrize("loss", FAMILY, ids=lambda loss: loss.kind)
seeds = given(seed=st.integers(0, 10**6))
few = settings(max_examples=20)


def batch(shape=(2, 4, 7, 6, 5), seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    return logits, torch.randint(shape[1], (shape[0], *shape[2:]), generator=generator)


def agree(ours, theirs, logits, rtol=1e-7):
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=1e-9)
    torch.testing.assert_close(
        torch.autograd.grad(ours, logits), torch.autograd.grad(theirs, logits), rtol=rtol, atol=1e-9
    )


# Peers


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("denominator", ["plain", "squared"])
@pytest.mark.parametrize("pooling", ["each", "pooled"])
def test_jaccard_agrees_with_monai_which_halves_eps(background, denominator, pooling):
    logits, labels = batch()
    labels[0].clamp_(max=2)  # class 3 is absent from the first image
    ours = Jaccard(background=background, denominator=denominator, batch=pooling, eps=0.3)
    theirs = DiceLoss(
        include_background=background, to_onehot_y=True, softmax=True, squared_pred=denominator == "squared",
        jaccard=True, batch=pooling == "pooled", smooth_nr=0.6, smooth_dr=0.6,
    )  # fmt: skip
    agree(ours(logits, labels), theirs(logits, labels[:, None]), logits)


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("pooling", ["each", "pooled"])
def test_tversky_agrees_with_monai(background, pooling):
    logits, labels = batch()
    labels[0].clamp_(max=2)
    ours = Tversky(background=background, batch=pooling, eps=0.3)
    theirs = TverskyLoss(
        include_background=background, to_onehot_y=True, softmax=True, alpha=0.3, beta=0.7,
        batch=pooling == "pooled", smooth_nr=0.3, smooth_dr=0.3,
    )  # fmt: skip
    agree(ours(logits, labels), theirs(logits, labels[:, None]), logits)


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("weighting", ["square", "simple", "uniform"])
@pytest.mark.parametrize("pooling", ["each", "pooled"])
def test_generalised_dice_agrees_with_monai_but_for_the_scale_of_eps(background, weighting, pooling):
    logits, labels = batch()
    labels[0].clamp_(max=2)
    ours = GeneralisedDice(background=background, weighting=weighting, batch=pooling, eps=1e-12)
    theirs = GeneralizedDiceLoss(
        include_background=background, to_onehot_y=True, softmax=True, w_type=weighting, batch=pooling == "pooled",
        smooth_nr=1e-14, smooth_dr=1e-14,
    )  # fmt: skip
    agree(ours(logits, labels), theirs(logits, labels[:, None]), logits, rtol=1e-5)  # its weights are float32


def definition(logits, labels, loss):
    """The exponential logarithmic loss with one-hot labels, as the paper writes it."""
    y = one_hot(labels, logits.shape[1]).movedim(-1, 1)
    p = logits.softmax(1)
    space = tuple(range(2, p.ndim))
    dice = (2 * (p * y).sum(space) + loss.eps) / ((p + y).sum(space) + loss.eps)
    frequencies = y.sum((0, *space)) / labels.numel()
    weights = (1 / frequencies).sqrt().reshape(1, -1, *[1] * len(space))
    cross = (weights * y * (-p.log()) ** loss.gamma).sum(1).mean()
    return loss.dice * ((-dice.log()) ** loss.gamma).mean() + loss.cross_entropy * cross


@pytest.mark.parametrize("gamma", [0.3, 1.0, 2.0])
def test_exponential_logarithmic_agrees_with_its_definition(gamma):
    logits, labels = batch()
    labels[0].clamp_(max=2)
    loss = ExponentialLogarithmic(gamma=gamma)
    agree(loss(logits, labels), definition(logits, labels, loss), logits)


def test_exponential_logarithmic_takes_frequencies_as_counts_or_shares():
    logits, labels = batch()
    counts = labels.flatten().bincount(minlength=4).double()
    for each in (counts, counts / counts.sum()):
        given = ExponentialLogarithmic(frequencies=tuple(each.tolist()))
        torch.testing.assert_close(given(logits, labels), ExponentialLogarithmic()(logits, labels))
    rare = ExponentialLogarithmic(frequencies=(1.0, 1.0, 1.0, 0.01))
    assert rare(logits, labels) > ExponentialLogarithmic()(logits, labels)


# Relatives of each other


@few
@seeds
def test_tversky_contains_dice_and_jaccard(seed):
    logits, labels = batch((2, 3, 5, 4), seed)
    halves = Tversky(alpha=0.5, beta=0.5, eps=0.1)
    torch.testing.assert_close(halves(logits, labels), Dice(eps=0.2)(logits, labels))
    ones = Tversky(alpha=1.0, beta=1.0, eps=0.1)
    torch.testing.assert_close(ones(logits, labels), Jaccard(eps=0.1)(logits, labels))


@few
@seeds
def test_focal_tversky_is_the_power_of_the_tversky_loss_of_one_class(seed):
    logits, labels = batch((1, 2, 5, 4), seed)
    tversky = Tversky(background=False, alpha=0.2, beta=0.9)(logits, labels)
    for gamma in (0.5, 1.0, 4 / 3, 3.0):
        focal = FocalTversky(background=False, alpha=0.2, beta=0.9, gamma=gamma)
        torch.testing.assert_close(focal(logits, labels), tversky ** (1 / gamma))


@few
@seeds
def test_one_class_alone_has_jaccard_of_dice_and_a_generalised_dice_that_is_dice(seed):
    logits, labels = batch((1, 2, 5, 4), seed)
    labels[0, 0, 0] = 1
    one = {"background": False, "eps": 1e-12}
    overlap = 1 - Dice(**one)(logits, labels)
    torch.testing.assert_close(1 - Jaccard(**one)(logits, labels), overlap / (2 - overlap))
    for weighting in ("square", "simple", "uniform"):
        torch.testing.assert_close(1 - GeneralisedDice(**one, weighting=weighting)(logits, labels), overlap)


def test_alpha_weighs_what_is_too_much_and_beta_what_is_missed():
    labels = torch.zeros(1, 6, 6, dtype=torch.long)
    labels[:, 2:4] = 1
    sizes = {name: torch.zeros(1, 2, 6, 6) for name in ("too_much", "missed")}
    sizes["too_much"][:, 1] = torch.where(torch.arange(6)[:, None] < 4, 50.0, -50.0)
    sizes["missed"][:, 1] = torch.where(torch.arange(6)[:, None] == 2, 50.0, -50.0)
    for cls in (Tversky, FocalTversky):
        excess, default = cls(alpha=0.9, beta=0.1, background=False), cls(background=False)
        assert Tversky(background=False)(sizes["too_much"], labels) == pytest.approx(1 - 12 / (12 + 0.3 * 12), rel=1e-5)
        assert Tversky(background=False)(sizes["missed"], labels) == pytest.approx(1 - 6 / (6 + 0.7 * 6), rel=1e-5)
        assert excess(sizes["too_much"], labels) > default(sizes["too_much"], labels)
        assert excess(sizes["missed"], labels) < default(sizes["missed"], labels)


# Laws of the family


@named
def test_a_pooled_batch_is_one_large_image(loss):
    logits, labels = batch((2, 3, 4, 6))
    labels[0].clamp_(max=1)
    side_by_side = loss(torch.cat([*logits], -1)[None], torch.cat([*labels], -1)[None])
    torch.testing.assert_close(replace(loss, batch="pooled")(logits, labels), side_by_side)


@named
def test_an_image_of_weight_two_in_a_pooled_batch_is_there_twice(loss):
    pooled = replace(loss, batch="pooled")
    logits, labels = batch((2, 3, 4, 6))
    weighted = Truth.of(labels, classes=3, weights=torch.tensor([2.0, 1.0]))
    twice = pooled(logits[[0, 0, 1]], labels[[0, 0, 1]])
    torch.testing.assert_close(pooled(logits, weighted), twice)


@named
def test_leaving_out_the_background_keeps_the_other_classes(loss):
    logits, labels = batch((1, 2, 5, 5))
    labels[0, 0, 0] = 1
    everything = {each: replace(loss, background=each)(logits, labels) for each in (True, False)}
    background = replace(loss, background=False)(logits.flip(1), 1 - labels)
    if loss.kind == "generalised_dice":
        low, high = sorted([everything[False].item(), background.item()])
        assert low < everything[True] < high
    else:
        torch.testing.assert_close(everything[True], (everything[False] + background) / 2)


@pytest.mark.parametrize("weighting", ["square", "simple", "uniform"])
@few
@seeds
def test_generalised_dice_does_not_depend_on_the_resolution(weighting, seed):
    logits, labels = batch((1, 3, 4, 4), seed)
    loss = GeneralisedDice(weighting=weighting)
    fine = loss(logits.repeat_interleave(9, -1), labels.repeat_interleave(9, -1))
    torch.testing.assert_close(fine, loss(logits, labels), rtol=1e-4, atol=1e-6)


def test_generalised_dice_still_sees_large_structures():
    labels = torch.zeros(1, 128, 128, 128, dtype=torch.uint8)
    labels[:, 30:80, 30:80, 30:80] = 1
    logits = torch.zeros(1, 2, 128, 128, 128)
    logits[:, 0] = 30.0
    small = labels[:, ::8, ::8, ::8], logits[..., ::8, ::8, ::8]
    missed = GeneralisedDice()(logits, labels)
    assert missed > 0.8
    torch.testing.assert_close(missed, GeneralisedDice()(small[1], small[0]), rtol=0.1, atol=0)


def test_a_small_class_counts_as_much_as_a_large_one_in_generalised_dice():
    labels = torch.zeros(1, 40, 40, dtype=torch.long)
    labels[:, :20] = 1
    labels[:, 38, 38] = 2
    sure = 60.0 * one_hot(labels, 3).movedim(-1, 1).double()
    missed = sure.clone()
    missed[..., 38, 38] = torch.tensor([60.0, 0.0, 0.0])
    losses = [GeneralisedDice(weighting=each)(missed, labels).item() for each in ("square", "simple", "uniform")]
    assert losses[0] > 0.99
    assert losses == sorted(losses, reverse=True)
    assert losses[2] < 1e-3


def test_a_class_that_is_nowhere_weighs_as_the_smallest_that_is_there():
    labels = torch.zeros(1, 6, 6, dtype=torch.long)
    labels[:, :2] = 1  # 12 voxels of class 1, 24 of class 0, none of class 2
    p = torch.zeros(1, 3, 6, 6, dtype=torch.float64)
    p[:, 0, 2:], p[:, 1, :2] = 1.0, 1.0
    p[:, 0, 5], p[:, 2, 5] = 0.0, 1.0  # six voxels of the background are taken for class 2
    loss = GeneralisedDice(eps=1e-9).of((p + 1e-12).log(), Truth.of(labels, classes=3))
    expected = 1 - 2 * (18 / 4 + 12) / ((18 + 24) / 4 + 24 + 6)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


@named
def test_an_image_without_any_foreground_still_teaches_to_predict_none(loss):
    foreground = replace(loss, background=False)
    labels = torch.zeros(2, 5, 5, dtype=torch.long)
    logits = torch.zeros(2, 3, 5, 5, dtype=torch.float64, requires_grad=True)
    value = foreground(logits, labels)
    (gradient,) = torch.autograd.grad(value, logits)
    assert value > 0.5
    assert (gradient[:, 0] < 0).all()
    assert foreground(60.0 * one_hot(labels, 3).movedim(-1, 1).double(), labels) < 1e-6


@named
@pytest.mark.parametrize("sure", [5.0, 12.0, 17.0, 30.0, 100.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_stay_moderate_on_the_way_to_perfection(loss, sure, dtype):
    _, labels = batch((2, 3, 4, 6))
    logits = (sure * one_hot(labels, 3).movedim(-1, 1)).to(dtype).requires_grad_()
    value = loss(logits, labels)
    (gradient,) = torch.autograd.grad(value, logits)
    assert -1e-4 < value < 1.0
    assert gradient.abs().max() < 1


@pytest.mark.parametrize("exponent", [0.2, 0.75, 1.0, 3.0])
def test_the_softened_power_is_the_power_but_for_a_line_at_zero(exponent):
    x = torch.tensor([-1e-7, 0.0, 5e-7, 1e-6, 1e-5, 0.3, 2.0], dtype=torch.float64, requires_grad=True)
    value = softened_power(x, exponent)
    line = 1e-6**exponent * torch.tensor([-0.1, 0.0, 0.5], dtype=torch.float64)
    torch.testing.assert_close(value[:3].detach(), line)
    torch.testing.assert_close(value[3:], x[3:] ** exponent)
    (slope,) = torch.autograd.grad(value.sum(), x)
    torch.testing.assert_close(slope[:3], torch.full((3,), 1e-6 ** (exponent - 1), dtype=torch.float64))
    torch.testing.assert_close(slope[4:], exponent * x[4:].detach() ** (exponent - 1))


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_unknown_voxels_do_no_harm_where_no_voxel_is_background():
    logits, labels = batch((1, 3, 4, 4))
    labels = labels.clamp(min=1)
    labels[:, 0] = 255  # stored as 0, a class that no known voxel has
    with torch.autograd.detect_anomaly():  # no NaN on the way either
        value = ExponentialLogarithmic()(logits, Truth.of(labels, classes=3, ignore=255))
        (gradient,) = torch.autograd.grad(value, logits)
    assert value.isfinite()
    assert gradient.isfinite().all()


# Parameters


@pytest.mark.parametrize("eps", [0.0, -1.0, float("nan"), float("inf")])
@named
def test_an_eps_that_is_not_positive_and_finite_is_refused(loss, eps):
    with pytest.raises(ExperimentError, match=rf"{loss.kind}: eps is .* must be positive and finite"):
        replace(loss, eps=eps)


@pytest.mark.parametrize("cls", [Tversky, FocalTversky])
@pytest.mark.parametrize(
    ("alpha", "beta"), [(-0.1, 1.0), (1.0, -0.1), (0.0, 0.0), (float("nan"), 1.0), (1.0, float("inf"))]
)
def test_mistakes_that_weigh_nothing_or_less_are_refused(cls, alpha, beta):
    with pytest.raises(ExperimentError, match=f"{cls.kind}: alpha"):
        cls(alpha=alpha, beta=beta)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "focal_tversky", "gamma": 0.0}, "gamma is 0.0"),
        ({"kind": "focal_tversky", "gamma": float("inf")}, "gamma is inf"),
        ({"kind": "exponential_logarithmic", "gamma": -0.3}, "gamma is -0.3"),
        ({"kind": "exponential_logarithmic", "dice": 0.0, "cross_entropy": 0.0}, "weights dice 0.0"),
        ({"kind": "exponential_logarithmic", "dice": -1.0}, "weights dice -1.0"),
        ({"kind": "exponential_logarithmic", "frequencies": (1.0, 0.0)}, "must all be above 0"),
        ({"kind": "exponential_logarithmic", "frequencies": (1.0, -2.0)}, "frequencies .* not negative"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ExperimentError, match=message):
        LOSSES[settings["kind"]](**settings)


def test_frequencies_that_do_not_fit_the_labels_are_refused():
    logits, labels = batch()
    with pytest.raises(ExperimentError, match=r"2 class weights .* 4 classes"):
        ExponentialLogarithmic(frequencies=(1.0, 2.0))(logits, labels)
