"""The blob loss and CC-DiceCE against loops over components, as their papers define them."""

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.errors import ExperimentError
from edgewise.losses import CrossEntropy, Dice
from edgewise.losses.blob import Blob
from edgewise.losses.component_dice_ce import ComponentDiceCE
from edgewise.truth import Truth

BOTH = pytest.mark.parametrize("kind", [Blob, ComponentDiceCE])
SPACES = st.sampled_from([(7, 8), (4, 5, 6)])


def pieces(labels, each):
    """Masks of the connected components of a class of an image, one by one."""
    numbers, count = scipy.ndimage.label((labels == each).numpy(), np.ones((3,) * labels.ndim))
    return [torch.from_numpy(numbers == number) for number in range(1, count + 1)]


def dice_loss(p, mask):
    return 1 - 2 * (p * mask).sum() / (p.sum() + mask.sum())


def over_components(cost, labels, classes):
    """Mean of cost(image, class, masks, mask) over components, then classes, then images, of those there are."""
    images = []
    for image, picture in enumerate(labels):
        means = []
        for each in range(1, classes):
            masks = pieces(picture, each)
            if masks:
                means.append(torch.stack([cost(image, each, masks, mask) for mask in masks]).mean())
        if means:
            images.append(torch.stack(means).mean())
    return torch.stack(images).mean() if images else torch.zeros(())


def blobs_by_definition(logits, labels):
    p = logits.softmax(1)

    def cost(image, each, masks, mask):
        others = torch.stack(masks).any(0) & ~mask
        return dice_loss(p[image, each].masked_fill(others, 0), mask)

    return over_components(cost, labels, logits.shape[1])


def regions_by_definition(logits, labels, spacing, known=True):
    p = logits.softmax(1)
    entropy = torch.nn.functional.cross_entropy(logits, labels, reduction="none")

    def cost(image, each, masks, mask):
        distances = torch.stack([distance_to(other, spacing) for other in masks])
        mine = distance_to(mask, spacing)
        region = ((distances <= mine * (1 + 1e-6)).sum(0) == 1) & (mine <= distances.amin(0)) & known
        return dice_loss(p[image, each] * region, mask) + entropy[image][region].mean()

    return over_components(cost, labels, logits.shape[1])


def distance_to(mask, spacing):
    return torch.from_numpy(scipy.ndimage.distance_transform_edt(~mask.numpy(), sampling=spacing))


