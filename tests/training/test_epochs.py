"""A loss that changes over the epochs is followed step by step while training."""

import dataclasses

import pytest
import torch

from edgewise.losses import CrossEntropy, Dice, Sum, Term, gradual
from edgewise.losses.schedules import Linear
from edgewise.methods.supervised import Supervised
from edgewise.training.optimise import SGD, Poly
from training.test_resume import batch, setting


def values(loss, steps):
    torch.manual_seed(0)
    frozen = dataclasses.replace(setting(SGD(rate=1e-30), Poly()), loss=loss, epoch=4)
    frozen = dataclasses.replace(frozen, network=dataclasses.replace(frozen.network, dropout=0.0))
    learner = Supervised().learner(frozen, {})
    return [learner.step(batch(0), step) for step in range(steps)]


def test_the_weights_of_a_step_are_those_of_its_epoch():
    dice, entropy = values(Dice(), 1)[0], values(CrossEntropy(), 1)[0]
    losses = values(gradual(Dice(), CrossEntropy(), epochs=2.0, floor=0.01), 12)
    for step, loss in enumerate(losses):
        alpha = max(1 - step / 4 / 2, 0.01)
        assert loss == pytest.approx(alpha * dice + (1 - alpha) * entropy, rel=1e-4)


def test_a_term_that_has_not_begun_costs_nothing():
    late = Sum(terms=(Term(loss=Dice()), Term(loss=CrossEntropy(), weight=Linear(start=0.0, end=1.0, epochs=1.0))))
    first, *_, last = values(late, 5)
    assert first == pytest.approx(values(Dice(), 1)[0])
    assert last > first
