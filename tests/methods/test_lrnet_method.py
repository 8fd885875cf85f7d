"""LR-Net as a method: its two terms, what moves and what does not, and what is refused."""

import dataclasses
from pathlib import Path

import pytest
import torch

from edgewise.errors import ExperimentError
from edgewise.losses import LOSSES, Dice
from edgewise.maps import boundary, distance, inverse, normalized_inverse, signed_normalized_inverse
from edgewise.methods.lrnet import LRNet
from edgewise.methods.supervised import Supervised
from edgewise.networks.residual_unet import ResidualUNet
from edgewise.training.optimise import SGD, AdamW
from methods.cases import CLASSES, batch, laid, learner, losses, setting, topology
from methods.counted import Counted

FITTING = [
    (distance, "auto", "relu", 10.0),
    (inverse, "auto", "relu", 10.0),
    (normalized_inverse, "auto", "relu", 10.0),
    (normalized_inverse, "sigmoid", "sigmoid", 1000.0),
    (signed_normalized_inverse, "auto", "tanh", 10.0),
]


def regression(learning):
    return learning._module.regress


def slow_smooth_l1(predicted, field):
    """Mean over batch, foreground classes and voxels, term by term."""
    d = (predicted - field).abs()
    return torch.where(d < 1, d**2 / 2, d - 0.5).mean()


@pytest.mark.parametrize(("field", "activation", "last", "alpha"), FITTING)
@pytest.mark.parametrize("dims", [2, 3])
def test_the_loss_is_the_sum_of_both_terms(field, activation, last, alpha, dims):
    method, chosen, one = LRNet(map=field, activation=activation), setting(dims), batch(dims)
    assert (method.last, method.weight) == (last, alpha)
    learning = learner(method, chosen)
    with torch.no_grad():
        logits = learning._module.segment(one.image)[0]
        predicted = regression(learning)(logits.softmax(1))
    right = field(one.labels, classes=CLASSES, spacing=(1.0,) * dims, channels="all")[:, 1:]
    expected = Dice()(logits, one.labels) + alpha * slow_smooth_l1(predicted, right)
    assert losses(learning, [one])[0] == pytest.approx(float(expected), rel=1e-4)


def test_without_a_segmentation_loss_only_the_map_term_is_left():
    one, learning = batch(), learner(LRNet(segmentation="none", alpha=2.0), setting())
    with torch.no_grad():
        predicted = regression(learning)(learning._module.segment(one.image)[0].softmax(1))
    right = normalized_inverse(one.labels, classes=CLASSES, spacing=(1.0, 1.0), channels="all")[:, 1:]
    assert losses(learning, [one])[0] == pytest.approx(2 * float(slow_smooth_l1(predicted, right)), rel=1e-4)


@pytest.mark.parametrize("kind", LOSSES)
def test_every_loss_of_the_catalogue_can_stand_beside_the_map_term(kind):
    values = losses(learner(LRNet(), setting(loss=LOSSES[kind]())), [batch()] * 2)
    assert all(torch.tensor(values).isfinite())


def test_the_map_term_reaches_every_weight_of_the_segmentation_network():
    learning = learner(LRNet(segmentation="none"), setting())
    before = {key: value.clone() for key, value in learning.predictor.state_dict().items()}
    losses(learning, [batch()] * 2)
    assert all(not torch.equal(value, before[key]) for key, value in learning.predictor.state_dict().items())


@pytest.mark.parametrize("optimiser", [AdamW(weight_decay=0.5), SGD(weight_decay=0.5)], ids=lambda each: each.kind)
def test_a_frozen_network_does_not_move_by_a_bit(optimiser):
    learning = learner(LRNet(), setting(optimiser=optimiser))
    before = {key: value.clone() for key, value in regression(learning).state_dict().items()}
    losses(learning, [batch(seed=seed) for seed in range(4)])
    after = regression(learning).state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert all(weight.grad is None for weight in regression(learning).parameters())
    trained = sum(len(group["params"]) for group in learning.state()["optimiser"][""]["param_groups"])
    assert trained == len(list(learning._module.segment.parameters()))


