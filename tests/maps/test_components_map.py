"""Component numbers and Voronoi regions against slow definitions. Numbers are names, so partitions are compared."""

from itertools import permutations

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgewise.maps.components import component, most_components, nearest_component

CLASSES = 3
SHAPES = st.sampled_from([(6, 7), (1, 9), (4, 3, 5), (2, 1, 6)])
SPACINGS = st.sampled_from([(1.0, 1.0, 1.0), (4.0, 1.0, 0.5), (0.7, 0.7, 2.1), (20.0, 1.0, 1.0)])


@st.composite
def label_images(draw):
    """Mostly background, so that there are several components."""
    shape = draw(SHAPES)
    return draw(arrays.arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 0, 0, 1, 2])))


def pieces(labels, each):
    """Masks of the connected components of a class, one by one."""
    numbers, count = scipy.ndimage.label(labels == each, np.ones((3,) * labels.ndim))
    return [numbers == number for number in range(1, count + 1)]


def distance_to(mask, spacing):
    """By definition: from every voxel to every voxel of the mask."""
    there = np.argwhere(mask) * np.array(spacing)
    here = np.argwhere(np.ones_like(mask)) * np.array(spacing)
    return np.sqrt(((here[:, None] - there) ** 2).sum(-1)).min(1).reshape(mask.shape)


def same_parts(first, second):
    """Whether two fields of names agree in which voxels belong together, and in where there is none."""
    pairs = np.unique(np.stack([first.ravel(), second.ravel()]), axis=1)
    alone = len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]
    return alone and bool(((first == 0) == (second == 0)).all())


@given(label_images())
def test_every_component_of_every_foreground_class_has_one_number_from_1_on(labels):
    numbers = component(labels, classes=CLASSES, spacing=(1.0,) * labels.ndim)
    expected = np.zeros(labels.shape, int)
    for mask in pieces(labels, 1) + pieces(labels, 2):
        expected[mask] = expected.max() + 1
    assert same_parts(numbers, expected)
    assert set(np.unique(numbers)) <= set(range(int(expected.max()) + 1))
    assert numbers.max() == expected.max()


@given(label_images(), SPACINGS)
def test_a_region_holds_what_lies_nearest_to_its_component_and_ties_lie_in_none(labels, spacing):
    spacing = spacing[: labels.ndim]
    fields = nearest_component(labels, classes=CLASSES, spacing=spacing)
    assert not fields[0].any()
    for each in (1, 2):
        masks = pieces(labels, each)
        names = [np.unique(fields[each][mask]) for mask in masks]
        assert all(len(name) == 1 for name in names)
        assert sorted(name[0] for name in names) == list(range(1, len(masks) + 1))
        expected = np.zeros(labels.shape)
        if masks:
            distances = np.stack([distance_to(mask, spacing) for mask in masks])
            tied = np.isclose(distances, distances.min(0), rtol=1e-6, atol=0).sum(0) > 1
            expected = np.where(tied, 0, np.array(names)[distances.argmin(0), 0])
        np.testing.assert_array_equal(fields[each], expected)


@settings(max_examples=30)  # eight maps each
@given(label_images(), SPACINGS)
def test_mirrored_and_turned_images_have_mirrored_and_turned_parts(labels, spacing):
    spacing = spacing[: labels.ndim]
    for kind in (component, nearest_component):
        fields = kind(labels, classes=CLASSES, spacing=spacing, channels="all")
        for axis in range(labels.ndim):
            mirrored = kind(np.flip(labels, axis), classes=CLASSES, spacing=spacing, channels="all")
            assert all(map(same_parts, mirrored, np.flip(fields, axis + 1)))
        for order in permutations(range(labels.ndim)):
            turned_spacing = tuple(spacing[axis] for axis in order)
            turned = kind(labels.transpose(order), classes=CLASSES, spacing=turned_spacing, channels="all")
            assert all(map(same_parts, turned, fields.transpose(0, *(axis + 1 for axis in order))))


