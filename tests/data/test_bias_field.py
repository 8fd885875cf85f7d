"""N4 takes out what a coil adds and nothing else, and says so where there is nothing it could do."""

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.data.bias_field import N4
from edgewise.data.case import Case, CaseFiles, Grid
from edgewise.data.crop import LabelRange
from edgewise.data.intensity import PercentileZScore
from edgewise.data.prepare import Preparation, prepare, transform
from edgewise.errors import ExperimentError

QUICK = N4(iterations=(20, 20), shrink=2)
PLAIN = Preparation(axes=(2, 1, 0), spacing=(6.0, 2.0, 2.0), intensity=(PercentileZScore(),), crop="none")


def phantom(shape, seed=0):
    """A cylinder of two tissues in air, its smooth bias field, and where the outer tissue is."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape], indexing="ij")
    radius = np.hypot(x, y) if shape[2] < shape[0] else np.hypot(y, z)
    image = np.select([radius < 0.45, radius < 0.85], [180.0, 100.0], 0.0)
    image = np.abs(image + 3 * np.random.default_rng(seed).standard_normal(shape))
    bias = np.exp(0.5 * x + 0.3 * y**2 - 0.4 * z * x * (shape[2] > 9))
    return image.astype(np.float32), bias.astype(np.float32), (radius > 0.5) & (radius < 0.8)


def variation(values):
    return values.std() / values.mean()


def case_of(image, labels=None, spacing=(2.0, 2.0, 6.0)):
    grid = Grid(path=Path("case.nii.gz"), shape=image.shape[-3:], affine=np.diag([*spacing, 1.0]))
    image = image if image.ndim == 4 else image[None]
    return Case(id="a", image=image, labels=labels, spacing=spacing, affine=grid.affine, grid=grid)


@pytest.mark.parametrize(
    "shape", [(48, 48, 16), (64, 56, 3), (64, 56, 2), (64, 64, 1), (1, 64, 64), (40, 40, 40)], ids=str
)
def test_a_smooth_bias_field_is_removed(shape):
    image, bias, tissue = phantom(shape)
    corrected, problem = N4().correct(image * bias, (2.0, 2.0, 6.0))
    assert problem == ""
    assert corrected.dtype == np.float32
    assert corrected.shape == shape
    # Noise alone varies by 3 %.
    before, after, least = (variation(values[tissue]) for values in (image * bias, corrected, image))
    assert before > 0.2 or shape[0] == 1
    assert after**2 - least**2 < 0.1 * (before**2 - least**2)


def test_an_image_without_bias_stays_nearly_as_it_is():
    image, _, tissue = phantom((48, 48, 16))
    corrected, _ = QUICK.correct(image, (2.0, 2.0, 6.0))
    ratio = (corrected / image)[tissue]
    assert ratio.std() / ratio.mean() < 0.01


def test_the_number_of_threads_changes_no_bit():
    image, bias, _ = phantom((40, 40, 12))
    before = SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads()
    results = []
    try:
        for threads in (1, 2, 7):
            SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
            results.append(QUICK.correct(image * bias, (2.0, 2.0, 6.0))[0])
            assert SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads() == threads
    finally:
        SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def with_nan(shape=(12, 12, 12)):
    image = phantom(shape)[0]
    image[5, 5, 5] = np.nan
    return image


NOTHING_TO_CORRECT = {
    "zeros": np.zeros((12, 12, 12)),
    "constant": np.full((12, 12, 12), 7.0),
    "two values": np.pad(np.ones((4, 4, 4)), 4),
    "negative": -100 * np.random.default_rng(0).random((12, 12, 12)),
    "ct": np.where(phantom((12, 12, 12))[2], 60.0, -1000.0),
    "nan": with_nan(),
    "infinite": np.where(phantom((12, 12, 12))[2], np.inf, 1.0),
    "a line": np.linspace(1, 2, 12).reshape(1, 12, 1),
    "a voxel": np.ones((1, 1, 1)),
}


@pytest.mark.parametrize("mask", ["otsu", "positive"])
@pytest.mark.parametrize("name", NOTHING_TO_CORRECT)
def test_where_there_is_nothing_to_correct_the_channel_stays_and_the_reason_is_given(name, mask):
    image = NOTHING_TO_CORRECT[name].astype(np.float32)
    same, problem = replace(QUICK, mask=mask, shrink=1).correct(image, (1.0, 1.0, 1.0))
    np.testing.assert_array_equal(same, image)
    assert problem


@settings(max_examples=25)
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    seed=st.integers(0, 1000),
    offset=st.sampled_from([0.0, -0.5, 5.0]),
    scale=st.sampled_from([1e-6, 1.0, 1e5]),
    sparse=st.booleans(),
)
def test_no_image_crashes_or_becomes_nan(shape, seed, offset, scale, sparse):
    rng = np.random.default_rng(seed)
    image = (rng.random(shape) + offset) * (rng.random(shape) < 0.1 if sparse else 1) * scale
    for mask in ("otsu", "positive"):
        quick = N4(iterations=(3, 3), mask=mask)
        corrected, _ = quick.correct(image.astype(np.float32), (1.0, 1.0, 3.0))
        assert np.isfinite(corrected).all()
        assert corrected.shape == shape


def test_skull_stripped_images_are_corrected_inside_the_mask_of_what_is_positive():
    image, bias, tissue = phantom((48, 48, 16))
    image = np.where(image > 30, image * bias, 0).astype(np.float32)
    corrected, problem = N4(mask="positive").correct(image, (2.0, 2.0, 6.0))
    assert not problem
    assert variation(corrected[tissue]) < 0.05
    np.testing.assert_array_equal(corrected[image == 0], 0)


class TestPreparation:
    def test_geometry_and_labels_are_untouched_and_a_crop_does_not_change_the_field(self):
        image, bias, tissue = phantom((48, 48, 16))
        labels = tissue.astype(np.uint8)
        labels[:, :, :6] = 0
        case = case_of(image * bias, labels)
        plain, corrected = (transform(case, replace(PLAIN, bias_field=field)) for field in ("none", QUICK))
        assert (plain.spacing, plain.undo) == (corrected.spacing, corrected.undo)
        np.testing.assert_array_equal(plain.labels, corrected.labels)
        inside = corrected.labels > 0
        assert corrected.image[0][inside].std() < 0.3 * plain.image[0][inside].std()
        raw, _ = QUICK.correct(image * bias, case.spacing)
        cropped = transform(case, replace(PLAIN, bias_field=QUICK, crop=LabelRange(margin=0.0, within="none")))
        part = raw[:, :, 6:].transpose(2, 1, 0)
        np.testing.assert_array_equal(cropped.image[0], PercentileZScore().apply(part))

    def test_only_the_chosen_channels_are_corrected(self):
        image, bias, _ = phantom((32, 32, 12))
        both = np.stack([image * bias] * 2)
        two = replace(PLAIN, intensity=(PercentileZScore(),) * 2)
        fields = ("none", replace(QUICK, channels=(1,)))
        plain, one = (transform(case_of(both), replace(two, bias_field=field)) for field in fields)
        np.testing.assert_array_equal(plain.image[0], one.image[0])
        assert not np.allclose(plain.image[1], one.image[1], atol=0.1)

    def test_training_and_prediction_see_the_same_image(self):
        image, bias, tissue = phantom((32, 32, 12))
        setting = replace(PLAIN, bias_field=QUICK, crop="body")
        labelled, bare = (transform(case_of(image * bias, seen), setting) for seen in (tissue.astype(np.uint8), None))
        np.testing.assert_array_equal(labelled.image, bare.image)

    def test_a_failure_is_noted_and_the_image_is_prepared_without(self):
        empty = np.zeros((8, 8, 8), np.float32)
        prepared = transform(case_of(empty), replace(PLAIN, bias_field=QUICK))
        assert prepared.notes == ("channel 0 stays without bias-field correction, because it has no foreground",)
        assert np.isfinite(prepared.image).all()

    @pytest.mark.parametrize("workers", [1, 2])
    def test_notes_come_back_from_workers_and_from_the_cache(self, tmp_path, workers):
        files = []
        for name in ("a", "b", "c"):
            image, bias, tissue = phantom((24, 24, 8))
            paths = tmp_path / f"{name}_image.nii", tmp_path / f"{name}_label.nii"
            stored = image * bias if name == "b" else np.zeros((24, 24, 8), np.float32)
            for path, array in zip(paths, (stored, tissue.astype(np.uint8)), strict=True):
                nibabel.save(nibabel.Nifti1Image(array, np.diag([2.0, 2.0, 6.0, 1.0])), path)
            files.append(CaseFiles(id=name, images=paths[:1], label=paths[1]))
        setting, digests = replace(PLAIN, bias_field=QUICK), {name: name for name in "abc"}
        said = ("2 cases (a, c): channel 0 stays without bias-field correction, because it has no foreground",)
        told = []
        for _ in range(2):
            prepared = prepare(
                files,
                setting,
                tmp_path / "out",
                workers=workers,
                digests=digests,
                progress=lambda *done: told.append(done),
            )
            assert prepared.warnings() == said
            assert prepared.load("a").notes
            assert not prepared.load("b").notes
        assert told == [(0, 3), (1, 3), (2, 3), (3, 3), (3, 3)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"shrink": 0}, {"iterations": ()}, {"iterations": (50, 0)}, {"spline_distance": 0.0}, {"threshold": -1.0},
        {"threshold": float("nan")}, {"channels": ()}, {"channels": (-1,)},
    ],
)  # fmt: skip
def test_settings_without_a_meaning_are_refused(wrong):
    with pytest.raises(ExperimentError, match=next(iter(wrong))):
        N4(**wrong)
