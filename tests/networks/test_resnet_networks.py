"""The two segmentation networks and the localiser on a ResNet: any size, and every grid where the image is."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.networks.lnet import LNet
from edgewise.networks.resnet import Encoder
from edgewise.networks.resnet_fcn import ResNetFCN
from edgewise.networks.resnet_unet import ResNetUNet
from networks.contract import built, image, topology

NARROW = Encoder(width=1 / 8)
NETWORKS = [ResNetUNet(encoder=NARROW, features=32), *(ResNetFCN(encoder=NARROW, scored=n) for n in (1, 3, 5))]


@settings(max_examples=40, deadline=None)
@given(
    network=st.sampled_from(NETWORKS),
    space=st.one_of(st.tuples(*[st.integers(1, 70)] * 2), st.tuples(*[st.integers(1, 36)] * 3)),
    training=st.booleans(),
)
def test_an_image_of_any_size_has_logits_of_its_size(network, space, training):
    module = built(network, topology(len(space))).train(training)
    with torch.no_grad():
        logits = module(image(2, 2, *space))
    assert logits.shape == (2, 3, *space)
    assert logits.isfinite().all()


def answers(name, dims):
    """(module, pixels to a voxel of its output) with one image channel."""
    torch.manual_seed(0)
    if name in {"unet", "fcn"}:
        module = LNet(encoder=NARROW, decoder=name, features=8, kernel=5).build(1, 1, dims)
        return torch.nn.Sequential(module, Joined()), 4
    network = NETWORKS[0] if name == "resnet_unet" else NETWORKS[2]
    return built(network, topology(dims, channels=1)), 1


class Joined(torch.nn.Module):
    """Both outputs of L-Net as channels of one."""

    def forward(self, outputs):
        heat, distances = outputs
        return torch.cat((heat, distances.flatten(1, 2)), dim=1)


@pytest.mark.parametrize(("dims", "axis"), [(2, 0), (2, 1), (3, 0), (3, 1), (3, 2)])
@pytest.mark.parametrize("name", ["unet", "fcn", "resnet_unet", "resnet_fcn"])
def test_a_bright_block_that_moves_by_the_deepest_stride_takes_its_answer_with_it(name, dims, axis):
    """A grid that is turned over, or out of step with the others, would leave a part of the answer behind."""
    module, stride = answers(name, dims)
    module.eval()
    space = [256 if n == axis else 16 for n in range(dims)]
    nothing, first, second = torch.zeros(3, 1, 1, *space)
    first.narrow(axis + 2, 96, 12).fill_(3.0)
    second.narrow(axis + 2, 128, 12).fill_(3.0)
    with torch.no_grad():
        empty, a, b = (module(x) for x in (nothing, first, second))
    found = (b - empty).narrow(axis + 2, 112 // stride, 44 // stride)
    expected = (a - empty).narrow(axis + 2, 80 // stride, 44 // stride)
    assert expected.abs().max() > 1e-3
    # Zeros beyond the border are not the features of an empty image, but they are far away.
    assert (found - expected).norm() < 0.05 * expected.norm()