def test_the_plane_half_way_between_two_lesions_lies_in_no_region():
    labels = np.zeros((5, 5), int)
    labels[:, 0] = labels[:, 4] = 1
    field = nearest_component(labels, classes=2, spacing=(1.0, 1.0))[1]
    assert not field[:, 2].any()
    assert same_parts(field, np.broadcast_to([1, 1, 0, 2, 2], (5, 5)))


def test_a_voxel_tied_between_three_lesions_of_which_two_look_first_lies_in_no_region():
    labels = np.zeros((1, 5, 5), int)
    labels[0, 0, 2] = labels[0, 2, 0] = labels[0, 2, 4] = 1
    assert nearest_component(labels, classes=2, spacing=(1.0, 1.0, 1.0))[1, 0, 2, 2] == 0


def test_spacing_decides_which_lesion_is_nearest():
    labels = np.zeros((7, 7), int)
    labels[0, 3] = labels[3, 6] = 1
    square, tall = (nearest_component(labels, classes=2, spacing=s)[1] for s in ((1.0, 1.0), (3.0, 1.0)))
    assert square[3, 3] == 0
    assert tall[3, 3] == tall[3, 6]


def test_a_single_component_has_the_whole_image_and_an_absent_class_nothing():
    labels = np.zeros((4, 5, 6), int)
    labels[1:3, 2, 2] = 1
    fields = nearest_component(labels, classes=CLASSES, spacing=(2.0, 1.0, 1.0))
    assert (fields[1] == 1).all()
    assert not fields[2].any()
    assert (nearest_component(np.ones((4, 5), int), classes=2, spacing=(1.0, 1.0))[1] == 1).all()


def test_images_of_a_batch_may_differ_in_how_many_components_they_have():
    labels = torch.zeros(3, 9, 9, dtype=torch.uint8)
    labels[0, ::2, ::2] = 1
    labels[1, 4, 4] = 1
    fields = nearest_component(labels, classes=2, spacing=(1.0, 1.0))[:, 1]
    assert fields.amax((1, 2)).tolist() == [25, 1, 0]
    assert (fields[1] == 1).all()


@given(label_images())
def test_no_image_has_more_components_than_the_bound(labels):
    numbers = component(labels, classes=CLASSES, spacing=(1.0,) * labels.ndim)
    assert numbers.max() <= most_components(labels.shape, CLASSES - 1)


@pytest.mark.parametrize("shape", [(6, 7), (5, 5, 4)])
def test_dots_reach_the_bound(shape):
    labels = np.zeros(shape, int)
    labels[(slice(None, None, 2),) * len(shape)] = 1
    assert component(labels, classes=2, spacing=(1.0,) * len(shape)).max() == most_components(shape, 1)
    corners = np.indices((2,) * len(shape)).reshape(len(shape), -1).T
    full = np.zeros(shape, int)
    for each, corner in enumerate(corners, start=1):
        full[tuple(slice(start, None, 2) for start in corner)] = each
    even = tuple(size - size % 2 for size in shape)
    crop = full[tuple(slice(size) for size in even)]
    found = component(crop, classes=len(corners) + 1, spacing=(1.0,) * len(shape)).max()
    assert found == crop.size == most_components(even, len(corners))


@pytest.mark.timeout(60)
def test_five_thousand_components_are_no_trouble():
    labels = np.zeros((36, 36, 36), int)
    labels[::2, ::2, ::2] = 1
    assert component(labels, classes=2, spacing=(1.0, 1.0, 1.0)).max() == 5832
    field = nearest_component(labels, classes=2, spacing=(1.0, 1.0, 1.0))[1]
    odd = (np.indices(field.shape) % 2).any(0)
    inner = (slice(0, 35),) * 3
    assert ((field[inner] == 0) == odd[inner]).all()
    assert len(np.unique(field)) == 5832 + 1
