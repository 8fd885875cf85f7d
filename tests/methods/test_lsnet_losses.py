"""Any loss of the catalogue serves the second network of two stages. A new loss is tested here without an edit."""

import math

import pytest
import torch

from edgewise.losses import LOSSES
from edgewise.losses.boundary import Boundary
from edgewise.losses.compound import gradual
from edgewise.losses.dice import Dice
from edgewise.methods.coarse_to_fine import CoarseToFine
from edgewise.methods.lsnet import LSNet
from methods.cases import batch, copied, learner, losses, setting, small

CHOSEN = {kind: loss() for kind, loss in LOSSES.items()} | {"gradual": gradual(Dice(), Boundary(), epochs=2.0)}


@pytest.fixture(params=CHOSEN.values(), ids=CHOSEN)
def loss(request):
    return request.param


def trained(method, loss, dims=2, steps=2):
    """The weights of both networks before and after a few steps, by name, and the losses."""
    learning = learner(small(method), setting(dims, loss=loss))
    before = copied(learning.state()["network"])
    values = losses(learning, [batch(dims, seed) for seed in range(steps)])
    return before, learning.state()["network"], values


def moved(before, after, stage):
    """Whether all weights of a network are finite, and some have changed; what it counts in passing is left out."""
    names = [name for name in before if name.startswith(f"{stage}.") and before[name].is_floating_point()]
    weights = [name for name in names if not name.endswith(("running_mean", "running_var"))]
    assert weights
    assert all(after[name].isfinite().all() for name in names)
    return any(not torch.equal(before[name], after[name]) for name in weights)


@pytest.mark.parametrize(
    ("method", "dims"),
    [(LSNet(), 2), (LSNet(), 3), pytest.param(CoarseToFine(), 2, marks=pytest.mark.slow)],
    ids=["lsnet 2d", "lsnet 3d", "coarse_to_fine 2d"],
)
def test_two_steps_are_finite_and_move_both_networks(method, loss, dims):
    before, after, values = trained(method, loss, dims)
    assert all(map(math.isfinite, values))
    assert moved(before, after, "locate")
    assert moved(before, after, "segment")


def test_its_gradient_reaches_the_network_that_locates(loss):
    weights = {decay: trained(LSNet(decay=decay), loss, steps=1)[1] for decay in (0.0, 1.0)}
    assert moved(weights[0.0], weights[1.0], "locate")


def test_it_is_the_loss_of_the_second_network_alone(loss):
    """L-Net answers for its boxes by a loss of its own: without the gradient from behind, it moves alike."""
    other = Dice(eps=1.0)
    weights = [trained(LSNet(decay=0.0), each)[1] for each in (loss, other)]
    assert not moved(*weights, "locate")
    assert moved(*weights, "segment")
