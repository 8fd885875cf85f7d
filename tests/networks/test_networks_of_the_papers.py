"""The networks of the papers: sizes as printed, and what each is known for."""

import pytest
import torch

from edgewise.networks import Topology
from edgewise.networks.encoder_decoder import Level
from edgewise.networks.lrnet import RANGES, LRNet
from edgewise.networks.mnet import MNet
from edgewise.networks.rdd import RDD, _DenseDilated
from edgewise.networks.vnet import VNet


def paper(widths, dims=3, classes=2):
    below = len(widths) - 1
    return Topology(
        channels=1,
        classes=classes,
        strides=((1,) * dims, *((2,) * dims,) * below),
        kernels=((3,) * dims,) * len(widths),
        widths=widths,
    )


def weights(module):
    return sum(each.numel() for each in module.parameters())


def test_m_net_has_the_papers_size():
    assert weights(MNet().build(paper((8, 16, 32, 64, 128)))) == pytest.approx(4.29e6, rel=0.01)


def test_lr_net_has_the_papers_size():
    assert weights(LRNet().build(2, 3, "relu")) == pytest.approx(15.7e3, rel=0.01)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("activation", "classes"), [("relu", 2), ("sigmoid", 3), ("tanh", 5)])
def test_lr_net_gives_a_map_a_foreground_class_within_the_activations_range(dims, activation, classes):
    torch.manual_seed(0)
    space = (9, 12, 7)[:dims]  # odd sides too
    probabilities = torch.randn(2, classes, *space).softmax(dim=1)
    maps = LRNet().build(classes, dims, activation)(probabilities).detach()
    low, high = RANGES[activation]
    assert maps.shape == (2, classes - 1, *space)
    assert float(maps.min()) >= low
    assert float(maps.max()) <= high


def test_the_v_net_has_the_papers_stages():
    module = VNet(norm="none").build(paper((16, 32, 64, 128, 256)))
    large = [m for m in module.modules() if isinstance(m, torch.nn.Conv3d) and m.kernel_size == (5, 5, 5)]
    assert len(large) == (1 + 2 + 3 + 3 + 3) + (3 + 3 + 2 + 1)
    assert {m.in_channels for m in large} == {16, 32, 64, 128, 256}


def test_the_v_net_keeps_thick_slices_apart():
    flat = Topology(
        channels=1, classes=2, strides=((1, 1, 1), (1, 2, 2)), kernels=((1, 3, 3), (1, 3, 3)), widths=(4, 8)
    )
    module = VNet(norm="none").build(flat).eval()
    image = torch.randn(1, 1, 4, 8, 8)
    changed = image.clone()
    changed[:, :, 3] += 1
    with torch.no_grad():
        assert torch.equal(module(image)[:, :, :3], module(changed)[:, :, :3])


def test_every_dilated_convolution_of_rdd_sees_all_before_it():
    level = Level(index=0, inputs=8, outputs=8, kernel=(3, 3), stride=(1, 1))
    block = _DenseDilated(level, (1, 2, 4, 8), growth=4)
    assert [layer[0].in_channels for layer in block.layers] == [8, 12, 16, 20]
    assert [layer[0].dilation for layer in block.layers] == [(1, 1), (2, 2), (4, 4), (8, 8)]


def test_rdd_adds_its_skips():
    module = RDD().build(paper((4, 8), dims=2))
    assert module.merge[0][0].body[0].in_channels == 4
