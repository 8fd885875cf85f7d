"""What L-SNet and its rivals are for: who teaches whom, and what happens where there is nothing to find."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from edgewise.data.batches import Batch
from edgewise.errors import ExperimentError
from edgewise.inference.apply import applied
from edgewise.inference.locators import Keypoints
from edgewise.inference.roi import Crop, Recalibration
from edgewise.inference.sliding import Inference, Window
from edgewise.inference.two_stage import TwoStage
from edgewise.methods.coarse_to_fine import CoarseToFine, Detecting, Segmenting
from edgewise.methods.localisation import Localisation, factors
from edgewise.methods.lsnet import LSNet
from edgewise.networks.unet import UNet
from edgewise.training.arithmetic import Arithmetic
from methods.cases import CLASSES, SIDE, batch, copied, learner, losses, same, setting, small, topology

DIMS = pytest.mark.parametrize("dims", [2, 3])


def lsnet(**changes):
    return small(LSNet(recalibration=Recalibration(margin=2.0), **changes))


def weights(learning, part):
    """Weights of a part, without what batch normalisation has counted."""
    network = learning.state()["network"]
    return {name: value.clone() for name, value in network.items() if name.startswith(part) and "running" not in name}


def empty(dims):
    full = batch(dims)
    return Batch(image=full.image, labels=torch.zeros_like(full.labels), cases=full.cases)


def window(dims, patch=SIDE):
    return Window(patch=(patch,) * dims, classes=CLASSES, arithmetic=Arithmetic(threads=1), device=torch.device("cpu"))


@DIMS
def test_without_decay_the_segmentation_loss_does_not_move_l_net(dims):
    """With lambda 0, L-Net ends with the same weights whatever S-Net's loss says."""
    from edgewise.losses import CrossEntropy, Dice

    first, second = (learner(lsnet(decay=0.0), setting(dims, loss=loss)) for loss in (Dice(), CrossEntropy()))
    for each in (first, second):
        losses(each, [batch(dims, seed) for seed in range(3)])
    assert same(weights(first, "locate"), weights(second, "locate"))
    assert not same(weights(first, "segment"), weights(second, "segment"))


@DIMS
def test_with_decay_the_segmentation_loss_moves_l_net(dims):
    first, second = (learner(lsnet(decay=decay), setting(dims)) for decay in (0.0, 0.1))
    for each in (first, second):
        losses(each, [batch(dims, seed) for seed in range(3)])
    assert not same(weights(first, "locate"), weights(second, "locate"))


@pytest.mark.parametrize("decay", [0.01, 0.5, 1.0])
def test_the_gradient_into_l_net_is_scaled_by_lambda_and_into_s_net_not(decay):
    """The gradient of S-Net's turn, with the same weights and the same region, against that of lambda = 1."""

    def gradients(factor):
        method = lsnet(decay=factor, keypoints=1)
        learning = learner(method, setting())
        torch.nn.init.constant_(learning._module.locate.network.box[-1].bias, -2.0)  # boxes inside the image
        turn = learning._turns[1]
        learning._module.zero_grad()
        turn.objective(learning._module, batch(), 0).backward()
        return {name: p.grad.clone() for name, p in learning._module.named_parameters() if p.grad is not None}

    whole, scaled = gradients(1.0), gradients(decay)
    reached = [name for name in whole if name.startswith("locate") and whole[name].abs().max() > 1e-7]
    assert any("encoder" in name for name in reached)
    for name in whole:
        factor = decay if name.startswith("locate") else 1.0
        torch.testing.assert_close(scaled[name], factor * whole[name], rtol=1e-3, atol=1e-7)


@DIMS
@pytest.mark.parametrize("method", [LSNet(), CoarseToFine(), CoarseToFine(first=Detecting())], ids=str)
def test_images_without_objects_train(method, dims):
    learning = learner(small(method), setting(dims))
    before = weights(learning, "segment")
    assert all(np.isfinite(losses(learning, [empty(dims)] * 2)))
    # L-SNet's second network learns what a false region looks like; the rival's sees reference objects only.
    assert same(before, weights(learning, "segment")) == isinstance(method, CoarseToFine)


def test_a_region_is_drawn_among_the_surest_keypoints_of_a_kind_that_is_there():
    method = lsnet(keypoints=2)
    heat = torch.zeros(2, 4, 4)
    heat[0, 1, 1], heat[0, 2, 3], heat[0, 0, 0], heat[1, 3, 3], heat[1, 3, 2] = 3, 2, 1, 5, 4
    rng = np.random.default_rng(0)
    drawn = {method._drawn(heat, [0, 1], rng) for _ in range(50)}
    assert drawn == {(0, 1, 1), (0, 2, 3)}
    assert {kind for kind, *_ in (method._drawn(heat, [0], rng) for _ in range(50))} == {0, 1}


