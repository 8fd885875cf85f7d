"""L-Net: where its two outputs lie, what they start from, and that every weight learns."""

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.errors import ExperimentError
from edgewise.networks.lnet import LNet
from edgewise.networks.resnet import Encoder
from edgewise.networks.resnet_unet import ResNetUNet
from networks.contract import image, topology

DIMS = pytest.mark.parametrize("dims", [2, 3], ids=["2d", "3d"])
KINDS = [
    {"decoder": d, "encoder": Encoder(width=1 / 8, norm=n)} for d, n in product(("unet", "fcn"), ("batch", "instance"))
]
EACH = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind['decoder']}-{kind['encoder'].norm}")


def built(kind, dims, seed=0, channels=1, objects=1):
    torch.manual_seed(seed)
    return LNet(features=8, kernel=5, **kind).build(channels, objects, dims)


def cells(space):
    return tuple(-(-side // 4) for side in space)


@EACH
def test_every_side_in_2d_has_a_quarter_as_many_cells_rounded_up(kind):
    module = built(kind, 2)
    for side in range(1, 71):
        for space in ((side, 33), (6, side)):
            with torch.no_grad():
                heat, distances = module(image(1, 1, *space))
            assert heat.shape == (1, 1, *cells(space))
            assert distances.shape == (1, 1, 4, *cells(space))


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    space=st.tuples(*[st.integers(1, 70)] * 3).filter(lambda space: space[0] * space[1] * space[2] < 40_000),
    batch=st.integers(1, 2),
    channels=st.integers(1, 3),
    objects=st.integers(1, 3),
    training=st.booleans(),
)
def test_every_side_in_3d_has_a_quarter_as_many_cells_rounded_up(kind, space, batch, channels, objects, training):
    module = built(kind, 3, channels=channels, objects=objects).train(training)
    with torch.no_grad():
        heat, distances = module(image(batch, channels, *space))
    assert heat.shape == (batch, objects, *cells(space))
    assert distances.shape == (batch, objects, 6, *cells(space))
    assert heat.isfinite().all()
    assert distances.isfinite().all()
    assert (distances >= 0).all()


@DIMS
@EACH
def test_an_untrained_network_is_cold_everywhere_and_gives_boxes_of_plausible_size(kind, dims):
    heat, distances = built(kind, dims, objects=2)(image(2, 1, *(64, 40, 48)[:dims]))
    assert 0.01 < heat.sigmoid().min() <= heat.sigmoid().max() < 0.1
    assert distances.min() > 10
    assert distances.max() < 40


@DIMS
@EACH
def test_every_weight_gets_a_gradient(kind, dims):
    module = built(kind, dims).double().train()
    heat, distances = module(image(2, 1, *(96, 64, 64)[:dims]).double())
    (heat * image(*heat.shape)).sum().add((distances * image(*distances.shape)).sum()).backward()
    dead = [name for name, p in module.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-9]
    assert not dead


@EACH
def test_either_output_learns_by_itself(kind):
    module = built(kind, 2)
    heat, distances = module(image(2, 1, 64, 64))
    heat.sum().backward(retain_graph=True)
    assert all(p.grad is None for p in module.box.parameters())
    distances.sum().backward()
    assert all(p.grad is not None for p in module.parameters())


@DIMS
@EACH
def test_equal_seeds_give_equal_weights_and_others_others(kind, dims):
    first, second, other = (built(kind, dims, seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@DIMS
@EACH
def test_saved_weights_give_the_same_outputs(kind, dims):
    first, second = (built(kind, dims, seed) for seed in (0, 1))
    x = image(2, 1, *(40, 33, 20)[:dims])
    first.train()(x)  # batch statistics, too, are no longer those of the beginning
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        for a, b in zip(first.eval()(x), second.eval()(x), strict=True):
            assert torch.equal(a, b)


@DIMS
@EACH
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_one_voxel_is_an_image(kind, dims, training):
    for space in ((1,) * dims, (1, *(16,) * (dims - 1))):
        module = built(kind, dims).train(training)
        heat, distances = module(image(1, 1, *space))
        (heat.sum() + distances.sum()).backward()
        assert all(p.grad.isfinite().all() for p in module.parameters())


@DIMS
@EACH
def test_half_precision_stays_finite_and_near_single_precision(kind, dims):
    module, x = built(kind, dims).eval(), image(1, 1, *(64, 48, 32)[:dims])
    with torch.no_grad():
        heat, distances = module(x)
        for precision in (torch.bfloat16, torch.float16):
            with torch.autocast("cpu", precision):
                coarse, rounded = module(x)
            torch.testing.assert_close(coarse.float(), heat, atol=0.05, rtol=0.02)
            torch.testing.assert_close(rounded.float(), distances, atol=0.5, rtol=0.02)
            assert rounded.dtype == torch.float32  # boxes of hundreds of pixels need its digits


def test_a_bright_square_is_found_after_a_few_steps():
    """Heat learns where the square is, and the distances there how far its sides are."""
    module = built(KINDS[0], 2)
    optimiser = torch.optim.Adam(module.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(0)

    def drawn():
        x, target, centres = torch.zeros(8, 1, 64, 64), torch.zeros(8, 1, 16, 16), []
        for n in range(8):
            i, j = torch.randint(2, 14, (2,), generator=generator).tolist()
            x[n, 0, 4 * i - 6 : 4 * i + 10, 4 * j - 6 : 4 * j + 10] = 1
            target[n, 0, i, j] = 1
            centres.append((i, j))
        return x, target, centres

    for _ in range(120):
        x, target, centres = drawn()
        heat, distances = module(x)
        there = torch.stack([distances[n, 0, :, i, j] for n, (i, j) in enumerate(centres)])
        heated = torch.nn.functional.binary_cross_entropy_with_logits(heat, target, pos_weight=torch.tensor(50.0))
        loss = heated + 0.1 * (there - 8).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    x, target, centres = drawn()
    with torch.no_grad():
        heat, distances = module(x)
    hottest = [divmod(int(each.argmax()), 16) for each in heat[:, 0]]
    away = [max(abs(a - c), abs(b - d)) for (a, b), (c, d) in zip(hottest, centres, strict=True)]
    assert sorted(away)[4] <= 1
    there = torch.stack([distances[n, 0, :, i, j] for n, (i, j) in enumerate(centres)])
    assert (there - 8).abs().mean() < 4  # 14 at the start


def test_an_even_kernel_is_refused():
    with pytest.raises(ExperimentError, match="12 is even"):
        LNet(kernel=12)


def test_the_sizes_are_near_those_of_the_paper():
    """Table 3 of Xie et al.: 14.50 million weights with an L-Net first, 14.33 million with a U-Net, for RGB images."""

    def millions(module):
        return sum(p.numel() for p in module.parameters()) / 1e6

    with torch.device("meta"):
        assert millions(LNet().build(3, 1, 2)) == pytest.approx(14.50, abs=0.08)
        rgb = topology(2, channels=3, classes=1)
        assert millions(ResNetUNet(encoder=Encoder()).build(rgb)) == pytest.approx(14.33, abs=0.005)
