"""Training patches and batches: a number decides everything, wherever and whenever a patch is made."""

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.data.augment import Augmentation
from edgewise.data.batches import batches, collate
from edgewise.data.case import CaseFiles
from edgewise.data.intensity import Window
from edgewise.data.patches import Patches
from edgewise.data.prepare import Preparation, prepare

IDS = ("a", "b", "c")
# Prepared axes are (z, y, x); the last case is smaller than most patches.
SHAPES = {"a": (24, 20, 12), "b": (17, 23, 11), "c": (6, 9, 5)}
NEVER = Augmentation(
    flip=(),
    **dict.fromkeys(("spatial", "elastic", "noise", "blur", "brightness", "contrast", "gamma", "low_resolution"), 0.0),
)
FULL = Augmentation(spatial=1.0, elastic=1.0, noise=1.0, blur=1.0, gamma=1.0, low_resolution=1.0)
# A window that only rescales by 1: prepared voxels are the stored ones.
RAW = Preparation(axes=(2, 1, 0), spacing=(3.0, 1.0, 1.0), intensity=(Window(lower=0.0, upper=1.0),), crop="none")


def write_case(folder, name):
    """An image that tells each voxel's place, between 0 and 1, and labels with a rare class in a corner."""
    shape = SHAPES[name]
    image = (1 + np.arange(np.prod(shape), dtype=np.float32).reshape(shape)) / (1 + np.prod(shape))
    labels = np.zeros(shape, np.uint8)
    labels[: shape[0] // 2, : shape[1] // 2, : shape[2] // 2] = 1
    labels[-1, -1, -1] = 2
    paths = folder / f"{name}_image.nii.gz", folder / f"{name}_label.nii.gz"
    for path, array in zip(paths, (image, labels), strict=True):
        nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 1.0, 3.0, 1.0])), path)
    return CaseFiles(id=name, images=paths[:1], label=paths[1])


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("patches")
    files = [write_case(folder, name) for name in IDS]
    digests = {name: name for name in IDS}
    return prepare(files, RAW, folder / "prepared", workers=1, digests=digests, progress=lambda *_: None)


@pytest.fixture(scope="module")
def row(cases):
    def build(patch=(6, 8, 8), foreground=0.5, augmentation=NEVER, seed=0, ids=IDS):
        return Patches(
            cases=cases,
            ids=ids,
            patch=patch,
            spacing=(3.0, 1.0, 1.0)[-len(patch) :],
            foreground=foreground,
            augmentation=augmentation,
            seed=seed,
        )

    return build


def same(first, second):
    return (
        first.case == second.case
        and np.array_equal(first.image, second.image)
        and np.array_equal(first.labels, second.labels)
    )


PATCHES = [(6, 8, 8), (5, 7, 9), (12, 24, 24), (8, 8), (32, 7)]


@pytest.mark.parametrize("patch", PATCHES, ids=str)
class TestEveryPatch:
    def test_is_a_function_of_its_number(self, row, patch):
        first, second = row(patch, augmentation=FULL), row(patch, augmentation=FULL)
        forth = [first[n] for n in range(7)]
        back = [second[n] for n in reversed(range(7))][::-1]
        assert all(map(same, forth, back))
        assert not all(same(a, row(patch, augmentation=FULL, seed=1)[n]) for n, a in enumerate(forth))

    def test_has_the_size_asked_for_and_finite_values(self, row, patch):
        for n in range(6):
            one = row(patch, augmentation=FULL)[n]
            assert one.image.shape == (1, *patch)
            assert one.image.dtype == np.float32
            assert one.labels.shape == patch
            assert one.labels.dtype == np.uint8
            assert np.isfinite(one.image).all()
            assert set(np.unique(one.labels)) <= {0, 1, 2}

    def test_is_cut_from_the_case_it_names(self, row, cases, patch):
        for n in range(12):
            one = row(patch)[n]
            case = cases.load(one.case)
            seen = one.image[0] > 0
            voxels = np.searchsorted(np.sort(case.image[0], axis=None), one.image[0][seen])
            places = np.stack(np.unravel_index(np.argsort(case.image[0], axis=None)[voxels], case.labels.shape))
            np.testing.assert_array_equal(case.image[0][tuple(places)], one.image[0][seen])
            np.testing.assert_array_equal(case.labels[tuple(places)], one.labels[seen])
            # Neighbours in the patch are neighbours in the image.
            origin = places[-len(patch) :] - np.stack(np.nonzero(seen))
            assert (origin == origin[:, :1]).all()

    def test_stays_inside_images_that_are_large_enough_and_pads_the_others_alike_on_both_sides(self, row, cases, patch):
        for n in range(12):
            one = row(patch)[n]
            shape = cases.load(one.case).labels.shape[-len(patch) :]
            outside = one.image[0] == 0
            assert (one.labels[outside] == 0).all()
            for axis, (size, whole) in enumerate(zip(patch, shape, strict=True)):
                along = ~outside.all(axis=tuple(a for a in range(len(patch)) if a != axis))
                assert along.sum() == min(size, whole)
                before, after = np.argmax(along), np.argmax(along[::-1])
                assert abs(int(before) - int(after)) <= 1

    def test_of_foreground_only_holds_foreground(self, row, patch):
        everywhere = row(patch, foreground=1.0)
        assert all((everywhere[n].labels > 0).any() for n in range(18))