@pytest.mark.parametrize("dims", [2, 3])
def test_a_frozen_network_computes_what_the_groundwork_validated_also_after_a_resume(dims):
    chosen = setting(dims)
    torch.manual_seed(0)
    (work,) = LRNet().groundwork(chosen)
    losses(work.learner, [batch(dims)] * 5)
    validated = work.learner.predictor
    learning = LRNet().learner(chosen, {"lrnet": validated.state_dict()})
    again = learner(LRNet(), chosen, seed=1)
    again.restore(learning.state())
    losses(again, [batch(dims)])
    p = torch.rand(2, CLASSES, *(8,) * dims).softmax(1)
    with torch.no_grad():
        for each in (learning, again):
            torch.testing.assert_close(regression(each)(p), validated(p), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weights", ["trained", "from_scratch"])
def test_a_network_that_is_not_frozen_learns_with_the_other(weights):
    learning = learner(LRNet(weights=weights), setting())
    before = [weight.detach().clone() for weight in regression(learning).parameters()]
    losses(learning, [batch()] * 2)
    assert all(not torch.equal(a, b) for a, b in zip(regression(learning).parameters(), before, strict=True))


def test_trained_starts_from_the_groundwork_and_from_scratch_has_none():
    chosen = setting()
    torch.manual_seed(0)
    weights = laid(LRNet(), chosen)["lrnet"]
    torch.manual_seed(5)
    started = LRNet(weights="trained").learner(chosen, {"lrnet": weights})
    assert all(torch.equal(regression(started).state_dict()[key], value) for key, value in weights.items())
    assert LRNet(weights="from_scratch").groundwork(chosen) == ()
    assert regression(LRNet(weights="from_scratch").learner(chosen, {}))


def test_the_groundwork_learns_the_map_of_the_masks():
    chosen = setting(3)
    torch.manual_seed(0)
    (work,) = LRNet().groundwork(chosen)
    values = losses(work.learner, [batch(3)] * 150)
    assert values[-1] < 0.5 * values[0]
    one_hot = torch.nn.functional.one_hot(batch(3).labels, CLASSES).movedim(-1, 1).float()
    with torch.inference_mode():
        assert work.learner.predictor(one_hot).shape == (2, CLASSES - 1, *one_hot.shape[2:])


def test_the_predictor_is_the_plain_network():
    chosen = setting()
    kept = learner(LRNet(), chosen).predictor
    plain = Supervised().predictor(chosen.network, chosen.topology)
    assert {key: value.shape for key, value in kept.state_dict().items()} == {
        key: value.shape for key, value in plain.state_dict().items()
    }
    assert [type(module) for module in kept.modules()] == [type(module) for module in plain.modules()]


@pytest.mark.parametrize("supervised", [1, 2])
def test_each_map_is_built_once_a_step_and_only_the_losses_again_for_coarse_outputs(supervised):
    of_the_term, of_the_loss = Counted(name="term"), Counted(name="loss")
    chosen = setting(loss=of_the_loss.loss(), network=ResidualUNet(supervised=supervised))
    if supervised == 2:
        deeper = dataclasses.replace(topology(2), strides=((1, 1), (2, 2), (2, 2)), kernels=((3, 3),) * 3)
        chosen = dataclasses.replace(chosen, topology=dataclasses.replace(deeper, widths=(4, 8, 8)))
    learning = learner(LRNet(map=of_the_term), chosen)
    with of_the_term.counting() as term:
        learning.step(batch(), 0)
        assert (term(), of_the_loss.built()) == (1, supervised)
    shared = learner(LRNet(map=of_the_loss), chosen)
    with of_the_loss.counting() as count:
        shared.step(batch(), 0)
        assert count() == supervised


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"map": signed_normalized_inverse, "activation": "relu"}, "Choose tanh"),
        ({"map": inverse, "activation": "sigmoid"}, "Choose relu"),
        ({"weights": "from_scratch", "file": Path("x.pt")}, "from_scratch"),
        ({"map": boundary}, "choose another map"),
    ],
)  # fmt: skip
def test_settings_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(ExperimentError, match=message):
        LRNet(**settings)
