"""What holds for every metric, whoever wrote it."""

import math
import re

import numpy as np
import pytest

from edgewise.metrics import METRICS, Comparison

SPACES = {"2d": (9, 8), "3d": (7, 6, 5)}


def pair(space, seed=0):
    rng = np.random.default_rng(seed)
    reference = np.zeros(space, bool)
    reference[tuple(slice(1, -2) for _ in space)] = True
    return reference ^ (rng.random(space) < 0.05), reference


def score(metric, prediction, reference):
    spacing = (3.0, 1.0, 0.5)[: reference.ndim]
    return metric(Comparison.of(prediction, reference, spacing))


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
        right, wrong = score(metric, reference, reference), score(metric, prediction, reference)
        assert right > wrong if metric.better == "higher" else right < wrong

    def test_is_the_same_for_mirror_images(self, metric, space):
        prediction, reference = pair(space)
        value = score(metric, prediction, reference)
        for axis in range(len(space)):
            assert score(metric, np.flip(prediction, axis), np.flip(reference, axis)) == pytest.approx(value)

    def test_does_not_depend_on_background_around_the_masks(self, metric, space):
        masks = pair(space)
        padded = (np.pad(mask, 3) for mask in masks)
        assert score(metric, *padded) == pytest.approx(score(metric, *masks))

    def test_gives_its_stated_values_for_empty_masks(self, metric, space):
        _, mask = pair(space)
        empty = np.zeros_like(mask)
        assert score(metric, empty, empty) == metric.empty.both
        assert score(metric, empty, mask) == metric.empty.prediction
        assert score(metric, mask, empty) == metric.empty.reference

    def test_one_voxel_and_a_full_image_are_finite(self, metric, space):
        one, full = np.zeros(space, bool), np.ones(space, bool)
        one[tuple(size // 2 for size in space)] = True
        assert all(math.isfinite(score(metric, *masks)) for masks in ((one, full), (full, one), (full, full)))

    def test_does_not_change_its_input(self, metric, space):
        masks = pair(space)
        before = [mask.copy() for mask in masks]
        score(metric, *masks)
        assert all((a == b).all() for a, b in zip(before, masks, strict=True))


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_says_what_it_is(metric):
    assert re.search(r"doi:10\.\d{4,}/\S+|arXiv:\d{4}\.\d{4,}", metric.source)
    assert metric().described()
    assert metric.unit in {"1", "mm", "ml"}
    assert metric.better in {"higher", "lower", "zero", "neither"}
