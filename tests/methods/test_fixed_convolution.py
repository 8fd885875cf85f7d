"""A frozen convolution that works in pairs computes what the plain one computes, and the same gradient of its input."""

from itertools import product

import pytest
import torch
from torch import nn

from edgewise.networks.fixed_convolution import PairedConvolution, in_pairs
from edgewise.networks.lrnet import LRNet, frozen
from methods.cases import CLASSES

LAYOUTS = {2: torch.channels_last, 3: torch.channels_last_3d}


def convolution(dims, inputs, outputs, *, bias=True, **change):
    torch.manual_seed(0)
    settings = {"kernel_size": 3, "padding": 1, "bias": bias} | change
    return (nn.Conv3d if dims == 3 else nn.Conv2d)(inputs, outputs, **settings).requires_grad_(requires_grad=False)


def result(module, x, dtype=torch.float32):
    """Its output after a ReLU in place, and the gradient of its input."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        out = torch.relu_(module(x))
    weight = torch.arange(out.numel(), dtype=torch.float32).reshape(out.shape).sin()
    return out, torch.autograd.grad((out.float() * weight).sum(), x)[0]


@pytest.mark.parametrize("last", [8, 7, 2, 1])
@pytest.mark.parametrize(("dims", "layout"), list(product([2, 3], ["contiguous", "channels_last"])))
@pytest.mark.parametrize(("inputs", "outputs"), [(3, 4), (4, 8), (1, 1)])
def test_it_computes_the_same(dims, layout, last, inputs, outputs):
    plain = convolution(dims, inputs, outputs, bias=inputs > 1)
    x = torch.randn(2, inputs, *(5, 6)[: dims - 1], last)
    x = x.contiguous(memory_format=LAYOUTS[dims]) if layout == "channels_last" else x
    for found, expected in zip(result(PairedConvolution(plain), x), result(plain, x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_the_gradient_is_right_in_double_precision():
    paired = PairedConvolution(convolution(2, 2, 3).double())
    x = torch.randn(2, 2, 4, 6, dtype=torch.float64).contiguous(memory_format=torch.channels_last).requires_grad_()
    assert torch.autograd.gradcheck(paired, x)


@pytest.mark.parametrize("dims", [2, 3])
def test_under_autocast_it_computes_in_bfloat16_and_gives_the_gradient_its_inputs_type(dims):
    plain = convolution(dims, 4, 4)
    x = torch.randn(2, 4, *(6,) * dims).contiguous(memory_format=LAYOUTS[dims])
    (out, gradient), (expected, wanted) = (
        result(module, x, torch.bfloat16) for module in (PairedConvolution(plain), plain)
    )
    assert (out.dtype, gradient.dtype) == (expected.dtype, wanted.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(out, expected, rtol=2e-2, atol=2e-2)
    torch.testing.assert_close(gradient, wanted, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("space", [(1, 4, 4), (2, 6, 8), (4, 4, 2), (3, 1, 1), (4, 4, 4)])
def test_on_tiny_grids_bfloat16_is_no_worse_than_its_rounding(space):
    plain = convolution(3, 8, 8)
    x = torch.randn(2, 8, *space).contiguous(memory_format=torch.channels_last_3d)
    (out, gradient), (expected, wanted) = result(PairedConvolution(plain), x, torch.bfloat16), result(plain, x)
    for found, right in ((out.float(), expected), (gradient, wanted)):  # the ReLU of a value near 0 may flip
        assert (found - right).norm() < 0.1 * right.norm()


@pytest.mark.parametrize(
    "change",
    [
        {"stride": 2},
        {"dilation": 2, "padding": 2},
        {"groups": 2},
        {"padding": 0},
        {"kernel_size": 1, "padding": 0},
        {"padding_mode": "reflect"},
        {"kernel_size": 5, "padding": 2},
    ],
)
def test_other_convolutions_are_left_alone(change):
    network = nn.Sequential(convolution(2, 2, 2, **change), nn.Sequential(convolution(2, 2, 2)))
    in_pairs(network)
    assert [type(network[0]), type(network[1][0])] == [nn.Conv2d, PairedConvolution]


@pytest.mark.parametrize("dims", [2, 3])
def test_a_whole_lrnet_computes_the_same(dims):
    torch.manual_seed(0)
    network = LRNet().build(CLASSES, dims, "tanh")
    plain, paired = frozen(network), in_pairs(frozen(network))
    assert sum(isinstance(module, PairedConvolution) for module in paired.modules()) == 10
    x = torch.rand(2, CLASSES, *(8,) * dims).contiguous(memory_format=LAYOUTS[dims])
    for each in (plain, paired):
        each.to(memory_format=LAYOUTS[dims])
    a, b = (each(x.requires_grad_()) for each in (plain, paired))
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    assert not list(paired.parameters()) or not any(weight.requires_grad for weight in paired.parameters())
