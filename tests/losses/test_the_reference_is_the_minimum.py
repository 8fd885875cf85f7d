"""No prediction is better than the reference itself: for every loss of the catalogue that does not say otherwise.

A new file in losses/ is tested here without an edit. Where its minimum lies elsewhere on purpose, name it in
`ELSEWHERE`; descent must then really find something better.
"""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import one_hot

from contracts.test_loss_contract import CLASSES, EVERY, SPACES, anisotropic, batch, blobs
from edgewise.truth import Truth

ELSEWHERE = {
    "confidence_penalty": {},  # rewards doubt
    "map_dice": {"form": "paper"},  # pushes out what is deep inside
    "smooth_l1": {},  # wants the map
}
"""What does not claim that the reference is its minimum: the kind, and the setting in which it does not."""


def excused(loss):
    settings = ELSEWHERE.get(loss.kind)
    return settings is not None and all(getattr(loss, field) == value for field, value in settings.items())


CLAIM = {name: loss for name, loss in EVERY.items() if not excused(loss)}
DENY = {name: loss for name, loss in EVERY.items() if excused(loss)}


def scattered(space):
    """Labels with many small parts, some of one voxel."""
    return batch(space)[1] * (torch.rand(2, *space, generator=torch.Generator().manual_seed(3)) < 0.3)


def disc(space):
    """A disc with depth and another class beside it, in both images: descent is slow where a class is absent."""
    labels = torch.zeros(2, *space, dtype=torch.long)
    y, x = torch.meshgrid(*map(torch.arange, space), indexing="ij")
    labels[:, (y - 9) ** 2 + (x - 9) ** 2 < 64] = 1
    labels[0, -4:, -3:] = 2
    labels[1, :2, -5:] = 2
    return labels


SCENES = {"disc": disc, "blobs": blobs, "scattered": scattered}


@cache
def truth_of(name, space, scene):
    labels = SCENES[scene](space)
    return Truth.of(labels, classes=CLASSES, spacing=anisotropic(space), needs=EVERY[name].needs)


def certain(labels):
    """Logits of the reference: in float64 a wrong class has a probability of 1e-26."""
    return 60.0 * one_hot(labels, CLASSES).movedim(-1, 1).double()


def predictions(labels, generator):
    """Logits without any relation to the reference; doubtful about it; sure, but wrong in places; a moved reference."""
    noise = torch.randn(len(labels), CLASSES, *labels.shape[1:], generator=generator, dtype=torch.float64)
    scale = 10 ** (4 * torch.rand((), generator=generator) - 2)
    yield noise * scale
    yield certain(labels) * scale / 60 + noise * torch.rand((), generator=generator)
    wrong = torch.rand(labels.shape, generator=generator) < torch.rand((), generator=generator) / 2
    other = torch.randint(CLASSES, labels.shape, generator=generator)
    yield certain(labels.where(~wrong, other))
    axis = int(torch.randint(1, labels.ndim, (), generator=generator))
    yield certain(labels.roll(1, axis)) + noise
    yield certain(torch.full_like(labels, int(other.flatten()[0])))


def lowest(loss, truth):
    """The least loss that gradient descent finds, from an answer that is right but doubtful."""
    noise = torch.randn(2, CLASSES, *truth.labels.shape[1:], generator=torch.Generator().manual_seed(0))
    logits = (certain(truth.labels) / 15 + 0.3 * noise).contiguous().requires_grad_()
    optimiser = torch.optim.LBFGS([logits], max_iter=20, line_search_fn="strong_wolfe")
    found = []

    def closure():
        optimiser.zero_grad()
        value = loss(logits, truth)
        value.backward()
        found.append(value.item())
        return value

    optimiser.step(closure)
    return min(found)


def tolerance(least):
    return 1e-6 * (1 + abs(least))


@pytest.mark.parametrize("scene", ["blobs", "scattered"])
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("name", CLAIM)
@settings(max_examples=5, database=None)
@given(seed=st.integers(0, 2**32))
def test_no_drawn_prediction_is_better_than_the_reference(name, space, scene, seed):
    truth = truth_of(name, space, scene)
    least = CLAIM[name](certain(truth.labels), truth)
    for logits in predictions(truth.labels, torch.Generator().manual_seed(seed)):
        assert CLAIM[name](logits, truth) >= least - tolerance(least)


@pytest.mark.parametrize("name", CLAIM)
def test_descent_finds_nothing_better_than_the_reference(name):
    truth = truth_of(name, (20, 19), "disc")
    least = CLAIM[name](certain(truth.labels), truth).item()
    assert lowest(CLAIM[name], truth) >= least - tolerance(least)


@pytest.mark.parametrize("name", DENY)
def test_descent_finds_something_better_where_a_loss_does_not_claim_it(name):
    truth = truth_of(name, (20, 19), "disc")
    least = DENY[name](certain(truth.labels), truth).item()
    assert lowest(DENY[name], truth) < least - tolerance(least)


def test_every_exception_exists():
    assert {loss.kind for loss in DENY.values()} == ELSEWHERE.keys()
