"""The cross entropy, alone and summed with Dice, against torch and MONAI."""

import pytest
import torch
from monai.losses import DiceCELoss

from edgewise.errors import ExperimentError
from edgewise.losses import CrossEntropy, Dice, RegionWise, Sum, Term
from edgewise.truth import Truth


def batch(shape=(2, 4, 7, 6, 5), seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    return logits, torch.randint(shape[1], (shape[0], *shape[2:]), generator=generator)


@pytest.mark.parametrize("shape", [(3, 2, 8, 9), (2, 4, 5, 6, 7)])
def test_agrees_with_torch(shape):
    logits, labels = batch(shape)
    torch.testing.assert_close(CrossEntropy()(logits, labels), torch.nn.functional.cross_entropy(logits, labels))


@pytest.mark.parametrize("ignore", ["none", 3])
def test_class_weights_agree_with_torch(ignore):
    logits, labels = batch((2, 3, 7, 6, 5))
    labels[0, :2] = 3
    labels = labels if ignore == 3 else labels.clamp(max=2)
    weights = (0.1, 2.0, 0.7)
    truth = Truth.of(labels, classes=3, ignore=ignore)
    ours = CrossEntropy(class_weights=weights)(logits, truth)
    theirs = torch.nn.functional.cross_entropy(logits, labels, torch.tensor(weights).double(), ignore_index=3)
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=0)
    torch.testing.assert_close(torch.autograd.grad(ours, logits), torch.autograd.grad(theirs, logits))


def test_equal_class_weights_of_any_size_change_nothing():
    logits, labels = batch()
    for size in (1e-6, 1.0, 1e6):
        torch.testing.assert_close(
            CrossEntropy(class_weights=(size,) * 4)(logits, labels), CrossEntropy()(logits, labels)
        )


def test_classes_in_balance_are_weighed_by_one_over_their_frequency_in_the_batch():
    logits, labels = batch()
    labels[labels == 3] = 0  # class 3 is absent
    labels[1, :4] = 0
    per_class = [-logits.log_softmax(1)[:, c][labels == c].mean() for c in range(3)]
    balanced = CrossEntropy(balance="classes")(logits, labels)
    torch.testing.assert_close(balanced, sum(per_class) / 3)
    frequencies = labels.flatten().bincount(minlength=4)
    given = CrossEntropy(class_weights=tuple((1 / frequencies.clamp(min=1)).tolist()))(logits, labels)
    torch.testing.assert_close(balanced, given)
    emphasis = CrossEntropy(balance="classes", class_weights=(1.0, 3.0, 0.0, 1.0))(logits, labels)
    torch.testing.assert_close(emphasis, (per_class[0] + 3 * per_class[1]) / 4)


def test_the_weight_of_an_image_does_not_change_what_others_count():
    logits, labels = batch()
    for loss in (CrossEntropy(class_weights=(1.0, 2.0, 3.0, 4.0)), CrossEntropy(balance="classes")):
        values = [
            loss(logits, Truth.of(labels, classes=4, weights=torch.tensor(weights)))
            for weights in ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0))
        ]
        torch.testing.assert_close(values[0], values[1] + values[2])


def test_a_batch_without_any_class_that_counts_has_no_loss():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = CrossEntropy(class_weights=(0.0, 1.0, 1.0))(logits, torch.zeros(1, 4, 4, dtype=torch.long))
    assert loss == 0
    assert (torch.autograd.grad(loss, logits)[0] == 0).all()


@pytest.mark.parametrize("weights", [(1.0, -1.0), (0.0, 0.0), (1.0, float("nan")), (1.0, float("inf"))])
def test_class_weights_that_make_no_mean_are_refused(weights):
    with pytest.raises(ExperimentError, match=r"cross_entropy: class_weights .* not negative"):
        CrossEntropy(class_weights=weights)


def test_class_weights_that_do_not_fit_the_labels_are_refused():
    logits, labels = batch()
    with pytest.raises(ExperimentError, match=r"2 class weights .* 4 classes"):
        CrossEntropy(class_weights=(1.0, 2.0))(logits, labels)


def test_the_default_sum_agrees_with_monais_dice_plus_cross_entropy():
    logits, labels = batch()
    ours = Sum()(logits, labels)
    theirs = DiceCELoss(to_onehot_y=True, softmax=True)(logits, labels[:, None])
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours, logits), torch.autograd.grad(theirs, logits))


def test_a_sum_is_the_weighted_sum_of_its_terms():
    logits, labels = batch()
    losses = {Dice(): 0.25, CrossEntropy(): 2.0, RegionWise(): -1.0}
    total = Sum(terms=tuple(Term(loss=loss, weight=weight) for loss, weight in losses.items()))
    expected = sum(weight * loss(logits, labels) for loss, weight in losses.items())
    torch.testing.assert_close(total(logits, labels), expected)


def test_a_sum_needs_each_map_of_its_terms_once():
    inner = Sum(terms=(Term(loss=RegionWise()), Term(loss=Dice())))
    assert Sum(terms=(Term(loss=inner), Term(loss=RegionWise()))).needs == RegionWise().needs
    assert Sum().needs == ()
