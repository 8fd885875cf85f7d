"""What the region-wise paper proves, as tests: Valverde & Tohka 2022, doi:10.1016/j.patcog.2022.109208.

The propositions are about two classes and write sums over voxels; we divide by the number of voxels and classes.
On the left of every equivalence stands the loss as its own authors wrote it, voxel by voxel, on the right ours.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt
from torch.utils._python_dispatch import TorchDispatchMode

from edgewise.losses import HausdorffDT, RegionWise
from edgewise.losses.active_contour import ActiveContour as ActiveContourLoss
from edgewise.losses.boundary import Boundary as BoundaryLoss
from edgewise.maps.boundary import Boundary
from edgewise.maps.hausdorff import Hausdorff
from edgewise.maps.inverse import Distance, Inverse, NormalizedInverse, SignedNormalizedInverse
from edgewise.maps.penalty import Penalty
from edgewise.maps.rectify import Rectification
from edgewise.maps.region_wise import ActiveContour, NonDistance, Rectified
from edgewise.truth import Truth

SPACES = {"2d": ((9, 8), (3.0, 0.7)), "3d": ((5, 7, 6), (2.5, 0.8, 0.8))}
each_space = pytest.mark.parametrize(("space", "spacing"), SPACES.values(), ids=SPACES)


def two_classes(space):
    """Probability u of the foreground, reference g (a box, a speck, and an image without any), and the logits of u."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 2, *space, generator=generator, dtype=torch.float64)
    g = torch.zeros(3, *space, dtype=torch.long)
    g[0, 1:4, 2:6] = 1
    g[1, 2, 3] = 1
    return logits, logits.softmax(1)[:, 1], g


def level_set(g, spacing):
    """Signed distance of every voxel to the boundary of the foreground, negative inside, by SciPy."""
    phi = torch.zeros(g.shape, dtype=torch.float64)
    for image, field in zip(g.numpy(), phi, strict=True):
        if 0 < image.sum() < image.size:
            outside = distance_transform_edt(image == 0, sampling=spacing)
            inside = distance_transform_edt(image, sampling=spacing)
            field[...] = torch.from_numpy(outside - inside)
    return phi


@each_space
def test_proposition_1_active_contour_without_its_length_is_region_wise_with_the_map_1_minus_y(space, spacing):
    logits, u, g = two_classes(space)
    inside, outside = (u * (g - 1) ** 2).mean(), ((1 - u) * (g - 0) ** 2).mean()  # Chen et al., c1 = 1, c2 = 0
    ours = RegionWise(map=ActiveContour())(logits, g, spacing=spacing)
    torch.testing.assert_close((inside + outside) / 2, ours)
    torch.testing.assert_close(ActiveContourLoss(length=0.0)(logits, g, spacing=spacing), ours)


