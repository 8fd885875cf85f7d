"""Our layers compute what torch's do; where torch's are wrong, what they should."""

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgewise.networks.layers import Convolution3d, InstanceNorm, PointConvolution2d, replace_layers

FORMATS = (torch.contiguous_format, torch.channels_last_3d)


def gradients(module, x, target):
    """Output and gradients of a weighted sum of the output, in float64."""
    x = x.detach().requires_grad_()
    result = module(x)
    result.backward(target.to(result.dtype))
    return [each.double() for each in (result.detach(), x.grad, *(p.grad for p in module.parameters()))]


def poison():
    """Leave NaN in memory that is free: what is computed from memory that nobody wrote is then NaN."""
    _ = [torch.full((size,), float("nan"), dtype=torch.bfloat16) for size in (500, 2000, 8000) * 6]


@pytest.mark.parametrize("arrangement", FORMATS, ids=["contiguous", "channels last"])
@pytest.mark.parametrize(("kernel", "depths"), [((3, 3, 3), (1, 2, 3)), ((5, 5, 5), (1, 2, 4, 5)), ((1, 5, 5), (3,))])
def test_a_convolution_in_bfloat16_has_the_gradient_of_an_exact_one_on_grids_of_any_size(kernel, depths, arrangement):
    for depth, side, stride, inputs in product(depths, (1, 4), (1, 2), (1, 16)):
        torch.manual_seed(0)
        padding = tuple(size // 2 for size in kernel)
        plain = nn.Conv3d(inputs, 8, kernel, stride=stride, padding=padding)
        plain.weight.data = plain.weight.data.bfloat16().float()
        x = torch.randn(2, inputs, depth, side, 6).bfloat16().float()
        with torch.no_grad():
            target = torch.randn_like(plain(x)).bfloat16().float()
        ours = Convolution3d(plain).to(memory_format=arrangement)
        poison()
        with torch.autocast("cpu", torch.bfloat16):
            found = gradients(ours, x.contiguous(memory_format=arrangement), target)
        # The same weights, in float64, which never passes through oneDNN.
        reference = nn.Conv3d(inputs, 8, kernel, stride=stride, padding=padding).double()
        reference.load_state_dict(plain.state_dict())
        exact = gradients(reference, x.double(), target)
        for a, b in zip(found, exact, strict=True):
            assert (a - b).norm() <= 0.02 * b.norm()


def test_a_convolution_gives_the_precision_that_torch_gives():
    plain = nn.Conv3d(2, 3, 3, padding=1)
    ours, x = Convolution3d(plain), torch.randn(1, 2, 2, 4, 4)
    assert torch.equal(ours(x), plain(x))
    with torch.autocast("cpu", torch.bfloat16):
        assert ours(x).dtype == torch.bfloat16
    assert torch.equal(ours.double()(x.double()), plain.double()(x.double()))
    assert ours.bfloat16()(x.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("arrangement", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "last"])
@pytest.mark.parametrize("bias", [False, True])
def test_a_convolution_of_single_pixels_has_exact_gradients_under_a_stride(bias, arrangement, precision):
    """On a processor with AVX2 torch's own ends the process, for some numbers of channels."""
    for inputs, stride, space in product(
        (1, 2, 3, 4, 7, 16), ((2, 2), (1, 2), (3, 2)), ((8, 8), (5, 4), (2, 2), (8, 1), (1, 8), (1, 1))
    ):
        torch.manual_seed(0)
        plain = nn.Conv2d(inputs, 8, 1, stride=stride, bias=bias)
        plain.weight.data = plain.weight.data.bfloat16().float()
        ours = PointConvolution2d(plain).to(memory_format=arrangement)
        exact = nn.Conv2d(inputs, 8, 1, stride=stride, bias=bias).double()
        exact.load_state_dict(ours.state_dict())
        x = torch.randn(2, inputs, *space).bfloat16().float()
        with torch.no_grad():
            target = torch.randn_like(exact(x.double())).bfloat16().float()
        poison()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            found = gradients(ours, x.contiguous(memory_format=arrangement), target)
        for a, b in zip(found, gradients(exact, x.double(), target), strict=True):
            assert (a - b).norm() <= (1e-5 if precision == torch.float32 else 0.02) * b.norm()


@settings(max_examples=40)
@given(
    batch=st.integers(1, 3),
    space=st.sampled_from([(5, 4), (2, 3, 4), (1, 1, 2)]),
    affine=st.booleans(),
    last=st.booleans(),
    seed=st.integers(0, 9),
)
def test_instance_norm_is_torchs(batch, space, affine, last, seed):
    torch.manual_seed(seed)
    theirs = (nn.InstanceNorm3d if len(space) == 3 else nn.InstanceNorm2d)(4, affine=affine).double()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter)
    ours = InstanceNorm(theirs)
    x = torch.randn(batch, 4, *space).double()
    arrangement = torch.channels_last_3d if len(space) == 3 else torch.channels_last
    arranged = x.contiguous(memory_format=arrangement) if last else x
    target = torch.randn_like(x)
    expected = gradients(theirs, x, target)
    theirs.zero_grad(set_to_none=True)
    for a, b in zip(gradients(ours, arranged, target), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)
    assert ours(arranged).is_contiguous(memory_format=arrangement) or not last


def test_layers_are_replaced_wherever_they_are_and_keep_weights_and_names():
    network = nn.Sequential(
        nn.Conv3d(1, 2, 3),
        nn.ModuleDict({"a": nn.InstanceNorm3d(2, affine=True), "b": nn.Conv3d(2, 2, 1)}),
        nn.Conv2d(2, 3, 1, stride=2),
    )
    before = {name: value.clone() for name, value in network.state_dict().items()}
    replace_layers(network)
    after = network.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [type(m) for m in (network[0], network[1]["a"], network[1]["b"], network[2])] == [
        Convolution3d,
        InstanceNorm,
        nn.Conv3d,
        PointConvolution2d,
    ]


def test_an_exported_norm_takes_any_number_of_images():
    ours = InstanceNorm(nn.InstanceNorm3d(2)).eval()
    dynamic = ({0: torch.export.Dim("batch")},)
    exported = torch.export.export(ours, (torch.randn(2, 2, 3, 4, 4),), dynamic_shapes=dynamic).module()
    x = torch.randn(5, 2, 3, 4, 4)
    torch.testing.assert_close(exported(x), ours(x))
