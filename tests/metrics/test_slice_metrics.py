"""Means over slices: by hand, by brute force with 2D comparisons, and by law."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgewise.metrics import Comparison, evaluate
from edgewise.metrics.overlap import Dice, Precision, Sensitivity
from edgewise.metrics.slices import DiceSlices, PrecisionSlices, SensitivitySlices, slice_axis

WHOLE = {DiceSlices(): Dice(), SensitivitySlices(): Sensitivity(), PrecisionSlices(): Precision()}
"""What each is the mean of."""
THICK = {0: (5.0, 1.0, 0.7), 1: (0.8, 3.0, 0.8), 2: (0.9, 0.9, 0.5)}
"""Voxel sizes of slices across each axis; the last are closer than their pixels are wide."""

volumes = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6)
pairs = volumes.flatmap(lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape)))
metrics = st.sampled_from(list(WHOLE))
flat = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6)


def score(metric, prediction, reference, spacing):
    return metric(Comparison.of(prediction, reference, spacing))


def brute_force(metric, prediction, reference, axis, spacing):
    """The mean of the 2D metric over slices in which there is anything."""
    sizes = tuple(size for other, size in enumerate(spacing) if other != axis)
    slices = zip(np.moveaxis(prediction, axis, 0), np.moveaxis(reference, axis, 0), strict=True)
    return np.mean([score(WHOLE[metric], p, r, sizes) for p, r in slices if p.any() or r.any()])


@given(metric=metrics, pair=pairs, axis=st.sampled_from([0, 1, 2]), seed=st.integers(0, 9))
def test_equals_scoring_every_slice_as_an_image_and_averaging(metric, pair, axis, seed):
    thinned = [mask & (np.random.default_rng(seed + n).random(mask.shape) < 0.3) for n, mask in enumerate(pair)]
    assume(all(mask.any() for mask in thinned))
    for masks in (pair, thinned):
        expected = brute_force(metric, *masks, axis, THICK[axis])
        assert score(metric, *masks, THICK[axis]) == pytest.approx(expected)


@given(metric=metrics, pair=flat.flatmap(lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape))))
def test_one_slice_gives_the_ordinary_metric(metric, pair):
    whole = score(WHOLE[metric], *pair, (1.0, 0.5))
    assert score(metric, *pair, (1.0, 0.5)) == pytest.approx(whole)
    for axis, spacing in THICK.items():
        volume = [np.expand_dims(mask, axis) for mask in pair]
        assert score(metric, *volume, spacing) == pytest.approx(whole)


@given(
    metric=metrics,
    pair=pairs,
    layout=st.sampled_from([np.asfortranarray, lambda mask: np.flip(np.flip(mask, 0).copy(), 0)]),
)
def test_does_not_depend_on_how_the_masks_lie_in_memory(metric, pair, layout):
    assert score(metric, *map(layout, pair), THICK[1]) == score(metric, *pair, THICK[1])


@given(metric=metrics, pair=pairs)
def test_turning_image_and_voxel_sizes_together_changes_nothing(metric, pair):
    turned = [np.transpose(mask, (2, 0, 1)) for mask in pair]
    assert score(metric, *turned, (0.5, 0.9, 0.9)) == pytest.approx(score(metric, *pair, (0.9, 0.9, 0.5)))


@given(pair=pairs)
def test_swapping_the_masks_swaps_sensitivity_and_precision(pair):
    assume(pair[0].any() == pair[1].any())
    one, other = score(SensitivitySlices(), *pair, THICK[0]), score(PrecisionSlices(), *pair[::-1], THICK[0])
    assert one == other
    assert score(DiceSlices(), *pair, THICK[0]) == score(DiceSlices(), *pair[::-1], THICK[0])


def test_a_slice_with_one_voxel_counts_as_much_as_one_with_many():
    reference = np.zeros((10, 10, 6), bool)
    reference[..., 1], reference[4, 4, 2], reference[:5, :, 3] = True, True, True
    prediction = reference.copy()
    prediction[4, 4, 2] = False  # missed there
    prediction[2, 2, 4] = True  # invented there
    prediction[5:, :, 3] = True  # twice as large as it should be
    values = evaluate(prediction, reference, (1.0, 1.0, 4.0))
    assert values["dice_slices"] == pytest.approx((1 + 0 + 2 / 3 + 0) / 4)
    assert values["sensitivity_slices"] == pytest.approx((1 + 0 + 1 + 0) / 4)
    assert values["precision_slices"] == pytest.approx((1 + 0 + 1 / 2 + 0) / 4)
    assert values["dice"] == pytest.approx(2 * 150 / (151 + 201))


@pytest.mark.parametrize(
    ("spacing", "axis"),
    [
        ((1.4, 1.4, 10.0), 2),
        ((0.7, 0.365, 0.365), 0),
        ((0.98, 0.98, 0.75), 2),  # a scan of Pancreas-CT may be so
        ((0.75, 0.98, 0.98), 0),
        ((0.976562, 0.9766, 1.0), 2),  # rounded in the file
        ((1.0, 1.0, 1.0), 2),
        ((0.5, 0.5, 0.5004), 2),
        ((1.0, 3.0, 2.0), 1),
    ],
)
def test_slices_lie_across_the_axis_that_is_unlike_the_other_two(spacing, axis):
    assert slice_axis(spacing) == axis
