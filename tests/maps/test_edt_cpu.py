"""The compiled distance transforms against their definitions and against independent libraries."""

import multiprocessing
import subprocess
import sys

import edt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from edgewise.errors import LabelError, ShapeError, SpacingError
from edgewise.maps.edt_cpu import extremes, inside_distance, scale_by_part

sizes = st.floats(0.25, 5, width=32)
shapes = st.tuples(st.integers(1, 2), hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=7)).map(
    lambda parts: (parts[0], *parts[1])
)


def gaps(shape, spacing):
    """Distance between any two voxels of an image."""
    points = np.argwhere(np.ones(shape, bool)) * np.asarray(spacing, np.float64)
    return np.linalg.norm(points[:, None] - points[None], axis=-1)


def inside_by_definition(labels, spacing):
    result = np.empty(labels.shape)
    for image, out in zip(labels, result, strict=True):
        between = gaps(image.shape, spacing)
        between[image.ravel()[:, None] == image.ravel()[None]] = np.inf
        out[...] = between.min(axis=1).reshape(image.shape)
    return np.where(np.isinf(result), min(spacing), result)


def smooth(shape, classes, scale, seed=0):
    """Labels with smooth boundaries that fill the field: where one of several smooth noises is highest."""
    rng = np.random.default_rng(seed)
    coarse = [max(2, -(-length // scale)) for length in shape]
    noises = [ndimage.zoom(rng.normal(size=coarse), np.divide(shape, coarse), order=1) for _ in range(classes)]
    return np.argmax(noises, axis=0).astype(np.uint8)


@given(data=st.data(), shape=shapes, classes=st.sampled_from([1, 2, 3, 300, 100_000]), threads=st.integers(1, 3))
@settings(max_examples=300)
def test_inside_distance_is_its_definition(data, shape, classes, threads):
    labels = data.draw(hnp.arrays(np.int64, shape, elements=st.integers(0, classes - 1)))
    spacing = tuple(data.draw(sizes) for _ in shape[1:])
    np.testing.assert_allclose(
        inside_distance(labels, spacing, threads), inside_by_definition(labels, spacing), rtol=1e-6
    )


@given(data=st.data(), seed=st.integers(0, 999), classes=st.integers(1, 4), lonely=st.booleans())
@settings(max_examples=60)
def test_inside_distance_is_its_definition_where_tiles_are_full_and_distances_long(data, seed, classes, lonely):
    shape = data.draw(st.sampled_from([(1, 9, 70), (3, 2, 130), (70, 9), (9, 3, 40), (7, 5, 17), (66, 2, 5), (400,)]))
    spacing = tuple(data.draw(sizes) for _ in shape)
    labels = np.zeros(shape, np.uint8) if lonely else smooth(shape, classes, 8, seed)
    labels.flat[data.draw(st.integers(0, labels.size - 1))] = 9
    labels = labels[None]
    np.testing.assert_allclose(inside_distance(labels, spacing, 2), inside_by_definition(labels, spacing), rtol=1e-6)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.5, 0.8, 0.8), (0.5, 10.0, 0.7)])
@pytest.mark.parametrize(
    "labels",
    [smooth((70, 90, 100), 5, 12), smooth((40, 80, 150), 2, 60), np.eye(300, 200, dtype=np.uint8).reshape(60, 10, 100)],
)
def test_inside_distance_agrees_with_scipy_and_edt_on_smooth_masks(labels, spacing):
    distance = inside_distance(labels[None], spacing, 2)[0]
    expected = np.zeros(labels.shape)
    for label in np.unique(labels):
        expected += ndimage.distance_transform_edt(labels == label, sampling=spacing)
    np.testing.assert_allclose(distance, expected, rtol=1e-6)
    np.testing.assert_allclose(distance, edt.edt(labels + 1, anisotropy=spacing), rtol=2e-6)


def test_each_image_of_a_batch_is_on_its_own():
    labels = np.stack([smooth((30, 40, 50), 3, 10, seed) for seed in range(3)] + [np.zeros((30, 40, 50), np.uint8)])
    together = inside_distance(labels, (1.0, 2.0, 0.5), 2)
    apart = [inside_distance(image[None], (1.0, 2.0, 0.5), 1)[0] for image in labels]
    np.testing.assert_array_equal(together, apart)


def test_squares_of_several_hundred_mm_keep_their_accuracy():
    labels = np.zeros((1, 900, 700), np.uint8)
    labels[0, 13, 17] = 1
    y, x = np.ogrid[:900, :700]
    exact = np.hypot((y - 13) * 0.7, (x - 17) * 0.3)
    exact[13, 17] = 0.3
    np.testing.assert_allclose(inside_distance(labels, (0.7, 0.3), 2)[0], exact, rtol=3e-7)


