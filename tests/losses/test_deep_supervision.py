"""Deep supervision: levels, weights, and truths that fit them."""

import pytest
import torch

from edgewise.errors import ShapeError
from edgewise.losses import CrossEntropy, DeepSupervision, Dice, RegionWise, pyramid
from edgewise.maps import rectified
from edgewise.truth import Truth


def outputs(*shapes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 3, *shape, generator=generator) for shape in shapes]


LABELS = torch.randint(3, (2, 8, 12), generator=torch.Generator().manual_seed(0))


def test_one_level_is_the_loss_itself():
    (logits,) = outputs((8, 12))
    torch.testing.assert_close(DeepSupervision(loss=Dice())([logits], LABELS), Dice()(logits, LABELS))


def test_each_level_has_half_the_weight_of_the_one_before_and_they_sum_to_one():
    levels = outputs((8, 12), (4, 6), (2, 3))
    labels = (LABELS, LABELS[:, 1::2, 1::2], LABELS[:, 2::4, 2::4])
    losses = [CrossEntropy()(*pair) for pair in zip(levels, labels, strict=True)]
    expected = (4 * losses[0] + 2 * losses[1] + losses[2]) / 7
    torch.testing.assert_close(DeepSupervision(loss=CrossEntropy())(levels, LABELS), expected)


def test_resizing_takes_the_voxel_nearest_to_the_centre():
    truth = Truth.of(LABELS, classes=3)
    (resized,) = pyramid(truth, [(3, 5)])
    expected = torch.nn.functional.interpolate(LABELS[:, None].float(), size=(3, 5), mode="nearest-exact")[:, 0]
    torch.testing.assert_close(resized.labels, expected.long())


def test_maps_of_a_coarser_level_are_built_with_its_own_voxel_size():
    truth = Truth.of(LABELS, classes=3, spacing=(3.0, 0.5), needs=(rectified,))
    full, coarse = pyramid(truth, [(8, 12), (8, 4)])
    assert full is truth
    assert coarse.spacing == (3.0, 1.5)
    expected = rectified(coarse.labels, classes=3, spacing=(3.0, 1.5))
    torch.testing.assert_close(coarse.maps[rectified], expected)


def test_prepared_levels_give_the_same_loss():
    levels = outputs((8, 12), (4, 12), (4, 6))
    loss = DeepSupervision(loss=RegionWise())
    truth = Truth.of(LABELS, classes=3, spacing=(2.0, 1.0), needs=loss.needs)
    truths = pyramid(truth, [tuple(each.shape[2:]) for each in levels])
    torch.testing.assert_close(loss(levels, truths), loss(levels, LABELS, spacing=(2.0, 1.0)), rtol=0, atol=0)
    torch.testing.assert_close(loss(levels, truths), loss(levels, truth), rtol=0, atol=0)


def test_upsampled_outputs_are_compared_with_the_full_labels_and_their_maps():
    levels = outputs((8, 12), (4, 6))
    truth = Truth.of(LABELS, classes=3, spacing=(2.0, 1.0), needs=(rectified,))
    up = torch.nn.functional.interpolate(levels[1], size=(8, 12), mode="bilinear", align_corners=False)
    expected = (2 * RegionWise()(levels[0], truth) + RegionWise()(up, truth)) / 3
    loss = DeepSupervision(loss=RegionWise(), reading="upsampled_outputs")
    torch.testing.assert_close(loss(levels, truth), expected)
    torch.testing.assert_close(loss(levels, LABELS, spacing=(2.0, 1.0)), expected)


def test_the_two_readings_differ_for_a_structure_that_a_coarse_level_loses():
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    labels[0, 3, 3] = 1  # a coarse voxel's centre is at 2
    coarse = torch.zeros(1, 2, 2, 2, requires_grad=True)
    full = torch.zeros(1, 2, 8, 8)
    gradients = []
    for reading in ("resized_labels", "upsampled_outputs"):
        loss = DeepSupervision(loss=Dice(background=False), reading=reading)([full, coarse], labels)
        gradients.append(torch.autograd.grad(loss, coarse)[0][0, 1])
    assert (gradients[0] >= 0).all()  # nothing there to find
    assert gradients[1].min() < 0  # the voxel is there


def test_unlabelled_voxels_and_image_weights_reach_the_coarse_levels():
    labels = LABELS.clone()
    labels[:, ::3] = 255
    truth = Truth.of(labels, classes=3, ignore=255, weights=torch.tensor([1.0, 0.0]))
    _, coarse = pyramid(truth, [(8, 12), (4, 6)])
    torch.testing.assert_close(coarse.known, truth.known[:, 1::2, 1::2])
    torch.testing.assert_close(coarse.weights, truth.weights)


def test_no_outputs_or_too_few_truths_are_refused():
    loss = DeepSupervision(loss=Dice())
    with pytest.raises(ShapeError, match="no outputs"):
        loss([], LABELS)
    with pytest.raises(ShapeError, match="2 outputs, but 1 truths"):
        loss(outputs((8, 12), (4, 6)), [Truth.of(LABELS, classes=3)])
    with pytest.raises(ShapeError, match="spatial shape"):
        pyramid(Truth.of(LABELS, classes=3), [(4, 6, 2)])