def scene(space, seed, classes=3):
    """Logits, and labels that are mostly background, so that there are several components."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, classes, *space, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(classes, (3, *space), generator=generator)
    rare = torch.rand(labels.shape, generator=generator) < 0.2
    rare[2] &= generator.initial_seed() % 2 == 0  # sometimes an image without components
    return logits, labels * rare


def agree(actual, expected, logits):
    torch.testing.assert_close(actual, expected)
    gradients = (torch.autograd.grad(value, logits, retain_graph=True)[0] for value in (actual, expected))
    torch.testing.assert_close(*gradients)


@settings(max_examples=25)
@given(SPACES, st.integers(0, 1000))
def test_the_blob_term_is_the_mean_dice_loss_with_all_other_components_masked_out(space, seed):
    logits, labels = scene(space, seed)
    agree(Blob(alpha=0.0)(logits, labels), blobs_by_definition(logits, labels), logits)
    expected = 2 * Dice(background=False)(logits, labels) + blobs_by_definition(logits, labels)
    agree(Blob()(logits, labels), expected, logits)


@settings(max_examples=25)
@given(SPACES, st.integers(0, 1000), st.sampled_from([(1.0, 1.0, 1.0), (3.0, 1.0, 0.5)]))
def test_the_region_term_is_the_mean_dice_and_cross_entropy_of_voronoi_regions(space, seed, spacing):
    logits, labels = scene(space, seed)
    spacing = spacing[: len(space)]
    expected = regions_by_definition(logits, labels, spacing)
    agree(ComponentDiceCE(alpha=0.0)(logits, labels, spacing=spacing), expected, logits)
    whole = Dice(background=False)(logits, labels) + CrossEntropy()(logits, labels)
    agree(ComponentDiceCE()(logits, labels, spacing=spacing), whole + expected, logits)


@BOTH
@pytest.mark.parametrize("space", [(8, 9), (5, 6, 7)])
def test_with_a_single_component_both_terms_are_the_same(kind, space):
    logits = torch.randn(2, 2, *space, dtype=torch.float64)
    labels = torch.zeros(2, *space, dtype=torch.long)
    labels[:, 1:4, 2:5] = 1
    whole, each = kind(alpha=1.0, beta=0.0, eps=1e-12), kind(alpha=0.0, beta=1.0, eps=1e-12)
    torch.testing.assert_close(whole(logits, labels), each(logits, labels))


def two_lesions():
    """A large and a small one in a volume; and confident logits of any labels."""
    labels = torch.zeros(1, 24, 24, 24, dtype=torch.long)
    labels[0, 2:14, 2:14, 2:14] = 1
    labels[0, 19:21, 19:21, 19:21] = 1
    return labels


def certain(labels):
    return torch.stack([20.0 * (labels == 0), 20.0 * (labels == 1)], 1)


@BOTH
def test_losing_a_small_lesion_beside_a_large_one_costs_as_much_as_losing_the_large_one(kind):
    labels = two_lesions()
    no_small, no_large = labels.clone(), labels.clone()
    no_small[0, 16:], no_large[0, :16] = 0, 0
    dice, loss = Dice(background=False), kind(alpha=0.0)
    assert dice(certain(no_small), labels) < 0.01
    assert dice(certain(no_large), labels) > 0.9
    if kind is Blob:
        torch.testing.assert_close(loss(certain(no_small), labels), torch.tensor(0.5), atol=1e-3, rtol=0)
        torch.testing.assert_close(loss(certain(no_large), labels), torch.tensor(0.5), atol=1e-3, rtol=0)
    else:  # the cross entropy of 8 voxels in a region of thousands adds little
        assert loss(certain(no_small), labels) > 0.5
    assert loss(certain(no_small), labels) > 50 * dice(certain(no_small), labels)


def false_positive(*place):
    wrong = two_lesions()
    wrong[(0, *place)] = 1
    return wrong


def test_a_false_positive_costs_the_blob_term_the_same_wherever_and_the_region_term_most_near_a_small_lesion():
    labels = two_lesions()
    near_large, near_small = certain(false_positive(2, 16, 2)), certain(false_positive(21, 23, 21))
    blob, regions = Blob(alpha=0.0), ComponentDiceCE(alpha=0.0)
    torch.testing.assert_close(blob(near_large, labels), blob(near_small, labels))
    assert regions(near_small, labels) > 5 * regions(near_large, labels)


def test_the_spacing_moves_the_borders_of_regions_and_nothing_in_the_blob_loss():
    labels = torch.zeros(1, 9, 9, dtype=torch.long)
    labels[0, 0, 0:3] = labels[0, 8, 6:8] = 1
    logits = torch.randn(1, 2, 9, 9)
    square, tall = (1.0, 1.0), (9.0, 1.0)
    assert ComponentDiceCE()(logits, labels, spacing=square) != ComponentDiceCE()(logits, labels, spacing=tall)
    assert Blob()(logits, labels, spacing=square) == Blob()(logits, labels, spacing=tall)
    labels[0, 8] = 0
    assert ComponentDiceCE()(logits, labels, spacing=square) == ComponentDiceCE()(logits, labels, spacing=tall)


@BOTH
def test_the_reference_costs_nothing(kind):
    labels = two_lesions()
    sure = 100 * certain(labels)
    assert kind(alpha=0.0)(sure, labels) == 0
    assert kind()(sure, labels) < 1e-6


@BOTH
def test_images_without_components_leave_only_the_global_term(kind):
    logits = torch.randn(2, 2, 6, 7)
    labels = torch.zeros(2, 6, 7, dtype=torch.long)
    assert kind(alpha=0.0)(logits, labels) == 0
    labels[0, 2, 2] = labels[0, 4:, 4:] = 1
    both, first = kind(alpha=0.0)(logits, labels), kind(alpha=0.0)(logits[:1], labels[:1])
    torch.testing.assert_close(both, first)


@BOTH
def test_what_nobody_labelled_belongs_to_no_component(kind):
    labels = two_lesions()
    labels[0, 14:17] = 255
    logits = torch.randn(1, 2, 24, 24, 24)
    loss = kind(alpha=0.0)
    truth = Truth.of(labels, classes=2, needs=loss.needs, ignore=255)
    moved = torch.where((labels == 255)[:, None], torch.randn_like(logits), logits)
    torch.testing.assert_close(loss(logits, truth), loss(moved, truth), rtol=0, atol=0)
    if kind is ComponentDiceCE:
        known = labels[0] != 255
        expected = regions_by_definition(logits, labels * known, (1.0, 1.0, 1.0), known)
        torch.testing.assert_close(loss(logits, truth).double(), expected.double(), rtol=1e-5, atol=0)
    else:  # cut the slab out: nothing else changes
        kept = torch.cat([labels[:, :14], torch.zeros(1, 1, 24, 24, dtype=torch.long), labels[:, 17:]], 1)
        certain_slab = torch.tensor([50.0, -50.0]).reshape(1, 2, 1, 1, 1).expand(1, 2, 1, 24, 24)
        cut = torch.cat([logits[:, :, :14], certain_slab, logits[:, :, 17:]], 2)
        torch.testing.assert_close(loss(logits, truth), loss(cut, kept))


@BOTH
def test_image_weights_multiply_the_terms_of_an_image(kind):
    logits, labels = scene((7, 8), seed=2)
    loss = kind(alpha=0.0)
    each = [loss(logits[[image]], labels[[image]]) for image in range(3)]
    weights = torch.tensor([2.0, 0.5, 0.0])
    truth = Truth.of(labels, classes=3, needs=loss.needs, weights=weights)
    torch.testing.assert_close(loss(logits, truth), (torch.stack(each) * weights).mean())


@pytest.mark.timeout(60)
@BOTH
def test_five_thousand_lesions_of_one_voxel(kind):
    labels = torch.zeros(1, 36, 36, 36, dtype=torch.long)
    labels[:, ::2, ::2, ::2] = 1
    count = 18**3
    truth = Truth.of(labels, classes=2, needs=kind().needs)
    logits = torch.zeros(1, 2, 36, 36, 36, requires_grad=True)
    value = kind(alpha=0.0)(logits, truth)
    value.backward()
    assert logits.grad.isfinite().all()
    if kind is Blob:  # p = 1/2 everywhere
        outside = (36**3 - count) / 2
        assert value.item() == pytest.approx(1 - 1 / (0.5 + outside + 1))
    else:  # regions of 1 voxel, or 2, 4, 8 where they end at the edge of the image
        sizes = [1] * 17**3 + [2] * 3 * 17**2 + [4] * 3 * 17 + [8]
        dice = sum(1 / (size / 2 + 1) for size in sizes) / count
        assert value.item() == pytest.approx(1 - dice + np.log(2))


def test_a_huge_lesion_does_not_drown_a_small_one_in_single_precision():
    labels = torch.zeros(1, 1024, 1024, dtype=torch.long)
    labels[0, :1000] = 1
    labels[0, 1010, 1010] = 1
    logits = certain(labels).float()
    logits[0, :, 1010, 1010] = 0
    for loss in (Blob(alpha=0.0), ComponentDiceCE(alpha=0.0)):
        torch.testing.assert_close(loss(logits, labels).double(), loss(logits.double(), labels), rtol=1e-5, atol=0)


@BOTH
@pytest.mark.parametrize(
    "wrong",
    [{"alpha": -1.0}, {"beta": -0.1}, {"alpha": float("nan")}, {"beta": float("inf")}, {"alpha": 0.0, "beta": 0.0}],
    ids=str,
)
def test_weights_that_make_no_sense_are_refused(kind, wrong):
    with pytest.raises(ExperimentError, match=f"{kind().kind}: alpha is .* and beta .* finite and not negative"):
        kind(**wrong)


@BOTH
def test_an_eps_of_zero_is_refused(kind):
    with pytest.raises(ExperimentError, match="eps is 0"):
        kind(eps=0.0)
