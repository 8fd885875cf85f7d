"""Places of patches: the regular grid is the one a slow look at every sub-image gives."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.data import sampling
from edgewise.data.augment import Augmentation
from edgewise.data.batches import batches
from edgewise.data.intensity import Window
from edgewise.data.locations import locations
from edgewise.data.patches import Patches
from edgewise.data.prepared_cases import PreparedCase, PreparedSet, keep
from edgewise.data.sampling import RandomPlaces, RegularGrid
from edgewise.data.transform import Preparation, Prepared, Undo
from edgewise.errors import ExperimentError

SHAPES = st.tuples(*[st.integers(1, 14)] * 3)
BLOCKS = st.one_of(st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.integers(1, 9)] * 2))


def case_of(labels):
    return PreparedCase(
        id="a",
        image=np.zeros((1, *labels.shape), np.float32),
        labels=labels,
        locations=locations(labels),
        spacing=(1.0, 1.0, 1.0),
        undo=Undo(shape=labels.shape, axes=(0, 1, 2), box=tuple((0, n) for n in labels.shape)),
    )


def sub_images(shape, block, stride):
    """Every sub-image as (start, stop) along each axis."""
    ranges = []
    for n, size in zip(shape, (1,) * (3 - len(block)) + block, strict=True):
        step, starts = max(1, round(size * stride)), {max(n - size, 0)}
        starts |= {s for s in range(0, n, step) if s + size <= n}
        ranges.append([(s, min(s + size, n)) for s in sorted(starts)])
    return list(product(*ranges))


def drawn(case, block, stride, foreground, count=400):
    """The sub-images that were drawn, as their voxels inside the image."""
    grid, rng, found = RegularGrid(stride=stride), np.random.default_rng(0), set()
    box = np.array((1,) * (3 - len(block)) + block)
    for _ in range(count):
        start = grid.centre(case, block, foreground, rng) - (box - 1) / 2
        assert (start == start.astype(int)).all()
        edges = [(max(int(a), 0), min(int(a) + b, n)) for a, b, n in zip(start, box, case.labels.shape, strict=True)]
        found.add(tuple(edges))
    return found


@settings(max_examples=60)
@given(shape=SHAPES, block=BLOCKS, stride=st.sampled_from([0.2, 0.5, 1.0]), seed=st.integers(0, 99))
def test_sub_images_with_foreground_are_those_that_a_look_at_each_finds(shape, block, stride, seed):
    rng = np.random.default_rng(seed)
    labels = (rng.random(shape) < rng.choice([0.001, 0.01, 0.3])).astype(np.uint8) * 3
    case, grid = case_of(labels), sub_images(shape, block, stride)
    expected = {edges for edges in grid if labels[tuple(slice(*e) for e in edges)].any()}
    found = drawn(case, block, stride, foreground=1.0)
    if expected:
        assert found <= expected
        assert found == expected or len(expected) > 40
    else:
        assert found <= set(grid)


@pytest.mark.parametrize("block", [(5, 6, 4), (6, 5)], ids=str)
def test_every_voxel_lies_in_a_sub_image_and_all_are_drawn(block):
    labels = np.zeros((7, 11, 9), np.uint8)
    labels[3, 3, 3] = 1
    grid = sub_images(labels.shape, block, 0.5)
    covered = np.zeros(labels.shape, bool)
    for edges in grid:
        covered[tuple(slice(*e) for e in edges)] = True
    assert covered.all()
    assert drawn(case_of(labels), block, 0.5, foreground=0.0, count=2000) == set(grid)


def test_a_share_of_the_patches_is_sure_to_hold_foreground():
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[0, 0, 0] = 1
    case, rng = case_of(labels), np.random.default_rng(0)
    first = [(RegularGrid().centre(case, (10, 10, 10), 0.4, rng) == 4.5).all() for _ in range(500)]
    assert 0.33 < np.mean(first) < 0.47


def test_labels_are_read_once():
    labels = np.zeros((9, 9, 9), np.uint8)
    labels[4] = 1
    case, rng = case_of(labels), np.random.default_rng(0)
    RegularGrid().centre(case, (3, 3, 3), 1.0, rng)
    before = sampling._held.cache_info().misses
    for _ in range(20):
        RegularGrid().centre(case, (3, 3, 3), 1.0, rng)
    assert sampling._held.cache_info().misses == before


def test_of_very_many_sub_images_an_even_choice_is_kept():
    held = sampling._held(case_of(np.ones((64, 64, 64), np.uint8)), (4, 4, 4), 0.2)
    assert len(held) == 10_000
    assert len(np.unique(held)) == 10_000
    np.testing.assert_allclose(np.mean(np.unravel_index(held, (61, 61, 61)), axis=1), 30, atol=1)


@pytest.mark.parametrize("stride", [0.0, -0.2, 1.5, float("nan")])
def test_a_stride_without_a_meaning_is_refused(stride):
    with pytest.raises(ExperimentError, match="stride"):
        RegularGrid(stride=stride)


@pytest.fixture
def cases(tmp_path):
    preparation = Preparation(axes=(0, 1, 2), spacing=(1.0, 1.0, 1.0), intensity=(Window(lower=0.0, upper=1.0),))
    for name in "ab":
        labels = np.zeros((12, 20, 16), np.uint8)
        labels[3:5, 6:9, 2:4] = 1
        image = np.random.default_rng(ord(name)).random((1, *labels.shape)).astype(np.float32)
        undo = Undo(shape=labels.shape, axes=(0, 1, 2), box=tuple((0, n) for n in labels.shape))
        prepared = Prepared(id=name, image=image, labels=labels, spacing=(1.0, 1.0, 1.0), undo=undo)
        keep(prepared, labels, preparation, tmp_path / name)
    return PreparedSet(folders={name: tmp_path / name for name in "ab"})


@pytest.mark.parametrize("patch", [(6, 8, 8), (8, 8)], ids=str)
@pytest.mark.parametrize("how", [RandomPlaces(), RegularGrid(stride=0.25)], ids=["random", "grid"])
def test_a_run_that_goes_on_later_sees_the_patches_it_would_have_seen(cases, patch, how):
    row = Patches(
        cases=cases,
        ids=("a", "b"),
        patch=patch,
        spacing=(1.0,) * len(patch),
        foreground=0.7,
        augmentation=Augmentation(spatial=0.5, elastic=0.5),
        seed=3,
        sampling=how,
    )
    whole = list(batches(row, size=2, start=0, stop=6, workers=0))
    tail = list(batches(row, size=2, start=4, stop=6, workers=2))
    for ours, theirs in zip(tail, whole[4:], strict=True):
        np.testing.assert_array_equal(ours.image.numpy(), theirs.image.numpy())
        np.testing.assert_array_equal(ours.labels.numpy(), theirs.labels.numpy())


@pytest.mark.parametrize("patch", [(6, 8, 8), (8, 8)], ids=str)
def test_every_unchanged_patch_of_a_grid_holds_foreground_and_is_a_sub_image(cases, patch):
    still = Augmentation(
        flip=(),
        **dict.fromkeys(("spatial", "noise", "blur", "brightness", "contrast", "gamma", "low_resolution"), 0.0),
    )
    row = Patches(
        cases=cases,
        ids=("a", "b"),
        patch=patch,
        spacing=(1.0,) * len(patch),
        foreground=1.0,
        augmentation=still,
        seed=0,
        sampling=RegularGrid(),
    )
    for number in range(20):
        one = row[number]
        assert (one.labels == 1).any()
        image = cases.load(one.case).image[0]
        cuts = (image[tuple(slice(*e) for e in edges)] for edges in sub_images(image.shape, patch, 0.2))
        assert any(np.array_equal(cut.reshape(patch), one.image[0]) for cut in cuts)
