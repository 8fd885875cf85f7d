"""Which losses of a batch are the mean of the losses of its halves, as training in several processes takes them.

`docs/explanation/correctness.md` names those that are not.
"""

import pytest
import torch

from edgewise.losses import (
    LOSSES,
    CrossEntropy,
    Dice,
    ExponentialLogarithmic,
    FocalTversky,
    GeneralisedDice,
    Jaccard,
    MapDice,
    TopK,
    Tversky,
)
from edgewise.truth import Truth

POOLING = {
    "dice, pooled": Dice(batch="pooled"),
    "jaccard, pooled": Jaccard(batch="pooled"),
    "tversky, pooled": Tversky(batch="pooled"),
    "focal_tversky, pooled": FocalTversky(batch="pooled"),
    "generalised_dice, pooled": GeneralisedDice(batch="pooled"),
    "map_dice, pooled": MapDice(batch="pooled"),
    "exponential_logarithmic, pooled": ExponentialLogarithmic(batch="pooled", frequencies=(3.0, 2.0, 1.0)),
    "cross_entropy, classes balanced": CrossEntropy(balance="classes"),
    "cross_entropy, classes weighted": CrossEntropy(class_weights=(1.0, 2.0, 3.0)),
    "exponential_logarithmic, frequencies of the batch": ExponentialLogarithmic(),
    "top_k": TopK(),
    "blob, an image without components": LOSSES["blob"](),
    "component_dice_ce, an image without components": LOSSES["component_dice_ce"](),
}
EXACT = {
    **{kind: loss() for kind, loss in LOSSES.items() if kind not in {"top_k", "exponential_logarithmic"}},
    "exponential_logarithmic": ExponentialLogarithmic(frequencies=(3.0, 2.0, 1.0)),
}


def labels():
    """Four images; in the first two there is less to find."""
    drawn = torch.randint(3, (4, 9, 10), generator=torch.Generator().manual_seed(0))
    drawn[:2, :, :6] = 0
    return drawn


def gradient(loss, truths, part):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(4, 3, 9, 10, generator=generator, dtype=torch.float64, requires_grad=True)
    truth = Truth.of(truths[part], classes=3, spacing=(2.0, 1.0), needs=loss.needs)
    sure = torch.tensor([0.5, 0.5, 1.0, 1.0]).reshape(4, 1, 1, 1)  # the worst voxels are not shared out equally
    loss((sure * logits)[part], truth).backward()
    return logits.grad


def whole_and_halves(loss, truths):
    first, second = (gradient(loss, truths, part) for part in (slice(0, 2), slice(2, 4)))
    return gradient(loss, truths, slice(None)), (first + second) / 2


@pytest.mark.parametrize("name", EXACT)
def test_the_gradient_is_the_mean_of_those_of_the_halves(name):
    torch.testing.assert_close(*whole_and_halves(EXACT[name], labels()))


@pytest.mark.parametrize("name", POOLING)
def test_what_pools_the_batch_is_not_the_mean_of_the_halves(name):
    truths = labels()
    if "without components" in name:
        truths[3] = 0
    whole, halves = whole_and_halves(POOLING[name], truths)
    assert (whole - halves).abs().max() > 1e-3 * whole.abs().max()
