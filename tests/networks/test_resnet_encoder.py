"""The ResNet encoder: torchvision's layout, weights from a file, and grids of any size."""

import pickle
import re
from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.networks.nets.resnet import resnet18, resnet34
from torch import nn

from edgewise.errors import ExperimentError, RunError
from edgewise.networks.lnet import LNet
from edgewise.networks.resnet import Encoder, described, encoders, unread
from edgewise.networks.resnet_fcn import ResNetFCN
from edgewise.networks.resnet_unet import ResNetUNet
from edgewise.networks.small_grids import BatchNorm, ImageNorm, StridedConvolution2d
from networks.contract import image, topology

THEIRS = {
    depth: partial(
        build, spatial_dims=2, n_input_channels=3, num_classes=1000, shortcut_type="B", bias_downsample=False,
        conv1_t_stride=2,
    )
    for depth, build in ((18, resnet18), (34, resnet34))
}  # fmt: skip
"""MONAI's networks, with the arguments that make them torchvision's."""
DEPTHS = pytest.mark.parametrize("depth", [18, 34])


def trained(depth, seed=0):
    """MONAI's network whose batch statistics are no longer those of the beginning."""
    torch.manual_seed(seed)
    network = THEIRS[depth]().train()
    for index in range(2):
        network(image(2, 3, 64, 64, seed=index))
    return network.eval()


def saved(path, depth=18, without=(), **changes):
    """A file as a user has it."""
    state = trained(depth).state_dict() | changes
    torch.save({name: value for name, value in state.items() if not name.endswith(tuple(without))}, path)
    return path


def torchvisions_names(depth):
    """What torchvision calls the tensors of a ResNet of basic blocks, without its classifier."""
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = ["conv1.weight", *(f"bn1.{each}" for each in norm)]
    for stage, blocks in enumerate({18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}[depth], start=1):
        for block in range(blocks):
            place = f"layer{stage}.{block}"
            for n in (1, 2):
                names += [f"{place}.conv{n}.weight", *(f"{place}.bn{n}.{each}" for each in norm)]
            if stage > 1 and block == 0:
                names += [f"{place}.downsample.0.weight", *(f"{place}.downsample.1.{each}" for each in norm)]
    return names


def features(network, x):
    """What MONAI's network computes on its way, at strides 2 to 32."""
    found = [network.act(network.bn1(network.conv1(x)))]
    y = network.maxpool(found[0])
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        y = stage(y)
        found.append(y)
    return found


