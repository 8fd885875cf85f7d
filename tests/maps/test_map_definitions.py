"""Every distance map against its definition, written out slowly, and in the edge cases that the maps name."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.ndimage import label

from edgewise.errors import ExperimentError
from edgewise.maps.boundary import Boundary
from edgewise.maps.hausdorff import Hausdorff
from edgewise.maps.inverse import Distance, Inverse, NormalizedInverse, SignedNormalizedInverse
from edgewise.maps.penalty import Penalty
from edgewise.maps.rectify import Rectification
from edgewise.maps.region_wise import ActiveContour, NonDistance, Rectified
from edgewise.maps.regions import Regions

CLASSES = 4


@st.composite
def label_images(draw):
    """Boxes painted over one another, some of them noise: absent and full classes, single voxels, thin axes."""
    shape = draw(st.lists(st.integers(1, 7), min_size=2, max_size=3).filter(lambda sides: np.prod(sides) <= 150))
    labels = np.full(shape, draw(st.integers(0, CLASSES - 1)), np.uint8)
    for _ in range(draw(st.integers(0, 4))):
        ends = [sorted(draw(st.tuples(st.integers(0, side), st.integers(0, side)))) for side in shape]
        box = tuple(slice(*end) for end in ends)
        value = draw(st.integers(0, CLASSES))
        if value < CLASSES:
            labels[box] = value
        else:
            noise = np.random.default_rng(draw(st.integers(0, 9)))
            labels[box] = noise.integers(0, CLASSES, labels[box].shape)
    return labels


spacings = st.tuples(*[st.sampled_from([0.5, 0.7, 1.0, 2.0, 10.0])] * 3)


@dataclass(frozen=True)
class Slow:
    """Distances between all pairs of voxels of one image."""

    labels: np.ndarray
    spacing: tuple[float, ...]

    @property
    def gaps(self):
        points = np.argwhere(np.ones(self.labels.shape, bool)) * np.array(self.spacing)
        return np.linalg.norm(points[:, None] - points[None], axis=-1)

    def mask(self, each):
        return self.labels == each

    def to(self, mask):
        """Distance to the nearest voxel of a mask, infinite if it has none."""
        gaps = np.where(mask.ravel()[None], self.gaps, np.inf)
        return gaps.min(1).reshape(mask.shape)

    @property
    def inside(self):
        result = np.zeros(self.labels.shape)
        for each in np.unique(self.labels):
            own = self.mask(each)
            result[own] = self.to(~own)[own]
        return np.where(np.isinf(result), min(self.spacing), result)

    def bounded(self, each):
        return self.mask(each).any() and not self.mask(each).all()

    def parts(self, per):
        """The mask of every part of every class."""
        for each in np.unique(self.labels):
            own = self.mask(each)
            if per == "class":
                yield each, own
            else:
                found, count = label(own, np.ones((3,) * own.ndim))
                yield from ((each, found == number) for number in range(1, count + 1))

    def fill(self, value):
        return np.full((CLASSES, *self.labels.shape), float(value))

    def of_parts(self, per, elsewhere, formula, first=0):
        """The classes from `first` on: `formula` of the depths of each part where it is, `elsewhere` elsewhere."""
        full = self.fill(elsewhere)
        for each, part in self.parts(per):
            if each >= first:
                full[each][part] = formula(self.inside[part])
        return full


def normalized(depth):
    return (depth.max() + depth.min() - depth) / depth.max()


def signed_normalized(slow):
    full = slow.of_parts("component", 0.0, normalized, first=1)
    for each in range(1, CLASSES):
        if slow.bounded(each):
            outside = ~slow.mask(each)
            full[each][outside] = -normalized(slow.to(slow.mask(each))[outside])
    return full


def signed(slow, less=0.0):
    full = slow.fill(0.0)
    for each in range(CLASSES):
        if slow.bounded(each):
            own = slow.mask(each)
            full[each] = np.where(own, less - slow.to(~own), slow.to(own))
    return full


def powers(slow, alpha):
    return np.clip(signed(slow), 0, None) ** alpha


def weights(slow, per):
    own = slow.of_parts(per, 0.0, lambda depth: depth.max() - depth).sum(0)
    return np.broadcast_to(own, (CLASSES, *own.shape))


def rectified_signed(slow, value):
    own = np.arange(CLASSES).reshape(-1, *(1,) * slow.labels.ndim) == slow.labels
    return np.where(own, signed(slow), value)


DEFINITIONS = {
    Distance(): lambda slow: slow.of_parts("class", 0.0, lambda depth: depth, first=1),
    Inverse(): lambda slow: slow.of_parts("component", 0.0, lambda depth: depth.max() + depth.min() - depth, first=1),
    NormalizedInverse(): lambda slow: slow.of_parts("component", 0.0, normalized, first=1),
    SignedNormalizedInverse(): signed_normalized,
    Boundary(): signed,
    Boundary(offset="one_voxel"): lambda slow: signed(slow, min(slow.spacing)),
    Rectified(): lambda slow: slow.of_parts("class", 1.0, lambda depth: -depth / depth.max()),
    Rectified(per="component"): lambda slow: slow.of_parts("component", 1.0, lambda depth: -depth / depth.max()),
    ActiveContour(): lambda slow: slow.of_parts("class", 1.0, np.zeros_like),
    NonDistance(): lambda slow: slow.of_parts("class", 1.0, lambda depth: -np.ones_like(depth)),
    Rectification(): lambda slow: rectified_signed(slow, 1.0),
    Rectification(map=NonDistance(), value=3.0): lambda slow: slow.of_parts(
        "class", 3.0, lambda depth: -np.ones_like(depth)
    ),
    Hausdorff(): lambda slow: powers(slow, 2.0),
    Hausdorff(alpha=0.5): lambda slow: powers(slow, 0.5),
    Penalty(): lambda slow: weights(slow, "class"),
    Penalty(per="component"): lambda slow: weights(slow, "component"),
}

ONE_VOXEL = np.zeros((5, 4), np.uint8)
ONE_VOXEL[2, 1] = 2
TWO_SIZES = np.zeros((7, 9), np.uint8)
TWO_SIZES[1:6, 0:5] = TWO_SIZES[6, 5] = TWO_SIZES[2:5, 6:9] = 1
FULL = np.full((3, 1, 4), 3, np.uint8)


@pytest.mark.parametrize("each", DEFINITIONS, ids=str)
@given(labels=label_images(), sizes=spacings)
@example(labels=ONE_VOXEL, sizes=(1.0, 2.0, 1.0))
@example(labels=TWO_SIZES, sizes=(1.0, 1.0, 1.0))
@example(labels=FULL, sizes=(0.5, 10.0, 1.0))
@example(labels=np.zeros((1, 1), np.uint8), sizes=(1.0, 1.0, 1.0))
@settings(max_examples=60)
def test_agrees_with_the_definition(each, labels, sizes):
    spacing = sizes[: labels.ndim]
    field = each(labels, classes=CLASSES, spacing=spacing, channels="all")
    expected = DEFINITIONS[each](Slow(labels, spacing))
    np.testing.assert_allclose(field, expected, rtol=1e-5, atol=1e-6 * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("per", ["class", "component"])
@given(labels=label_images(), sizes=spacings)
@settings(max_examples=60)
def test_a_normalized_penalty_is_the_raw_one_over_the_largest_of_each_part(per, labels, sizes):
    slow = Slow(labels, sizes[: labels.ndim])
    field = Penalty(scale="normalized", per=per)(labels, classes=CLASSES, spacing=slow.spacing)
    for _, part in slow.parts(per):
        depth, weight = slow.inside[part], field[part]
        spread = depth.max() - depth.min()
        if spread < 1e-6 * depth.max():
            np.testing.assert_array_equal(weight, 0)
        elif spread > 1e-4 * depth.max():  # between the two, rounding decides
            assert (weight.min(), weight.max()) == (0, 1)
            np.testing.assert_allclose(weight * spread, depth.max() - depth, atol=1e-6 * depth.max())


@given(labels=label_images(), sizes=spacings)
def test_distances_to_the_boundaries_are_those_of_the_definition(labels, sizes):
    slow = Slow(labels, sizes[: labels.ndim])
    regions = Regions(labels=torch.from_numpy(labels)[None], classes=CLASSES, spacing=slow.spacing)
    assert regions.bounded[0].tolist() == [slow.bounded(each) for each in range(CLASSES)]
    np.testing.assert_allclose(regions.to_boundary[0], np.abs(signed(slow)), rtol=1e-5)


@given(labels=label_images(), sizes=spacings)
def test_depth_is_the_distance_to_the_nearest_other_class(labels, sizes):
    regions = Regions(labels=torch.from_numpy(labels)[None], classes=CLASSES, spacing=sizes[: labels.ndim])
    absent = ~regions.bounded.reshape(1, -1, *(1,) * labels.ndim)
    to_others = regions.to_boundary.masked_fill(regions.masks | absent, torch.inf).amin(1)
    if regions.bounded.any():
        torch.testing.assert_close(regions.inside, to_others)


@given(labels=label_images().map(lambda labels: (labels > 1).astype(np.uint8)), sizes=spacings)
def test_of_two_classes_either_boundary_is_the_other_turned_inside_out(labels, sizes):
    spacing = sizes[: labels.ndim]
    two = Boundary()(labels, classes=2, spacing=spacing)
    np.testing.assert_array_equal(two[0], -two[1])
    np.testing.assert_allclose(two, Boundary()(labels, classes=3, spacing=spacing)[:2], rtol=1e-6)


@given(labels=label_images(), sizes=spacings, scale=st.sampled_from([0.01, 3.0, 100.0]))
@settings(max_examples=40)
def test_maps_in_mm_scale_with_the_unit_and_maps_without_unit_do_not(labels, sizes, scale):
    def ratio_of(each, power):
        one, other = (
            each(labels, classes=CLASSES, spacing=tuple(size * unit for size in sizes[: labels.ndim]))
            for unit in (1.0, scale)
        )
        np.testing.assert_allclose(other, one * scale**power, rtol=1e-4, atol=1e-5 * scale**power)

    for each in (Distance(), Inverse(), Boundary(), Boundary(offset="one_voxel"), Penalty()):
        ratio_of(each, 1)
    for each in (Rectified(), NormalizedInverse(), SignedNormalizedInverse(), ActiveContour(), NonDistance()):
        ratio_of(each, 0)
    ratio_of(Hausdorff(alpha=3.0), 3)


@given(labels=label_images(), sizes=spacings)
def test_ranges_are_those_of_the_docstrings(labels, sizes):
    how = {"classes": CLASSES, "spacing": sizes[: labels.ndim]}
    foreground = labels > 0
    assert (Distance()(labels, **how)[foreground] >= min(how["spacing"]) * (1 - 1e-6)).all()
    near = NormalizedInverse()(labels, **how)
    assert ((near[foreground] > 0) & (near[foreground] <= 1)).all()
    for each, part in Slow(labels, how["spacing"]).parts("component"):
        assert not each or near[part].max() == 1  # exactly: this is what the minimum in the formula is for
    both = SignedNormalizedInverse()(labels, **how)
    assert (np.abs(both) <= 1).all()
    for each in range(1, CLASSES):
        assert (both[each][labels == each] > 0).all()
        assert not (labels == each).any() or (both[each][labels != each] < 0).all()
    for each in (Boundary(), Boundary(offset="one_voxel")):
        phi, own = each(labels, **how), labels == np.arange(CLASSES).reshape(-1, *(1,) * labels.ndim)
        assert (phi[own] <= 0).all()
        assert (phi[~own] >= 0).all()


def square():
    labels = np.zeros((7, 7), np.int64)
    labels[1:6, 1:6] = 1
    return labels


ROOT = 2**0.5
FROM_EDGE_TO_CENTRE = np.s_[0:4, 3]
CORNER = np.s_[0, 0]


@pytest.mark.parametrize(
    ("each", "channel", "across", "corner"),
    [
        (Rectified(), 1, [1, -1 / 3, -2 / 3, -1], 1),
        (Rectified(), 0, [-1 / ROOT, 1, 1, 1], -1),
        (NormalizedInverse(), 1, [0, 1, 2 / 3, 1 / 3], 0),
        (Boundary(offset="one_voxel"), 1, [1, 0, -1, -2], ROOT),
        (Boundary(), 1, [1, -1, -2, -3], ROOT),
        (Penalty(scale="normalized"), 1, [1, 1, 1 / 2, 0], 0),
        (Penalty(), 1, [ROOT - 1, 2, 1, 0], 0),
        (Hausdorff(), 1, [1, 0, 0, 0], 2),
        (Hausdorff(), 0, [0, 1, 4, 9], 0),
        (SignedNormalizedInverse(), 1, [-1, 1, 2 / 3, 1 / 3], -1 / ROOT),
        (Inverse(), 1, [0, 3, 2, 1], 0),
        (Distance(), 1, [0, 1, 2, 3], 0),
    ],
    ids=str,
)
def test_a_square_of_five_in_seven_holds_what_published_code_and_paper_give_it(each, channel, across, corner):
    # The first four and the normalised penalty (plus one) were read off the authors' code; the rest by hand.
    field = each(square(), classes=2, spacing=(1.0, 1.0), channels="all")[channel]
    np.testing.assert_allclose(field[FROM_EDGE_TO_CENTRE], across, rtol=1e-6)
    np.testing.assert_allclose(field[CORNER], corner, rtol=1e-6)


ABSENT = {
    Rectified(): 1,
    ActiveContour(): 1,
    NonDistance(): 1,
    Rectification(value=2.0): 2,
    Boundary(): 0,
    Boundary(offset="one_voxel"): 0,
    Hausdorff(): 0,
    Distance(): 0,
    Inverse(): 0,
    NormalizedInverse(): 0,
    SignedNormalizedInverse(): 0,
}


@pytest.mark.parametrize("each", ABSENT, ids=str)
@pytest.mark.parametrize("labels", [square(), np.zeros((3, 4, 2), int), np.ones((1, 5), int)], ids=["2d", "3d", "thin"])
def test_an_absent_class_holds_one_value(each, labels):
    spacing = (3.0, 0.5, 1.0)[: labels.ndim]
    np.testing.assert_array_equal(each(labels, classes=3, spacing=spacing, channels="all")[2], ABSENT[each])


FILLED = {
    Rectified(): -1,
    Rectified(per="component"): -1,
    ActiveContour(): 0,
    NonDistance(): -1,
    Rectification(): 0,
    Boundary(): 0,
    Boundary(offset="one_voxel"): 0,
    Hausdorff(): 0,
    Distance(): 0.5,
    Inverse(): 0.5,
    NormalizedInverse(): 1,
    SignedNormalizedInverse(): 1,
    **{Penalty(scale=scale, per=per): 0 for scale in ("raw", "normalized") for per in ("class", "component")},
}


@pytest.mark.parametrize("each", FILLED, ids=str)
@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5), (1, 5), (1, 1)])
def test_a_class_that_fills_the_image_holds_one_value(each, shape):
    spacing = (2.0, 0.5, 1.0)[: len(shape)]
    field = each(np.ones(shape, int), classes=2, spacing=spacing, channels="all")[1]
    np.testing.assert_array_equal(field, FILLED[each])


SINGLE = {
    Rectified(): -1,
    ActiveContour(): 0,
    NonDistance(): -1,
    Boundary(): -1,
    Boundary(offset="one_voxel"): 0,
    Rectification(): -1,
    Hausdorff(): 0,
    Distance(): 1,
    Inverse(): 1,
    NormalizedInverse(): 1,
    SignedNormalizedInverse(): 1,
    Penalty(): 0,
    Penalty(scale="normalized"): 0,
}


@pytest.mark.parametrize("each", SINGLE, ids=str)
@pytest.mark.parametrize("at", [(2, 2, 2), (0, 4, 2)], ids=["inner", "at the border"])
def test_a_single_voxel_has_a_depth_of_one_voxel(each, at):
    labels = np.zeros((5, 5, 5), np.uint8)
    labels[at] = 1
    assert each(labels, classes=2, spacing=(3.0, 1.0, 1.0), channels="all")[(1, *at)] == SINGLE[each]


@pytest.mark.parametrize("each", [SignedNormalizedInverse(), Distance(), Inverse(), NormalizedInverse()], ids=str)
def test_maps_of_the_distance_regression_are_zero_for_the_background(each):
    np.testing.assert_array_equal(each(square(), classes=2, spacing=(1.0, 1.0), channels="all")[0], 0)


@pytest.mark.parametrize("per", ["class", "component"])
@pytest.mark.parametrize("size", [0.1, 1 / 3, 0.7, 1.0])
def test_thin_structures_weigh_nothing_and_rounding_is_not_blown_up(per, size):
    labels = np.zeros((12, 12), np.uint8)
    labels[2, 1:9] = 1
    labels[6:9, 3] = 2
    labels[np.arange(5, 9), np.arange(6, 10)] = 3
    regions = Regions(labels=torch.from_numpy(labels)[None], classes=CLASSES, spacing=(size, size))
    rounding = torch.from_numpy(np.random.default_rng(0).uniform(-1e-6, 1e-6, labels.shape)).float()
    vars(regions)["inside"] = regions.inside * (1 + rounding)
    thin = torch.from_numpy(labels)[None] > 0
    assert (Penalty(per=per).of(regions)[thin] < 1e-5 * size).all()
    assert (Penalty(per=per, scale="normalized").of(regions)[thin] == 0).all()


def test_a_small_difference_in_depth_is_not_taken_for_rounding():
    labels = np.zeros((7, 5), int)
    labels[2:5, 2] = 1
    field = Penalty(scale="normalized")(labels, classes=2, spacing=(1.0, 1.0001))
    np.testing.assert_array_equal(field[2:5, 2], [1, 0, 1])


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("inf"), float("nan")])
def test_a_power_that_makes_no_sense_is_refused(alpha):
    with pytest.raises(ExperimentError, match=r"hausdorff: alpha is .* above 0"):
        Hausdorff(alpha=alpha)


@pytest.mark.timeout(20)
def test_fifty_thousand_components_beside_a_large_one_are_each_measured_alone():
    labels = np.zeros((74, 74, 90), np.uint8)
    labels[::2, ::2, :74:2] = 1
    assert (labels == 1).sum() > 50_000
    labels[20:31, 20:31, 77:88] = 1
    alone = np.where(np.arange(90) > 75, labels, 0)
    spacing = (1.0, 1.0, 1.0)
    near = NormalizedInverse()(labels, classes=2, spacing=spacing)
    voxels = (labels == 1) & (alone == 0)
    np.testing.assert_array_equal(near[voxels], 1)
    np.testing.assert_array_equal(near[labels == 0], 0)
    large = alone == 1
    np.testing.assert_allclose(near[large], NormalizedInverse()(alone, classes=2, spacing=spacing)[large], rtol=1e-6)
    assert near[25, 25, 82] == pytest.approx(1 / 6)
    each = Rectified(per="component")(labels, classes=2, spacing=spacing)
    np.testing.assert_array_equal(each[voxels], -1)
    assert each[large].max() == pytest.approx(-1 / 6)
    weight = Penalty(scale="normalized", per="component")(labels, classes=2, spacing=spacing)
    np.testing.assert_array_equal(weight[voxels], 0)
    assert (weight[large].min(), weight[large].max()) == (0, 1)
