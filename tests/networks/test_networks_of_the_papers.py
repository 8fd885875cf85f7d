"""The networks of the papers: sizes as printed, and what each is known for."""

import pytest
import torch
from monai.networks.blocks.convolutions import Convolution
from monai.networks.nets.attentionunet import AttentionUnet, ConvBlock, UpConv
from monai.networks.nets.vnet import DownTransition, InputTransition, UpTransition
from torch import nn

from edgewise.networks import Topology
from edgewise.networks.attention_unet import _Gate
from edgewise.networks.encoder_decoder import EncoderDecoder, Level, Parts
from edgewise.networks.layers import Convolution3d
from edgewise.networks.lrnet import RANGES, LRNet
from edgewise.networks.mnet import MNet, ResidualBlock
from edgewise.networks.rdd import RDD, _DenseDilated
from edgewise.networks.residual_unet import ResidualUNet
from edgewise.networks.unet import UNet
from edgewise.networks.vnet import VNet


def paper(widths, dims=3, classes=2, channels=1):
    below = len(widths) - 1
    return Topology(
        channels=channels,
        classes=classes,
        strides=((1,) * dims, *((2,) * dims,) * below),
        kernels=((3,) * dims,) * len(widths),
        widths=widths,
    )


def weights(module):
    return sum(each.numel() for each in module.parameters())


def test_m_net_has_the_papers_size():
    assert weights(MNet().build(paper((8, 16, 32, 64, 128)))) == pytest.approx(4.29e6, rel=0.01)


def test_m_net_has_the_papers_blocks():
    module = MNet().build(paper((8, 16, 32, 64, 128)))
    first, *below = module.down
    assert not any(isinstance(m, ResidualBlock) for m in first.modules())
    assert [len(level[1]) for level in below] == [2, 2, 3, 3]
    assert [len(level) for level in module.merge] == [3, 3, 2, 2]  # the deepest first
    assert [level[0].body[0].weight.shape[0] for level in module.merge] == [64, 32, 16, 8]
    blocks = [m for m in module.modules() if isinstance(m, ResidualBlock)]
    assert all(
        isinstance(b.shortcut, nn.Identity) == (b.body[0].weight.shape[1] == b.body[0].weight.shape[0]) for b in blocks
    )
    assert sum(isinstance(m, nn.MaxPool3d) for m in module.modules()) == 4


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
    large = [m for m in module.modules() if isinstance(m, Convolution3d) and m.kernel_size == (5, 5, 5)]
    assert len(large) == (1 + 2 + 3 + 3 + 3) + (3 + 3 + 2 + 1)
    assert [m.weight.shape[0] for m in large[:12]] == [16] + [32] * 2 + [64] * 3 + [128] * 3 + [256] * 3
    assert [m.weight.shape[0] for m in large[12:]] == [256] * 3 + [128] * 3 + [64] * 2 + [32]
    assert large[0].weight.shape[1] == 1


def take_over(ours, theirs, names):
    """Load into `ours` the weights of `theirs`, whose modules are called otherwise there; both become float64."""
    renamed = {}
    for name, value in theirs.state_dict().items():
        module, _, leaf = name.rpartition(".")
        if module in names:
            renamed[f"{names[module]}.{leaf}"] = value
    ours.load_state_dict(renamed)
    ours.double()
    theirs.double()


def convolutions_of(count):
    """Names of the convolutions of a stage: MONAI's, and ours."""
    names = {f"ops.{n}.conv_block.conv": f"body.{3 * n}" for n in range(count)}
    names |= {f"ops.{n}.conv_block.adn.N": f"body.{3 * n + 1}" for n in range(count)}
    names |= {f"ops.{n}.act_function": f"body.{3 * n + 2}" for n in range(count - 1)}
    return names | {"act_function2": "activation"}


