"""What holds for every metric, whoever wrote it."""

import math
import re

import numpy as np
import pytest

from edgewise.metrics import METRICS, Comparison

SPACES = {"2d": (9, 8), "3d": (8, 7, 9)}
OF_THE_WHOLE_IMAGE, CUT_AT_THE_IMAGE = {"specificity"}, {"bdice"}


def pair(space, seed=0):
    """A reference, and it with some voxels wrong: some lost, more invented, so that they differ in volume."""
    rng = np.random.default_rng(seed)
    reference = np.zeros(space, bool)
    reference[tuple(slice(1, -2) for _ in space)] = True
    return (reference & (rng.random(space) > 0.05)) | (~reference & (rng.random(space) < 0.1)), reference


def score(metric, prediction, reference):
    spacing = (3.0, 1.0, 0.5)[: reference.ndim]
    return metric(Comparison.of(prediction, reference, spacing))


def far_corner(space):
    mask = np.zeros(space, bool)
    mask[(-1,) * len(space)] = True
    return mask


def goodness(metric, value):
    """Larger is better."""
    return {"higher": value, "lower": -value, "zero": -abs(value)}[metric.better]


@pytest.fixture(params=METRICS.values(), ids=METRICS)
def metric(request):
    return request.param()


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
class TestEveryMetric:
    def test_is_a_finite_float_for_masks_that_are_not_empty(self, metric, space):
        value = score(metric, *pair(space))
        assert type(value) is float
        assert math.isfinite(value)

    def test_prefers_the_truth(self, metric, space):
        prediction, reference = pair(space)
        right = score(metric, reference, reference)
        wrong = [score(metric, mask, reference) for mask in (prediction, far_corner(space))]
        if metric.better == "neither":
            assert len({right, *wrong}) == 3
        else:
            assert all(goodness(metric, right) >= goodness(metric, value) for value in wrong)
            assert any(goodness(metric, right) > goodness(metric, value) for value in wrong)

    def test_is_the_same_for_mirror_images(self, metric, space):
        prediction, reference = pair(space)
        value = score(metric, prediction, reference)
        for axis in range(len(space)):
            assert score(metric, np.flip(prediction, axis), np.flip(reference, axis)) == pytest.approx(value)

    def test_does_not_depend_on_background_around_the_masks(self, metric, space):
        masks = pair(space)
        none, some, more = (score(metric, *(np.pad(mask, width) for mask in masks)) for width in (0, 5, 9))
        assert (some == pytest.approx(more)) == (metric.kind not in OF_THE_WHOLE_IMAGE)
        assert (some == pytest.approx(none)) == (metric.kind not in OF_THE_WHOLE_IMAGE | CUT_AT_THE_IMAGE)

    def test_gives_its_stated_values_for_empty_masks(self, metric, space):
        _, mask = pair(space)
        empty = np.zeros_like(mask)
        stated = (metric.empty.both, metric.empty.prediction, metric.empty.reference)
        for value, masks in zip(stated, ((empty, empty), (empty, mask), (mask, empty)), strict=True):
            found = score(metric, *masks)
            assert type(found) is float
            assert math.isfinite(found) if value == "formula" else found == value

    def test_one_voxel_and_a_full_image_are_finite(self, metric, space):
        one, full = np.zeros(space, bool), np.ones(space, bool)
        one[tuple(size // 2 for size in space)] = True
        assert all(math.isfinite(score(metric, *masks)) for masks in ((one, full), (full, one), (full, full)))

    def test_does_not_change_its_input(self, metric, space):
        masks = pair(space)
        before = [mask.copy() for mask in masks]
        score(metric, *masks)
        assert all((a == b).all() for a, b in zip(before, masks, strict=True))


def test_says_what_it_is(metric):
    assert re.search(r"doi:10\.\d{4,}/\S+|arXiv:\d{4}\.\d{4,}", metric.source)
    described = metric.described()
    assert described
    assert not re.search(r"[{}]", described)
    assert metric.unit in {"1", "mm", "ml"}
    assert metric.better in {"higher", "lower", "zero", "neither"}
