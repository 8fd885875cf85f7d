"""What a two-stage network looks at, and what becomes of the image that it is given."""

import numpy as np
import pytest
import torch
from torch import nn

from edgewise.inference.apply import applied
from edgewise.inference.roi import Crop, Recalibration
from edgewise.inference.sliding import Inference, Window
from edgewise.inference.two_stage import Candidate, Locator, TwoStage
from edgewise.training.arithmetic import Arithmetic

SIZE = (8, 12, 12)


class Told(Locator):
    """Finds the same boxes in every image."""

    def __init__(self, *boxes):
        super().__init__()
        self.boxes = [Candidate(box=box, kind=0, score=1.0) for box in boxes]

    @property
    def step(self):
        return (4, 4, 4)

    def find(self, image):
        return [self.boxes] * len(image), image.new_zeros(len(image), *(-(-n // 4) for n in image.shape[2:]))


class Bright(nn.Module):
    """Says that what is bright is an object, and counts the voxels that it sees."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, image):
        self.seen += image.numel()
        return torch.cat((0.5 - image, image - 0.5), dim=1) * 20


def two_stage(transfer, *boxes):
    return TwoStage(Told(*boxes), Bright(), transfer, classes=2, grouping="class", multiple=(4, 4, 4)).eval()


def predicted(network, image, windows=2):
    window = Window(patch=SIZE, classes=2, arithmetic=Arithmetic(threads=1), device=torch.device("cpu"))
    return applied(network, image, window, Inference(windows=windows))


def bright(space, *boxes):
    image = np.zeros((1, *space), np.float32)
    for box in boxes:
        image[(0, *(slice(round(a + 0.5), round(b + 0.5)) for a, b in zip(box[:3], box[3:], strict=True)))] = 1
    return image


def cube(corner, side):
    return (*(n - 0.5 for n in corner), *(n + side - 0.5 for n in corner))


def seen(transfer, space, *boxes):
    """How many voxels the second network looks at; its answer is right."""
    image, network = bright(space, *boxes), two_stage(transfer, *boxes)
    found = predicted(network, image).probabilities
    assert np.array_equal(found.argmax(0), image[0] > 0.5)
    return network.segment.seen


FAR, NEAR = (20, 30, 28), (4, 5, 6)


@pytest.mark.parametrize("transfer", [Recalibration(margin=2.0, size=(24, 24, 24)), Crop(border=2)], ids=str)
def test_the_second_network_sees_as_much_in_a_large_image_as_in_a_small_one(transfer):
    box = cube(NEAR, 6)
    assert seen(transfer, (16, 18, 20), box) == seen(transfer, (64, 50, 70), box) > 0
    assert seen(transfer, (64, 50, 70), box, cube(FAR, 6)) == 2 * seen(transfer, (64, 50, 70), box)


def test_a_recalibrated_region_is_as_large_as_any_other_and_a_crop_as_large_as_its_object():
    same, own = Recalibration(margin=2.0, size=(32, 32, 32)), Crop(border=2)
    small, large = cube(FAR, 4), cube(FAR, 12)
    assert seen(same, (64, 50, 70), small) == seen(same, (64, 50, 70), large) == 32**3
    assert seen(own, (64, 50, 70), small) == 8**3
    assert seen(own, (64, 50, 70), large) == 16**3


def test_an_image_stays_as_it_is_and_may_be_read_only_or_a_view():
    box, rng = cube(NEAR, 6), np.random.default_rng(0)
    image = rng.normal(size=(1, 16, 18, 20)).astype(np.float32)
    before = image.copy()
    answer = predicted(two_stage(Crop(border=2), box), image).probabilities
    assert np.array_equal(image, before)
    locked = image.copy()
    locked.flags.writeable = False
    turned = np.ascontiguousarray(image.transpose(0, 3, 2, 1)).transpose(0, 3, 2, 1)
    for same in (locked, turned, image[:, :, ::-1].copy()[:, :, ::-1]):
        assert np.array_equal(predicted(two_stage(Crop(border=2), box), same).probabilities, answer)


def test_regions_in_a_batch_are_answered_as_one_by_one():
    boxes = cube(NEAR, 6), cube(FAR, 6), cube((40, 8, 50), 9)
    image = bright((64, 50, 70), *boxes)
    for transfer in (Recalibration(margin=2.0, size=(24, 24, 24)), Crop(border=2)):
        one, three = (predicted(two_stage(transfer, *boxes), image, windows) for windows in (1, 3))
        assert np.array_equal(one.probabilities, three.probabilities)
        assert one.regions == three.regions
