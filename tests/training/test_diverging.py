"""Numbers that are no longer finite: who says so, and when. Nothing of it is ever averaged or saved."""

import dataclasses

import pytest
import torch
from torch import nn

from edgewise.errors import DivergedError
from edgewise.training.arithmetic import Arithmetic
from edgewise.training.descent import Descent, Turn
from edgewise.training.optimise import SGD, Step
from training.test_resume import batch, setting


def descent(objective, rate=0.1, precision="fp32", module=None):
    chosen = dataclasses.replace(
        setting(SGD(rate=rate, momentum=0.0, weight_decay=0.0), Step()),
        arithmetic=Arithmetic(precision=precision, memory_format="contiguous"),
    )
    return Descent(chosen, module or nn.Conv2d(1, 2, 1), (Turn(objective=objective),))


def finite(tree):
    if isinstance(tree, torch.Tensor):
        return bool(tree.isfinite().all())
    if isinstance(tree, dict):
        return all(map(finite, tree.values()))
    return all(map(finite, tree)) if isinstance(tree, list | tuple) else True


def mean(network, each, _):
    return network(each.image).square().mean()


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        (lambda network, *_: network.weight.sum() * float("nan"), "the loss became nan"),
        (lambda network, *_: network.weight.sum() / 0, "the loss became (inf|nan|-inf)"),
        # The square root of 0: the value is finite, its slope is not.
        (lambda network, *_: (0 * network.weight).sum().sqrt(), "the gradient became nan"),
        (lambda network, *_: (network.weight - network.weight.detach()).abs().sum().sqrt(), "the gradient became"),
    ],
)
def test_a_step_says_what_is_not_finite_and_the_average_stays_good(objective, words):
    learner = descent(objective)
    before = {key: value.clone() for key, value in learner.predictor.state_dict().items()}
    with pytest.raises(DivergedError, match=words):
        learner.step(batch(0), 0)
    assert all(torch.equal(value, before[key]) for key, value in learner.predictor.state_dict().items())


def test_a_weight_that_overflows_is_seen_in_the_step_that_did_it():
    learner = descent(lambda network, *_: 100 * network.weight.sum(), rate=1e38)
    with pytest.raises(DivergedError, match="a weight became -inf"):
        learner.step(batch(0), 0)
    assert finite(learner.predictor.state_dict())


def test_a_running_mean_that_overflows_is_seen_too():
    network = nn.Sequential(nn.BatchNorm2d(1, momentum=None), nn.Conv2d(1, 2, 1))
    network[0].running_var.fill_(float("inf"))
    learner = descent(mean, module=network)
    with pytest.raises(DivergedError, match=r"a weight became (inf|nan)"):
        learner.step(batch(0), 0)


def test_an_infinite_gradient_in_float16_is_left_out_and_scaled_down():
    learner = descent(lambda network, *_: network.weight.square().sum() * 1e34, precision="fp16")
    before = {key: value.clone() for key, value in learner.state()["network"].items()}
    scale = learner.state()["scaler"]["scale"]
    value = learner.step(batch(0), 0)
    assert value < float("inf")
    state = learner.state()
    assert state["scaler"]["scale"] == scale / 2
    assert all(torch.equal(value, before[key]) for key, value in state["network"].items())
    assert finite(learner.predictor.state_dict())


def test_a_gradient_in_float16_that_no_scale_makes_finite_stops_the_training():
    learner = descent(lambda network, *_: (0 * network.weight).sum().sqrt(), precision="fp16")
    with pytest.raises(DivergedError, match="the gradient became"):
        [learner.step(batch(step), step) for step in range(100)]
    assert learner.state()["scaler"]["scale"] < 2.0**-13
    assert finite(learner.state())


def test_a_loss_in_float16_that_is_not_finite_stops_at_once():
    learner = descent(lambda network, *_: network.weight.sum() * float("nan"), precision="fp16")
    with pytest.raises(DivergedError, match="the loss became nan"):
        learner.step(batch(0), 0)


def test_large_but_finite_numbers_go_on():
    learner = descent(lambda network, *_: network.weight.abs().sum() * 1e15, rate=1e-3)
    for step in range(5):
        learner.step(batch(step), step)
    assert finite(learner.state())
