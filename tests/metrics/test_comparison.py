"""Borders and distances against their definitions, on masks of every kind."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import binary_erosion

from edgewise.errors import LabelError, ShapeError, SpacingError
from edgewise.metrics import Comparison
from edgewise.metrics.comparison import bounding_box

shapes = hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6)
pairs = shapes.flatmap(lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape)))
spacings = st.tuples(*[st.floats(0.25, 8, width=32)] * 3)


def brute_force(mask, other, spacing):
    """From each border voxel of `mask` to the nearest of `other`, O(n m), on the whole image."""
    start, end = (np.argwhere(m & ~binary_erosion(m)) * spacing for m in (mask, other))
    return np.linalg.norm(start[:, None] - end[None], axis=-1).min(axis=1, initial=np.inf)


@given(pair=pairs, spacing=spacings)
@settings(deadline=None)
def test_distances_agree_with_the_definition(pair, spacing):
    a, b = pair
    spacing = spacing[: a.ndim]
    gaps = Comparison.of(a, b, spacing).gaps
    np.testing.assert_allclose(gaps[0].distances, brute_force(a, b, spacing), rtol=1e-9)
    np.testing.assert_allclose(gaps[1].distances, brute_force(b, a, spacing), rtol=1e-9)


@given(pair=pairs)
@settings(deadline=None)
def test_counts_agree_with_the_masks(pair):
    a, b = pair
    comparison = Comparison.of(a, b, (1.0,) * a.ndim)
    assert comparison.voxels == (a.sum(), b.sum(), (a & b).sum())


@given(mask=shapes.flatmap(lambda shape: hnp.arrays(bool, shape)))
@settings(deadline=None)
def test_the_box_is_the_smallest_that_holds_the_mask(mask):
    box = bounding_box(mask)
    assert mask[box].sum() == mask.sum()
    if mask.any():
        for axis in range(mask.ndim):
            for side in (0, -1):
                assert np.take(mask[box], side, axis=axis).any()


@pytest.mark.parametrize(
    ("prediction", "reference", "spacing", "error", "message"),
    [
        (np.zeros((4, 4), int), np.zeros((4, 4), bool), (1.0, 1.0), LabelError, "expected bool"),
        (np.zeros((4, 4), bool), np.zeros((4, 5), bool), (1.0, 1.0), ShapeError, "differ in shape"),
        (np.zeros((4, 4), bool), np.zeros((4, 4), bool), (1.0, 0.0), SpacingError, "positive"),
    ],
)
def test_masks_that_cannot_be_compared_are_refused(prediction, reference, spacing, error, message):
    with pytest.raises(error, match=message):
        Comparison.of(prediction, reference, spacing)
