"""Distance transforms and components in plain torch against their definitions and against independent libraries."""

from itertools import product
from math import log2, prod

import cc3d
import edt
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from torch.utils._python_dispatch import TorchDispatchMode

from edgewise.maps.edt_torch import components, inside_distance

DEVICES = ["cpu", "meta"] + ["cuda"] * torch.cuda.is_available()


def batches(most_labels):
    """Batches of small images; in some a single voxel of the batch differs from the others."""

    def of(shape):
        several = hnp.arrays(np.int64, shape, elements=st.integers(0, most_labels - 1))
        return several | st.integers(0, prod(shape) - 1).map(lambda place: one_voxel(shape, place))

    return hnp.array_shapes(min_dims=3, max_dims=4, min_side=1, max_side=6).flatmap(of)


def one_voxel(shape, place):
    image = np.zeros(shape, np.int64)
    image.ravel()[place] = 1
    return image


def spacings(axes):
    return st.tuples(*[st.floats(0.25, 5, width=32)] * axes)


def distances(shape, spacing):
    """(n, n): from every voxel to every voxel."""
    points = np.argwhere(np.ones(shape, bool)) * np.array(spacing, np.float64)
    return np.linalg.norm(points[:, None] - points[None], axis=-1)


def defined_inside_distance(batch, spacing):
    """The definition: every voxel against every voxel of another label."""
    apart = distances(batch.shape[1:], spacing)
    fields = []
    for image in batch:
        other = image.ravel()[:, None] != image.ravel()[None]
        nearest_other = np.where(other, apart, np.inf).min(axis=1).reshape(image.shape)
        fields.append(np.where(np.isinf(nearest_other), min(spacing), nearest_other))
    return np.stack(fields)


def defined_components(batch):
    """The definition: the lowest index spreads to neighbours of equal label until nothing changes."""
    number = np.arange(batch.size).reshape(batch.shape)
    moves = list(product((-1, 0, 1), repeat=batch.ndim - 1))
    while True:
        before = number.copy()
        for place in np.ndindex(batch.shape):
            for move in moves:
                other = (place[0], *(at + step for at, step in zip(place[1:], move, strict=True)))
                inside = all(0 <= at < size for at, size in zip(other, batch.shape, strict=True))
                if inside and batch[other] == batch[place]:
                    number[place] = min(number[place], number[other])
        if (number == before).all():
            return number


def smooth(shape, labels, seed):
    noise = np.random.default_rng(seed).standard_normal(shape)
    blurred = np.stack([ndimage.gaussian_filter(image, 3) for image in noise])
    return np.digitize(blurred, np.quantile(blurred, np.arange(1, labels) / labels))


def spiral(turns):
    """One path, one voxel wide with gaps one voxel wide, and its length."""
    side = 4 * turns + 1
    image = np.zeros((1, side, side), np.int64)
    place, direction = np.array([0, 0]), np.array([0, 1])
    image[0, 0, 0] = 1
    for length in [side - 1, *(step for step in range(side - 1, 1, -2) for _ in range(2))]:
        for _ in range(length):
            place += direction
            image[0, place[0], place[1]] = 1
        direction = np.array([direction[1], -direction[0]])
    return image, int(image.sum())