@each_space
def test_proposition_2_the_boundary_loss_is_region_wise_with_the_signed_distance_to_every_class(space, spacing):
    logits, u, g = two_classes(space)
    phi = level_set(g, spacing)
    foreground = (phi * u).mean()  # Kervadec et al.
    ours = RegionWise(map=Boundary())(logits, g, spacing=spacing)
    torch.testing.assert_close((foreground + (-phi * (1 - u)).mean()) / 2, ours, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(BoundaryLoss(background=True)(logits, g, spacing=spacing), ours)
    torch.testing.assert_close(BoundaryLoss()(logits, g, spacing=spacing), foreground, rtol=1e-6, atol=1e-6)


@each_space
def test_with_two_classes_both_channels_of_the_boundary_loss_say_the_same_up_to_a_constant(space, spacing):
    logits, _, g = two_classes(space)
    ours = RegionWise(map=Boundary())(logits, g, spacing=spacing)
    constant = level_set(g, spacing).mean() / 2
    torch.testing.assert_close(
        BoundaryLoss()(logits, g, spacing=spacing), ours + constant, rtol=1e-6, atol=1e-6
    )  # fmt: skip


@each_space
@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_proposition_3_one_sided_hausdorff_is_squared_region_wise_with_its_map(space, spacing, alpha):
    logits, u, g = two_classes(space)
    one_sided = ((u - g) ** 2 * level_set(g, spacing).abs() ** alpha).mean()  # Karimi & Salcudean
    ours = RegionWise(map=Hausdorff(alpha=alpha), probability="squared")(logits, g, spacing=spacing)
    torch.testing.assert_close(one_sided / 2, ours, rtol=1e-6, atol=1e-6)
    theirs = HausdorffDT(sides="one", alpha=alpha)(logits, g, spacing=spacing)
    torch.testing.assert_close(theirs, one_sided, rtol=1e-6, atol=1e-6)


@each_space
def test_proposition_4_the_loss_of_cao_et_al_is_region_wise_with_the_map_1_minus_2y(space, spacing):
    logits, u, g = two_classes(space)
    theirs = (u * torch.where(g == 1, -1.0, 1.0)).mean()  # one channel, the foreground's
    ours = RegionWise(map=NonDistance())(logits, g, spacing=spacing)
    background = ((1 - u) * torch.where(g == 0, -1.0, 1.0)).mean()
    torch.testing.assert_close((theirs + background) / 2, ours)
    active = RegionWise(map=ActiveContour())(logits, g, spacing=spacing)
    torch.testing.assert_close(ours, 2 * active - 1 / 2)  # the active contour map, scaled and shifted


@each_space
def test_proposition_5_the_region_term_of_huang_et_al_is_region_wise_with_the_map_1_minus_y(space, spacing):
    # The formula did not survive in our copy of the paper; its proof uses no more than that g is 1 or 0, and says
    # that the map is Proposition 1's: u where g is 0, and 1 - u where it is 1.
    logits, u, g = two_classes(space)
    region = torch.where(g == 0, u, 1 - u).mean()
    torch.testing.assert_close(region / 2, RegionWise(map=ActiveContour())(logits, g, spacing=spacing))


# The gradient, and its signs.

RECTIFIED = [
    Rectified(),
    Rectified(per="component"),
    ActiveContour(),
    NonDistance(),
    Rectification(map=Rectified(), value=2.0),
    Rectification(map=Boundary(), value=0.5),
    Rectification(map=Boundary(offset="one_voxel"), value=0.5),
    Rectification(map=NormalizedInverse(), value=1.5),
    Rectification(map=SignedNormalizedInverse(), value=1.5),
    Rectification(map=Hausdorff(), value=0.1),
    Rectification(map=Distance(), value=100.0),
    Rectification(map=Inverse(), value=100.0),
    Rectification(map=Penalty(), value=100.0),
]
OTHERS = [Boundary(), SignedNormalizedInverse(), Hausdorff(), NormalizedInverse()]


def scene(space, classes=4):
    labels = torch.zeros(3, *space, dtype=torch.long)
    labels[0, 1:5, 2:6] = 1
    labels[0, 3:, :2] = 2
    labels[1, 2, 3] = 3
    labels[1, 0] = 2
    assert classes > 3
    return labels  # the third image is all background


@each_space
@pytest.mark.parametrize("each", RECTIFIED + OTHERS, ids=str)
def test_the_gradient_is_p_k_times_z_k_minus_the_mean_of_z_under_p(each, space, spacing):
    labels = scene(space)
    truth = Truth.of(labels, classes=4, spacing=spacing, needs=(each,))
    z = each(labels, classes=4, spacing=spacing, channels="all").double()
    logits = torch.randn(3, 4, *space, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad(RegionWise(map=each)(logits.requires_grad_(), truth), logits)
    p = logits.detach().softmax(1)
    torch.testing.assert_close(gradient, p * (z - (p * z).sum(1, keepdim=True)) / logits.numel(), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("each", RECTIFIED, ids=str)
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), sharpness=st.floats(0, 3))  # beyond, 1 - p is 0 in float64
def test_with_a_rectified_map_exactly_the_true_class_is_pushed_up_whatever_is_predicted(each, seed, sharpness):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (1, 6, 7), generator=generator).where(torch.rand(1, 6, 7, generator=generator) < 0.6, 0)
    logits = sharpness * torch.randn(1, 4, 6, 7, generator=generator, dtype=torch.float64)
    loss = RegionWise(map=each)
    (gradient,) = torch.autograd.grad(loss(logits.requires_grad_(), labels, spacing=(2.0, 0.5)), logits)
    true_class = torch.nn.functional.one_hot(labels, 4).movedim(-1, 1).bool()
    torch.testing.assert_close(gradient < 0, true_class)
    assert ((gradient > 0) == ~true_class).all()


def test_where_the_prediction_is_certain_rounding_makes_the_gradient_zero_but_never_turns_its_sign():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(4, (2, 40, 40), generator=generator)
    logits = 15 * torch.randn(2, 4, 40, 40, generator=generator)
    (gradient,) = torch.autograd.grad(RegionWise()(logits.requires_grad_(), labels), logits)
    true_class = torch.nn.functional.one_hot(labels, 4).movedim(-1, 1).bool()
    assert (gradient[true_class] == 0).any()
    assert (gradient[true_class] <= 0).all()
    assert (gradient[~true_class] >= 0).all()