@pytest.mark.parametrize("dtype", [">u2", ">i4", "<u2", "i8", "u1", "u8"])
@pytest.mark.parametrize("layout", ["F", "strided", "transposed"])
def test_byte_order_type_and_memory_layout_do_not_matter(dtype, layout):
    plain = np.random.default_rng(0).integers(0, 2, (2, 6, 5, 4))
    array = plain.astype(dtype)
    if layout == "F":
        array = np.asfortranarray(array)
    elif layout == "strided":
        array = np.repeat(array, 2, axis=1)[:, ::2]
    else:
        array = np.ascontiguousarray(array.T).T
    spacing = (2.5, 0.8, 1.1)
    np.testing.assert_array_equal(inside_distance(array, spacing, 1), inside_distance(plain, spacing, 1))


def test_labels_beyond_32_bits_stay_apart():
    labels = np.array([[[0, 0, 1 << 40, 1 << 40, 1 << 41, 256]]])
    np.testing.assert_array_equal(inside_distance(labels, (1.0, 1.0), 1), [[[2, 1, 1, 1, 1, 1]]])
    labels = np.array([[[0, 0, 0, 256, 256, 256]]])
    np.testing.assert_array_equal(inside_distance(labels, (1.0, 1.0), 1), [[[3, 2, 1, 1, 2, 3]]])


@given(
    data=st.data(),
    dtype=st.sampled_from([np.uint8, np.uint16, np.uint32, np.int32, np.int64]),
    count=st.integers(1, 9),
    length=st.integers(0, 400),
    run=st.integers(1, 200),
)
def test_extremes_of_parts_are_those_of_a_loop_over_parts(data, dtype, count, length, run):
    seed = data.draw(st.integers(0, 999))
    rng = np.random.default_rng(seed)
    values = rng.normal(size=length).astype(np.float32)
    parts = np.repeat(rng.integers(0, count, length // run + 1), run)[:length].astype(dtype)
    groups = [values[parts == part] for part in range(count)]
    smallest, largest = extremes(values, parts, count)
    np.testing.assert_array_equal(largest, [max(g, default=0) for g in groups])
    np.testing.assert_array_equal(smallest, [min(g, default=0) for g in groups])
    offsets, divisors = rng.uniform(1, 2, (2, count)).astype(np.float32)
    expected = (values - offsets[parts]) / divisors[parts]
    scale_by_part(values, parts, offsets, divisors)
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize(("position", "part"), [(0, 3), (70, -1), (199, 3)])
def test_a_part_out_of_range_is_an_error(position, part):
    values, parts = np.ones(200, np.float32), np.zeros(200, np.int64)
    parts[position] = part
    with pytest.raises(LabelError, match=rf"part {part} at position {position}: expected 0 .. 2"):
        extremes(values, parts, 3)
    with pytest.raises(LabelError, match=rf"part {part} at position {position}: expected 0 .. 2"):
        scale_by_part(values, parts, np.zeros(3, np.float32), np.ones(3, np.float32))


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (1, 3, 0, 2)])
def test_nothing_comes_of_nothing(shape):
    spacing = (1.0, 2.0, 3.0)[: len(shape) - 1]
    assert inside_distance(np.zeros(shape, np.uint8), spacing, 2).shape == shape


def test_spacing_and_axes_that_do_not_fit_are_errors():
    with pytest.raises(SpacingError, match="expected 2 sizes"):
        inside_distance(np.zeros((1, 3, 4), np.uint8), (1.0, 1.0, 1.0), 1)
    with pytest.raises(ShapeError, match="4 axes"):
        inside_distance(np.zeros((1, 2, 2, 2, 2), np.uint8), (1.0,) * 4, 1)


def _sum_in_a_worker(queue):
    queue.put(float(inside_distance(smooth((64, 64, 64), 3, 16)[None], (1.0, 1.0, 1.0), 2).sum()))


def test_a_forked_worker_computes_the_same_after_the_parent_has():
    here = float(inside_distance(smooth((64, 64, 64), 3, 16)[None], (1.0, 1.0, 1.0), 2).sum())
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    worker = context.Process(target=_sum_in_a_worker, args=(queue,))
    worker.start()
    there = queue.get(timeout=60)
    worker.join(timeout=60)
    assert there == here
    assert worker.exitcode == 0


def test_importing_the_maps_does_not_import_numba():
    code = "import sys, edgewise.maps, edgewise.maps.edt_cpu; print('numba' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"