@pytest.mark.parametrize("dims", [2, 3])
class TestTheVNetComputesWhatMonaisDoes:
    """In its stages, but for one thing: MONAI's has one more activation, of the last convolution before the sum."""

    def test_in_the_first_stage(self, dims):
        theirs = InputTransition(dims, 2, 8, "prelu")
        ours = VNet(norm="batch").build(paper((8, 16), dims, channels=2)).down[0]
        names = {"conv_block.conv": "body.0", "conv_block.adn.N": "body.1", "act_function": "activation"}
        take_over(ours, theirs, names)
        x = torch.randn(2, 2, *(6,) * dims).double()
        torch.testing.assert_close(ours(x), theirs(x))

    def test_on_the_way_down(self, dims):
        theirs = DownTransition(dims, 4, 3, "prelu")
        theirs.ops[2].act_function = nn.Identity()
        ours = VNet(norm="batch", convolutions=(3,)).build(paper((4, 8), dims)).down[1]
        names = {"down_conv": "enter.0", "bn1": "enter.1", "act_function1": "enter.2"}
        take_over(ours, theirs, names | convolutions_of(3))
        x = torch.randn(2, 4, *(8,) * dims).double()
        torch.testing.assert_close(ours(x), theirs(x))

    def test_on_the_way_up(self, dims):
        theirs = UpTransition(dims, 8, 8, 2, "prelu", (None, 0.0))
        theirs.ops[1].act_function = nn.Identity()
        theirs.up_conv.bias = None  # a normalisation follows, which takes it out again
        whole = VNet(norm="batch", convolutions=(2,)).build(paper((4, 8), dims))
        ours = nn.ModuleDict({"up": whole.up[0], "stage": whole.merge[0]})
        names = {"up_conv": "up.0", "bn1": "up.1", "act_function1": "up.2"}
        take_over(ours, theirs, names | {name: f"stage.{own}" for name, own in convolutions_of(2).items()})
        x, skipped = torch.randn(2, 8, *(4,) * dims).double(), torch.randn(2, 4, *(8,) * dims).double()
        found = ours["stage"](torch.cat((ours["up"](x), skipped), dim=1))
        torch.testing.assert_close(found, theirs(x, skipped))


@pytest.mark.parametrize("dims", [2, 3])
def test_the_attention_u_nets_gates_are_where_monais_are(dims):
    """Our graph with MONAI's parts and weights gives what MONAI's network gives."""
    widths = (4, 8, 16)
    theirs = AttentionUnet(dims, 1, 2, widths, (2, 2)).double().eval()

    def merge(level):
        # MONAI puts the skipped features first, so the two halves of the input change places.
        return nn.Sequential(_Swapped(), Convolution(dims, level.inputs, level.outputs))

    parts = Parts(
        encode=lambda level: ConvBlock(dims, level.inputs, level.outputs, strides=max(level.stride)),
        decode=merge,
        up=lambda level: UpConv(dims, level.inputs, level.outputs, strides=max(level.stride)),
        skip=lambda level: _Gate(level.dims, level.outputs),
    )
    ours = EncoderDecoder(paper(widths, dims), parts).double().eval()
    outer = theirs.model[1]
    inner = outer.submodule[1]
    pairs = [
        (ours.down, (theirs.model[0], outer.submodule[0], inner.submodule)),
        (ours.up, (inner.upconv, outer.upconv)),
        ([gate.block for gate in ours.skip], (inner.attention, outer.attention)),
        ([stage[1] for stage in ours.merge], (inner.merge, outer.merge)),
        (ours.heads, (theirs.model[2].conv,)),
    ]
    for own, monais in pairs:
        for a, b in zip(own, monais, strict=True):
            a.load_state_dict(b.state_dict())
    x = torch.randn(2, 1, *(16,) * dims).double()
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-6)


class _Swapped(nn.Module):
    def forward(self, x):
        return torch.cat(x.chunk(2, dim=1)[::-1], dim=1)


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


