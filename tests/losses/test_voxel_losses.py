"""Focal, top-k cross entropy and the confidence penalty; laws of every loss that is a mean over voxels."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.losses import FocalLoss
from torch.nn.functional import cross_entropy

from edgewise.errors import ExperimentError
from edgewise.losses import LOSSES, CrossEntropy
from edgewise.losses.confidence_penalty import ConfidencePenalty
from edgewise.losses.focal import Focal
from edgewise.losses.top_k import TopK
from edgewise.truth import Truth

few = settings(max_examples=25)
seeds = given(seed=st.integers(0, 10**6))


def batch(shape=(2, 4, 7, 6, 5), seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    return logits, torch.randint(shape[1], (shape[0], *shape[2:]), generator=generator)


def agree(ours, theirs, logits, rtol=1e-7):
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=1e-8)
    torch.testing.assert_close(
        torch.autograd.grad(ours, logits), torch.autograd.grad(theirs, logits), rtol=rtol, atol=1e-8
    )


# Focal


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("alpha", [(), (0.25, 1.0, 0.0, 2.0)])
def test_focal_is_as_many_times_monais_as_there_are_classes(gamma, alpha):
    logits, labels = batch()
    theirs = FocalLoss(to_onehot_y=True, use_softmax=True, gamma=gamma, alpha=alpha or None)(logits, labels[:, None])
    # MONAI computes in float32 whatever comes.
    agree(Focal(gamma=gamma, alpha=alpha)(logits, labels), 4 * theirs.double(), logits, rtol=1e-4)


def test_focal_without_focus_is_the_cross_entropy():
    logits, labels = batch()
    agree(Focal(gamma=0.0)(logits, labels), CrossEntropy()(logits, labels), logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0])
def test_focal_has_a_gradient_where_the_answer_is_perfect(gamma, dtype):
    labels = torch.zeros(1, 4, 4, dtype=torch.long)
    for sure in (1.0, 15.0, 30.0, 1e4):
        logits = torch.zeros(1, 3, 4, 4, dtype=dtype)
        logits[:, 0] = sure
        value = Focal(gamma=gamma)(logits.requires_grad_(), labels)
        (gradient,) = torch.autograd.grad(value, logits)
        assert value >= 0
        assert gradient.isfinite().all()
        assert (gradient[:, 0] <= 0).all()


# Top-k


def worst(logits, labels, percent):
    """As nnU-Net defines it: of all voxels of the batch."""
    losses = cross_entropy(logits, labels, reduction="none").flatten()
    return losses.sort(descending=True).values[: int(len(losses) * percent / 100)].mean()


@few
@given(seed=st.integers(0, 10**6), percent=st.integers(2, 100))
def test_top_k_is_the_mean_of_the_worst_voxels_of_the_batch(seed, percent):
    logits, labels = batch((2, 3, 10, 10), seed)  # 200 voxels, two a percent: no rounding
    agree(TopK(fraction=2 * percent / 200)(logits, labels), worst(logits, labels, percent), logits)


def test_top_k_of_all_voxels_is_the_cross_entropy():
    logits, labels = batch()
    agree(TopK(fraction=1.0)(logits, labels), CrossEntropy()(logits, labels), logits)


def test_exactly_the_worst_voxels_have_a_gradient():
    logits, labels = batch((2, 3, 10, 10))
    (gradient,) = torch.autograd.grad(TopK(fraction=0.1)(logits, labels), logits)
    losses = cross_entropy(logits, labels, reduction="none")
    threshold = losses.flatten().sort(descending=True).values[19]
    assert torch.equal((gradient != 0).any(1), losses >= threshold)


def test_top_k_of_a_tiny_image_is_its_worst_voxel():
    logits, labels = batch((1, 2, 2, 3))
    expected = cross_entropy(logits, labels, reduction="none").max()
    torch.testing.assert_close(TopK()(logits, labels), expected)


@few
@seeds
def test_top_k_takes_its_share_of_the_known_voxels(seed):
    logits, labels = batch((1, 3, 10, 10), seed)
    hidden = torch.rand(labels.shape, generator=torch.Generator().manual_seed(seed)) < 0.4
    truth = Truth.of(labels.where(~hidden, 255), classes=3, ignore=255)
    losses = cross_entropy(logits, labels, reduction="none")[~hidden].sort(descending=True).values
    expected = losses[: max(1, int(0.3 * len(losses)))].mean()
    agree(TopK(fraction=0.3)(logits, truth), expected, logits)


def test_a_share_that_is_a_whole_number_of_known_voxels_is_not_rounded_down():
    logits, labels = batch((1, 3, 10, 11))
    labels[..., 10] = 255  # 100 known, and 0.29 * 100 < 29 in floating point
    losses = cross_entropy(logits, labels, reduction="none", ignore_index=255).flatten().sort(descending=True).values
    agree(TopK(fraction=0.29)(logits, Truth.of(labels, classes=3, ignore=255)), losses[:29].mean(), logits)


def test_top_k_where_nobody_knows_anything_is_zero():
    logits, labels = batch((1, 3, 4, 4))
    value = TopK()(logits, Truth.of(torch.full_like(labels, -1), classes=3, ignore=-1))
    assert value == 0
    assert (torch.autograd.grad(value, logits)[0] == 0).all()


def test_top_k_ranks_voxels_by_what_they_count():
    logits, labels = batch((2, 3, 6, 6))
    weights = torch.tensor([1.0, 0.2])
    losses = cross_entropy(logits, labels, reduction="none") * weights[:, None, None]
    expected = losses.flatten().sort(descending=True).values[:7].mean()
    torch.testing.assert_close(TopK()(logits, Truth.of(labels, classes=3, weights=weights)), expected)


# Confidence penalty


def test_the_confidence_penalty_takes_entropy_off_the_cross_entropy():
    logits, labels = batch()
    entropy = torch.distributions.Categorical(logits=logits.movedim(1, -1)).entropy().mean()
    agree(ConfidencePenalty(beta=0.3)(logits, labels), cross_entropy(logits, labels) - 0.3 * entropy, logits)


def test_without_beta_it_is_the_cross_entropy():
    logits, labels = batch()
    agree(ConfidencePenalty(beta=0.0)(logits, labels), CrossEntropy()(logits, labels), logits)


def test_the_least_penalised_answer_keeps_the_doubt_that_the_formula_asks_for():
    labels = torch.zeros(1, 2, 2, dtype=torch.long)
    loss, classes = ConfidencePenalty(beta=0.5), 3
    p = torch.linspace(0.5, 0.999999, 200_001, dtype=torch.float64)
    rest = (1 - p) / (classes - 1)
    curve = -p.log() + 0.5 * (p * p.log() + (classes - 1) * rest * rest.log())
    logits = torch.zeros(1, classes, 2, 2, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([logits], max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        value = loss(logits, labels)
        value.backward()
        return value

    optimiser.step(closure)
    assert loss(logits, labels).item() == pytest.approx(curve.min().item(), abs=1e-6)
    assert logits.softmax(1)[:, 0].mean().item() == pytest.approx(p[curve.argmin()].item(), abs=1e-3)
    assert curve.min() < 0


# All of them

MEANS = [
    CrossEntropy(),
    CrossEntropy(class_weights=(0.5, 2.0, 1.0)),
    CrossEntropy(balance="classes"),
    Focal(alpha=(0.5, 2.0, 1.0)),
    TopK(),
    ConfidencePenalty(),
    LOSSES["exponential_logarithmic"](frequencies=(5.0, 2.0, 1.0)),
    *(LOSSES[kind]() for kind in ("dice", "generalised_dice", "jaccard", "tversky", "focal_tversky")),
]


@pytest.mark.parametrize("loss", MEANS, ids=repr)
def test_voxels_that_nobody_knows_might_as_well_be_cut_off(loss):
    logits, labels = batch((2, 3, 10, 8))
    labels[:, 6:] = -1
    truth = Truth.of(labels, classes=3, ignore=-1)
    agree(loss(logits, truth), loss(logits[:, :, :6], labels[:, :6]), logits)


@pytest.mark.parametrize("loss", MEANS, ids=repr)
def test_gradient_descent_finds_the_reference(loss):
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    labels[:, 1:4, 1:4] = 1
    labels[:, 6, 2:5] = 2
    logits = 0.1 * batch((1, 3, 8, 8))[0].detach()
    optimiser = torch.optim.Adam([logits.requires_grad_()], lr=0.3)
    for _ in range(200):
        optimiser.zero_grad()
        loss(logits, labels).backward()
        optimiser.step()
    assert torch.equal(logits.argmax(1), labels)
    assert logits.softmax(1).amax(1).min() > 0.9


@pytest.mark.parametrize(
    ("kind", "setting"),
    [
        ("focal", {"gamma": -1.0}),
        ("focal", {"gamma": float("nan")}),
        ("focal", {"alpha": (1.0, -1.0)}),
        ("top_k", {"fraction": 0.0}),
        ("top_k", {"fraction": 1.1}),
        ("top_k", {"fraction": float("nan")}),
        ("confidence_penalty", {"beta": -0.1}),
        ("confidence_penalty", {"beta": float("inf")}),
    ],
)
def test_settings_that_make_no_sense_are_refused(kind, setting):
    (name,) = setting
    with pytest.raises(ExperimentError, match=f"{kind}: {name}"):
        LOSSES[kind](**setting)


def test_an_alpha_that_does_not_fit_the_labels_is_refused():
    logits, labels = batch()
    with pytest.raises(ExperimentError, match=r"2 class weights .* 4 classes"):
        Focal(alpha=(1.0, 2.0))(logits, labels)
