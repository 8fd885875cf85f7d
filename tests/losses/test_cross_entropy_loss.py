"""The cross entropy, alone and summed with Dice, against torch and MONAI."""

import pytest
import torch
from monai.losses import DiceCELoss

from edgewise.losses import CrossEntropy, Dice, RegionWise, Sum, Term


def batch(shape=(2, 4, 7, 6, 5), seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    return logits, torch.randint(shape[1], (shape[0], *shape[2:]), generator=generator)


@pytest.mark.parametrize("shape", [(3, 2, 8, 9), (2, 4, 5, 6, 7)])
def test_agrees_with_torch(shape):
    logits, labels = batch(shape)
    torch.testing.assert_close(CrossEntropy()(logits, labels), torch.nn.functional.cross_entropy(logits, labels))


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
