"""The rectified map, and what makes any map rectified: definition, edge cases, batches, arrays and tensors."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgewise.errors import ExperimentError, LabelError, ShapeError, SpacingError
from edgewise.maps import Rectified, rectified
from edgewise.maps.boundary import Boundary
from edgewise.maps.edt import inside_distance
from edgewise.maps.hausdorff import Hausdorff
from edgewise.maps.inverse import SignedNormalizedInverse
from edgewise.maps.rectify import Rectification, rectify

CLASSES = 4
images = hnp.arrays(
    np.uint8,
    hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6),
    elements=st.integers(0, CLASSES - 1),
)


@given(labels=images, ratio=st.floats(0.25, 8, width=32))
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
def test_does_not_depend_on_the_unit(labels, scale):
    one, other = ((size,) * labels.ndim for size in (1.0, scale))
    np.testing.assert_allclose(
        rectified(labels, classes=CLASSES, spacing=one),
        rectified(labels, classes=CLASSES, spacing=other),
        rtol=1e-5,
    )


@given(labels=images)
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
        (np.zeros((2, 0, 4), int), (1.0, 1.0), ShapeError, "no voxel"),
    ],
)
def test_what_does_not_fit_is_one_clear_error(labels, spacing, error, message):
    with pytest.raises(error, match=message):
        rectified(labels, classes=2, spacing=spacing)


ALL_CHANNELS = (Boundary(), Boundary(offset="one_voxel"), Hausdorff(), SignedNormalizedInverse())


@given(labels=images, each=st.sampled_from(ALL_CHANNELS), value=st.floats(-5, 5, width=32))
def test_rectify_keeps_the_own_class_and_levels_the_others(labels, each, value):
    field = each(labels, classes=CLASSES, spacing=(2.0, 1.0, 0.5)[: labels.ndim])
    before = field.copy()
    result = rectify(field[None], labels[None], value)[0] if labels.ndim == 3 else rectify(field, labels, value)
    np.testing.assert_array_equal(field, before)
    assert result.dtype == np.float32
    for at in np.ndindex(labels.shape):
        for number in range(CLASSES):
            own = number == labels[at]
            assert result[(number, *at)] == (field[(number, *at)] if own else np.float32(value))


@given(labels=images, each=st.sampled_from(ALL_CHANNELS))
def test_a_rectification_is_rectify_of_its_map_in_one_channel(labels, each):
    batch = torch.from_numpy(np.stack([labels, labels[::-1]]))
    spacing = (2.0, 1.0, 0.5)[: labels.ndim]
    one = Rectification(map=each, value=4.0)
    assert one(batch, classes=CLASSES, spacing=spacing).shape == batch.shape
    field = each(batch, classes=CLASSES, spacing=spacing)
    full = one(batch, classes=CLASSES, spacing=spacing, channels="all")
    if labels.ndim == 2:  # with a third axis, so that a batch is not taken for a volume
        field, batch, full = field[:, :, None], batch[:, None], full[:, :, None]
    torch.testing.assert_close(rectify(field, batch, 4.0), full, rtol=0, atol=0)


def negative_components(p, z):
    """Of the gradient of sum p z with respect to the logits."""
    return (p * (z - (p * z).sum(0)) < 0).sum(0)


def test_only_a_rectified_map_pulls_towards_one_class_alone():
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, CLASSES, (6, 6)), np.ones((5, 5), int))
    p = np.moveaxis(rng.dirichlet(np.ones(CLASSES), labels.shape), -1, 0)
    field = Boundary()(labels, classes=CLASSES, spacing=(1.0, 1.0))
    assert negative_components(p, field).max() > 1
    np.testing.assert_array_equal(negative_components(p, rectify(field, labels)), 1)


def test_rectify_takes_arrays_and_tensors_of_images_and_batches():
    labels = np.random.default_rng(0).integers(0, 3, (2, 4, 5, 6))
    field = np.random.default_rng(1).normal(size=(2, 3, 4, 5, 6))
    expected = rectify(field, labels)
    assert expected.dtype == np.float64
    for item, each, result in zip(field, labels, expected, strict=True):
        np.testing.assert_array_equal(rectify(item, each), result)
        np.testing.assert_array_equal(rectify(item.astype(">f4"), each.astype(">u2")), result.astype(np.float32))
        slices = (np.moveaxis(array, -3, 0) for array in (item, each))
        np.testing.assert_array_equal(rectify(*slices), np.moveaxis(result, -3, 0))
    tensor = torch.from_numpy(field).half()
    result = rectify(tensor, torch.from_numpy(labels).to(torch.int16))
    assert result.dtype == torch.float16
    np.testing.assert_array_equal(result, expected.astype(np.float16))
    flat = rectify(tensor[0, :2, 0], torch.from_numpy(labels[0, 0] > 0), 2.0)
    assert set(flat[1][torch.from_numpy(labels[0, 0] == 0)].tolist()) == {2.0}


@pytest.mark.parametrize(
    ("field", "labels", "error", "message"),
    [
        (np.zeros((3, 4, 4), int), np.zeros((4, 4), int), ShapeError, "not floats"),
        (np.zeros((3, 4, 4)), np.zeros((4, 5), int), ShapeError, "do not fit"),
        (np.zeros((4, 4)), np.zeros((4,), int), ShapeError, "do not fit"),
        (np.zeros((3, 4, 4)), np.zeros((3, 4, 4), int), ShapeError, "do not fit"),
        (np.zeros((3, 3, 4, 4)), np.zeros((3, 4, 4), int), ShapeError, "may be a volume of 3 classes or a batch"),
        (np.zeros((3, 4, 4)), np.full((4, 4), 3), LabelError, "range from 3 to 3"),
        (np.zeros((3, 4, 4)), np.full((4, 4), -1), LabelError, "range from -1"),
        (np.zeros((3, 4, 4)), np.zeros((4, 4)), LabelError, "not integers"),
        (torch.zeros(3, 4, 4), torch.zeros(4, 4), LabelError, "not integers"),
        (torch.zeros(3, 4, 4).long(), torch.zeros(4, 4).long(), ShapeError, "not floats"),
    ],
)
def test_what_rectify_cannot_fit_is_one_clear_error(field, labels, error, message):
    with pytest.raises(error, match=message):
        rectify(field, labels)


def test_a_volume_that_looks_like_a_batch_says_what_it_is_with_one_more_axis():
    field = np.random.default_rng(0).normal(size=(3, 3, 4, 5))
    labels = np.random.default_rng(1).integers(0, 3, (3, 4, 5))
    volume = rectify(field[None], labels[None])[0]
    batch = rectify(field[:, :, None], labels[:, None])[:, :, 0]
    for number in range(3):
        own = labels == number
        np.testing.assert_array_equal(volume[number], np.where(own, field[number], 1))
        np.testing.assert_array_equal(batch[:, number], np.where(own, field[:, number], 1))


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_rectification_to_no_number_is_refused(value):
    with pytest.raises(ExperimentError, match="rectification: value is"):
        Rectification(value=value)
