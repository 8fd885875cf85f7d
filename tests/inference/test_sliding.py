import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers import sliding_window_inference

from edgewise.inference.sliding import Inference, Window, gaussian, mirrors, probabilities, starts
from edgewise.training.arithmetic import Arithmetic

CPU = torch.device("cpu")


class PerVoxel(torch.nn.Module):
    """Logits that depend on the voxel alone: windows must not matter."""

    def forward(self, image):
        x = image[:, :1]
        return torch.cat((x, -x, x.square()), dim=1)


class Blur(torch.nn.Module):
    """Logits that depend on the neighbours, so that windows do matter."""

    def __init__(self, dims):
        super().__init__()
        torch.manual_seed(0)
        self.convolution = (torch.nn.Conv3d if dims == 3 else torch.nn.Conv2d)(1, 3, 3, padding=1)

    def forward(self, image):
        return self.convolution(image)


def window(patch, classes=3):
    return Window(
        patch=patch, classes=classes, arithmetic=Arithmetic(threads=1), device=CPU, mirrored=tuple(range(len(patch)))
    )


def image(shape, seed=0):
    return np.random.default_rng(seed).standard_normal((1, *shape)).astype(np.float32)


@settings(max_examples=15)
@given(
    shape=st.tuples(*[st.integers(1, 13)] * 3),
    patch=st.one_of(st.tuples(*[st.integers(3, 8)] * 3), st.tuples(*[st.integers(3, 8)] * 2)),
    overlap=st.sampled_from([0.0, 0.25, 0.5]),
    windows=st.integers(1, 5),
    mirror=st.booleans(),
)
def test_a_voxelwise_network_gives_what_it_gives_on_the_whole_volume(shape, patch, overlap, windows, mirror):
    x = image(shape)
    with torch.no_grad():
        whole = PerVoxel()(torch.from_numpy(x)[None]).softmax(1)[0].numpy()
    setting = Inference(overlap=overlap, mirror=mirror, windows=windows)
    tiled = probabilities(PerVoxel(), x, window(patch), setting)
    np.testing.assert_allclose(tiled, whole, atol=2e-3)


@pytest.mark.parametrize("shape", [(20, 17, 13), (8, 8, 8), (20, 8, 12)])
def test_agrees_with_monai(shape):
    x, network, patch = image(shape), Blur(3).eval(), (8, 8, 8)
    ours = probabilities(network, x, window(patch), Inference(overlap=0.5))
    with torch.no_grad():
        theirs = sliding_window_inference(
            torch.from_numpy(x)[None],
            patch,
            2,
            lambda cut: network(cut).softmax(1),
            overlap=0.5,
            mode="gaussian",
            sigma_scale=0.125,
        )[0].numpy()
    # MONAI lays its windows from the left and moves only the last; where both grids agree, so must the values.
    if all((n - p) % (p // 2) == 0 for n, p in zip(shape, patch, strict=True)):
        np.testing.assert_allclose(ours, theirs, atol=2e-3)
    assert (ours.argmax(0) == theirs.argmax(0)).mean() > 0.95


def test_mirroring_makes_the_prediction_equivariant():
    x, network = image((8, 8, 8)), Blur(3).eval()
    one = probabilities(network, x, window((8, 8, 8)), Inference(mirror=True))
    other = probabilities(network, x[:, ::-1].copy(), window((8, 8, 8)), Inference(mirror=True))
    np.testing.assert_allclose(one, other[:, ::-1], atol=2e-3)


def test_slices_of_a_2d_network_do_not_see_each_other():
    x, network = image((5, 8, 8)), Blur(2).eval()
    together = probabilities(network, x, window((8, 8)), Inference(windows=4))
    alone = np.concatenate(
        [probabilities(network, x[:, i : i + 1], window((8, 8)), Inference()) for i in range(5)], axis=1
    )
    np.testing.assert_allclose(together, alone, atol=2e-3)


@given(size=st.integers(1, 200), patch=st.integers(1, 64), overlap=st.floats(0, 0.9))
def test_windows_cover_everything_and_overlap_as_asked(size, patch, overlap):
    places = starts(size, patch, overlap)
    covered = {x for a in places for x in range(a, min(a + patch, size))}
    assert covered == set(range(size))
    assert places == sorted(set(places))
    if size > patch:
        assert places[-1] == size - patch
        steps = np.diff(places)
        assert steps.max() <= max(1, round(patch * (1 - overlap)))


def test_weights_peak_in_the_middle_and_never_vanish():
    weight = gaussian((9, 1, 7))
    assert weight.argmax() == np.ravel_multi_index((4, 0, 3), weight.shape)
    assert weight.min() > 0


def test_there_are_as_many_mirror_images_as_sets_of_axes():
    assert len(set(mirrors((0, 1, 2)))) == 8
    assert list(mirrors((1,))) == [(), (3,)]
