"""What a localisation network is taught, and what is read from its answer."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.detection.boxes import Object, iou
from edgewise.detection.heatmap import (
    STRIDE,
    Targets,
    box_loss,
    box_of,
    boxes_at_cells,
    heat_loss,
    peaks,
    positions,
    targets,
)

SIGMA = 2.5


@st.composite
def scenes(draw):
    """Cells of a heatmap and some objects on it: (cells, objects)."""
    cells = tuple(draw(st.lists(st.integers(2, 8), min_size=2, max_size=3)))
    count = draw(st.integers(0, 4))
    found = []
    for _ in range(count):
        edges = [sorted(draw(st.tuples(*(st.floats(-0.5, 4.0 * n),) * 2))) for n in cells]
        low, high = [a for a, _ in edges], [b + 1.0 for _, b in edges]
        found.append(((*low, *high), draw(st.integers(0, 1))))
    return cells, found


def made(found):
    """Objects, which a strategy must not make: the type checker of the tests draws random numbers."""
    return [Object(box=box, kind=kind) for box, kind in found]


def test_a_cell_lies_in_the_middle_of_its_pixels():
    where = positions((3, 2), torch.device("cpu"))
    assert where[0, 0].tolist() == [1.5, 1.5] == np.arange(STRIDE).mean().repeat(2).tolist()
    assert where[2, 1].tolist() == [9.5, 5.5]


@given(scenes())
def test_the_heat_is_the_largest_gaussian_about_the_centres(scene):
    cells, found = scene[0], made(scene[1])
    wanted = targets([found], 2, cells, SIGMA)
    where = positions(cells, torch.device("cpu")).double().numpy()
    for kind in range(2):
        expected = np.zeros(cells)
        for each in (each for each in found if each.kind == kind):
            centre = np.add(each.box[: len(cells)], each.box[len(cells) :]) / 2
            squared = (((where - centre) / 4) ** 2).sum(-1)
            expected = np.maximum(expected, np.exp(-squared / (2 * SIGMA**2)))
        np.testing.assert_allclose(wanted.heat[0, kind].numpy(), expected, atol=1e-6)


@given(scenes())
def test_every_cell_speaks_of_the_object_whose_centre_is_nearest(scene):
    cells, found = scene[0], made(scene[1])
    wanted = targets([found], 2, cells, SIGMA)
    where = positions(cells, torch.device("cpu")).double().numpy()
    for kind in range(2):
        own = [each for each in found if each.kind == kind]
        if not own:
            assert not wanted.boxes[0, kind].any()
            continue
        centres = np.array([np.add(each.box[: len(cells)], each.box[len(cells) :]) / 2 for each in own])
        gaps = ((where[..., None, :] - centres) ** 2).sum(-1)
        boxes = np.array([each.box for each in own])
        chosen = wanted.boxes[0, kind].double().numpy()
        near = wanted.heat[0, kind].numpy() > 1e-6
        gap = np.min(np.where(np.isclose(chosen[..., None, :], boxes, atol=1e-3).all(-1), gaps, np.inf), axis=-1)
        np.testing.assert_allclose(gap[near], gaps.min(-1)[near], rtol=1e-3, atol=1e-2)


@given(scenes())
def test_perfect_distances_give_the_boxes_of_the_objects_and_no_box_loss(scene):
    cells, found = scene[0], made(scene[1])
    wanted = targets([found], 2, cells, SIGMA)
    where, dims = positions(cells, torch.device("cpu")), len(cells)
    distances = torch.cat((where - wanted.boxes[..., :dims], wanted.boxes[..., dims:] - where), dim=-1).movedim(-1, 2)
    loss = box_loss(boxes_at_cells(distances), wanted)
    assert (loss is None) == (not (wanted.heat > 0.5).any())
    if loss is not None:
        assert float(loss) == pytest.approx(0, abs=1e-4)


def test_only_cells_near_a_centre_have_a_box_loss():
    wanted = targets([[Object(box=(3.5, 3.5, 11.5, 11.5), kind=0)]], 1, (8, 8), SIGMA)
    distances = torch.full((1, 1, 4, 8, 8), 3.0, requires_grad=True)
    loss = box_loss(boxes_at_cells(distances), wanted)
    assert loss is not None
    loss.backward()
    near = (wanted.heat > 0.5).squeeze()
    touched = distances.grad.abs().sum((0, 1, 2)) > 0
    assert torch.equal(touched, near)


@given(st.integers(0, 2**31), st.sampled_from([(6, 5), (4, 3, 5)]), st.floats(0, 3), st.floats(0.1, 1))
@settings(max_examples=25)
def test_the_heat_loss_is_least_where_the_answer_is_the_target(seed, cells, gamma, dice):
    rng = np.random.default_rng(seed)
    wanted = torch.from_numpy(rng.uniform(0.02, 0.98, (2, 2, *cells)))
    wanted = wanted.float()
    loss = heat_loss(wanted.logit(), wanted, gamma, dice)
    noise = torch.from_numpy(rng.normal(0, 1, wanted.shape)).float()
    other = heat_loss(wanted.logit() + noise, wanted, gamma, dice)
    assert float(loss) < float(other)
    assert float(loss) >= -1e-6


def test_the_heat_loss_is_lins_where_targets_are_0_or_1():
    logits = torch.tensor([[[[-1.0, 2.0], [0.5, -3.0]]]])
    wanted = torch.tensor([[[[0.0, 1.0], [1.0, 0.0]]]])
    p = logits.sigmoid()
    true = torch.where(wanted > 0, p, 1 - p)
    focal = (-((1 - true) ** 2) * true.log()).sum() / 2
    assert float(heat_loss(logits, wanted, 2.0, 0.0)) == pytest.approx(float(focal), rel=1e-5)


@given(st.integers(0, 2**31), st.sampled_from([2, 3]))
@settings(max_examples=50)
def test_objects_apart_are_read_from_their_own_heatmap(seed, dims):
    """What a perfect L-Net answers leads back to the boxes, to the last cell."""
    rng = np.random.default_rng(seed)
    cells = (24,) * dims
    corners = rng.permutation(2**dims)[:2]
    found = []
    for number, corner in enumerate(corners):
        centre = np.array([24.0 if corner >> axis & 1 else 72.0 for axis in range(dims)]) + rng.uniform(-4, 4, dims)
        half = rng.uniform(2, 14, dims)
        box = tuple(float(side) for side in (*(centre - half), *(centre + half)))
        found.append(Object(box=box, kind=number))
    wanted = targets([found], 2, cells, SIGMA)
    read = peaks(wanted.heat[0], 0.5, 8)
    assert sorted(peak.kind for peak in read) == [0, 1]
    for peak in read:
        best = torch.tensor(box_of(wanted.boxes[0], peak))
        assert float(iou(best, torch.tensor(found[peak.kind].box))) > 0.999


def test_the_centre_of_a_keypoint_is_the_mean_of_its_cells_and_lies_in_it():
    heat = torch.zeros(1, 7, 7)
    heat[0, 2:5, 2:5] = 0.6
    (peak,) = peaks(heat, 0.5, 8)
    assert (peak.kind, peak.cell, peak.score) == (0, (3, 3), pytest.approx(0.6))
    heat[0, 3, 3] = 0  # a ring: its mean lies in the hole
    heat[0, 2, 4] = 0.9
    (peak,) = peaks(heat, 0.5, 8)
    assert (peak.cell, peak.score) == ((2, 4), pytest.approx(0.9))


def test_only_the_surest_keypoints_are_kept():
    heat = torch.zeros(2, 9, 9)
    heat[0, 0, 0], heat[0, 4, 4], heat[1, 8, 8], heat[1, 0, 8] = 0.6, 0.9, 0.7, 0.3
    assert [(peak.kind, peak.cell) for peak in peaks(heat, 0.5, 2)] == [(0, (4, 4)), (1, (8, 8))]
    assert peaks(heat, 0.95, 2) == []


def test_an_image_without_objects_has_no_heat():
    wanted = targets([[], []], 3, (4, 4), SIGMA)
    assert not wanted.heat.any()
    assert box_loss(torch.zeros(2, 3, 4, 4, 4), wanted) is None
    assert isinstance(wanted, Targets)
