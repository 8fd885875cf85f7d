"""The MapDice loss against its definition, and what minimises its two forms."""

import pytest
import torch
from torch.nn.functional import one_hot

from edgewise.errors import ExperimentError
from edgewise.losses.map_dice import MapDice
from edgewise.maps.boundary import Boundary
from edgewise.maps.inverse import Distance, Inverse, NormalizedInverse
from edgewise.maps.region_wise import Rectified
from edgewise.truth import Truth

SPACING = (2.0, 1.0, 0.5)


def scene(space=(6, 7, 8)):
    labels = torch.zeros(3, *space, dtype=torch.long)
    labels[0, 1:5, 1:6, 1:6] = 1
    labels[0, 2, 2, 2] = 2
    labels[1, :, :3, :4] = 2
    return labels  # the third image is all background


def definition(p, labels, phi, eps, form, batch):
    """Eq. 2 of the paper with all channels, or the same weights above and below."""
    y = one_hot(labels, 3).movedim(-1, 1).double()
    axes = (0, 2, 3, 4) if batch == "pooled" else (2, 3, 4)
    if form == "paper":
        above, below = (p * phi).sum(axes), (p + phi).sum(axes)
    else:
        w = 1 + phi * y
        above, below = (w * p * y).sum(axes), (w * p).sum(axes) + (w * y).sum(axes)
    return 1 - ((2 * above + eps) / (below + eps))[..., 1:].mean()


@pytest.mark.parametrize("form", ["paper", "weighted"])
@pytest.mark.parametrize("batch", ["each", "pooled"])
@pytest.mark.parametrize("field", [NormalizedInverse(), Inverse(), Distance()], ids=lambda field: field.kind)
def test_value_and_gradient_agree_with_the_definition(form, batch, field):
    labels = scene()
    logits = torch.randn(
        3, 3, 6, 7, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    ).requires_grad_()
    ours = MapDice(form=form, batch=batch, map=field, eps=0.1)(logits, labels, spacing=SPACING)
    phi = field(labels, classes=3, spacing=SPACING, channels="all").double()
    phi[:, 0] = 0
    theirs = definition(logits.softmax(1), labels, phi, 0.1, form, batch)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)
    (a,), (b,) = torch.autograd.grad(ours, logits), torch.autograd.grad(theirs, logits)
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-10)


# A ball with a radius of 24 voxels.

RADIUS = 24


def ball():
    axis = torch.arange(-RADIUS - 2, RADIUS + 3)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    return (z**2 + y**2 + x**2 <= RADIUS**2).long()[None]


def logits_of(mask):
    """Certain: the wrong class has a probability of 1e-26."""
    return torch.stack([torch.zeros(mask.shape, dtype=torch.float64), 60.0 * (2 * mask.double() - 1)], 1)


def minimiser(phi):
    """The mask of all voxels with phi above half the value of the paper's fraction: its fixed point, from phi > 0."""
    mask = phi > 0
    for _ in range(50):
        value = 2 * phi[mask].sum() / (mask.sum() + phi.sum())
        before, mask = mask, phi > value / 2
        if (mask == before).all():
            return mask
    raise AssertionError("no fixed point")


def dice(a, b):
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@pytest.fixture(scope="module")
def scenery():
    reference = ball()
    truth = Truth.of(reference, classes=2, needs=MapDice().needs)
    phi = truth.maps[NormalizedInverse()].double()
    return reference.bool(), truth, minimiser(phi)


def slope(loss, mask, truth):
    """Derivative with respect to the probability of the foreground, where that is `mask`."""
    p = mask.double().clamp(1e-9, 1 - 1e-9).requires_grad_()
    (gradient,) = torch.autograd.grad(loss.of(torch.stack([1 - p, p], 1).log(), truth), p)
    return gradient


def test_the_minimiser_of_the_papers_form_is_a_hollow_ball_with_a_dice_of_0_966(scenery):
    reference, truth, best = scenery
    assert dice(best, reference) == pytest.approx(0.966, abs=0.001)
    missing = reference & ~best
    assert (best & ~reference).sum() == 0
    centre = tuple(size // 2 for size in reference.shape[1:])
    assert missing[0][centre]
    depth = -Rectified()(reference.long(), classes=2, spacing=(1.0, 1.0, 1.0))
    assert depth[missing].min() > depth[best].max()  # what is missing is deeper than all that is left
    assert MapDice()(logits_of(best), truth) < MapDice()(logits_of(reference), truth) - 0.001


def test_no_voxel_of_that_minimiser_can_be_moved_to_lower_the_papers_form(scenery):
    _, truth, best = scenery
    gradient = slope(MapDice(), best, truth)
    assert (gradient[best] < 0).all()
    assert (gradient[~best] > 0).all()


def test_descent_from_a_doubtful_answer_ends_at_that_minimiser(scenery):
    reference, truth, best = scenery
    p = torch.where(reference, 0.6, 0.4).double()
    for _ in range(60):  # linear over linear: every voxel runs to the end that its slope points at
        p = (p - 20 * p.numel() * slope(MapDice(), p, truth)).clamp(0, 1)
    assert dice(p > 0.5, best) > 0.9999


def test_the_reference_is_not_the_minimum_of_the_papers_form(scenery):
    reference, truth, _ = scenery
    gradient = slope(MapDice(), reference, truth)
    assert (gradient[reference] > 0).any()


def test_the_reference_is_the_minimum_of_the_weighted_form(scenery):
    reference, truth, best = scenery
    loss = MapDice(form="weighted")
    gradient = slope(loss, reference, truth)
    assert (gradient[reference] < 0).all()
    assert (gradient[~reference] > 0).all()
    least = loss(logits_of(reference), truth)
    assert least == pytest.approx(0, abs=1e-9)
    assert loss(logits_of(best), truth) > least + 0.001


@pytest.mark.parametrize("eps", [0.0, -1.0, float("nan")])
def test_an_eps_that_allows_zero_by_zero_is_refused(eps):
    with pytest.raises(ExperimentError, match="must be positive"):
        MapDice(eps=eps)


@pytest.mark.parametrize("field", [Rectified(), Boundary()], ids=lambda field: field.kind)
def test_a_map_that_is_not_zero_outside_the_class_is_refused(field):
    with pytest.raises(ExperimentError, match="is not 0 outside the own class"):
        MapDice(map=field)
