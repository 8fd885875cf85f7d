import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from edgewise.errors import ExperimentError
from edgewise.inference.postprocess import Postprocessing, closed, largest, postprocess

CLASSES = ("background", "femur", "tibia", "patella")
ONES = (1.0, 1.0, 1.0)
SHAPES = arrays.array_shapes(min_dims=2, max_dims=3, max_side=7)
MASKS = SHAPES.flatmap(lambda shape: arrays.arrays(bool, shape))
LABELS = SHAPES.flatmap(lambda shape: arrays.arrays(np.uint8, shape, elements=st.integers(0, 3)))
SIZES = st.sampled_from([0.5, 1.0, 1.5, 3.0])
RADII = st.sampled_from([0.4, 1.0, 1.5, 2.0, 3.0])
COUNTS = st.integers(1, 4)


def spaced(draw_from):
    """With a voxel size for each axis."""
    return draw_from.flatmap(lambda array: st.tuples(st.just(array), st.tuples(*[SIZES] * array.ndim)))


def ball(spacing, radius, shape):
    """The voxels of a ball as a structuring element, flat along axes of a single voxel."""
    reach = [int(radius / size * 1.0001) if n > 1 else 0 for size, n in zip(spacing, shape, strict=True)]
    grid = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in reach], indexing="ij"), -1)
    return ((grid * np.array(spacing)) ** 2).sum(-1) <= radius**2 * 1.0001


def slowly_closed(mask, spacing, radius):
    element = ball(spacing, radius, mask.shape)
    margin = [(n, n) for n in element.shape]
    wide = ndimage.binary_erosion(ndimage.binary_dilation(np.pad(mask, margin), element), element)
    return wide[tuple(slice(n, n + size) for (n, _), size in zip(margin, mask.shape, strict=True))]


def slowly_largest(mask, count):
    numbers, found = ndimage.label(mask, np.ones((3,) * mask.ndim))
    sized = [(-int((numbers == n).sum()), int(np.flatnonzero(numbers == n)[0]), n) for n in range(1, found + 1)]
    return np.isin(numbers, [n for _, _, n in sorted(sized)[:count]])


# --- closing


@given(spaced(MASKS), RADII)
def test_closing_agrees_with_dilation_and_erosion_by_a_ball_in_a_wide_margin(given_mask, radius):
    mask, spacing = given_mask
    assert np.array_equal(closed(mask, spacing, radius), slowly_closed(mask, spacing, radius))


@given(spaced(LABELS), RADII)
def test_closing_only_turns_background_into_a_class_and_a_second_one_changes_nothing(given_labels, radius):
    labels, spacing = given_labels
    settings = Postprocessing(closing=radius)
    once = postprocess(labels, spacing, CLASSES, settings).labels
    assert np.array_equal(once[labels > 0], labels[labels > 0])
    assert np.array_equal(postprocess(once, spacing, CLASSES, settings).labels, once)


@given(spaced(LABELS), RADII)
def test_every_class_is_closed_but_where_another_class_is_or_came_first(given_labels, radius):
    labels, spacing = given_labels
    result = postprocess(labels, spacing, CLASSES, Postprocessing(closing=radius)).labels
    expected = labels.copy()
    for label in (3, 2, 1):  # the lowest is written last
        expected[slowly_closed(labels == label, spacing, radius) & (labels == 0)] = label
    assert np.array_equal(result, expected)


@given(spaced(MASKS), RADII)
def test_nothing_is_eroded_at_the_edge_of_the_image(given_mask, radius):
    mask, spacing = given_mask
    assert closed(mask, spacing, radius)[mask].all()


def test_a_block_in_the_corner_of_the_image_stays_as_it_is():
    mask = np.zeros((9, 9, 9), bool)
    mask[:4, :5, :6] = True
    assert np.array_equal(closed(mask, ONES, 3.0), mask)
    assert not ndimage.binary_closing(mask, ball(ONES, 3.0, mask.shape))[0, 0, 0]  # what this guards against


def test_a_hole_is_closed_as_far_as_the_ball_does_not_fit_into_it():
    mask = np.ones((15, 15, 15), bool)
    mask[6:9, 6:9, 6:9] = False
    assert not closed(mask, ONES, 1.0)[7, 7, 7]
    assert closed(mask, ONES, 2.0).all()


def test_a_slice_is_closed_with_a_disc():
    mask = np.ones((15, 15), bool)
    mask[7, 7] = False
    assert closed(mask, (1.0, 1.0), 1.0).all()
    assert closed(mask[:, None], (1.0, 1.0, 1.0), 1.0).all()


def test_a_ball_of_thick_slices_has_the_voxels_that_are_within_its_radius():
    mask = np.ones((9, 9, 9), bool)
    mask[:, :, 4] = False
    assert not closed(mask, (1.0, 1.0, 4.0), 3.0)[4, 4, 4]
    assert closed(mask, (1.0, 1.0, 4.0), 4.0)[4, 4, 4]
    mask[:, :, 4] = True
    mask[4, 4, :] = False
    assert closed(mask, (1.0, 1.0, 4.0), 3.0)[4, 4, 4]


