from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgewise.errors import LabelError, ShapeError, SpacingError
from edgewise.metrics.comparison import Comparison
from edgewise.report.error_surface import surface_error

SMALL = arrays.array_shapes(min_dims=3, max_dims=3, max_side=5)
PAIRS = SMALL.flatmap(lambda shape: st.tuples(arrays.arrays(bool, shape), arrays.arrays(bool, shape)))
SPACINGS = st.tuples(*[st.sampled_from([0.5, 1.0, 2.5, 7.0])] * 3)
STEPS = np.concatenate([np.eye(3, dtype=int), -np.eye(3, dtype=int)])


def faces_of(mask):
    """Voxels with a face to what is outside, once for every such face."""
    padded = np.pad(mask, 1)
    inside = np.argwhere(padded)
    return [tuple(voxel - 1) for voxel in inside for step in STEPS if not padded[tuple(voxel + step)]]


def ball(shape, centre, radius, spacing=(1.0, 1.0, 1.0)):
    grid = np.indices(shape).T * np.array(spacing)
    return (((grid - centre) ** 2).sum(-1) < radius**2).T


def volume(surface):
    corners = surface.vertices[surface.faces]
    halves = (corners[:, (0, 1, 2)], corners[:, (0, 2, 3)])
    return sum(np.einsum("ni,ni->", half[:, 0], np.cross(half[:, 1], half[:, 2])) / 6 for half in halves)


@given(PAIRS, SPACINGS)
def test_every_face_of_a_voxel_has_its_distance_to_the_border_of_the_reference(pair, spacing):
    prediction, reference = pair
    surface = surface_error(prediction, reference, spacing)
    border = [np.array(voxel) * spacing for voxel in set(faces_of(reference))]
    expected = [
        min((float(np.linalg.norm(np.array(voxel) * spacing - other)) for other in border), default=np.inf)
        for voxel in faces_of(prediction)
    ]
    assert sorted(surface.distances) == pytest.approx(sorted(expected), rel=1e-5)


@given(PAIRS, SPACINGS)
def test_the_largest_distance_is_the_directed_hausdorff_distance_of_the_metrics(pair, spacing):
    prediction, reference = pair
    assume(prediction.any() and reference.any())
    gaps = Comparison.of(prediction, reference, spacing).gaps[0].distances
    assert surface_error(prediction, reference, spacing).distances.max() == pytest.approx(gaps.max(), rel=1e-5)


@given(PAIRS, SPACINGS)
def test_a_vertex_has_the_mean_distance_of_the_faces_that_meet_in_it(pair, spacing):
    prediction, reference = pair
    assume(reference.any())
    surface = surface_error(prediction, reference, spacing)
    means = [surface.distances[(surface.faces == vertex).any(1)].mean() for vertex in range(len(surface.vertices))]
    assert surface.at_vertices() == pytest.approx(means)


@given(PAIRS)
def test_the_surface_is_closed_and_every_edge_is_passed_both_ways(pair):
    surface = surface_error(*pair, (1.0, 2.0, 3.0))
    edges = Counter((int(face[corner]), int(face[(corner + 1) % 4])) for face in surface.faces for corner in range(4))
    assert all(count == edges[end, start] for (start, end), count in edges.items())


@given(PAIRS, SPACINGS)
def test_a_vertex_lies_between_the_voxels_that_it_parts(pair, spacing):
    mask, reference = pair
    padded = np.pad(mask, 1)
    vertices = surface_error(mask, reference, spacing).vertices / spacing
    for low, high in zip(np.floor(vertices + 1e-9), np.ceil(vertices - 1e-9), strict=True):
        box = tuple(slice(int(start) + 1, int(stop) + 2) for start, stop in zip(low, high, strict=True))
        assert padded[box].any()
        if (high - low == 1).all():
            assert not padded[box].all()


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 0.5, 2.0)])
def test_the_surface_of_a_ball_has_its_volume_and_its_place(spacing):
    shape = tuple(int(40 / step) for step in spacing)
    mask = ball(shape, (20.0, 18.0, 21.0), 12.0, spacing)
    surface = surface_error(mask, mask, spacing)
    assert volume(surface) == pytest.approx(4 / 3 * np.pi * 12.0**3, rel=0.03)
    assert np.abs(np.linalg.norm(surface.vertices - (20.0, 18.0, 21.0), axis=1) - 12.0).max() < max(spacing)
    assert not surface.distances.any()


def test_a_single_voxel_stays_visible():
    mask = np.zeros((5, 5, 5), bool)
    mask[2, 3, 1] = True
    surface = surface_error(mask, mask, (1.0, 1.0, 1.0))
    assert volume(surface) > 0.05
    assert surface.vertices.mean(0) == pytest.approx((2, 3, 1))


def test_an_empty_prediction_has_no_surface_and_an_empty_reference_no_distance():
    mask = ball((9, 9, 9), (4, 4, 4), 3.0)
    none = np.zeros_like(mask)
    assert surface_error(none, mask, (1.0, 1.0, 1.0)).faces.shape == (0, 4)
    assert surface_error(none, none, (1.0, 1.0, 1.0)).vertices.shape == (0, 3)
    alone = surface_error(mask, none, (1.0, 1.0, 1.0))
    assert len(alone.faces)
    assert np.isinf(alone.distances).all()


def test_a_structure_that_fills_the_image_is_closed_at_its_edge():
    full = np.ones((3, 4, 5), bool)
    surface = surface_error(full, full, (1.0, 1.0, 1.0))
    assert len(surface.faces) == 2 * (12 + 15 + 20)
    assert volume(surface) > 0


def test_arrays_that_are_no_pair_of_volumes_are_refused():
    mask = np.ones((4, 4, 4), bool)
    with pytest.raises(ShapeError, match="three axes"):
        surface_error(mask[0], mask[0], (1.0, 1.0, 1.0))
    with pytest.raises(ShapeError, match="differ in shape"):
        surface_error(mask, mask[1:], (1.0, 1.0, 1.0))
    with pytest.raises(LabelError, match="expected bool"):
        surface_error(mask.view(np.uint8), mask, (1.0, 1.0, 1.0))
    with pytest.raises(SpacingError):
        surface_error(mask, mask, (1.0, 1.0))