class Readings(TorchDispatchMode):
    """Counts the values that travel from the device to Python."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func in {torch.ops.aten.equal.default, torch.ops.aten._local_scalar_dense.default}
        return func(*args, **(kwargs or {}))


@given(data=st.data(), most_labels=st.sampled_from([1, 2, 4, 30]))
def test_the_inside_distance_is_the_definition(data, most_labels):
    batch = data.draw(batches(most_labels))
    spacing = data.draw(spacings(batch.ndim - 1))
    built = inside_distance(torch.from_numpy(batch), spacing)
    assert built.dtype == torch.float32
    np.testing.assert_allclose(built, defined_inside_distance(batch, spacing), rtol=1e-6)


@given(batch=batches(3))
def test_components_are_the_definition(batch):
    np.testing.assert_array_equal(components(torch.from_numpy(batch)), defined_components(batch))


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((2, 40, 33, 47), (5.0, 0.25, 0.8)), ((2, 1, 64, 50), (1.0, 1.0, 1.0)), ((3, 90, 70), (3.0, 1.0))],
)
def test_the_inside_distance_equals_the_edt_library(shape, spacing):
    batch = smooth(shape, 5, 0)
    expected = [edt.edt(image.astype(np.uint8) + 1, anisotropy=spacing, black_border=False) for image in batch]
    np.testing.assert_allclose(inside_distance(torch.from_numpy(batch), spacing), np.stack(expected), rtol=1e-5)


@pytest.mark.parametrize(("shape", "connectivity"), [((2, 40, 33, 47), 26), ((2, 1, 64, 50), 26), ((3, 90, 70), 8)])
def test_components_equal_those_of_cc3d(shape, connectivity):
    batch = smooth(shape, 3, 1)
    found = components(torch.from_numpy(batch)).numpy()
    index = np.arange(batch.size).reshape(batch.shape)
    for image, own, voxels in zip(batch, found, index, strict=True):
        expected = cc3d.connected_components(image.astype(np.uint8) + 1, connectivity=connectivity)
        pairs = np.unique(np.stack([own.ravel(), expected.ravel()]), axis=1)
        assert pairs.shape[1] == len(np.unique(own)) == expected.max()
        assert (ndimage.minimum(voxels, own, np.unique(own)) == np.unique(own)).all()


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.3, 0.7), (20.0, 1.0), (1.0, 20.0)])
def test_long_axes_stay_exact(spacing):
    labels = torch.zeros((1, 512, 33), dtype=torch.int64)
    labels[0, 3, 30] = 7
    rows, columns = np.indices((512, 33))
    expected = np.hypot((rows - 3) * spacing[0], (columns - 30) * spacing[1])
    expected[3, 30] = min(spacing)
    np.testing.assert_allclose(inside_distance(labels, spacing)[0], expected, rtol=1e-6)


@pytest.mark.parametrize("turns", [2, 8, 32, 64])
def test_a_spiral_takes_few_rounds(turns):
    image, length = spiral(turns)
    with Readings() as readings:
        found = components(torch.from_numpy(image)).numpy()
    assert (found[image == 1] == 0).all()
    assert len(np.unique(found)) == 2
    assert readings.count <= log2(length)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shape", [(2, 5, 4, 3), (2, 5, 4)])
def test_distances_read_nothing_back_and_stay_on_their_device(device, shape):
    """A tensor on the device "meta" has no values: whatever reads one fails."""
    labels = torch.zeros(shape, dtype=torch.int64, device=device)
    spacing = (2.0, 1.0, 0.5)[: len(shape) - 1]
    with Readings() as readings:
        built = inside_distance(labels, spacing)
    assert readings.count == 0
    assert built.shape == shape
    assert built.device == labels.device


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.uint32])
def test_the_type_and_layout_of_labels_do_not_matter(dtype):
    plain = torch.from_numpy(smooth((2, 6, 5, 7), 4, 2))
    labels = plain.to(dtype).transpose(1, 3).contiguous().transpose(1, 3)
    spacing = (2.5, 0.8, 1.1)
    assert torch.equal(inside_distance(labels, spacing), inside_distance(plain, spacing))
    assert torch.equal(components(labels), components(plain))


def test_labels_may_use_all_of_int64():
    labels = torch.tensor([[[-(2**62), 2**62, 2**62 + 1]]])
    assert inside_distance(labels, (1.0, 0.5)).tolist() == [[[0.5, 0.5, 0.5]]]
    assert components(labels).tolist() == [[[0, 1, 2]]]


@pytest.mark.parametrize("shape", [(0, 4, 5), (0, 4, 5, 6), (2, 0, 5)])
def test_no_voxel_gives_no_voxel(shape):
    labels = torch.zeros(shape, dtype=torch.int64)
    spacing = (1.0,) * (len(shape) - 1)
    for built in (inside_distance(labels, spacing), components(labels)):
        assert built.shape == shape


def test_an_image_of_one_label_has_one_voxel_of_depth():
    labels = torch.stack([torch.zeros(3, 4, dtype=torch.int64), torch.full((3, 4), 2), torch.eye(3, 4).long()])
    built = inside_distance(labels, (2.0, 0.5))
    assert (built[:2] == 0.5).all()
    assert torch.equal(built[2], inside_distance(labels[2:], (2.0, 0.5))[0])