def negatives(z, count=200_000):
    """Share of uniformly drawn p (on the simplex) for which more than one component of the gradient is negative."""
    generator = torch.Generator().manual_seed(0)
    p = -torch.rand(count, len(z), generator=generator, dtype=torch.float64).log()
    p = p / p.sum(1, keepdim=True)
    truth = Truth(
        labels=torch.full((1, 1, count), 2),
        classes=3,
        spacing=(1.0, 1.0),
        maps={Boundary(): torch.tensor(z, dtype=torch.float32).reshape(1, 3, 1, 1).expand(1, 3, 1, count)},
    )
    logits = p.log().T.reshape(1, 3, 1, count).contiguous().requires_grad_()
    (gradient,) = torch.autograd.grad(RegionWise(map=Boundary())(logits, truth), logits)
    assert (gradient[:, 2] < 0).all()
    return float(((gradient < 0).sum(1) > 1).double().mean())


@pytest.mark.parametrize(("z", "share"), [((10.0, 20.0, -3.0), 0.43), ((3.0, 30.0, -5.0), 0.77)])
def test_with_the_boundary_map_a_wrong_class_is_pushed_up_beside_the_true_one_for_many_predictions(z, share):
    assert negatives(z) == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("z", [(10.0, 10.0, -3.0), (1.0, 1.0, -1.0), (0.2, 0.2, 0.1)])
def test_with_equal_values_for_the_wrong_classes_it_is_pushed_up_for_none(z):
    assert negatives(z) == 0


# One channel is enough.


@each_space
@pytest.mark.parametrize("each", RECTIFIED, ids=str)
@pytest.mark.parametrize("class_weights", [(), (1.0, 4.0, 0.5, 2.0)], ids=["equal", "weighted"])
@pytest.mark.parametrize("probability", ["plain", "squared"])
def test_the_loss_from_one_channel_is_the_mean_over_all_channels(each, class_weights, probability, space, spacing):
    labels = scene(space)
    loss = RegionWise(map=each, class_weights=class_weights, probability=probability)
    logits = torch.randn(3, 4, *space, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    z = each(labels, classes=4, spacing=spacing, channels="all").double()
    w = torch.tensor(class_weights or (1.0,) * 4, dtype=torch.float64)[labels][:, None]
    p = logits.softmax(1)
    full = (w * (p if probability == "plain" else p**2) * z).mean()
    ours = loss(logits, labels, spacing=spacing)
    torch.testing.assert_close(ours, full, rtol=1e-6, atol=1e-7)
    (a,), (b,) = torch.autograd.grad(ours, logits), torch.autograd.grad(full, logits)
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-8)


class Large(TorchDispatchMode):
    """Notes every operation that makes a tensor of at least `size` elements with storage of its own."""

    def __init__(self, size):
        super().__init__()
        self.size, self.made = size, []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        known = {each.untyped_storage().data_ptr() for each in args if isinstance(each, torch.Tensor)}
        for each in result if isinstance(result, tuple | list) else [result]:
            new = isinstance(each, torch.Tensor) and each.untyped_storage().data_ptr() not in known
            if new and each.untyped_storage().nbytes() // each.element_size() >= self.size:
                self.made.append((operation.overloadpacket.__name__, each.dtype))
        return result


def large_tensors(loss, classes=5):
    """What loss and gradient allocate that has a channel for every class."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, classes, 12, 12, 12, generator=generator, requires_grad=True)
    labels = torch.randint(classes, (2, 12, 12, 12), generator=generator)
    truth = Truth.of(labels, classes=classes, needs=loss.needs)
    assert all(each.numel() == labels.numel() for each in truth.maps.values())
    with Large(logits.numel()) as large:
        torch.autograd.grad(loss(logits, truth), logits)
    return large.made


@pytest.mark.parametrize("loss", [RegionWise(), RegionWise(class_weights=(1.0, 2.0, 3.0, 4.0, 5.0))], ids=str)
def test_neither_a_map_of_all_classes_nor_one_hot_labels_are_made(loss):
    # The softmax, over which the gradient is written.
    assert large_tensors(loss) == [("_softmax", torch.float32)]


def test_the_watch_for_large_tensors_sees_a_map_of_all_classes_and_one_hot_labels():
    class Wasteful(RegionWise):
        def of(self, log_p, truth):
            z = Rectified().expanded(truth.maps[Rectified()], truth.labels, truth.classes)
            y = torch.nn.functional.one_hot(truth.labels, truth.classes)
            return (log_p.softmax(1) * z).mean() + 0 * y.sum()

    made = large_tensors(Wasteful())
    assert len(made) > 2
    assert any(dtype == torch.int64 for _, dtype in made)
