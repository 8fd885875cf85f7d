"""The boundary difference over union loss, by hand and against its definition."""

import numpy as np
import pytest
import scipy.ndimage
import torch

from edgewise.errors import ExperimentError
from edgewise.losses import Dice
from edgewise.losses.boundary_dou import BoundaryDoU, on_boundary


def certain(labels, classes=2):
    return 200.0 * torch.nn.functional.one_hot(labels, classes).movedim(-1, 1).double()


def cube(size, space):
    labels = torch.zeros(1, *space, dtype=torch.long)
    labels[(0, *(slice(2, 2 + size),) * len(space))] = 1
    return labels


def by_definition(logits, labels, lowest, highest):
    """One image and class after the other; the boundary as what one erosion removes."""
    p, costs = logits.softmax(1).numpy(), []
    for image, picture in enumerate(labels.numpy()):
        for each in range(logits.shape[1]):
            y, q = picture == each, p[image, each]
            cross = scipy.ndimage.generate_binary_structure(y.ndim, 1)
            edge = y & ~scipy.ndimage.binary_erosion(y, cross)
            alpha = np.clip(1 - 2 * edge.sum() / max(y.sum(), 1), lowest, highest)
            total, both = (q**2).sum() + y.sum(), (q * y).sum()
            costs.append((total - 2 * both) / (total - (1 + alpha) * both + 1e-5))
    return float(np.mean(costs))


@pytest.mark.parametrize("space", [(9, 8), (6, 7, 5)], ids=["2d", "3d"])
@pytest.mark.parametrize("limits", [(0.0, 1.0), (-1.0, 0.8), (-0.2, 0.1)])
def test_agrees_with_its_definition(space, limits):
    logits = torch.randn(3, 3, *space, dtype=torch.float64)
    labels = torch.randint(2, (3, *space))
    labels[0] = cube(3, space)[0]
    labels[1, 1:, 1:] = 2
    loss = BoundaryDoU(lowest=limits[0], highest=limits[1])
    assert loss(logits, labels).item() == pytest.approx(by_definition(logits, labels, *limits))


@pytest.mark.parametrize(
    ("size", "space", "inner"),
    [(4, (12, 12), 4), (10, (16, 16), 64), (5, (12, 12, 12), 27), (1, (9, 9), 0)],
    ids=["square", "large square", "cube", "voxel"],
)
def test_alpha_of_squares_and_cubes_by_hand(size, space, inner):
    labels = cube(size, space)
    volume = size ** len(space)
    assert on_boundary(labels)[labels == 1].sum() == volume - inner
    alpha = 1 - 2 * (volume - inner) / volume
    half = certain(labels)
    half[labels[:, None].expand_as(half) == 1] = 0  # p = 1/2 in the object, right elsewhere
    expected = (volume / 4 + volume - volume) / (volume / 4 + volume - (1 + alpha) * volume / 2)
    loss = BoundaryDoU(lowest=-1.0, background=False)(half, labels)
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    at_zero = BoundaryDoU(background=False)(half, labels)
    assert at_zero.item() == pytest.approx((1 / 4) / (5 / 4 - (1 + max(alpha, 0)) / 2), rel=1e-4)


def test_alpha_of_zero_is_the_jaccard_loss_and_of_minus_one_the_dice_loss():
    logits, labels = torch.randn(2, 3, 7, 8, dtype=torch.float64), torch.randint(3, (2, 7, 8))
    dice = Dice(denominator="squared", eps=1e-12)(logits, labels)
    torch.testing.assert_close(BoundaryDoU(lowest=-1.0, highest=-1.0, eps=1e-12)(logits, labels), dice)
    p, y = logits.softmax(1), torch.nn.functional.one_hot(labels, 3).movedim(-1, 1)
    both, sizes = (p * y).sum((2, 3)), (p**2 + y).sum((2, 3))
    jaccard = (1 - both / (sizes - both)).mean()
    torch.testing.assert_close(BoundaryDoU(lowest=0.0, highest=0.0, eps=1e-12)(logits, labels), jaccard)


def test_the_same_relative_mistake_costs_a_large_structure_more_than_a_small_one():
    def cost(size):
        labels = cube(size, (44, 44))
        logits = certain(labels)
        logits[:, 1][labels == 1] = logits[:, 0][labels == 1] + 1.5
        return BoundaryDoU(background=False)(logits, labels), Dice(background=False)(logits, labels)

    (small, small_dice), (large, large_dice) = cost(8), cost(40)
    torch.testing.assert_close(small_dice, large_dice, rtol=1e-4, atol=0)
    assert large > 1.5 * small


def test_a_volume_of_one_slice_is_the_slice():
    logits, labels = torch.randn(2, 3, 8, 9), torch.randint(3, (2, 8, 9))
    for axis in (1, 2, 3):
        volume = BoundaryDoU(lowest=-1.0)(logits.unsqueeze(axis + 1), labels.unsqueeze(axis))
        torch.testing.assert_close(volume, BoundaryDoU(lowest=-1.0)(logits, labels))


def test_the_reference_costs_nothing_and_its_opposite_one():
    for labels in (cube(4, (9, 9)), cube(3, (7, 7, 7))):
        assert BoundaryDoU()(certain(labels), labels) == 0
        torch.testing.assert_close(BoundaryDoU()(certain(1 - labels), labels).item(), 1.0, rtol=1e-5, atol=0)


def test_an_absent_class_costs_nothing_where_none_is_predicted_and_one_where_some_is():
    labels = cube(4, (9, 9))
    assert BoundaryDoU()(certain(labels, 3), labels) < 1e-12
    wrong = labels.clone()
    wrong[0, 7:] = 2
    assert BoundaryDoU()(certain(wrong, 3), labels) > 1 / 3


def test_a_class_that_fills_the_image_ends_at_its_edge():
    labels = torch.ones(1, 6, 6, dtype=torch.long)
    assert on_boundary(labels).sum() == 20
    logits = torch.zeros(1, 2, 6, 6, requires_grad=True)
    value = BoundaryDoU(background=False, lowest=-1.0)(logits, labels)
    assert value.item() == pytest.approx((1 / 4) / (5 / 4 - (2 - 40 / 36) / 2), rel=1e-4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lowest": -1.5}, "lowest -1.5 to highest 1.0"),
        ({"lowest": 0.9, "highest": 0.8}, "lowest 0.9 to highest 0.8"),
        ({"highest": float("nan")}, "highest nan"),
        ({"eps": -1.0}, "eps is -1.0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong, message):
    with pytest.raises(ExperimentError, match=f"boundary_dou: .*{message}"):
        BoundaryDoU(**wrong)
