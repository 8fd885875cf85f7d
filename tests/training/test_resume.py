"""Training four steps equals training two, stopping, and training two more, to the last bit."""

import numpy as np
import pytest
import torch

from edgewise.data.batches import Batch
from edgewise.losses.compound import Sum
from edgewise.methods.supervised import Supervised
from edgewise.networks.base import Topology
from edgewise.networks.residual_unet import ResidualUNet
from edgewise.training import checkpoint
from edgewise.training.arithmetic import Arithmetic
from edgewise.training.learner import Setting
from edgewise.training.optimise import SGD, Adam, AdamW, Plateau, Poly, Step

CPU = torch.device("cpu")


def setting(optimiser, schedule):
    topology = Topology(channels=1, classes=2, strides=((1, 1), (2, 2)), kernels=((3, 3), (3, 3)), widths=(4, 8))
    return Setting(
        network=ResidualUNet(dropout=0.2),
        topology=topology,
        loss=Sum(),
        spacing=(1.0, 1.0),
        optimiser=optimiser,
        schedule=schedule,
        seed=0,
        steps=4,
        epoch=2,
        clip=12.0,
        average=0.9,
        arithmetic=Arithmetic(threads=1),
        device=CPU,
    )


def batch(step):
    rng = np.random.default_rng(step)
    image = torch.from_numpy(rng.standard_normal((2, 1, 8, 8), np.float32))
    return Batch(image=image, labels=(image[:, 0] > 0).long(), cases=("a", "b"))


def same(first, second):
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


@pytest.mark.parametrize("schedule", [Poly(warm_up=1), Step(every=1), Plateau(patience=0)], ids=lambda s: s.kind)
@pytest.mark.parametrize("optimiser", [AdamW(), Adam(), SGD()], ids=lambda o: o.kind)
def test_a_resumed_training_is_equal_to_the_last_bit(optimiser, schedule, tmp_path):
    def fresh():
        checkpoint.seed_everything(7)
        return Supervised().learner(setting(optimiser, schedule), {})

    def steps(learner, numbers):
        for n in numbers:
            learner.step(batch(n), n)
            learner.observe(-float(n))

    whole = fresh()
    steps(whole, range(4))

    half = fresh()
    steps(half, range(2))
    file = tmp_path / "last.pt"
    checkpoint.save(file, {"learner": half.state(), "random": checkpoint.random_state()})
    del half

    resumed = fresh()
    torch.rand(5)  # whatever happened in between must not matter
    content = checkpoint.load(file, CPU)
    resumed.restore(content["learner"])
    checkpoint.restore_random_state(content["random"])
    steps(resumed, range(2, 4))
    assert same(whole.state(), resumed.state())


def test_random_states_come_back():
    import random

    checkpoint.seed_everything(1)
    random.gauss(0, 1)  # leaves a cached second value
    np.random.standard_normal()  # noqa: NPY002
    state = checkpoint.random_state()
    drawn = random.gauss(0, 1), random.random(), np.random.random(), float(torch.rand(()))  # noqa: NPY002
    checkpoint.restore_random_state(state)
    again = random.gauss(0, 1), random.random(), np.random.random(), float(torch.rand(()))  # noqa: NPY002
    assert drawn == again
