"""The exact inside distance against its definition and against SciPy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import distance_transform_edt

from edgewise.maps.edt import inside_distance

batches = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(0, 2), hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6)).map(
        lambda drawn: (drawn[0], *drawn[1])
    ),
    elements=st.integers(0, 3),
)
sizes = st.floats(0.25, 8, width=32)


def built(labels, spacing):
    """The inside distance of an array, (B, *space)."""
    return inside_distance(torch.from_numpy(labels), spacing).numpy()


def brute_force(labels, spacing):
    """The definition, O(n^2), for one image: every voxel against every voxel of another class."""
    points = np.argwhere(np.ones(labels.shape, bool)) * spacing
    flat = labels.ravel()
    gaps = np.linalg.norm(points[:, None] - points[None], axis=-1)
    gaps[flat[:, None] == flat[None]] = np.inf
    nearest = gaps.min(axis=1).reshape(labels.shape)
    return np.where(np.isinf(nearest), min(spacing), nearest)


@given(labels=batches, data=st.data())
def test_agrees_with_the_definition(labels, data):
    spacing = tuple(data.draw(sizes) for _ in range(labels.ndim - 1))
    distance = inside_distance(torch.from_numpy(labels), spacing)
    assert distance.dtype == torch.float32
    assert distance.shape == labels.shape
    for image, field in zip(labels, distance.numpy(), strict=True):
        np.testing.assert_allclose(field, brute_force(image, spacing), rtol=1e-5)


@given(labels=batches, ratio=st.sampled_from([0.05, 0.3, 20.0]))
def test_does_not_depend_on_the_order_of_the_axes(labels, ratio):
    spacing = (ratio, 1.0, 0.5)[: labels.ndim - 1]
    turned = built(np.swapaxes(labels, 1, -1), (spacing[-1], *spacing[1:-1], spacing[0]))
    np.testing.assert_allclose(np.swapaxes(turned, 1, -1), built(labels, spacing), rtol=1e-6)


@pytest.mark.parametrize("shape", [(60, 50), (1, 90), (30, 25, 20), (2, 40, 30)])
@pytest.mark.parametrize("ratio", [1.0, 20.0])
def test_agrees_with_scipy_class_by_class(shape, ratio):
    spacing = (ratio, *(0.7,) * (len(shape) - 1))
    rough = np.random.default_rng(0).integers(0, 3, tuple(-(-size // 8) for size in shape))
    labels = np.kron(rough, np.ones((8,) * len(shape), int))[tuple(slice(size) for size in shape)]
    distance = built(labels[None], spacing)[0]
    for each in np.unique(labels):
        own = labels == each
        np.testing.assert_allclose(distance[own], distance_transform_edt(own, spacing)[own], rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize("layout", ["plain", "strided", "transposed", "expanded"])
def test_type_and_memory_layout_do_not_matter(dtype, layout):
    plain = torch.from_numpy(np.random.default_rng(0).integers(0, 2, (2, 6, 5, 4))).to(dtype)
    if layout == "expanded":
        plain = plain[:1].expand(2, -1, -1, -1)
    other = plain
    if layout == "strided":
        other = plain.repeat_interleave(2, dim=2)[:, :, ::2]
    elif layout == "transposed":
        other = plain.mT.contiguous().mT
    assert other.is_contiguous() is (layout == "plain")
    spacing = (2.5, 0.8, 1.1)
    expected = inside_distance(plain.long().contiguous(), spacing)
    np.testing.assert_array_equal(inside_distance(other, spacing), expected)


def test_many_classes_do_not_overflow():
    labels = np.arange(6 * 60).reshape(1, 6, 60)
    np.testing.assert_array_equal(built(labels, (1.0, 1.0)), 1)
    few = np.where(labels < 9, 255, 254)
    np.testing.assert_allclose(built(few, (1.0, 1.0))[0], brute_force(few[0], (1.0, 1.0)), rtol=1e-6)


@pytest.mark.parametrize("value", [0, 1, 255])
def test_a_class_that_fills_the_image_has_one_voxel_of_depth(value):
    np.testing.assert_array_equal(built(np.full((1, 3, 4), value), (2.0, 0.5)), 0.5)


@given(labels=batches)
def test_does_not_look_beyond_the_image(labels):
    spacing = (2.0, 1.0, 0.5)[: labels.ndim - 1]
    full = np.zeros((1, *labels.shape[1:]), np.uint8)
    together = built(np.concatenate([full, labels, full]), spacing)
    np.testing.assert_array_equal(together[1:-1], built(labels, spacing))
    np.testing.assert_array_equal(together[[0, -1]], min(spacing))