class TestLayout:
    @DEPTHS
    def test_its_tensors_have_torchvisions_names_and_shapes(self, depth):
        ours = Encoder(depth=depth).build(3, 2).state_dict()
        theirs = {name: value for name, value in THEIRS[depth]().state_dict().items() if not name.startswith("fc.")}
        assert sorted(ours) == sorted(torchvisions_names(depth))
        assert {name: value.shape for name, value in ours.items()} == {n: v.shape for n, v in theirs.items()}

    @DEPTHS
    @pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
    def test_the_weights_of_a_file_give_the_features_of_the_network_they_come_from(self, depth, training, tmp_path):
        ours = Encoder(depth=depth, weights=saved(tmp_path / "w.pt", depth)).build(3, 2).train(training)
        theirs, x = trained(depth).train(training), image(2, 3, 70, 51)
        with torch.no_grad():
            for a, b in zip(ours(x), features(theirs, x), strict=True):
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
        for a, b in zip(ours.buffers(), theirs.buffers(), strict=True):
            assert training or a.dtype == torch.long or torch.equal(a, b)

    def test_random_weights_are_spread_as_those_of_the_network(self):
        torch.manual_seed(0)
        ours = Encoder().build(3, 2).state_dict()
        theirs = THEIRS[18]().state_dict()
        for name, value in ours.items():
            if value.ndim == 4:
                assert value.std() == pytest.approx(theirs[name].std().item(), rel=0.05)

    @settings(max_examples=20, deadline=None)
    @given(dims=st.sampled_from([2, 3]), data=st.data(), norm=st.sampled_from(["batch", "instance"]))
    def test_a_grid_of_stride_s_has_the_side_divided_by_s_and_rounded_up(self, dims, data, norm):
        space = data.draw(st.tuples(*[st.integers(1, 70 if dims == 2 else 40)] * dims))
        settings_ = Encoder(width=1 / 8, norm=norm)
        with torch.no_grad():
            found = settings_.build(1, dims)(image(1, 1, *space))
        assert [x.shape[1] for x in found] == list(settings_.widths)
        for n, x in enumerate(found, start=1):
            assert x.shape[2:] == tuple(-(-side // 2**n) for side in space)

    @pytest.mark.parametrize(("width", "channels"), [(1.0, (64, 64, 128, 256, 512)), (0.3, (16, 16, 40, 80, 152)),
                                                     (0.01, (8, 8, 8, 8, 8))])  # fmt: skip
    def test_widths_are_multiples_of_eight(self, width, channels):
        assert Encoder(width=width).widths == channels


class TestWeights:
    @pytest.mark.parametrize("channels", [1, 2, 4])
    def test_equal_channels_give_what_a_grey_picture_gives(self, channels, tmp_path):
        path, grey = saved(tmp_path / "w.pt"), image(2, 1, 33, 40)
        ours, theirs = (Encoder(weights=path).build(n, 2).eval() for n in (channels, 3))
        with torch.no_grad():
            pairs = zip(ours(grey.repeat(1, channels, 1, 1)), theirs(grey.repeat(1, 3, 1, 1)), strict=True)
        for a, b in pairs:
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)

    def test_a_file_without_classifier_or_counts_of_batches_will_do(self, tmp_path):
        path = saved(tmp_path / "w.pt", without=("num_batches_tracked", "fc.weight", "fc.bias"))
        state = Encoder(weights=path).build(3, 2).state_dict()
        assert torch.equal(state["layer4.1.conv2.weight"], trained(18).state_dict()["layer4.1.conv2.weight"])

    def test_the_rest_of_a_network_is_drawn_as_without_a_file(self, tmp_path):
        encoder = Encoder(weights=saved(tmp_path / "w.pt"))
        torch.manual_seed(3)
        ours = ResNetUNet(encoder=encoder).build(topology(2)).state_dict()
        torch.manual_seed(3)
        plain = ResNetUNet(encoder=Encoder()).build(topology(2)).state_dict()
        alike = {name.split(".")[0] for name in ours if torch.equal(ours[name], plain[name])}
        assert {"decoder", "head"} <= alike
        assert not torch.equal(ours["encoder.conv1.weight"], plain["encoder.conv1.weight"])

    def test_what_was_loaded_is_said_in_one_sentence(self, tmp_path):
        path = saved(tmp_path / "w.pt")
        assert described(Encoder(depth=34), 1, 2) == "ResNet-34 encoder: random weights"
        text = described(Encoder(weights=path), 1, 2)
        count = sum(not name.endswith("num_batches_tracked") for name in torchvisions_names(18))
        assert f"ResNet-18 encoder: {count} tensors from {path}, " in text
        assert "summed over 3 colours and shared out to 1;" in text
        assert "kernels as they are" in described(Encoder(weights=path), 3, 2)

    @pytest.mark.parametrize(
        ("write", "message"),
        [
            (lambda _: None, "No such file.*Give the path"),
            (lambda path: path.mkdir(), "cannot read.*Give the path"),
            (lambda path: path.write_bytes(b"no weights"), "no file that torch.save wrote"),
            (lambda path: path.write_bytes(pickle.dumps(print)), "no file that torch.save wrote"),
            (lambda path: torch.save([1, 2], path), "holds list, not a state_dict"),
            (lambda path: torch.save({"model": {}}, path), "holds dict, not a state_dict"),
            (lambda path: torch.save({}, path), "has no .*[(]100 such names in all"),
            (lambda path: saved(path, depth=34), "ResNet-18: its layer1.2.* has no place there"),
            (lambda path: saved(path, without=["layer3.0.bn1.bias"]), "it has no layer3.0.bn1.bias [(]1 such"),
            (
                lambda path: saved(path, **{"conv1.weight": torch.zeros(64, 1, 7, 7)}),
                r"its conv1.weight is \(64, 1, 7, 7\) and not \(64, 3, 7, 7\)",
            ),
        ],
        ids=["missing", "a folder", "no weights", "code", "a list", "a checkpoint", "empty", "deeper", "cut", "grey"],
    )
    def test_a_file_that_does_not_fit_is_refused_in_words(self, write, message, tmp_path):
        path = tmp_path / "w.pt"
        write(path)
        for use in (lambda: Encoder(weights=path).build(1, 2), lambda: described(Encoder(weights=path), 1, 2)):
            with pytest.raises(RunError, match=message) as error:
                use()
            assert str(path) in str(error.value)

    def test_a_file_serves_2d_of_full_width_with_batch_norm_alone(self, tmp_path):
        path = saved(tmp_path / "w.pt")
        with pytest.raises(ExperimentError, match="this one is 3D"):
            Encoder(weights=path).build(3, 3)
        with pytest.raises(ExperimentError, match=r"this one has width 0.5 and batch norm"):
            Encoder(weights=path, width=0.5)
        with pytest.raises(ExperimentError, match="width 1 and instance norm"):
            Encoder(weights=path, norm="instance")

    def test_settings_without_their_files_build_the_same_network(self, tmp_path):
        path = tmp_path / "gone.pt"

        @dataclass(frozen=True)
        class Tree:
            name: str
            network: object
            others: object

        tree = Tree("a", ResNetFCN(encoder=Encoder(depth=34, weights=path)), LNet(encoder=Encoder(weights=path)))
        assert [each.depth for each in encoders(tree)] == [34, 18]
        assert unread(tree) == Tree("a", ResNetFCN(), LNet())
        assert unread(Tree("a", 1, None)) == Tree("a", 1, None)
        unread(tree).others.build(1, 1, 2)
        with pytest.raises(RunError, match=re.escape(str(path))):
            tree.others.build(1, 1, 2)
        assert replace(unread(tree), name="b").name == "b"


class TestSmallGrids:
    def test_batch_norm_is_torchs_wherever_torch_has_one(self):
        torch.manual_seed(0)
        ours, theirs = BatchNorm(3), nn.BatchNorm2d(3)
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            b.data = a.data.normal_()
        for shape in ((2, 3, 5, 4), (2, 3, 1, 1), (1, 3, 1, 2)):
            x = image(*shape)
            torch.testing.assert_close(ours(x), theirs(x))
        assert list(ours.state_dict()) == list(theirs.state_dict())
        for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b)
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))

    def test_one_value_a_channel_is_normalised_as_in_evaluation_and_is_not_counted(self):
        norm, x = BatchNorm(3), image(1, 3, 1, 1)
        norm(image(4, 3, 2, 2))
        before = {name: value.clone() for name, value in norm.state_dict().items()}
        found = norm(x)
        assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
        assert torch.equal(found, norm.eval()(x))

    @pytest.mark.parametrize("dims", [2, 3])
    def test_instance_norm_of_one_voxel_is_over_its_channels(self, dims):
        norm, one = ImageNorm(dims, 6).double(), (1,) * dims
        x = image(2, 6, *one).double()
        flat = x.flatten(1)
        expected = (flat - flat.mean(1, keepdim=True)) / flat.std(1, correction=0, keepdim=True)
        torch.testing.assert_close(norm(x).flatten(1), expected, rtol=1e-4, atol=1e-4)
        larger = image(2, 6, *(3,) * dims).double()
        plain = nn.functional.instance_norm(larger)
        torch.testing.assert_close(norm(larger), plain)

    @pytest.mark.parametrize("arrangement", [torch.contiguous_format, torch.channels_last], ids=["plain", "last"])
    @pytest.mark.parametrize("kernel", [3, 7])
    def test_a_stride_has_exact_gradients_in_bfloat16_where_one_voxel_is_left(self, kernel, arrangement):
        for space in ((1, 1), (8, 1), (1, 8), (2, 2), (5, 4)):
            torch.manual_seed(0)
            plain = nn.Conv2d(16, 8, kernel, stride=2, padding=kernel // 2, bias=False)
            plain.weight.data = plain.weight.data.bfloat16().float()
            ours = StridedConvolution2d(plain).to(memory_format=arrangement)
            exact = nn.Conv2d(16, 8, kernel, stride=2, padding=kernel // 2, bias=False).double()
            exact.load_state_dict(ours.state_dict())
            x = image(2, 16, *space).bfloat16().float()
            expected = exact(x.double())
            _ = [torch.full((size,), float("nan"), dtype=torch.bfloat16) for size in (500, 2000, 8000) * 6]
            with torch.autocast("cpu", torch.bfloat16):
                found = ours(x.contiguous(memory_format=arrangement))
            weight = image(*expected.shape).bfloat16()
            found.backward(weight)
            expected.backward(weight.double())
            for a, b in ((found, expected), (ours.weight.grad, exact.weight.grad)):
                assert (a - b).norm() <= 0.02 * b.norm()