def test_the_mean_of_the_image_reaches_the_features_of_rdd():
    """It is the same all over an image, so a normalisation right behind it would take it out again."""
    torch.manual_seed(0)
    block = _DenseDilated(Level(index=0, inputs=8, outputs=8, kernel=(3, 3), stride=(1, 1)), (1, 2), growth=4)
    x = torch.randn(1, 8, 8, 8)
    before = block(x)
    nn.init.constant_(block.pooled[0].bias, 3.0)
    changed = block(x) - before
    assert changed.abs().max() > 0.1


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("network", [UNet(dropout=0.5), ResidualUNet(dropout=0.5)], ids=["unet", "residual_unet"])
def test_dropout_drops_whole_channels(network, dims):
    module = network.build(paper((32, 64), dims)).train()
    dropped = [m for m in module.modules() if isinstance(m, nn.Dropout2d if dims == 2 else nn.Dropout3d)]
    assert dropped
    seen = []
    dropped[0].register_forward_hook(lambda _, given, out: seen.append((given[0], out)))
    module(torch.randn(2, 1, *(8,) * dims))
    given, out = (each.detach().flatten(2) for each in seen[0])
    gone = (out == 0).all(dim=2)
    assert 0 < gone.sum() < gone.numel()
    torch.testing.assert_close(out[~gone], 2 * given[~gone])


@pytest.mark.parametrize("join", ["add", "concatenate"])
def test_the_encoder_decoder_brings_each_skip_to_its_place(join):
    """With means going down, repeats going up and nothing else, the features of every level can be written down."""
    shape = Topology(channels=1, classes=1, strides=((1, 1), (1, 2), (2, 2)), kernels=((1, 1),) * 3, widths=(1, 1, 1))
    parts = Parts(
        encode=lambda level: nn.AvgPool2d(level.stride),
        decode=lambda _: nn.Identity() if join == "add" else _Weighted(),
        up=lambda level: nn.Upsample(scale_factor=tuple(map(float, level.stride))),
        join=join,
        head=lambda _: nn.Identity(),
    )
    x = torch.randn(1, 1, 4, 8)
    middle = mean_pool(x, (1, 2))
    deep = mean_pool(middle, (2, 2))
    up = lambda f, by: f.repeat_interleave(by[0], 2).repeat_interleave(by[1], 3)  # noqa: E731
    a, b = (1, 1) if join == "add" else (2, 3)
    expected = a * up(a * up(deep, (2, 2)) + b * middle, (1, 2)) + b * x
    torch.testing.assert_close(EncoderDecoder(shape, parts).eval()(x), expected)


class _Weighted(nn.Module):
    """Twice the up-sampled and three times the skipped features."""

    def forward(self, x):
        return 2 * x[:, :1] + 3 * x[:, 1:]


def mean_pool(x, by):
    b, c, h, w = x.shape
    return x.reshape(b, c, h // by[0], by[0], w // by[1], by[1]).mean((3, 5))


@pytest.mark.parametrize("dims", [2, 3])
class TestBatchNormInTheUNet:
    def test_takes_the_place_of_every_instance_norm_and_changes_no_weight(self, dims):
        instance, batch = (UNet(norm=norm).build(paper((4, 8, 8), dims)) for norm in ("instance", "batch"))
        kinds = [type(module).__name__ for module in batch.modules()]
        assert kinds.count(f"BatchNorm{dims}d") == 2 * (3 + 2)
        assert not any("Instance" in kind for kind in kinds)
        assert {name: w.shape for name, w in batch.named_parameters()} == {
            name: w.shape for name, w in instance.named_parameters()
        }

    def test_normalises_over_the_batch_in_training_and_image_by_image_afterwards(self, dims):
        torch.manual_seed(0)
        network = UNet(norm="batch", supervised=1).build(paper((4, 8), dims))
        first, second, other = torch.randn(3, 1, 1, *(8,) * dims).double()
        network.double().train()
        together = [network(torch.cat((first, each)))[0][:1] for each in (second, other)]
        assert (together[0] - together[1]).abs().max() > 1e-3
        network.eval()
        torch.testing.assert_close(network(torch.cat((first, other)))[:1], network(first))
