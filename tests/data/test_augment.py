"""Augmentation: what changes nothing changes nothing, what moves stays rigid, and nothing is read from outside."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.data.augment import Augmentation, Change, apply_intensity, apply_spatial, draw, reach
from edgewise.errors import ExperimentError

WILD = Augmentation(
    rotation=180.0, scaling=(0.5, 2.0), spatial=1.0, elastic=1.0, elastic_shift=0.5, noise=1.0, blur=1.0,
    brightness=1.0, contrast=1.0, gamma=1.0, low_resolution=1.0,
)  # fmt: skip
RIGID = Augmentation(spatial=1.0, scaling=(1.0, 1.0), rotation=180.0)

patches = st.one_of(st.tuples(*[st.integers(2, 9)] * 3), st.tuples(*[st.integers(2, 12)] * 2))


def plain(patch, **change):
    return Change(matrix=np.eye(len(patch), dtype=np.float32), **change)


def box_shape(change, patch):
    """The box that the patches cut: `reach` on both sides of a centre that lies on or between voxels."""
    return tuple(2 * r + (1 if p % 2 else 2) for r, p in zip(reach(change, patch), patch, strict=True))


def noise(shape, channels=2, seed=0):
    return np.random.default_rng(seed).standard_normal((channels, *shape)).astype(np.float32)


def random_labels(shape, values=(0, 1, 5)):
    return np.random.default_rng(1).choice(np.array(values, np.uint8), shape)


def middle(box, patch):
    return tuple(slice((b - p) // 2, (b - p) // 2 + p) for b, p in zip(box, patch, strict=True))


class TestSpatialChanges:
    @settings(max_examples=30)
    @given(patch=patches, signs=st.tuples(*[st.sampled_from([1, -1])] * 3))
    def test_without_rotation_a_patch_is_a_copy_or_its_exact_mirror_image(self, patch, signs):
        dims = len(patch)
        change = Change(matrix=np.diag(signs[:dims]).astype(np.float32))
        box = box_shape(change, patch)
        image, labels = noise(box), random_labels(box)
        cut, classes = apply_spatial(image, labels, change, patch)
        mirror = tuple(slice(None, None, sign) for sign in signs[:dims])
        np.testing.assert_array_equal(cut, image[(slice(None), *middle(box, patch))][(slice(None), *mirror)])
        np.testing.assert_array_equal(classes, labels[middle(box, patch)][mirror])

    def test_copying_agrees_with_interpolating(self):
        patch = (6, 7, 8)
        almost = np.eye(3, dtype=np.float32) * np.float32(1 - 1e-6)
        for sign in (1, -1):
            change, near = Change(matrix=sign * np.eye(3, dtype=np.float32)), Change(matrix=sign * almost)
            image, labels = noise(box_shape(change, patch)), random_labels(box_shape(change, patch))
            copied, interpolated = (apply_spatial(image, labels, c, patch) for c in (change, near))
            np.testing.assert_allclose(copied[0], interpolated[0], atol=1e-4)
            np.testing.assert_array_equal(copied[1], interpolated[1])

    def test_a_patch_owns_its_voxels(self):
        change = plain((4, 4))
        image, labels = noise(box_shape(change, (4, 4))), random_labels(box_shape(change, (4, 4)))
        before = image.copy()
        cut, _ = apply_spatial(image, labels, change, (4, 4))
        cut[...] = 99
        np.testing.assert_array_equal(image, before)

    @settings(max_examples=40)
    @given(patch=patches, seed=st.integers(0, 10**6), coarse=st.floats(1, 8))
    def test_nothing_is_read_from_outside_the_promised_box(self, patch, seed, coarse):
        # Outside an array the interpolation takes zeros: a box of ones gives ones only if it was never left.
        change = draw(WILD, patch, (coarse, *(1.0,) * (len(patch) - 1)), np.random.default_rng(seed))
        box = box_shape(change, patch)
        cut, classes = apply_spatial(np.ones((1, *box), np.float32), np.ones(box, np.uint8), change, patch)
        np.testing.assert_allclose(cut, 1, atol=1e-4)
        assert (classes == 1).all()

    def test_a_deformation_far_larger_than_the_patch_stays_inside(self):
        signs = np.array([-1, 1, 1, -1, -1], np.float32)
        shifts = 600 * np.stack([np.outer(signs, signs)] * 2)
        change = plain((64, 64), shifts=shifts)
        box = box_shape(change, (64, 64))
        cut, _ = apply_spatial(np.ones((1, *box), np.float32), np.ones(box, np.uint8), change, (64, 64))
        np.testing.assert_allclose(cut, 1, atol=1e-4)

    @settings(max_examples=25)
    @given(patch=patches, seed=st.integers(0, 10**6))
    def test_labels_stay_labels(self, patch, seed):
        change = draw(WILD, patch, (1.0,) * len(patch), np.random.default_rng(seed))
        box = box_shape(change, patch)
        cut, classes = apply_spatial(noise(box), random_labels(box), change, patch)
        assert cut.shape == (2, *patch)
        assert cut.dtype == np.float32
        assert classes.shape == patch
        assert classes.dtype == np.uint8
        assert set(np.unique(classes)) <= {0, 1, 5}

    def test_image_and_labels_move_together(self):
        patch = (24, 24, 24)
        for seed in range(3):
            change = draw(WILD, patch, (1.0, 1.0, 1.0), np.random.default_rng(seed))
            grid = np.indices(box_shape(change, patch)).astype(np.float32)
            labels = (np.sin(grid / 4).sum(axis=0) > 0).astype(np.uint8)
            image, classes = apply_spatial(labels[None].astype(np.float32), labels, change, patch)
            clear = np.abs(image[0] - 0.5) > 0.499
            assert clear.any()
            np.testing.assert_array_equal(image[0][clear] > 0.5, classes[clear] == 1)

    def test_a_shift_moves_by_so_many_voxels(self):
        shifts = np.zeros((3, 5, 5, 5), np.float32)
        shifts[0], shifts[2] = 2, -1
        patch, change = (6, 5, 4), plain((6, 5, 4), shifts=shifts)
        box = box_shape(change, patch)
        image, labels = noise(box), random_labels(box)
        cut, classes = apply_spatial(image, labels, change, patch)
        x, y, z = middle(box, patch)
        moved = (slice(x.start + 2, x.stop + 2), y, slice(z.start - 1, z.stop - 1))
        np.testing.assert_allclose(cut, image[(slice(None), *moved)], atol=1e-4)
        np.testing.assert_array_equal(classes, labels[moved])


class TestDrawing:
    @given(patch=patches, seed=st.integers(0, 10**6))
    @settings(max_examples=20)
    def test_equal_generators_draw_equal_changes(self, patch, seed):
        first, second = (asdict(draw(WILD, patch, (1.0,) * len(patch), np.random.default_rng(seed))) for _ in range(2))
        for name, value in first.items():
            np.testing.assert_array_equal(value, second[name])

    def test_probability_zero_changes_nothing(self):
        probabilities = ("spatial", "elastic", "noise", "blur", "brightness", "contrast", "gamma", "low_resolution")
        never = Augmentation(flip=(), **dict.fromkeys(probabilities, 0.0))
        change = draw(never, (8, 8), (1.0, 1.0), np.random.default_rng(0))
        np.testing.assert_array_equal(change.matrix, np.eye(2))
        image = noise((8, 8))
        np.testing.assert_array_equal(apply_intensity(image, change), image)

    @given(
        seed=st.integers(0, 10**6),
        spacing=st.tuples(*[st.floats(0.3, 8.0)] * 3),
        dims=st.sampled_from([2, 3]),
    )
    @settings(max_examples=50)
    def test_a_rotation_is_rigid_in_millimetres(self, seed, spacing, dims):
        size = np.array(sorted(spacing, reverse=True)[-dims:])
        matrix = draw(RIGID, (8,) * dims, tuple(size), np.random.default_rng(seed)).matrix
        in_mm = matrix * size[:, None] / size[None, :]
        np.testing.assert_allclose(in_mm.T @ in_mm, np.eye(dims), atol=1e-4)

    @given(seed=st.integers(0, 10**6), coarse=st.floats(3.1, 10))
    @settings(max_examples=20)
    def test_thick_slices_are_turned_in_their_plane_only(self, seed, coarse):
        matrix = draw(RIGID, (8, 8, 8), (coarse, 1.0, 1.0), np.random.default_rng(seed)).matrix
        np.testing.assert_array_equal(np.abs(matrix[0]), (1, 0, 0))
        np.testing.assert_array_equal(np.abs(matrix[:, 0]), (1, 0, 0))

    @given(seed=st.integers(0, 10**6))
    @settings(max_examples=20)
    def test_turns_in_the_plane_leave_the_slice_axis_alone(self, seed):
        setting = replace(RIGID, rotation_axes="in_plane", flip=())
        matrix = draw(setting, (8, 8, 8), (1.0, 1.0, 1.0), np.random.default_rng(seed)).matrix
        np.testing.assert_array_equal(matrix[0], (1, 0, 0))
        np.testing.assert_array_equal(matrix[:, 0], (1, 0, 0))
        assert matrix[1, 2] != 0

    @pytest.mark.parametrize("unit", ["voxels", "mm", "share"])
    def test_control_points_move_by_the_shift_in_its_unit(self, unit):
        patch, spacing, rng = (40, 30, 20), (3.0, 1.0, 0.5), np.random.default_rng(0)
        setting = Augmentation(elastic=1.0, elastic_points=5, elastic_shift=6.0, elastic_unit=unit)
        shifts = np.stack([draw(setting, patch, spacing, rng).shifts for _ in range(40)])
        expected = {"voxels": (6, 6, 6), "mm": (2, 6, 12), "share": (6 * 20, 6 * 15, 6 * 10)}[unit]
        np.testing.assert_allclose(shifts.std(axis=(0, 2, 3, 4)), expected, rtol=0.05)
        assert abs(shifts.mean()) < 0.05 * max(expected)

    @given(seed=st.integers(0, 10**6))
    @settings(max_examples=20)
    def test_magnification_keeps_to_its_limits(self, seed):
        scaled = Augmentation(spatial=1.0, rotation=0.0, scaling=(0.8, 1.25))
        diagonal = np.diag(draw(scaled, (8, 8), (1.0, 1.0), np.random.default_rng(seed)).matrix)
        assert 0.8 - 1e-6 <= 1 / abs(diagonal[0]) <= 1.25 + 1e-6

    @pytest.mark.parametrize(("flip", "mirrored"), [("all", {0, 1, 2}), ((2,), {2}), ((), set())])
    def test_only_the_chosen_axes_are_mirrored(self, flip, mirrored):
        settings_ = Augmentation(spatial=0.0, flip=flip)
        rng = np.random.default_rng(0)
        matrices = [draw(settings_, (4, 4, 4), (1.0, 1.0, 1.0), rng).matrix for _ in range(40)]
        assert {axis for m in matrices for axis in range(3) if m[axis, axis] < 0} == mirrored
        assert set(settings_.mirrored(3)) == mirrored

    def test_probabilities_are_kept(self):
        rng = np.random.default_rng(0)
        changes = [draw(Augmentation(noise=0.25, gamma=0.75), (4, 4), (1.0, 1.0), rng) for _ in range(300)]
        assert 0.17 < np.mean([c.noise > 0 for c in changes]) < 0.33
        assert 0.67 < np.mean([c.gamma != 1 for c in changes]) < 0.83

    @pytest.mark.parametrize(
        "wrong",
        [
            {"noise": 1.5}, {"spatial": -0.1}, {"scaling": (1.2, 0.8)}, {"gamma_range": (0.0, 1.0)},
            {"elastic_points": 3}, {"low_resolution_zoom": 0.0},
        ],
    )  # fmt: skip
    def test_settings_without_a_meaning_are_refused_by_name(self, wrong):
        with pytest.raises(ExperimentError, match=next(iter(wrong))):
            Augmentation(**wrong)


class TestIntensityChanges:
    @settings(max_examples=30)
    @given(patch=patches, seed=st.integers(0, 10**6), scale=st.sampled_from([0.0, 1e-6, 1.0, 1e4]))
    def test_every_image_stays_finite_and_in_shape(self, patch, seed, scale):
        change = draw(WILD, patch, (1.0,) * len(patch), np.random.default_rng(seed))
        image = noise(patch, seed=seed) * np.float32(scale)
        before = image.copy()
        changed = apply_intensity(image, change)
        assert changed.shape == image.shape
        assert changed.dtype == np.float32
        assert changed.flags.c_contiguous
        assert np.isfinite(changed).all()
        np.testing.assert_array_equal(image, before)

    @pytest.mark.parametrize(
        "kind", [{"blur": 1.0}, {"contrast": 0.8}, {"gamma": 0.7}, {"gamma": 1.5}, {"zoom": 0.5}], ids=str
    )
    @pytest.mark.parametrize("value", [0.0, -3.0, 1000.0])
    def test_a_constant_image_stays_as_it_is(self, kind, value):
        image = np.full((1, 7, 8, 9), value, np.float32)
        np.testing.assert_allclose(apply_intensity(image, plain((7, 8, 9), **kind)), image, rtol=1e-5, atol=1e-5)

    def test_noise_depends_on_its_seed_alone(self):
        image = np.zeros((1, 40, 40), np.float32)
        one, same, other = (apply_intensity(image, plain((40, 40), noise=0.5, noise_seed=seed)) for seed in (3, 3, 4))
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, other)
        assert one.std() == pytest.approx(0.5, rel=0.1)

    def test_contrast_keeps_the_mean_and_brightness_scales_it(self):
        image = noise((30, 30)) + 2
        contrast = apply_intensity(image, plain((30, 30), contrast=0.8))
        np.testing.assert_allclose(contrast.mean((1, 2)), image.mean((1, 2)), rtol=1e-4)
        np.testing.assert_allclose(contrast.std((1, 2)), 0.8 * image.std((1, 2)), rtol=1e-4)
        np.testing.assert_allclose(apply_intensity(image, plain((30, 30), brightness=1.2)), 1.2 * image, rtol=1e-6)

    def test_gamma_keeps_range_and_order(self):
        image = noise((30, 30), channels=1)
        changed = apply_intensity(image, plain((30, 30), gamma=1.4))
        assert changed.min() == pytest.approx(image.min())
        assert changed.max() == pytest.approx(image.max(), rel=1e-5)
        np.testing.assert_array_equal(np.argsort(changed, axis=None), np.argsort(image, axis=None))

    @pytest.mark.parametrize("kind", [{"blur": 1.0}, {"zoom": 0.5}], ids=str)
    def test_a_coarser_image_varies_less_and_channels_do_not_mix(self, kind):
        image = noise((16, 16, 16))
        image[1] = 5
        changed = apply_intensity(image, plain((16, 16, 16), **kind))
        assert changed[0].std() < 0.8 * image[0].std()
        np.testing.assert_allclose(changed[1], 5, rtol=1e-5)
