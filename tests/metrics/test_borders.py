"""Borders and the distances between them, against their definitions on whole images."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import binary_erosion, correlate, distance_transform_edt, generate_binary_structure
from surface_distance import lookup_tables

from edgewise.metrics import Comparison
from edgewise.metrics.shells import Frame
from edgewise.metrics.surfels import sizes

shapes = hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=7)
pairs = shapes.flatmap(lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape)))
spacings = st.tuples(*[st.floats(0.25, 8, width=32)] * 3)
borders, edges = st.sampled_from(["faces", "edges", "corners", "surfels"]), st.sampled_from(["background", "open"])
CONNECTIVITY = {"faces": 1, "edges": 2, "corners": 3}


def elements(mask, border, edge, spacing):
    """Border elements by definition: their places in mm and their weights."""
    if border != "surfels":
        structure = generate_binary_structure(mask.ndim, CONNECTIVITY[border])
        at = np.argwhere(mask & ~binary_erosion(mask, structure, border_value=edge == "open"))
        return at * spacing, np.ones(len(at))
    padded = np.pad(mask, 1, mode="edge" if edge == "open" else "constant").astype(int)
    kernel = 2 ** np.arange(2**mask.ndim).reshape((2,) * mask.ndim)
    code = correlate(padded, kernel, mode="constant")[(slice(1, None),) * mask.ndim]
    at = np.argwhere((code > 0) & (code < kernel.sum()))
    return at * spacing, sizes(spacing)[code[tuple(at.T)]]


def by_brute_force(prediction, reference, border, edge, spacing):
    (one, one_weights), (other, other_weights) = (
        elements(mask, border, edge, spacing) for mask in (prediction, reference)
    )
    apart = np.linalg.norm(one[:, None] - other[None], axis=-1)
    return (apart.min(axis=1, initial=np.inf), one_weights), (apart.min(axis=0, initial=np.inf), other_weights)


def in_order(distances, weights):
    return np.array(sorted(zip(distances.round(9), weights.round(9), strict=True))).reshape(-1, 2)


@given(pair=pairs, spacing=spacings, border=borders, edge=edges)
@settings(max_examples=300)
def test_distances_and_weights_agree_with_the_definition(pair, spacing, border, edge):
    spacing = tuple(float(size) for size in spacing[: pair[0].ndim])
    gaps = Comparison.of(*pair, spacing, border=border, edge=edge).gaps
    for found, right in zip(gaps, by_brute_force(*pair, border, edge, spacing), strict=True):
        np.testing.assert_allclose(in_order(found.distances, found.weights), in_order(*right), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((90, 80), (0.7, 3.1)), ((200, 3), (1.0, 1.0)), ((40, 50, 30), (2.5, 0.8, 0.8)), ((30, 20, 30), (0.1, 1.0, 9.0))],
)
@pytest.mark.parametrize("border", ["faces", "surfels"])
@pytest.mark.parametrize("seed", range(3))
def test_structures_far_apart_are_searched_exactly(shape, spacing, border, seed):
    rng = np.random.default_rng(seed)
    masks = [rng.random(shape) < share for share in (0.02, 0.0005)]
    masks[0][tuple(length // 2 for length in shape)] = True
    masks[1][tuple(length - 1 for length in shape)] = True
    gaps = Comparison.of(*masks, spacing, border=border).gaps
    for found, (distances, _) in zip(gaps, by_brute_force(*masks, border, "background", spacing), strict=True):
        np.testing.assert_allclose(np.sort(found.distances), np.sort(distances), rtol=1e-12)


def test_a_false_island_far_away_is_as_far_as_a_distance_transform_says():
    z, y, x = np.ogrid[:60, :70, :80]
    reference = (z - 20) ** 2 + (y - 20) ** 2 + (x - 20) ** 2 <= 15**2
    prediction = reference | ((z - 50) ** 2 + (y - 60) ** 2 + (x - 70) ** 2 <= 6**2)
    spacing = (2.0, 0.9, 0.7)
    shell = reference & ~binary_erosion(reference)
    right = distance_transform_edt(~shell, sampling=spacing)[prediction & ~binary_erosion(prediction)]
    found, _ = Comparison.of(prediction, reference, spacing).gaps
    np.testing.assert_allclose(np.sort(found.distances), np.sort(right), rtol=1e-12)


@given(pair=pairs, spacing=spacings, border=borders, edge=edges, order=st.permutations(range(3)))
def test_distances_do_not_depend_on_how_the_masks_lie_in_memory(pair, spacing, border, edge, order):
    ndim = pair[0].ndim
    spacing, order = tuple(float(size) for size in spacing[:ndim]), [axis for axis in order if axis < ndim]
    moved = [np.ascontiguousarray(mask.transpose(order)).transpose(np.argsort(order)) for mask in pair]
    turned = [mask.transpose(order) for mask in pair]
    one = Comparison.of(*pair, spacing, border=border, edge=edge).gaps
    for other in (
        Comparison.of(*moved, spacing, border=border, edge=edge).gaps,
        Comparison.of(*turned, tuple(spacing[axis] for axis in order), border=border, edge=edge).gaps,
    ):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(in_order(a.distances, a.weights), in_order(b.distances, b.weights), atol=1e-8)


@given(pair=pairs, border=borders, edge=edges)
def test_every_border_element_of_voxels_is_in_its_mask(pair, border, edge):
    comparison = Comparison.of(*pair, (1.0,) * pair[0].ndim, border=border, edge=edge)
    for shell, mask in zip(Frame.of(comparison).shells(border, (2,) * pair[0].ndim), pair, strict=True):
        assert shell.solid.sum() == mask.sum()
        assert shell.grid.sum() == len(shell.at) == len(shell.weights)
        if border != "surfels":
            assert not (shell.grid & ~shell.solid).any()


@pytest.mark.parametrize("border", ["faces", "edges", "corners", "surfels"])
@pytest.mark.parametrize("shape", [(6, 9), (5, 6, 7)])
def test_a_mask_that_fills_the_image_has_no_border_if_its_edge_is_open(border, shape):
    full, spacing = np.ones(shape, bool), (1.0,) * len(shape)
    assert all(each.distances.size == 0 for each in Comparison.of(full, full, spacing, border=border, edge="open").gaps)
    assert all(each.distances.size for each in Comparison.of(full, full, spacing, border=border).gaps)
    part = full.copy()
    part[2:4] = False
    one, other = Comparison.of(full, part, spacing, border=border, edge="open").gaps
    assert one.distances.size == 0
    assert np.isinf(other.distances).all()


def test_a_vessel_that_the_image_cuts_has_no_end_there_if_its_edge_is_open():
    vessel = np.zeros((8, 9, 9), bool)
    vessel[:, 3:6, 3:6] = True
    for border, around in (("faces", 8), ("surfels", 12)):
        open_, closed = (
            Comparison.of(vessel, vessel, (1.0, 1.0, 1.0), border=border, edge=edge).gaps[0].distances.size
            for edge in ("open", "background")
        )
        assert open_ == around * (8 + (border == "surfels"))
        assert closed > open_


class TestSurfels:
    """The sizes of surface elements, by geometry."""

    @pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.7, 3.1), (2.0, 0.8, 0.8), (1.0, 2.0, 3.0)])
    def test_are_the_same_for_a_mask_and_its_complement_and_in_mirror_images(self, spacing):
        found, ndim = sizes(spacing), len(spacing)
        np.testing.assert_allclose(found, found[::-1], rtol=1e-12)
        corners = np.array(list(product((0, 1), repeat=ndim)))
        for axis in range(ndim):
            mirrored = corners.copy()
            mirrored[:, axis] = 1 - mirrored[:, axis]
            moved = [int("".join(map(str, corner)), 2) for corner in mirrored]
            codes = [sum(1 << moved[bit] for bit in range(2**ndim) if code >> bit & 1) for code in range(2**2**ndim)]
            np.testing.assert_allclose(found, found[codes], rtol=1e-12)

    def test_of_a_flat_wall_add_up_to_its_area(self):
        wall = np.zeros((9, 12, 14), bool)
        wall[:4] = True
        spacing = (3.0, 0.5, 0.7)
        gaps = Comparison.of(wall, wall, spacing, border="surfels", edge="open").gaps[0]
        assert gaps.weights.sum() == pytest.approx(13 * 0.5 * 15 * 0.7)  # one element a corner, ends included

    def test_of_a_single_voxel_are_those_of_an_octahedron(self):
        one = np.zeros((3, 3, 3), bool)
        one[1, 1, 1] = True
        gaps = Comparison.of(one, one, (1.0, 1.0, 1.0), border="surfels").gaps[0]
        np.testing.assert_allclose(gaps.weights, np.sqrt(3) / 8)

    def test_of_a_single_pixel_are_those_of_a_diamond(self):
        one = np.zeros((3, 3), bool)
        one[1, 1] = True
        gaps = Comparison.of(one, one, (3.0, 4.0), border="surfels").gaps[0]
        np.testing.assert_allclose(gaps.weights, 2.5)

    def test_of_a_ball_come_close_to_its_area(self):
        z, y, x = np.ogrid[-30:31, -30:31, -30:31]
        ball = z**2 + y**2 + x**2 <= 25**2
        area = Comparison.of(ball, ball, (1.0, 1.0, 1.0), border="surfels").gaps[0].weights.sum()
        assert area == pytest.approx(4 * np.pi * 25**2, rel=0.1)

    @pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 2.5), (0.3, 1.0, 5.0), (5.0, 3.0, 2.0)])
    def test_are_those_of_deepminds_library(self, spacing):
        areas = lookup_tables.create_table_neighbour_code_to_surface_area(spacing)
        np.testing.assert_allclose(sizes(spacing)[from_the_other_end(8)], areas, rtol=1e-12)
        lengths = lookup_tables.create_table_neighbour_code_to_contour_length(spacing[1:])
        np.testing.assert_allclose(sizes(spacing[1:])[from_the_other_end(4)], lengths, rtol=1e-12)


def from_the_other_end(bits):
    """Our number of each configuration: the library numbers the voxels from the other end."""
    return [int(f"{code:0{bits}b}"[::-1], 2) for code in range(2**bits)]
