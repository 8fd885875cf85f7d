"""A truth takes labels in every reasonable form, and refuses the others."""

import pytest
import torch

from edgewise.errors import LabelError, ShapeError, SpacingError
from edgewise.maps import Rectified, rectified
from edgewise.truth import Truth


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool])
@pytest.mark.parametrize("shape", [(2, 5, 4), (2, 1, 5, 4), (2, 6, 5, 4), (2, 1, 6, 5, 4)])
def test_labels_come_with_or_without_a_channel_axis_in_any_integer_type(dtype, shape):
    labels = torch.randint(2, shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    truth = Truth.of(labels, classes=2, needs=(rectified,))
    space = shape[2:] if shape[1] == 1 else shape[1:]
    assert truth.labels.dtype == torch.int64
    assert truth.labels.shape == truth.maps[rectified].shape == (2, *space)
    assert truth.spacing == (1.0,) * len(space)
    torch.testing.assert_close(truth.labels, labels.reshape(2, *space).long())


def test_a_spacing_tells_a_thin_volume_from_a_channel_axis():
    thin = torch.zeros(2, 1, 5, 4, dtype=torch.long)
    assert Truth.of(thin, classes=2, spacing=(1.0, 1.0)).labels.shape == (2, 5, 4)
    assert Truth.of(thin, classes=2, spacing=(5.0, 1.0, 1.0)).labels.shape == (2, 1, 5, 4)


def test_a_map_is_found_by_an_equal_map():
    truth = Truth.of(torch.zeros(1, 4, 4, dtype=torch.long), classes=2, needs=(Rectified(),))
    assert truth.maps[Rectified()] is truth.maps[rectified]


def test_moves_with_all_its_maps():
    truth = Truth.of(torch.zeros(1, 4, 4, dtype=torch.long), classes=2, needs=(rectified,)).to("meta")
    assert truth.labels.device.type == truth.maps[rectified].device.type == "meta"


@pytest.mark.parametrize(
    ("labels", "spacing", "error", "message"),
    [
        (torch.zeros(1, 4, 4), "voxels", LabelError, "not integers"),
        (torch.full((1, 4, 4), 3), "voxels", LabelError, r"range from 3 to 3, but there are 3 classes"),
        (torch.full((1, 4, 4), -1), "voxels", LabelError, "range from -1"),
        (torch.zeros(4, 4, dtype=torch.long), "voxels", ShapeError, r"expected \(B, \*space\)"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.long), (1.0, 1.0), ShapeError, "argmax"),
        (torch.zeros(1, 2, 3, 4, 4, dtype=torch.long), "voxels", ShapeError, "argmax"),
        (torch.zeros(1, 4, 4, dtype=torch.long), (1.0, -1.0), SpacingError, "positive"),
        (torch.zeros(1, 4, 4, dtype=torch.long), (1.0, 1.0, 1.0), ShapeError, "one size for each"),
    ],
)
def test_what_does_not_fit_is_one_clear_error(labels, spacing, error, message):
    with pytest.raises(error, match=message):
        Truth.of(labels, classes=3, spacing=spacing)


LABELS = torch.tensor([[[0, 1, 9], [1, 1, 9]], [[0, 0, 0], [9, 0, 1]]])
KNOWN = LABELS != 9


def test_unlabelled_voxels_are_background_to_the_maps_and_marked():
    truth = Truth.of(LABELS, classes=2, needs=(rectified,), ignore=9)
    torch.testing.assert_close(truth.known, KNOWN)
    filled = LABELS.where(KNOWN, 0)
    torch.testing.assert_close(truth.labels, filled)
    torch.testing.assert_close(truth.maps[rectified], rectified(filled, classes=2, spacing=(1.0, 1.0)))


def test_the_mean_is_over_known_voxels_and_weighs_images():
    values = torch.arange(12.0).reshape(2, 2, 3)
    known = Truth.of(LABELS, classes=2, ignore=9)
    torch.testing.assert_close(known.mean(values), values[KNOWN].mean())
    weights = torch.tensor([0.5, 2.0])
    weighed = Truth.of(LABELS.where(KNOWN, 0), classes=2, weights=weights)
    torch.testing.assert_close(weighed.mean(values), (values * weights[:, None, None]).mean())
    torch.testing.assert_close(weighed.over_images(values[:, 0]), (values[:, 0] * weights[:, None]).mean())
    both = Truth.of(LABELS, classes=2, ignore=9, weights=weights)
    torch.testing.assert_close(both.mean(values), (values * weights[:, None, None])[KNOWN].mean())


def test_a_batch_of_which_nothing_is_known_has_mean_zero():
    nothing = Truth.of(torch.full((1, 3, 3), 255), classes=2, ignore=255)
    assert nothing.mean(torch.ones(1, 3, 3)) == 0


def test_the_own_value_is_that_of_the_true_class():
    labels = torch.tensor([[[0, 2], [1, 1]]])
    values = torch.arange(12.0).reshape(1, 3, 2, 2)
    own = Truth.of(labels, classes=3).own(values)
    torch.testing.assert_close(own, torch.tensor([[[0.0, 9.0], [6.0, 7.0]]]))


def test_a_truth_moves_with_all_it_carries():
    truth = Truth.of(LABELS, classes=2, needs=(rectified,), ignore=9, weights=torch.ones(2)).to("meta")
    carried = (truth.labels, truth.known, truth.weights, truth.maps[rectified])
    assert {each.device.type for each in carried} == {"meta"}


def test_a_data_loader_pins_a_truth_as_a_whole(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor + 1)  # there is no pinning without a GPU
    truth = Truth.of(LABELS.where(KNOWN, 0), classes=2, needs=(rectified,), weights=torch.ones(2))
    pinned = torch.utils.data._utils.pin_memory.pin_memory(truth)
    torch.testing.assert_close(pinned.labels, truth.labels + 1)
    torch.testing.assert_close(pinned.maps[rectified], truth.maps[rectified] + 1)
    torch.testing.assert_close(pinned.weights, torch.full((2,), 2.0))
    assert pinned.known == "all"


def test_a_class_cannot_be_ignored():
    with pytest.raises(LabelError, match="ignore=1 is one of the 2 classes"):
        Truth.of(LABELS, classes=2, ignore=1)


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [1.0, float("nan")], [[1.0, 1.0]]])
def test_weights_that_do_not_fit_the_images_are_refused(weights):
    with pytest.raises(ShapeError, match="one finite number >= 0 an image"):
        Truth.of(LABELS, classes=2, ignore=9, weights=torch.tensor(weights))
