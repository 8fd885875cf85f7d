"""What holds for every method, whoever wrote it. A new file in methods/ is tested here without an edit."""

import math
import re

import pytest
import torch

from edgewise.catalog import discover
from edgewise.losses import MapDice, Sum
from edgewise.methods import Method
from edgewise.networks.residual_unet import ResidualUNet
from methods.cases import CLASSES, SIDE, batch, copied, laid, learner, losses, same, setting, small

METHODS = discover(Method)


@pytest.fixture(params=METHODS.values(), ids=METHODS)
def method(request):
    return small(request.param())


@pytest.fixture(params=[2, 3], ids=["2d", "3d"])
def dims(request):
    return request.param


@pytest.fixture(params=[Sum(), MapDice()], ids=["without maps", "with maps"])
def chosen(request, dims):
    return setting(dims, loss=request.param)


class TestEveryMethod:
    def test_steps_are_finite_and_lower_the_loss_of_a_repeated_batch(self, method, chosen, dims):
        values = losses(learner(method, chosen), [batch(dims)] * 20)
        assert all(map(math.isfinite, values))
        assert min(values[-3:]) < 0.9 * values[0]

    def test_goes_on_from_a_saved_state_to_the_same_bits(self, method, chosen, dims):
        whole = learner(method, chosen)
        losses(whole, [batch(dims, seed) for seed in range(2)])
        whole.observe(0.5)
        saved = copied(whole.state())
        resumed = learner(method, chosen, seed=1)
        resumed.restore(saved)
        later = [batch(dims, seed) for seed in (2, 3)]
        assert losses(whole, later, start=2) == losses(resumed, later, start=2)
        assert same(whole.state(), resumed.state())
        assert not same(whole.state(), saved)

    def test_predicts_logits_of_the_images_size_in_evaluation_mode(self, method, chosen, dims):
        learning = learner(method, chosen)
        losses(learning, [batch(dims)])
        network = learning.predictor
        assert not any(module.training for module in network.modules())
        assert not any(parameter.requires_grad for parameter in network.parameters())
        with torch.inference_mode():
            assert network(batch(dims).image).shape == (2, CLASSES, *(SIDE,) * dims)

    def test_its_predictor_can_be_built_anew_from_the_saved_weights(self, method, chosen, dims):
        learning = learner(method, chosen)
        losses(learning, [batch(dims)] * 2)
        fresh = method.predictor(chosen.network, chosen.topology)
        anew = chosen.arithmetic.placed(fresh, chosen.device, dims)
        anew.load_state_dict(copied(learning.predictor.state_dict()))
        image = batch(dims).image
        with torch.inference_mode():
            assert torch.equal(anew.eval()(image), learning.predictor(image))

    def test_its_predictor_shares_no_memory_with_what_is_trained(self, method, chosen, dims):
        learning = learner(method, chosen)
        losses(learning, [batch(dims)])
        kept, trained = learning.predictor.state_dict(), learning.state()["network"]
        assert not {each.data_ptr() for each in kept.values()} & {each.data_ptr() for each in trained.values()}

    def test_predicts_with_the_last_weights_where_nothing_is_averaged(self, method, dims):
        learning = learner(method, setting(dims, average=0.0))
        losses(learning, [batch(dims)] * 2)
        trained = list(learning.state()["network"].values())
        for weight in learning.predictor.state_dict().values():
            assert any(weight.shape == each.shape and torch.equal(weight, each) for each in trained)

    def test_trains_the_coarse_outputs_of_a_network_that_has_them(self, method, dims):
        chosen = setting(dims, loss=MapDice(), network=ResidualUNet(supervised=2))
        values = losses(learner(method, chosen), [batch(dims)] * 10)
        assert min(values[-3:]) < values[0]

    def test_equal_seeds_give_equal_weights(self, method, chosen):
        first, second = learner(method, chosen).state(), learner(method, chosen).state()
        assert same(first, second)

    def test_takes_the_networks_it_says_it_takes(self, method, chosen):
        method.require(chosen.network, chosen.topology)
        assert set(laid(method, chosen)) == {work.name for work in method.groundwork(chosen)}


def test_says_what_it_is(method):
    assert re.search(r"doi:10\.\d{4,}/\S+|arXiv:\d{4}\.\d{4,}", method.source)
    assert METHODS[method.kind] is type(method)
