"""Multi-branch and cascaded regression: what learns from which term, and what is left for predicting."""

import re
from dataclasses import replace

import pytest
import torch

from edgewise.catalog import discover
from edgewise.errors import ExperimentError
from edgewise.losses import Dice
from edgewise.losses.compound import Sum, Term
from edgewise.methods.regression import Cascaded, MultiBranch
from edgewise.methods.supervised import Supervised
from edgewise.networks import Network
from edgewise.networks.fcn import FCN
from edgewise.networks.residual_unet import ResidualUNet
from methods.cases import batch, learner, losses, setting, small, topology
from methods.counted import Counted

NETWORKS = discover(Network)
WITHOUT_DECODER = {"fcn", "resnet_fcn", "resnet_unet"}
"""Networks that are no `EncoderDecoder`."""
NOTHING = Sum(terms=(Term(loss=Dice(), weight=0.0),))
"""A segmentation loss that says nothing: what still moves is moved by the map term."""


def moved(method, loss, dims=2):
    """Names of the weights that one step changes."""
    learning = learner(method, setting(dims, loss=loss))
    before = {key: value.clone() for key, value in learning.state()["network"].items()}
    learning.step(batch(dims), 0)
    return {key for key, value in learning.state()["network"].items() if not torch.equal(value, before[key])}


def parts(names):
    """The first two places of dotted names."""
    return {".".join(name.split(".")[:2]) for name in names}


@pytest.mark.parametrize("dims", [2, 3])
def test_the_map_term_trains_the_encoder_and_the_second_decoder_alone(dims):
    names = moved(MultiBranch(), NOTHING, dims)
    assert {part.split(".")[0] for part in parts(names)} == {"segment", "second"}
    assert parts(name for name in names if name.startswith("segment.")) == {"segment.down"}
    assert {"second.up", "second.merge", "second.heads"} <= parts(names)


def test_the_segmentation_loss_trains_no_weight_of_the_second_decoder():
    whole, plain = moved(MultiBranch(alpha=1e-30), Dice()), moved(Supervised(), Dice())
    assert {name.removeprefix("segment.") for name in whole if name.startswith("segment.")} == plain


@pytest.mark.parametrize("method", [MultiBranch(), Cascaded()], ids=lambda method: method.kind)
@pytest.mark.parametrize("supervised", [1, 2])
def test_there_is_no_weight_that_nothing_trains(method, supervised):
    network = ResidualUNet(supervised=supervised)
    learning = learner(method, setting(network=network))
    learning.step(batch(), 0)
    state = learning.state()
    assert len(state["optimiser"][""]["state"]) == len(state["network"])


def test_the_branch_is_gone_when_predicting():
    chosen = setting()
    kept = learner(MultiBranch(), chosen).predictor.state_dict()
    plain = Supervised().predictor(chosen.network, chosen.topology).state_dict()
    assert {key: value.shape for key, value in kept.items()} == {key: value.shape for key, value in plain.items()}


def test_the_second_decoder_reads_the_features_that_the_first_one_reads():
    learning = learner(MultiBranch(), setting())
    assert not any(name.startswith("second.down") for name in learning.state()["network"])


def fitted(method, steps=200):
    """What a method regresses, and its logits, after many steps on one batch."""
    chosen = setting()
    wide = replace(chosen, topology=replace(chosen.topology, widths=(8, 16)))
    learning = learner(method, wide)
    losses(learning, [batch()] * steps)
    with torch.no_grad():
        logits, maps = learning._module.both(batch().image)
    right = method.map(batch().labels, classes=3, spacing=(1.0, 1.0), channels="all")[:, 1:]
    return logits[0], float((maps - right).abs().mean() / right.abs().mean())


@pytest.mark.parametrize("method", [MultiBranch(alpha=10.0), Cascaded(alpha=10.0)], ids=lambda method: method.kind)
def test_the_regressed_map_comes_close_to_the_truth_and_the_logits_to_the_labels(method):
    logits, error = fitted(method)
    assert error < 0.2
    assert (logits.argmax(1) == batch().labels).float().mean() > 0.99


def test_the_cascade_segments_from_its_map():
    learning = learner(Cascaded(features=1), setting())
    image = batch().image.requires_grad_()
    module = learning._module.eval()
    _, maps = module.both(image)
    maps.retain_grad()
    logits = module.last(torch.cat((maps, torch.zeros_like(maps[:, :1])), dim=1))
    logits.sum().backward()
    assert maps.grad.abs().sum() > 0
    with torch.no_grad():
        assert torch.equal(module(image), module.both(image)[0][0])


def test_the_map_term_reaches_every_weight_of_the_cascade_but_the_last_convolution():
    names = {name.split(".")[0] for name in moved(Cascaded(), NOTHING)}
    assert names == {"trunk"}


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_every_network_of_the_catalogue_is_trained_or_refused_by_name(network, dims):
    chosen = setting(dims, network=small(network()))
    assert losses(learner(Cascaded(), chosen), [batch(dims)])[0] > 0
    if network.kind in WITHOUT_DECODER:
        with pytest.raises(ExperimentError, match=f"and {network.kind} has none"):
            MultiBranch().require(chosen.network, chosen.topology)
    else:
        MultiBranch().require(chosen.network, chosen.topology)
        assert losses(learner(MultiBranch(), chosen), [batch(dims)])[0] > 0


def test_a_refusal_names_all_networks_that_work_and_draws_no_random_number():
    state = torch.get_rng_state()
    with pytest.raises(ExperimentError) as error:
        MultiBranch().require(FCN(), topology(2))
    assert torch.equal(torch.get_rng_state(), state)
    named = re.search(r"Choose (.*)\.", str(error.value))[1]
    assert set(re.split(", | or ", named)) == NETWORKS.keys() - WITHOUT_DECODER
    with pytest.raises(ExperimentError, match="fcn has none"):
        MultiBranch().learner(setting(network=FCN()), {})


@pytest.mark.parametrize("method", [MultiBranch, Cascaded])
def test_each_map_is_built_once_a_step(method):
    shared = Counted()
    learning = learner(method(map=shared), setting(loss=shared.loss()))
    with shared.counting() as count:
        learning.step(batch(), 0)
    assert count() == 1
