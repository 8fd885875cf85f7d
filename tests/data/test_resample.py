"""Resampling equals SciPy's zoom; label maps follow a slow, obvious definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from edgewise.data.resample import operator, resample, resample_labels, resampled_shape, slabs
from edgewise.errors import ShapeError

DEGREE = {"cubic": 3, "linear": 1, "nearest": 0}
sizes = st.integers(1, 40)
shapes = st.tuples(sizes, sizes, sizes)


def zoom(volume, shape, degree):
    factors = [m / n for m, n in zip(shape, volume.shape, strict=True)]
    return ndimage.zoom(volume, factors, order=degree, mode="nearest", grid_mode=True)


def noise(shape, seed=0):
    return np.random.default_rng(seed).uniform(-1000, 1000, shape).astype(np.float32)


@settings(max_examples=60)
@given(shape_in=shapes, shape_out=shapes, order=st.sampled_from(list(DEGREE)), seed=st.integers(0, 99))
def test_resampling_equals_scipys_zoom_within_a_hundredth(shape_in, shape_out, order, seed):
    image = noise((1, *shape_in), seed)
    resampled = resample(image, shape_out, order)
    expected = zoom(image[0].astype(np.float64), shape_out, DEGREE[order])
    assert resampled.dtype == np.float32
    np.testing.assert_allclose(resampled[0], expected, atol=1e-2)


def test_long_axes_cut_into_bands_equal_scipys_zoom():
    image = noise((1, 3, 150, 517))
    for shape in ((3, 333, 410), (7, 40, 1000)):
        expected = zoom(image[0].astype(np.float64), shape, 3)
        np.testing.assert_allclose(resample(image, shape, "cubic")[0], expected, atol=1e-2)


def test_resampling_works_in_two_dimensions_and_channel_by_channel():
    image = noise((3, 20, 31))
    resampled = resample(image, (33, 17))
    for channel, expected in zip(resampled, image, strict=True):
        np.testing.assert_allclose(channel, zoom(expected, (33, 17), 3), atol=1e-2)


@given(n=sizes, m=sizes, order=st.sampled_from(list(DEGREE)))
def test_every_row_of_an_operator_sums_to_one(n, m, order):
    np.testing.assert_allclose(operator(n, m, order).sum(axis=1), 1, atol=1e-6)


def test_the_same_shape_gives_the_same_voxels_in_a_new_array():
    image = noise((2, 5, 6, 7))
    resampled = resample(image, (5, 6, 7))
    assert not np.shares_memory(resampled, image)
    np.testing.assert_array_equal(resampled, image)


def test_transposed_and_read_only_volumes_are_resampled_like_copies():
    image = noise((1, 9, 12, 7)).transpose(0, 3, 1, 2)
    copy = np.ascontiguousarray(image)
    image.flags.writeable = False
    np.testing.assert_array_equal(resample(image, (5, 20, 8)), resample(copy, (5, 20, 8)))


def test_a_shape_of_another_rank_or_without_voxels_is_refused():
    with pytest.raises(ShapeError, match="same number of axes"):
        resample(noise((1, 4, 4, 4)), (4, 4))
    with pytest.raises(ShapeError, match="at least one voxel"):
        resample_labels(np.zeros((4, 4), np.uint8), (4, 0), "linear")


def by_definition(labels, shape):
    """Weights of every class at once, in float64."""
    return np.stack([zoom((labels == c).astype(np.float64), shape, 1) for c in range(labels.max() + 1)])


@settings(max_examples=40)
@given(shape_in=shapes, shape_out=shapes, seed=st.integers(0, 99), classes=st.integers(1, 5))
def test_linear_labels_are_the_class_with_most_weight_and_ties_go_to_the_lower(shape_in, shape_out, seed, classes):
    labels = np.random.default_rng(seed).integers(0, classes, shape_in).astype(np.uint8)
    resampled = resample_labels(labels, shape_out, "linear")
    weights = by_definition(labels, shape_out)
    expected = np.argmax(weights > weights.max(axis=0) - 2e-6, axis=0)
    top_two = np.sort(weights, axis=0)[-2:]
    clear = (top_two[-1] - top_two[0] > 1e-5) | (top_two[-1] - top_two[0] < 1e-7)
    assert resampled.dtype == np.uint8
    np.testing.assert_array_equal(resampled[clear], expected[clear])


def test_an_exact_tie_between_classes_goes_to_the_lower_label():
    labels = np.array([[3, 1], [3, 1], [0, 2], [0, 2]], np.uint8)
    np.testing.assert_array_equal(resample_labels(labels, (4, 1), "linear"), [[1], [1], [0], [0]])


@settings(max_examples=30)
@given(shape_in=shapes, shape_out=shapes, seed=st.integers(0, 99))
def test_nearest_labels_equal_scipys_zoom_of_order_zero(shape_in, shape_out, seed):
    labels = np.random.default_rng(seed).integers(0, 200, shape_in).astype(np.uint8)
    resampled = resample_labels(labels, shape_out, "nearest")
    np.testing.assert_array_equal(resampled, zoom(labels, shape_out, 0))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_labels_of_the_same_shape_stay_in_a_new_array(mode):
    labels = np.random.default_rng(0).integers(0, 5, (4, 5, 6)).astype(np.uint8)
    resampled = resample_labels(labels, (4, 5, 6), mode)
    assert not np.shares_memory(resampled, labels)
    np.testing.assert_array_equal(resampled, labels)


def test_slabs_cover_the_output_once_and_read_only_nearby_rows():
    pieces = list(slabs((100, 1100, 1100), (250, 1100, 1100)))
    assert len(pieces) > 10
    assert [p.target.start for p in pieces[1:]] == [p.target.stop for p in pieces[:-1]]
    assert (pieces[0].target.start, pieces[-1].target.stop) == (0, 250)
    assert all(p.source.stop - p.source.start <= 5 for p in pieces)


def test_the_resampled_shape_covers_the_same_millimetres():
    assert resampled_shape((512, 512, 100), (0.8, 0.8, 2.5), (1.0, 1.0, 1.0)) == (410, 410, 250)
    assert resampled_shape((1, 3), (0.1, 1.0), (1.0, 1.0)) == (1, 3)
