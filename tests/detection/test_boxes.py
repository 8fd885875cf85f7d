"""Boxes of objects, and how well two of them agree: against counting voxels."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from edgewise.detection.boxes import clipped, contained, diou_loss, grown, iou, objects

LABELS = arrays(np.uint8, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.integers(0, 3)) | arrays(
    np.uint8, st.tuples(*(st.integers(1, 5),) * 3), elements=st.integers(0, 3)
)
SIDE = 9


@st.composite
def whole_boxes(draw, dims):
    """A box of whole voxels in a grid of `SIDE`, as slices and as numbers."""
    edges = [sorted(draw(st.lists(st.integers(0, SIDE), min_size=2, max_size=2, unique=True))) for _ in range(dims)]
    low, high = zip(*edges, strict=True)
    return tuple(slice(a, b) for a, b in edges), (*(a - 0.5 for a in low), *(b - 0.5 for b in high))


def painted(slices):
    mask = np.zeros((SIDE,) * len(slices), bool)
    mask[slices] = True
    return mask


@given(LABELS)
def test_the_box_of_a_class_is_the_smallest_that_holds_all_its_voxels(labels):
    found = objects(labels, 4, "class")
    assert [each.kind for each in found] == [c - 1 for c in (1, 2, 3) if (labels == c).any()]
    for each in found:
        places = np.argwhere(labels == each.kind + 1)
        assert each.box == (*(places.min(0) - 0.5), *(places.max(0) + 0.5))


@given(LABELS)
def test_there_is_one_box_for_each_component(labels):
    touching = ndimage.generate_binary_structure(labels.ndim, labels.ndim)
    found = objects(labels, 4, "component")
    for c in (1, 2, 3):
        numbers, count = ndimage.label(labels == c, touching)
        boxes = sorted(
            (*(np.argwhere(numbers == n).min(0) - 0.5), *(np.argwhere(numbers == n).max(0) + 0.5))
            for n in range(1, count + 1)
        )
        assert [each.box for each in found if each.kind == c - 1] == boxes


@given(LABELS)
def test_the_foreground_is_one_object_of_one_kind(labels):
    assert objects(labels, 4, "foreground") == objects((labels != 0).astype(np.uint8), 2, "class")


@given(st.data(), st.sampled_from([2, 3]))
def test_iou_counts_the_voxels_that_two_boxes_share(data, dims):
    (a, first), (b, second) = (data.draw(whole_boxes(dims)) for _ in range(2))
    shared, either = (painted(a) & painted(b)).sum(), (painted(a) | painted(b)).sum()
    found = iou(torch.tensor(first), torch.tensor(second))
    assert float(found) == pytest.approx(shared / either, abs=1e-6)
    assert float(iou(torch.tensor(second), torch.tensor(first))) == float(found)


@given(st.data(), st.sampled_from([2, 3]))
def test_the_diou_loss_is_0_for_equal_boxes_and_larger_than_1_less_iou_for_others(data, dims):
    first, second = (torch.tensor(data.draw(whole_boxes(dims))[1]) for _ in range(2))
    assert float(diou_loss(first, first)) == pytest.approx(0, abs=1e-6)
    loss = float(diou_loss(first, second))
    assert 1 - float(iou(first, second)) - 1e-6 <= loss < 2


def test_the_diou_loss_draws_boxes_together_that_do_not_touch():
    predicted = torch.tensor([-0.5, -0.5, 1.5, 1.5], requires_grad=True)
    diou_loss(predicted, torch.tensor([6.5, 7.5, 9.5, 9.5])).backward()
    low, high = predicted.grad.chunk(2)
    assert (low + high < 0).all()  # both centres lie further on


def test_the_diou_loss_is_that_of_the_paper():
    """Two unit squares, three apart along one axis: IoU 0, centres 3 apart, enclosing box 4 x 1."""
    first, second = torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.tensor([3.0, 0.0, 4.0, 1.0])
    assert float(diou_loss(first, second)) == pytest.approx(1 + 9 / 17)


@given(st.data(), st.sampled_from([2, 3]), st.integers(0, 3))
def test_a_grown_box_holds_the_voxels_within_the_margin(data, dims, margin):
    slices, box = data.draw(whole_boxes(dims))
    wide = painted(tuple(slice(max(s.start - margin, 0), s.stop + margin) for s in slices))
    bigger = grown(torch.tensor(box), float(margin)).numpy()[None]
    assert contained(wide, bigger) == 1
    outside = ~wide
    assert np.isnan(contained(outside, bigger)) if not outside.any() else contained(outside, bigger) == 0


@given(st.data(), st.sampled_from([2, 3]), st.integers(0, 2**10))
def test_a_clipped_box_holds_the_same_voxels_of_the_image_and_none_beyond(data, dims, reach):
    low, high = (torch.tensor(data.draw(st.tuples(*[st.floats(a, b)] * dims))) for a, b in ((-reach, 4), (4, SIDE)))
    box = torch.cat((low, high + reach))
    less = clipped(box, (SIDE,) * dims)
    every = np.ones((SIDE,) * dims, bool)
    assert contained(every, less.numpy()[None]) == contained(every, box.numpy()[None])
    assert -0.5 <= less.min() <= less.max() <= SIDE - 0.5
    torch.testing.assert_close(clipped(less, (SIDE,) * dims), less)


def test_a_box_outside_of_the_image_has_no_extent():
    box = torch.tensor([[5.0, -9.0, 7.0, -2.0]])
    assert clipped(box, (4, 6)).tolist() == [[3.5, -0.5, 3.5, -0.5]]


def test_a_loss_of_a_clipped_box_moves_the_sides_inside_the_image_alone():
    box = torch.tensor([-3.0, 1.0, 2.0, 50.0], requires_grad=True)
    clipped(box, (4, 6)).sum().backward()
    assert box.grad.tolist() == [0, 1, 1, 0]


@given(st.data(), st.sampled_from([2, 3]), st.integers(0, 3))
def test_containment_is_the_share_of_voxels_in_any_box(data, dims, count):
    boxes = [data.draw(whole_boxes(dims)) for _ in range(count)]
    mask = data.draw(arrays(bool, (SIDE,) * dims))
    covered = np.zeros(mask.shape, bool)
    for slices, _ in boxes:
        covered[slices] = True
    found = contained(mask, np.array([box for _, box in boxes]).reshape(count, 2 * dims))
    expected = (mask & covered).sum() / mask.sum() if mask.any() else np.nan
    assert found == pytest.approx(expected, nan_ok=True)
