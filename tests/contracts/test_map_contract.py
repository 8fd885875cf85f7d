"""What holds for every distance map, whoever wrote it. A new file in maps/ is tested here without an edit."""

import pickle
import re

import numpy as np
import pytest
import torch

from edgewise.catalog import discover
from edgewise.maps import DistanceMap

CLASSES = 4
SPACES = {"2d": (9, 8), "3d": (7, 6, 5), "thin": (1, 8, 7)}


def images(space):
    """Random labels, a blob with depth, one voxel, and images that one class fills."""
    blob = np.zeros(space, np.uint8)
    blob[tuple(slice(size // 4, size // 4 + max(1, size // 2)) for size in space)] = 2
    voxel = np.zeros(space, np.uint8)
    voxel[tuple(size // 2 for size in space)] = 1
    noise = np.random.default_rng(0).integers(0, CLASSES, space).astype(np.uint8)
    return [noise, blob, voxel, np.zeros(space, np.uint8), np.full(space, 3, np.uint8)]


def built(each, labels):
    spacing = (4.0, 1.0, 0.5)[: labels.ndim]
    return each(labels, classes=CLASSES, spacing=spacing)


@pytest.fixture(params=discover(DistanceMap).values(), ids=discover(DistanceMap))
def each(request):
    return request.param()


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
class TestEveryMap:
    def test_is_finite_float32_of_one_or_all_channels(self, each, space):
        for labels in images(space):
            field = built(each, labels)
            assert field.dtype == np.float32
            assert field.shape in {space, (CLASSES, *space)}
            assert np.isfinite(field).all()

    def test_a_batch_equals_its_items_and_a_tensor_equals_its_array(self, each, space):
        batch = np.stack(images(space))
        spacing = (4.0, 1.0, 0.5)[: len(space)]
        fields = each(batch, classes=CLASSES, spacing=spacing)
        for labels, field in zip(batch, fields, strict=True):
            np.testing.assert_array_equal(field, built(each, labels))
        tensor = each(torch.from_numpy(batch), classes=CLASSES, spacing=spacing)
        np.testing.assert_array_equal(tensor.numpy(), fields)

    def test_a_mirrored_image_has_the_mirrored_map(self, each, space):
        for labels in images(space):
            for axis in range(-len(space), 0):
                mirrored = built(each, np.flip(labels, axis))
                np.testing.assert_allclose(mirrored, np.flip(built(each, labels), axis), rtol=1e-5, atol=1e-6)

    def test_type_byte_order_and_memory_layout_do_not_matter(self, each, space):
        labels = images(space)[0]
        for other in (labels.astype(">i2"), np.asfortranarray(labels), labels.astype(np.int64)):
            np.testing.assert_array_equal(built(each, other), built(each, labels))

    def test_does_not_change_its_input(self, each, space):
        labels = images(space)[0]
        before = labels.copy()
        built(each, labels)
        np.testing.assert_array_equal(labels, before)


def test_is_a_key_that_survives_the_way_to_a_worker_process(each):
    assert {each: 1}[pickle.loads(pickle.dumps(each))] == 1


def test_names_a_source_and_its_formula(each):
    assert re.search(r"doi:10\.\d{4,}/\S+|arXiv:\d{4}\.\d{4,}", type(each).source)
    assert "$" in (type(each).__doc__ or "")
