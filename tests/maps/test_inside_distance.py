"""The exact inside distance against its definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgewise.maps.edt import inside_distance

labels_2d_3d = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6), elements=st.integers(0, 3)
)
sizes = st.floats(0.25, 8, width=32)


def brute_force(labels, spacing):
    """The definition, O(n^2): every voxel against every voxel of another class."""
    points = np.argwhere(np.ones(labels.shape, bool)) * spacing
    flat = labels.ravel()
    gaps = np.linalg.norm(points[:, None] - points[None], axis=-1)
    gaps[flat[:, None] == flat[None]] = np.inf
    nearest = gaps.min(axis=1).reshape(labels.shape)
    return np.where(np.isinf(nearest), min(spacing), nearest)


@given(labels=labels_2d_3d, data=st.data())
@settings(deadline=None)
def test_agrees_with_the_definition(labels, data):
    spacing = tuple(data.draw(sizes) for _ in range(labels.ndim))
    np.testing.assert_allclose(inside_distance(labels, spacing), brute_force(labels, spacing), rtol=1e-5)


@pytest.mark.parametrize("dtype", [">u2", ">i4", "<u2", "i8", "u1"])
@pytest.mark.parametrize("layout", ["C", "F", "strided", "transposed"])
def test_byte_order_type_and_memory_layout_do_not_matter(dtype, layout):
    plain = np.random.default_rng(0).integers(0, 2, (6, 5, 4))
    array = plain.astype(dtype)
    if layout == "F":
        array = np.asfortranarray(array)
    elif layout == "strided":
        array = np.repeat(array, 2, axis=1)[:, ::2]
    elif layout == "transposed":
        array = np.ascontiguousarray(array.T).T
    spacing = (2.5, 0.8, 1.1)
    np.testing.assert_array_equal(inside_distance(array, spacing), inside_distance(plain, spacing))


def test_many_classes_do_not_overflow():
    labels = np.arange(6 * 60).reshape(6, 60)
    np.testing.assert_array_equal(inside_distance(labels, (1.0, 1.0)), 1)
    few = np.where(labels < 9, 255, 254)
    np.testing.assert_allclose(inside_distance(few, (1.0, 1.0)), brute_force(few, (1.0, 1.0)), rtol=1e-6)


@pytest.mark.parametrize("value", [0, 1])
def test_a_class_that_fills_the_image_has_one_voxel_of_depth(value):
    np.testing.assert_array_equal(inside_distance(np.full((3, 4), value), (2.0, 0.5)), 0.5)
