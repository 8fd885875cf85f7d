"""LR-Net itself: what freezing keeps, and what its output may learn from."""

import pytest
import torch
from torch import nn

from edgewise.networks.lrnet import LRNet, frozen

DIMS = pytest.mark.parametrize("dims", [2, 3], ids=["2d", "3d"])


def probabilities(dims, seed=0):
    drawn = torch.rand(3, 3, *(9, 12, 10)[:dims], generator=torch.Generator().manual_seed(seed))
    return drawn / drawn.sum(dim=1, keepdim=True)


def used(dims, activation):
    """A network whose batch statistics and normalisation weights are no longer those of the beginning."""
    torch.manual_seed(1)
    network = LRNet().build(3, dims, activation).train()
    for seed in range(3):
        network(probabilities(dims, seed))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.normal_(module.weight, 1.0, 0.3)
            nn.init.normal_(module.bias, 0.0, 0.3)
    return network.eval()


@DIMS
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_a_frozen_copy_computes_the_same_without_normalisations(dims, activation):
    network = used(dims, activation)
    copy = frozen(network)
    assert not any(isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d) for module in copy.modules())
    assert not any(parameter.requires_grad for parameter in copy.parameters())
    image = probabilities(dims, 7)
    torch.testing.assert_close(copy(image), network(image), atol=1e-5, rtol=1e-5)


@DIMS
def test_freezing_leaves_the_original_as_it_was(dims):
    network = used(dims, "relu")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    frozen(network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())


@DIMS
def test_the_map_of_an_image_does_not_depend_on_its_neighbours_in_the_batch(dims):
    network, batch = used(dims, "relu"), probabilities(dims, 7)
    torch.testing.assert_close(network(batch)[:1], network(batch[:1]), atol=1e-6, rtol=1e-5)


@DIMS
def test_an_output_that_is_0_everywhere_learns_where_it_should_be_more_and_only_there(dims):
    network = used(dims, "relu").train()
    nn.init.constant_(network.out.bias, -100.0)
    image = probabilities(dims, 7)
    values = network(image)
    assert not values.any()
    values.retain_grad()
    (0.5 * (values - 1).square()).sum().backward()
    assert (network.out.bias.grad < 0).all()  # a step of descent raises it
    network.zero_grad()
    network(image).square().sum().backward()  # 0 is right: nothing to learn
    assert not network.out.bias.grad.any()


def test_the_rectified_values_are_those_of_relu():
    network = used(3, "relu")
    image = probabilities(3, 7)
    with torch.no_grad():
        learning = nn.Sequential(network).train()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.eval()  # the same statistics in both modes
        values = learning(image)
        assert torch.equal(values, network.eval()(image))
        assert values.min() >= 0
