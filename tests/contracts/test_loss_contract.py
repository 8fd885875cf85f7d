"""What holds for every loss, whoever wrote it. A new file in losses/ is tested here without an edit.

Every contract is a function of a loss and a spatial shape that raises AssertionError; at the end, broken
losses must fail them.
"""

import re
from dataclasses import dataclass, fields
from typing import ClassVar, Literal, get_args, get_type_hints

import pytest
import torch
from torch.nn.functional import one_hot
from typing_extensions import override

from edgewise.losses import LOSSES, Dice, Loss, RegionWise
from edgewise.maps import DistanceMap, rectified
from edgewise.truth import Truth

CLASSES = 3
SPACES = {"2d": (9, 8), "3d": (5, 6, 7)}


def batch(space, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, CLASSES, *space, generator=generator, dtype=torch.float64)
    return logits, torch.randint(CLASSES, (2, *space), generator=generator)


def blobs(space):
    """Labels with depth, so that distances matter: class 1 left, class 2 a corner of the second image."""
    labels = torch.zeros(2, *space, dtype=torch.long)
    labels[:, : space[0] // 2] = 1
    labels[1, -2:, -3:] = 2
    return labels


def certain(labels):
    return 9.0 * one_hot(labels, CLASSES).movedim(-1, 1).double()


def anisotropic(space):
    return (4.0, 1.0, 0.5)[: len(space)]


def finite_with_gradient(loss, logits, labels):
    logits = logits.detach().clone().requires_grad_()
    value = loss(logits, labels, spacing=anisotropic(labels.shape[1:]))
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.isfinite()
    assert gradient.isfinite().all()


def is_a_scalar_with_a_correct_gradient(loss, space):
    logits, labels = batch((4, 3, 2)[: len(space)])  # small: a failing gradcheck goes through every logit
    truth = Truth.of(labels, classes=CLASSES, spacing=anisotropic(space), needs=loss.needs)
    value = loss(logits, truth)
    assert value.shape == ()
    assert value.dtype == torch.float64
    assert torch.autograd.gradcheck(
        lambda x: loss(x, truth) * x.numel(), logits.requires_grad_(), fast_mode=True, raise_exception=False
    )
    finite_with_gradient(loss, logits, labels)


def does_not_depend_on_the_order_of_the_batch(loss, space):
    logits, labels = batch(space)
    torch.testing.assert_close(loss(logits, labels), loss(logits.flip(0), labels.flip(0)))


def does_not_depend_on_the_order_of_the_foreground_classes(loss, space):
    logits, labels = batch(space)
    swapped = logits.clone()
    swapped[:, 1:] = logits[:, 1:].flip(1)
    torch.testing.assert_close(loss(logits, labels), loss(swapped, (CLASSES - labels) * (labels > 0)))


def is_the_same_for_mirror_images(loss, space):
    logits, labels = batch(space)
    for axis in range(len(space)):
        mirrored = loss(logits.flip(axis + 2), labels.flip(axis + 1))
        torch.testing.assert_close(loss(logits, labels), mirrored, rtol=1e-6, atol=1e-6)


def prefers_the_truth(loss, space):
    for labels in (batch(space)[1], blobs(space)):
        right, wrong = certain(labels), certain((labels + 1) % CLASSES)
        missed = certain(torch.zeros_like(labels))
        assert loss(right, labels) < loss(missed, labels)
        assert loss(right, labels) < loss(wrong, labels)


def is_finite_for_absent_full_and_tiny_classes(loss, space):
    logits, _ = batch(space)
    one_voxel = torch.zeros(2, *space, dtype=torch.long)
    one_voxel[(slice(None), *(size // 2 for size in space))] = 2
    one_empty_item = blobs(space)
    one_empty_item[0] = 0
    full = torch.ones_like(one_voxel)
    for labels in (one_voxel, one_empty_item, full, torch.zeros_like(full), blobs(space).clamp(max=1)):
        finite_with_gradient(loss, logits, labels)
        for sure in (certain(labels), certain((labels + 1) % CLASSES), 1e4 * certain(labels)):
            finite_with_gradient(loss, sure, labels)


def stays_finite_under_autocast(loss, space):
    large = (260, 260) if len(space) == 2 else (41, 41, 41)
    (logits, _), labels = batch(large), blobs(large)  # few components: some losses look at each
    for dtype in (torch.float16, torch.bfloat16):
        with torch.autocast("cpu", dtype=dtype):
            half = (logits * 1000).to(dtype).requires_grad_()
            value = loss(half, labels)
        (gradient,) = torch.autograd.grad(value, half)
        assert value.dtype == torch.float32
        assert value.isfinite()
        assert gradient.isfinite().all()
        torch.testing.assert_close(value.double(), loss(half.detach().double(), labels), rtol=1e-4, atol=1e-4)


def uses_the_spacing_if_a_map_that_it_reads_does(loss, space):
    logits, _ = batch(space)
    labels = blobs(space)
    labels[:, -1, ..., :1] = 1  # a second piece of class 1
    spacings = ((1.0,) * len(space), anisotropic(space))
    isotropic, stretched = (Truth.of(labels, classes=CLASSES, spacing=s, needs=loss.needs) for s in spacings)
    used = any(bool((isotropic.maps[need] != stretched.maps[need]).any()) for need in loss.needs)
    differs = bool(loss(logits, isotropic) != loss(logits, stretched))
    assert differs or not used
    assert loss.needs or not differs


def is_the_same_on_the_fly_and_prepared(loss, space):
    logits, labels = batch(space)
    spacing = anisotropic(space)
    prepared = Truth.of(labels[:, None].to(torch.uint8), classes=CLASSES, spacing=spacing, needs=loss.needs)
    torch.testing.assert_close(loss(logits, labels, spacing=spacing), loss(logits, prepared), rtol=0, atol=0)


def ignores_what_is_predicted_where_nobody_knows(loss, space):
    logits, labels = batch(space)
    labels[torch.rand(labels.shape, generator=torch.Generator().manual_seed(1)) < 0.3] = 255
    truth = Truth.of(labels, classes=CLASSES, spacing=anisotropic(space), needs=loss.needs, ignore=255)
    other = torch.where((labels == 255)[:, None], 30 * torch.randn_like(logits), logits)
    torch.testing.assert_close(loss(logits, truth), loss(other, truth))
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(logits, truth), logits)
    assert gradient.isfinite().all()
    assert (gradient.movedim(1, -1)[labels == 255] == 0).all()
    assert (gradient != 0).any()


def gives_an_image_of_no_weight_no_gradient(loss, space):
    logits, labels = batch(space)
    truths = {
        weights: Truth.of(labels, classes=CLASSES, needs=loss.needs, weights=torch.tensor(weights))
        for weights in ((1.0, 1.0), (1.0, 0.0), (2.0, 2.0))
    }
    torch.testing.assert_close(loss(logits, truths[1.0, 1.0]), loss(logits, labels))
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(logits, truths[1.0, 0.0]), logits)
    assert (gradient[0] != 0).any()
    assert (gradient[1] == 0).all()


def does_not_depend_on_the_memory_format(loss, space):
    logits, labels = batch(space)
    form = torch.channels_last if len(space) == 2 else torch.channels_last_3d
    torch.testing.assert_close(loss(logits, labels), loss(logits.to(memory_format=form), labels))


def names_a_source_and_its_formula(loss, space):  # noqa: ARG001
    assert re.search(r"doi:10\.\d{4,}/\S+|arXiv:\d{4}\.\d{4,}", type(loss).source)
    assert "$" in (type(loss).__doc__ or "")


CONTRACTS = [
    is_a_scalar_with_a_correct_gradient,
    does_not_depend_on_the_order_of_the_batch,
    does_not_depend_on_the_order_of_the_foreground_classes,
    is_the_same_for_mirror_images,
    prefers_the_truth,
    is_finite_for_absent_full_and_tiny_classes,
    stays_finite_under_autocast,
    uses_the_spacing_if_a_map_that_it_reads_does,
    is_the_same_on_the_fly_and_prepared,
    ignores_what_is_predicted_where_nobody_knows,
    gives_an_image_of_no_weight_no_gradient,
    does_not_depend_on_the_memory_format,
    names_a_source_and_its_formula,
]


def variants(cls):
    """The loss as it comes, and once with each other value of every field that is a choice."""
    yield cls.kind, cls()
    hints = get_type_hints(cls)
    for each in fields(cls):
        options = (True, False) if hints[each.name] is bool else get_args(hints[each.name])
        for option in options if hints[each.name] is bool or isinstance(each.default, str) else ():
            if option != each.default:
                yield f"{cls.kind}-{each.name}={option}", cls(**{each.name: option})


EVERY = dict(pair for cls in LOSSES.values() for pair in variants(cls))


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.__name__)
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("loss", EVERY.values(), ids=EVERY)
def test_every_loss(loss, space, contract):
    contract(loss, space)


# Mutants: each loss below is broken in one way, and the named contract must notice.


@dataclass(frozen=True, kw_only=True)
class Mutant(Loss):
    """Rectified region-wise plus Dice, until a mutation changes it; not $correct$."""

    kind: Literal["mutant"] = "mutant"
    needs: ClassVar[tuple[DistanceMap, ...]] = (rectified,)
    source: ClassVar[str] = "nobody, arXiv:0000.00000"

    @override
    def of(self, log_p, truth):
        return RegionWise().of(log_p, truth) + Dice().of(log_p, truth)


class UpsideDown(Mutant):
    def of(self, log_p, truth):
        return -super().of(log_p, truth)


class CutGradient(Mutant):
    def of(self, log_p, truth):
        return RegionWise().of(log_p.detach(), truth) + Dice().of(log_p, truth)


class FirstImageCountsDouble(Mutant):
    def of(self, log_p, truth):
        return super().of(log_p, truth) - log_p[0].gather(0, truth.labels[:1]).mean()


class OneClassOnly(Mutant):
    def of(self, log_p, truth):
        return super().of(log_p, truth) - log_p[:, 1][truth.labels == 1].sum()


class Lopsided(Mutant):
    def of(self, log_p, truth):
        ramp = torch.linspace(0, 1, log_p.shape[-1])
        return super().of(log_p, truth) - (log_p.gather(1, truth.labels[:, None]) * ramp).mean()


class AbsentIsNan(Mutant):
    def of(self, log_p, truth):
        means = [-log_p[:, c][truth.labels == c].mean() for c in range(truth.classes)]
        return super().of(log_p, truth) + sum(means)


class HalfSums(Mutant):
    def of(self, log_p, truth):
        worst = -log_p.gather(1, truth.labels[:, None])
        return super().of(log_p, truth) + worst.to(torch.float16 if log_p.dtype == torch.float32 else log_p.dtype).sum()


class Blind(Mutant):
    def of(self, log_p, truth):
        voxels = Truth.of(truth.labels, classes=truth.classes, needs=self.needs)
        return super().of(log_p, voxels)


class ReadsStorage(Mutant):
    def __call__(self, logits, target, *, spacing="voxels"):
        flat = logits.as_strided((logits.numel(),), (1,))
        return super().__call__(logits, target, spacing=spacing) - flat[: logits.numel() // 5].sum()


class Noisy(Mutant):
    def of(self, log_p, truth):
        return super().of(log_p, truth) + torch.rand(())


class Peeks(Mutant):
    def __call__(self, logits, target, *, spacing="voxels"):
        return super().__call__(logits, target, spacing=spacing) + logits.square().mean()


class Unweighted(Mutant):
    def of(self, log_p, truth):
        return super().of(log_p, truth) - log_p.gather(1, truth.labels[:, None]).mean()


class Anonymous(Mutant):
    source: ClassVar[str] = "somebody"


MUTANTS = {
    UpsideDown: prefers_the_truth,
    CutGradient: is_a_scalar_with_a_correct_gradient,
    FirstImageCountsDouble: does_not_depend_on_the_order_of_the_batch,
    OneClassOnly: does_not_depend_on_the_order_of_the_foreground_classes,
    Lopsided: is_the_same_for_mirror_images,
    AbsentIsNan: is_finite_for_absent_full_and_tiny_classes,
    HalfSums: stays_finite_under_autocast,
    Blind: uses_the_spacing_if_a_map_that_it_reads_does,
    Peeks: ignores_what_is_predicted_where_nobody_knows,
    Unweighted: gives_an_image_of_no_weight_no_gradient,
    Noisy: is_the_same_on_the_fly_and_prepared,
    ReadsStorage: does_not_depend_on_the_memory_format,
    Anonymous: names_a_source_and_its_formula,
}


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_loss_fails_its_contract(mutant, space):
    with pytest.raises(AssertionError):
        MUTANTS[mutant](mutant(), space)


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.__name__)
def test_the_loss_that_the_mutants_are_made_of_passes(contract):
    contract(Mutant(), SPACES["3d"])
    assert contract in MUTANTS.values()