@pytest.mark.parametrize(
    ("objects", "first"),
    [("class", False), ("component", True), pytest.param("foreground", False, marks=pytest.mark.slow)],
)
def test_it_learns_to_find_and_segment_squares(objects, first):
    """The whole way, in small: both stages learn, and the prediction of the volume is right."""
    localisation = Localisation(objects=objects, sigma=1.0)
    chosen = setting(2, network=UNet(), average=0.9)
    method = small(LSNet(localisation=localisation, recalibration=Recalibration(margin=2.0)))
    if first:
        method = CoarseToFine(first=Segmenting(network=UNet(), objects=objects), crop=Crop(border=2))
    learning = learner(method, chosen)
    losses(learning, [large(seed) for seed in range(120)])
    scene = large(1000)
    found = applied(learning.predictor, scene.image.movedim(0, 1).numpy(), window(2, 48), Inference(windows=2))
    labels, truth = found.probabilities.argmax(0), scene.labels.numpy()
    for c in (1, 2):
        assert 2 * ((labels == c) & (truth == c)).sum() / ((labels == c).sum() + (truth == c).sum()) > 0.8
    assert {region.kind for region in found.regions} == ({0} if objects == "foreground" else {0, 1})


def large(seed):
    """Two images of 48 pixels with a bright and a brighter square somewhere."""
    rng = np.random.default_rng(seed)
    labels = torch.zeros(2, 48, 48, dtype=torch.long)
    for image in labels:
        for c, left in ((1, 0), (2, 24)):
            a, b = rng.integers(2, 32), rng.integers(2, 10) + left
            image[a : a + rng.integers(8, 14), b : b + rng.integers(8, 12)] = c
    noise = torch.from_numpy(rng.normal(0, 0.2, (2, 1, 48, 48))).float()
    return Batch(image=labels[:, None].float() + noise, labels=labels, cases=("a", "b"))


