"""The rectified map: definition, edge cases, batches, arrays and tensors."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgewise.errors import LabelError, ShapeError, SpacingError
from edgewise.maps import Rectified, rectified
from edgewise.maps.edt import inside_distance

CLASSES = 4
images = hnp.arrays(
    np.uint8,
    hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6),
    elements=st.integers(0, CLASSES - 1),
)


@given(labels=images, ratio=st.floats(0.25, 8, width=32))
@settings(deadline=None)
def test_is_minus_the_depth_over_the_deepest_of_the_class(labels, ratio):
    spacing = (ratio, *(1.0,) * (labels.ndim - 1))
    depth = inside_distance(torch.from_numpy(labels)[None], spacing)[0].numpy()
    built = rectified(labels, classes=CLASSES, spacing=spacing)
    assert built.dtype == np.float32
    for each in np.unique(labels):
        own = labels == each
        np.testing.assert_allclose(built[own], -depth[own] / depth[own].max(), rtol=1e-6)
        assert built[own].min() == -1
    assert built.max() < 0


@given(labels=images, scale=st.sampled_from([0.1, 3.0, 100.0]))
@settings(deadline=None)
def test_does_not_depend_on_the_unit(labels, scale):
    one, other = ((size,) * labels.ndim for size in (1.0, scale))
    np.testing.assert_allclose(
        rectified(labels, classes=CLASSES, spacing=one),
        rectified(labels, classes=CLASSES, spacing=other),
        rtol=1e-5,
    )


@given(labels=images)
@settings(deadline=None)
def test_a_batch_equals_its_items_and_a_tensor_equals_its_array(labels):
    spacing = (2.0, 1.0, 0.5)[-labels.ndim :]
    batch = np.stack([labels, labels[::-1], np.zeros_like(labels)])
    built = rectified(batch, classes=CLASSES, spacing=spacing)
    for item, field in zip(batch, built, strict=True):
        np.testing.assert_array_equal(field, rectified(item, classes=CLASSES, spacing=spacing))
    tensor = rectified(torch.from_numpy(batch), classes=CLASSES, spacing=spacing)
    assert tensor.dtype == torch.float32
    np.testing.assert_array_equal(tensor.numpy(), built)


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5), (1, 5), (1, 1, 5), (1, 1)])
@pytest.mark.parametrize("value", [0, 2])
def test_a_class_that_fills_the_image_is_minus_one(shape, value):
    built = rectified(np.full(shape, value), classes=CLASSES, spacing=(2.0, 1.0, 0.5)[: len(shape)])
    np.testing.assert_array_equal(built, -1)


def test_a_single_voxel_is_minus_one():
    labels = np.zeros((5, 5, 5), np.uint8)
    labels[2, 2, 2] = 1
    assert rectified(labels, classes=2, spacing=(3.0, 1.0, 1.0))[2, 2, 2] == -1


def test_the_square_of_the_published_code():
    labels = np.zeros((7, 7), np.int64)
    labels[1:6, 1:6] = 1
    built = rectified(labels, classes=2, spacing=(1.0, 1.0))
    np.testing.assert_allclose(built[1:4, 3], [-1 / 3, -2 / 3, -1], rtol=1e-6)
    np.testing.assert_allclose(built[0, [0, 3]], [-1, -(0.5**0.5)], rtol=1e-6)


def test_a_mask_counts_as_two_classes():
    mask = np.random.default_rng(0).random((5, 6)) < 0.5
    spacing = (2.0, 1.0)
    expected = rectified(mask.astype(int), classes=2, spacing=spacing)
    np.testing.assert_array_equal(rectified(mask, classes=2, spacing=spacing), expected)


def test_an_empty_batch_gives_an_empty_batch():
    assert rectified(np.zeros((0, 4, 4), int), classes=2, spacing=(1.0, 1.0)).shape == (0, 4, 4)


def test_equal_maps_are_one_key():
    assert {rectified: "here"}[Rectified()] == "here"


@pytest.mark.parametrize(
    ("labels", "spacing", "error", "message"),
    [
        (np.full((4, 4), 1.5), (1.0, 1.0), LabelError, "soft mask must lie in"),
        (np.full((4, 4), np.nan), (1.0, 1.0), LabelError, "holds NaN"),
        (np.full((4, 4), "a"), (1.0, 1.0), LabelError, "not integers"),
        (np.full((4, 4), 2), (1.0, 1.0), LabelError, "range from 2 to 2"),
        (np.zeros((4, 4), int), (1.0, 0.0), SpacingError, "positive"),
        (np.zeros((4, 4), int), (1.0,), SpacingError, "two or three axes"),
        (np.zeros((4, 4, 4, 4, 4), int), (1.0, 1.0, 1.0), ShapeError, "channel axis"),
    ],
)
def test_what_does_not_fit_is_one_clear_error(labels, spacing, error, message):
    with pytest.raises(error, match=message):
        rectified(labels, classes=2, spacing=spacing)