def test_the_rare_class_comes_as_often_as_the_common_one(row):
    patches = row((3, 5, 5), foreground=1.0, ids=("a", "b"))
    rare = np.mean([(patches[n].labels == 2).any() for n in range(80)])
    assert 0.3 < rare < 0.7


def test_the_foreground_voxel_is_at_the_centre_unless_the_border_is_near(row):
    patches = row((3, 3, 3), foreground=1.0, ids=("a", "b"))
    for n in range(40):
        labels = patches[n].labels
        assert labels[1, 1, 1] == 1 or (labels > 0).any()
        if (labels == 1).all():
            assert labels[1, 1, 1] == 1


def test_without_foreground_places_are_spread_over_the_whole_image(row, cases):
    patches = row((2, 4, 4), foreground=0.0, ids=("a",))
    centres = np.array([patches[n].image.mean() for n in range(60)])
    image = cases.load("a").image
    assert centres.min() < np.quantile(image, 0.15)
    assert centres.max() > np.quantile(image, 0.85)


@settings(max_examples=10)
@given(epoch=st.integers(0, 1000))
def test_an_epoch_visits_every_case_once(row, epoch):
    patches = row((2, 2))
    assert sorted(patches[n].case for n in range(3 * epoch, 3 * epoch + 3)) == list(IDS)


def test_epochs_come_in_different_orders(row):
    patches = row((2, 2))
    assert len({tuple(patches[n].case for n in range(3 * e, 3 * e + 3)) for e in range(20)}) > 2


def test_a_case_without_foreground_gives_patches_too(tmp_path, row):
    path, label = tmp_path / "image.nii.gz", tmp_path / "label.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.ones((9, 9, 9), np.float32), np.diag([1.0, 1.0, 3.0, 1.0])), path)
    nibabel.save(nibabel.Nifti1Image(np.zeros((9, 9, 9), np.uint8), np.diag([1.0, 1.0, 3.0, 1.0])), label)
    files = [CaseFiles(id="empty", images=(path,), label=label)]
    digests = {"empty": "empty"}
    cases = prepare(files, RAW, tmp_path / "prepared", workers=1, digests=digests, progress=lambda *_: None)
    plain = row((4, 4, 4))
    patches = Patches(
        cases=cases, ids=("empty",), patch=plain.patch, spacing=plain.spacing, foreground=1.0, augmentation=FULL, seed=0
    )  # fmt: skip
    assert not patches[0].labels.any()


class TestBatches:
    def test_a_batch_stacks_patches_in_order(self, row):
        patches = row((4, 6))
        batch = collate([patches[n] for n in range(3)])
        assert batch.image.shape == (3, 1, 4, 6)
        assert str(batch.labels.dtype) == "torch.int64"
        assert batch.cases == tuple(patches[n].case for n in range(3))
        np.testing.assert_array_equal(batch.image[1].numpy(), patches[1].image)
        np.testing.assert_array_equal(batch.labels[2].numpy(), patches[2].labels)

    @pytest.mark.parametrize("workers", [0, 2])
    def test_starting_later_gives_the_tail_of_the_whole_row(self, row, workers):
        patches = row((6, 8), augmentation=FULL)
        whole = list(batches(patches, size=2, start=0, stop=6, workers=0))
        tail = list(batches(patches, size=2, start=3, stop=6, workers=workers))
        assert [b.cases for b in tail] == [b.cases for b in whole[3:]]
        for ours, theirs in zip(tail, whole[3:], strict=True):
            np.testing.assert_array_equal(ours.image.numpy(), theirs.image.numpy())
            np.testing.assert_array_equal(ours.labels.numpy(), theirs.labels.numpy())

    def test_nothing_is_left_after_the_last_step(self, row):
        assert not list(batches(row((4, 4)), size=2, start=5, stop=5, workers=0))

    @pytest.mark.parametrize("workers", [0, 2])
    def test_making_batches_draws_nothing_from_the_global_generators(self, row, workers):
        import torch

        torch.manual_seed(0)
        list(batches(row((4, 4), augmentation=FULL), size=2, start=0, stop=2, workers=workers))
        drawn = torch.rand(3)
        torch.manual_seed(0)
        assert torch.equal(drawn, torch.rand(3))
