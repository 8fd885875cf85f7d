"""Boxes around prediction and reference: by hand, by brute force, and by law."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgewise.metrics import Comparison
from edgewise.metrics.localisation import BoxIoU, Containment

shapes = hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6)
pairs = shapes.flatmap(lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape)))
spacings = st.tuples(*[st.sampled_from([0.5, 1.0, 2.5])] * 3)


def score(metric, prediction, reference, spacing=(1.0, 1.0, 1.0)):
    return metric(Comparison.of(prediction, reference, spacing[: reference.ndim]))


def filled(mask):
    """The bounding box of a mask, as a mask."""
    inside = np.ones_like(mask)
    for axis in range(mask.ndim):
        places = np.nonzero(mask)[axis]
        line = (np.arange(mask.shape[axis]) >= places.min()) & (np.arange(mask.shape[axis]) <= places.max())
        inside &= line.reshape([-1 if each == axis else 1 for each in range(mask.ndim)])
    return inside


@given(pair=pairs, spacing=spacings)
def test_both_agree_with_filled_boxes(pair, spacing):
    if pair[0].any() and pair[1].any():
        prediction, reference = (filled(mask) for mask in pair)
        iou = (prediction & reference).sum() / (prediction | reference).sum()
        assert score(BoxIoU(), *pair, spacing) == pytest.approx(iou)
        assert score(Containment(), *pair, spacing) == pytest.approx((prediction & pair[1]).sum() / pair[1].sum())


@given(pair=pairs, spacing=spacings, margin=st.sampled_from([0.0, 0.3, 0.5, 1.0, 1.25, 3.7]))
def test_containment_counts_the_centres_within_the_margin(pair, spacing, margin):
    prediction, reference = pair
    if prediction.any() and reference.any():
        sizes = np.array(spacing[: reference.ndim])
        low, high = (np.argwhere(prediction).min(0) * sizes, (np.argwhere(prediction).max(0) + 1) * sizes)
        centres = (np.argwhere(reference) + 0.5) * sizes
        inside = ((centres >= low - margin - 1e-9) & (centres <= high + margin + 1e-9)).all(1)
        assert score(Containment(margin=margin), *pair, spacing) == pytest.approx(inside.mean())


@given(pair=pairs, spacing=spacings, axis=st.integers(0, 1), margin=st.sampled_from([0.0, 0.75, 2.0]))
def test_mirror_images_and_padding_change_nothing(pair, spacing, axis, margin):
    if pair[0].any() and pair[1].any():
        for metric in (BoxIoU(), Containment(margin=margin)):
            value = score(metric, *pair, spacing)
            assert score(metric, *(np.flip(mask, axis) for mask in pair), spacing) == pytest.approx(value)
            assert score(metric, *(np.pad(mask, 2) for mask in pair), spacing) == pytest.approx(value)


@given(pair=pairs)
def test_the_box_iou_does_not_say_which_mask_is_the_reference(pair):
    if pair[0].any() and pair[1].any():
        assert score(BoxIoU(), *pair) == pytest.approx(score(BoxIoU(), *pair[::-1]))


def test_both_as_worked_by_hand():
    prediction, reference = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    reference[2:6, 2:6] = True
    prediction[2:6, 4:6] = prediction[3, 7] = True
    assert score(BoxIoU(), prediction, reference) == pytest.approx(4 * 2 / (4 * 4 + 4 * 4 - 4 * 2))
    assert score(Containment(), prediction, reference) == 0.5
    assert score(Containment(margin=1.5), prediction, reference, (1.0, 3.0)) == 0.75


def test_one_far_false_voxel_ruins_the_box_but_loses_nothing():
    reference = np.zeros((30, 30), bool)
    reference[2:5, 2:5] = True
    prediction = reference.copy()
    prediction[29, 29] = True
    assert score(BoxIoU(), prediction, reference) == pytest.approx(9 / 28**2)
    assert score(Containment(), prediction, reference) == 1
