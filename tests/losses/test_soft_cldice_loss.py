"""Soft clDice against MONAI, and what it is for: breaks in thin structures."""

import pytest
import torch
from monai.losses import SoftclDiceLoss
from monai.losses.cldice import soft_skel

from edgewise.errors import ExperimentError
from edgewise.losses import Dice
from edgewise.losses.soft_cldice import SoftClDice, soft_skeleton
from edgewise.truth import Truth

SPACES = pytest.mark.parametrize("space", [(9, 10), (7, 8, 6), (1, 8, 9)], ids=["2d", "3d", "thin"])


def monai(iterations):
    """For one foreground class, without what MONAI adds to the harmonic mean, the formulas are equal."""
    return SoftclDiceLoss(iter_=iterations, smooth=1e-15, include_background=False, softmax=True, to_onehot_y=True)


def certain(labels, classes=2):
    return 60.0 * torch.nn.functional.one_hot(labels, classes).movedim(-1, 1).double()


def vessel(space=(24, 24)):
    """A line three voxels thick."""
    labels = torch.zeros(1, *space, dtype=torch.long)
    labels[(0, *(slice(size // 2 - 1, size // 2 + 2) for size in space[:-1]), slice(2, -2))] = 1
    return labels


@SPACES
@pytest.mark.parametrize("iterations", [0, 1, 4])
def test_value_and_gradient_agree_with_monai_for_one_foreground_class(space, iterations):
    logits = torch.randn(2, 2, *space, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(2, (2, *space))
    ours, theirs = SoftClDice(iterations=iterations)(logits, labels), monai(iterations)(logits, labels[:, None])
    torch.testing.assert_close(ours, theirs)
    (gradient,) = torch.autograd.grad(ours, logits)
    torch.testing.assert_close(gradient, torch.autograd.grad(theirs, logits)[0])


@SPACES
@pytest.mark.parametrize("iterations", [0, 1, 3])
def test_soft_skeletons_of_soft_and_hard_masks_agree_with_monai(space, iterations):
    soft = torch.rand(2, *space, dtype=torch.float64)
    for mask in (soft, (soft > 0.4).double(), (soft > 0).double()):
        torch.testing.assert_close(soft_skeleton(mask, iterations), soft_skel(mask[:, None], iterations)[:, 0])


def test_several_foreground_classes_are_averaged_each_by_itself():
    logits, labels = torch.randn(2, 4, 9, 8, dtype=torch.float64), torch.randint(4, (2, 9, 8))
    p = logits.softmax(1)
    plain = SoftclDiceLoss(iter_=3, smooth=1e-15)
    each = [plain(p[:, [c]], (labels == c)[:, None].double()) for c in (1, 2, 3)]
    torch.testing.assert_close(SoftClDice()(logits, labels), torch.stack(each).mean())


@pytest.mark.parametrize("space", [(24, 24), (12, 12, 20)], ids=["2d", "3d"])
def test_a_gap_in_a_vessel_costs_more_than_the_same_number_of_voxels_off_its_wall(space):
    labels = vessel(space)
    broken, thinner = labels.clone(), labels.clone()
    middle = space[-1] // 2
    broken[..., middle - 1 : middle + 2] = 0
    lost = int((labels - broken).sum())
    wall = (labels * torch.arange(labels.numel()).reshape(labels.shape)).flatten().nonzero()[:lost]
    thinner.view(-1)[wall[:, 0]] = 0
    loss, dice = SoftClDice(), Dice(background=False)
    torch.testing.assert_close(dice(certain(broken), labels), dice(certain(thinner), labels))
    assert loss(certain(labels), labels) < 1e-9
    assert loss(certain(broken), labels) > 2 * loss(certain(thinner), labels)
    assert loss(certain(broken), labels) > loss(certain(labels), labels) + 0.03


def test_the_cost_of_a_gap_grows_with_its_length():
    labels = vessel()
    costs = []
    for length in (0, 2, 4, 8):
        broken = labels.clone()
        broken[..., 8 : 8 + length] = 0
        costs.append(SoftClDice()(certain(broken), labels).item())
    assert costs == sorted(costs)
    assert len(set(costs)) == 4


def test_the_skeleton_of_a_thick_line_is_thin_and_lies_in_it():
    line = vessel().double()
    skeleton = soft_skeleton(line, 3)
    assert (skeleton <= line).all()
    torch.testing.assert_close(skeleton[0, 12, 4:-4], torch.ones(16, dtype=torch.float64))
    assert skeleton[0, [11, 13], 4:-4].sum() == 0


def test_a_skeleton_lies_between_0_and_1():
    for seed in range(5):
        mask = torch.rand(1, 8, 9, 7, generator=torch.Generator().manual_seed(seed))
        skeleton = soft_skeleton(mask, 4)
        assert 0 <= skeleton.min() <= skeleton.max() <= 1


def test_equal_neighbours_share_the_gradient_so_that_mirrored_images_have_mirrored_gradients():
    mask = torch.randint(3, (1, 6, 7, 5), generator=torch.Generator().manual_seed(0)).double() / 4
    weights = torch.rand(mask.shape, dtype=torch.float64)

    def gradient(values, factors):
        values = values.clone().requires_grad_()
        return torch.autograd.grad((soft_skeleton(values, 2) * factors).sum(), values)[0]

    for axis in (1, 2, 3):
        mirrored = gradient(mask.flip(axis), weights.flip(axis))
        torch.testing.assert_close(mirrored, gradient(mask, weights).flip(axis))


def test_an_absent_class_costs_nothing_where_none_is_predicted_and_something_where_some_is():
    empty, some = torch.zeros(1, 16, 16, dtype=torch.long), vessel((16, 16))
    assert SoftClDice()(certain(empty), empty) < 1e-9
    assert SoftClDice()(certain(some), empty) > 0.5


def test_unlabelled_voxels_are_background_to_both_skeletons():
    labels = vessel()
    unknown = labels.clone()
    unknown[0, :, 12:] = 255
    truth = Truth.of(unknown, classes=2, ignore=255)
    kept = labels.clone()
    kept[0, :, 12:] = 0
    torch.testing.assert_close(SoftClDice()(certain(labels), truth), SoftClDice()(certain(kept), kept))


def test_the_graph_holds_no_more_than_a_few_fields_for_an_iteration():
    """Saved tensors are counted, each storage once; pooling would add eight bytes an index."""
    stored = {}

    def count(tensor):
        stored[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    mask = torch.rand(1, 12, 12, 12, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        soft_skeleton(mask, 3).sum()
    assert sum(stored.values()) / (mask.numel() * 4 * 4) < 7


@pytest.mark.parametrize(("wrong", "message"), [({"iterations": -1}, "iterations is -1"), ({"eps": 0.0}, "eps is 0")])
def test_settings_that_make_no_sense_are_refused(wrong, message):
    with pytest.raises(ExperimentError, match=f"soft_cldice: {message}"):
        SoftClDice(**wrong)