def test_a_ball_smaller_than_every_voxel_closes_nothing_and_says_so():
    labels = np.array([[1, 0, 1], [1, 0, 1]], np.uint8)
    mended = postprocess(labels, (2.0, 3.0), CLASSES[:2], Postprocessing(closing=1.5))
    assert np.array_equal(mended.labels, labels)
    assert mended.warnings == ("closing with 1.5 mm does nothing: no voxel is as small, (2.0, 3.0) mm",)


# --- components


@given(MASKS, COUNTS)
def test_the_largest_components_are_those_of_scipy_and_ties_go_to_the_first_in_order(mask, count):
    assert np.array_equal(largest(mask, count), slowly_largest(mask, count))


@given(MASKS, COUNTS)
def test_the_layout_in_memory_does_not_decide_a_tie(mask, count):
    assert np.array_equal(largest(np.asfortranarray(mask), count), largest(mask, count))


@given(LABELS, COUNTS)
def test_components_are_only_removed_and_a_second_time_nothing_is(labels, count):
    settings, spacing = Postprocessing(components=count), ONES[: labels.ndim]
    once = postprocess(labels, spacing, CLASSES, settings).labels
    assert set(np.unique(once[once != labels])) <= {0}
    for label in (1, 2, 3):
        assert np.array_equal(once == label, slowly_largest(labels == label, count))
    assert np.array_equal(postprocess(once, spacing, CLASSES, settings).labels, once)


@given(LABELS)
def test_only_the_classes_that_are_named_lose_components(labels):
    result = postprocess(labels, ONES[: labels.ndim], CLASSES, Postprocessing(components={"tibia": 1})).labels
    assert np.array_equal(result == 2, slowly_largest(labels == 2, 1))
    assert np.array_equal(np.where(labels == 2, 0, result), np.where(labels == 2, 0, labels))


@given(spaced(LABELS), RADII, COUNTS)
def test_classes_are_closed_before_components_are_chosen(given_labels, radius, count):
    labels, spacing = given_labels
    both = postprocess(labels, spacing, CLASSES, Postprocessing(closing=radius, components=count))
    first = postprocess(labels, spacing, CLASSES, Postprocessing(closing=radius)).labels
    assert np.array_equal(both.labels, postprocess(first, spacing, CLASSES, Postprocessing(components=count)).labels)


def test_more_components_than_there_are_is_fine():
    labels = np.array([[1, 0, 1]], np.uint8)
    assert np.array_equal(postprocess(labels, ONES[:2], CLASSES[:2], Postprocessing(components=9)).labels, labels)


def test_many_single_voxels_in_a_thin_volume_are_told_apart():
    mask = np.zeros((1, 1, 41), bool)
    mask[..., ::2] = True
    assert np.flatnonzero(largest(mask, 3)).tolist() == [0, 2, 4]


# --- both


@given(spaced(LABELS))
def test_by_default_nothing_is_changed_and_the_input_never_is(given_labels):
    labels, spacing = given_labels
    before = labels.copy()
    untouched = postprocess(labels, spacing, CLASSES, Postprocessing())
    assert np.array_equal(untouched.labels, before)
    assert not untouched.warnings
    mended = postprocess(labels, spacing, CLASSES, Postprocessing(closing=2.0, components=1))
    assert np.array_equal(labels, before)
    assert mended.labels.dtype == before.dtype


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        (Postprocessing(components=2), ["tibia", "patella"]),
        (Postprocessing(closing=1.0), ["tibia", "patella"]),
        (Postprocessing(components={"femur": 1, "patella": 1}), ["patella"]),
    ],
)
def test_a_class_of_which_there_is_nothing_is_a_warning(settings, missing):
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[1] = 1
    mended = postprocess(labels, ONES, CLASSES, settings)
    assert [text.split(" was not predicted")[0] for text in mended.warnings] == missing
    assert np.array_equal(mended.labels, labels)


def test_a_class_that_does_not_exist_is_named_with_those_that_do():
    with pytest.raises(ExperimentError, match=r"no class femour. Did you mean femur\? Known: femur, tibia, patella"):
        Postprocessing(components={"femour": 1}).kept(CLASSES)
    with pytest.raises(ExperimentError, match="no class background"):
        Postprocessing(components={"background": 1}).kept(CLASSES)


@pytest.mark.parametrize("components", [0, -1, {"femur": 0}])
def test_at_least_one_component_must_stay(components):
    with pytest.raises(ExperimentError, match="at least 1 must stay"):
        Postprocessing(components=components)


@pytest.mark.parametrize("closing", [-1.0, float("nan"), float("inf")])
def test_a_closing_is_a_finite_radius(closing):
    with pytest.raises(ExperimentError, match="radius of at least 0 mm"):
        Postprocessing(closing=closing)