class Blind(nn.Module):
    """An L-Net that finds nothing, or one that sees something everywhere, with sides so far away."""

    def __init__(self, heat, distance=3.0):
        super().__init__()
        self.heat, self.distance = heat, distance

    def forward(self, image):
        cells = [-(-n // 4) for n in image.shape[2:]]
        distances = torch.full((len(image), 2, 2 * len(cells), *cells), self.distance)
        return torch.full((len(image), 2, *cells), self.heat), distances


def two_stage(dims, heat, transfer=None, distance=3.0):
    torch.manual_seed(0)
    return TwoStage(
        Keypoints(Blind(heat, distance), (1,) * dims, threshold=0.5, most=3),
        setting(dims).network.build(topology(dims)),
        transfer or Recalibration(margin=2.0),
        classes=CLASSES,
        grouping="class",
        multiple=(2,) * dims,
    ).eval()


@DIMS
def test_where_nothing_is_found_all_is_background_and_the_prediction_says_so(dims):
    image = np.random.default_rng(0).normal(size=(1, 3, 13, 11)).astype(np.float32)
    found = applied(two_stage(dims, -5.0), image, window(dims), Inference())
    assert found.blank
    assert found.regions == ()
    assert (found.probabilities[0] == 1).all()
    assert not found.probabilities[1:].any()


@DIMS
def test_an_object_that_reaches_beyond_its_region_is_cut_and_the_share_that_is_left_is_told(dims):
    """Boxes of 6 voxels with a margin of 2, for an object that fills an image of 40: see `contained`, too."""
    from edgewise.detection.boxes import contained

    image = np.random.default_rng(0).normal(size=(1, *(40,) * 3)).astype(np.float32)[:, : 1 if dims == 2 else 40]
    network = two_stage(dims, 5.0)
    found = applied(network, image, window(dims), Inference())
    outside = np.ones(image.shape[1:], bool)
    for region in found.regions:
        low, high = (
            np.clip(np.round(np.array(side) + 0.5).astype(int), 0, 40) for side in np.split(np.array(region.roi), 2)
        )
        outside[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = False
    assert outside.any()
    assert (found.probabilities[0][outside] == 1).all()
    rois = np.array([region.roi for region in found.regions])
    share = contained(np.ones(image.shape[1:], bool), rois)
    assert share == pytest.approx(1 - outside.mean(), abs=0.02)


@DIMS
def test_a_box_ends_where_the_image_ends(dims):
    """However far away L-Net says that its sides are; the margin is around that."""
    image = np.random.default_rng(0).normal(size=(1, 1 if dims == 2 else 13, 13, 11)).astype(np.float32)
    found = applied(two_stage(dims, 5.0, distance=1e5), image, window(dims), Inference())
    space = np.array(image.shape[1:][-dims:])
    for region in found.regions:
        box, roi = (np.array(each).reshape(2, 3)[:, -dims:] for each in (region.box, region.roi))
        assert (box == [[-0.5] * dims, space - 0.5]).all()
        assert (roi == [[-2.5] * dims, space + 1.5]).all()


@DIMS
def test_no_loss_of_s_net_drives_boxes_out_of_the_image(dims):
    """In an image without objects it is small where nothing is: sides that have left the image do not move on."""
    method = lsnet(decay=1.0)
    learning = learner(method, setting(dims))
    last = learning._module.locate.network.box[-1]
    torch.nn.init.constant_(last.bias, 100.0)
    learning._turns[1].objective(learning._module, empty(dims), 0).backward()
    assert last.bias.grad is not None
    assert not last.bias.grad.any()


@DIMS
@pytest.mark.parametrize(
    "transfer", [Recalibration(margin=30.0), Recalibration(margin=0.0, size=(16,)), Crop()], ids=str
)
def test_any_image_is_segmented_whatever_its_size(dims, transfer):
    """Smaller than what the second network sees, of one voxel, of odd sides; regions reach beyond the image."""
    if isinstance(transfer, Recalibration) and transfer.size != "auto":
        transfer = replace(transfer, size=(16,) * dims)
    network = two_stage(dims, 5.0, transfer)
    for space in ((1, 1, 1), (2, 5, 3), (3, 13, 29)):
        image = np.random.default_rng(0).normal(size=(1, *space)).astype(np.float32)
        found = applied(network, image, window(dims), Inference())
        assert found.probabilities.shape == (CLASSES, *space)
        assert np.allclose(found.probabilities.astype(float).sum(0), 1, atol=5e-3)
        assert len(found.regions) == 2 * (space[0] if dims == 2 else 1)
        assert found.heat.values.shape == tuple(-(-n // s) for n, s in zip(space, found.heat.step, strict=True))


def test_slices_are_looked_at_apart_and_in_order():
    network, image = two_stage(2, 5.0), np.random.default_rng(0).normal(size=(1, 5, 12, 12)).astype(np.float32)
    whole = applied(network, image, window(2), Inference(windows=3))
    for index in range(5):
        one = applied(network, image[:, index : index + 1], window(2), Inference(windows=3))
        np.testing.assert_allclose(whole.probabilities[:, index], one.probabilities[:, 0], atol=2e-3)
    assert [region.box[0] + 0.5 for region in whole.regions] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_mirroring_averages_the_segmentation_of_regions():
    network, image = two_stage(2, 5.0), np.random.default_rng(0).normal(size=(1, 1, 12, 12)).astype(np.float32)
    plain = replace(window(2), mirrored=(0, 1))
    one = applied(network, image, plain, Inference(mirror=True)).probabilities
    assert not np.allclose(one, applied(network, image, plain, Inference()).probabilities, atol=1e-2)


@DIMS
def test_a_shrunk_view_finds_the_same_boxes_in_voxels_of_the_image(dims):
    """Of an image of constant blocks, the view is the blocks: boxes are those of the small image, enlarged."""
    small_image = torch.randn(1, 1, *(12,) * dims)
    large_image = small_image
    for axis in range(2, 2 + dims):
        large_image = large_image.repeat_interleave(2, dim=axis)
    torch.manual_seed(0)
    network = Localisation().network.build(1, 2, dims).eval()
    torch.nn.init.constant_(network.heat[-1].bias, 2.0)
    near, far = (Keypoints(network, (f,) * dims, threshold=0.5, most=4) for f in (1, 2))
    with torch.no_grad():
        (expected,), first = near.find(small_image)
        (found,), second = far.find(large_image)
    torch.testing.assert_close(first, second)
    assert len(found) == len(expected) > 0
    for a, b in zip(found, expected, strict=True):
        assert a.box == pytest.approx([2 * (side + 0.5) - 0.5 for side in b.box], abs=1e-3)


def test_resuming_draws_the_same_regions():
    chosen = setting(2)
    whole = learner(lsnet(), chosen)
    losses(whole, [batch(2, seed) for seed in range(2)])
    saved = copied(whole.state())
    torch.rand(100)  # whatever else draws random numbers in between
    again = learner(lsnet(), chosen, seed=5)
    again.restore(saved)
    later = [batch(2, seed) for seed in (2, 3, 4)]
    assert losses(whole, later, start=2) == losses(again, later, start=2)


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (LSNet(localisation=Localisation(shrink=(2, 2, 2))), "shrink is .* one for each of the 2 axes"),
        (LSNet(localisation=Localisation(shrink=0)), "from 1"),
        (LSNet(recalibration=Recalibration(size=(16, 16, 16))), "does not fit a 2D network"),
        (LSNet(recalibration=Recalibration(size=(15, 16))), r"Use \[16, 16\]"),
        (CoarseToFine(first=Segmenting(shrink=(1, 2, 4))), "shrink"),
        (CoarseToFine(first=Detecting(localisation=Localisation(shrink=(1,)))), "shrink"),
    ],
)
def test_settings_that_do_not_fit_the_network_are_refused_before_training(method, words):
    with pytest.raises(ExperimentError, match=words):
        method.require(UNet(), topology(2))


def test_one_factor_serves_all_axes():
    assert factors(2, 3) == (2, 2, 2)
    assert factors((1, 2, 4), 3) == (1, 2, 4)
