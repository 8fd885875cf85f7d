"""What the metrics share: counts, crops and places, for masks of every kind."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgewise.errors import LabelError, ShapeError, SpacingError
from edgewise.metrics import Comparison
from edgewise.metrics.census import Census
from edgewise.metrics.comparison import bounding_box

shapes = hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6)
pairs = shapes.flatmap(lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape)))
TYPES = ("uint8", "int8", "uint16", ">i2", "int32", ">u4", "int64", "uint64")
LAYOUTS = {
    "rows": np.ascontiguousarray,
    "columns": np.asfortranarray,
    "every second": lambda image: np.repeat(image, 2, axis=-1)[..., ::2],
    "reversed": lambda image: np.ascontiguousarray(image[::-1])[::-1],
    "read only": lambda image: np.frombuffer(image.tobytes(), image.dtype).reshape(image.shape),
}


@given(pair=pairs)
def test_counts_agree_with_the_masks(pair):
    a, b = pair
    comparison = Comparison.of(a, b, (1.0,) * a.ndim)
    assert comparison.voxels == (a.sum(), b.sum(), (a & b).sum())


@given(pair=pairs)
def test_the_crop_holds_both_masks_and_knows_its_place(pair):
    comparison = Comparison.of(*pair, (1.0,) * pair[0].ndim)
    box = tuple(slice(at, at + n) for at, n in zip(comparison.start, comparison.prediction.shape, strict=True))
    for crop, mask in zip((comparison.prediction, comparison.reference), pair, strict=True):
        placed = np.zeros(comparison.image, bool)
        placed[box] = crop
        assert (placed == mask).all()
    assert box == bounding_box(pair[0] | pair[1])


@given(mask=shapes.flatmap(lambda shape: hnp.arrays(bool, shape)))
def test_the_box_is_the_smallest_that_holds_the_mask(mask):
    box = bounding_box(mask)
    assert mask[box].sum() == mask.sum()
    if mask.any():
        for axis in range(mask.ndim):
            for side in (0, -1):
                assert np.take(mask[box], side, axis=axis).any()


@given(data=st.data(), shape=shapes, dtype=st.sampled_from(TYPES), layout=st.sampled_from(sorted(LAYOUTS)))
@settings(max_examples=200)
def test_a_census_finds_every_label_of_any_type_in_any_layout(data, shape, dtype, layout):
    limits = np.iinfo(dtype)
    values = st.sampled_from([0, 1, 2, 5, int(limits.max), int(limits.min), min(300, int(limits.max))])
    images = [data.draw(hnp.arrays(dtype, shape, elements=values)) for _ in range(2)]
    census = Census.of(*(LAYOUTS[layout](image) for image in images))
    assert census.labels() == sorted({int(each) for image in images for each in image.flat})
    for labels in ((1,), (2, 5), (int(limits.max), 1), (77,)):
        masks = [np.array([int(each) in labels for each in image.flat]).reshape(shape) for image in images]
        box = census.box(labels)
        assert box == bounding_box(masks[0] | masks[1])
        for found, mask in zip(census.masks(labels, box), masks, strict=True):
            assert (found == mask[box]).all()


def test_what_is_built_once_is_kept():
    mask, calls = np.ones((2, 2), bool), []
    comparison = Comparison.of(mask, mask, (1.0, 1.0))
    found = [comparison.once("key", lambda: calls.append(1) or len(calls)) for _ in range(2)]
    assert found == [1, 1]
    assert comparison.once("other", lambda: 7) == 7


@pytest.mark.parametrize(
    ("prediction", "reference", "spacing", "error", "message"),
    [
        (np.zeros((4, 4), int), np.zeros((4, 4), bool), (1.0, 1.0), LabelError, "expected bool"),
        (np.zeros((4, 4), bool), np.zeros((4, 5), bool), (1.0, 1.0), ShapeError, "differ in shape"),
        (np.zeros((4, 4), bool), np.zeros((4, 4), bool), (1.0, 0.0), SpacingError, "positive"),
        (np.zeros(4, bool), np.zeros(4, bool), (1.0,), SpacingError, "two or three axes"),
    ],
)
def test_masks_that_cannot_be_compared_are_refused(prediction, reference, spacing, error, message):
    with pytest.raises(error, match=message):
        Comparison.of(prediction, reference, spacing)
