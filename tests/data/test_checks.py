"""Every defect is found, told with file, problem and mend, and does not hide the others."""

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from edgewise.data import checks
from edgewise.data.checks import inspect, orphans, require_usable
from edgewise.data.layouts import detect
from edgewise.errors import DataError

REAL = Path(__file__).parents[2] / "../shared/data"
SHAPE = (6, 5, 4)


def save(path, array, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.eye(4) if affine is None else affine), path)


def mask():
    array = np.zeros(SHAPE, np.uint8)
    array[2:4, 2:4, 1:3] = 1
    array[4, 4, 3] = 2
    return array


def dataset(root, cases=3):
    for i in range(cases):
        save(
            root / f"imagesTr/c{i}_0000.nii.gz",
            np.random.default_rng(i).normal(size=SHAPE).astype(np.float32),
        )
        save(root / f"labelsTr/c{i}.nii.gz", mask())
    content = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "organ": 1, "tumour": 2},
        "file_ending": ".nii.gz",
    }
    root.mkdir(exist_ok=True)
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def silent(done, total):
    assert 0 < done <= total


def look(root, workers=1):
    return inspect(detect(root), workers=workers, progress=silent)


def test_a_clean_dataset_has_no_defects_and_progress_counts_the_cases(tmp_path):
    seen = []
    found = inspect(detect(dataset(tmp_path)), workers=1, progress=lambda done, total: seen.append((done, total)))
    assert found.defects == ()
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert [case.id for case in found.fingerprint.cases] == ["c0", "c1", "c2"]
    assert found.fingerprint.cases[0].voxels == (111, 8, 1)
    require_usable(found)


def spoil_shift(root):
    affine = np.eye(4)
    affine[1, 3] = 0.1
    save(root / "labelsTr/c1.nii.gz", mask(), affine)


def spoil_labels(value):
    def spoil(root):
        array = mask().astype(np.float32)
        array[0, 0, 0] = value
        save(root / "labelsTr/c1.nii.gz", array)

    return spoil


def spoil_image(change):
    def spoil(root):
        array = np.random.default_rng(9).normal(size=SHAPE).astype(np.float32)
        save(root / "imagesTr/c1_0000.nii.gz", change(array))

    return spoil


def with_value(value):
    def change(array):
        array[1, 2, 3] = value
        return array

    return change


def truncate(name):
    def spoil(root):
        path = root / name
        path.write_bytes(path.read_bytes()[:-40])

    return spoil


IMAGE, LABEL = "imagesTr/c1_0000.nii.gz", "labelsTr/c1.nii.gz"


@pytest.mark.parametrize(
    ("spoil", "file", "words"),
    [
        (lambda root: (root / LABEL).unlink(), IMAGE, "image without label"),
        (lambda root: (root / IMAGE).unlink(), LABEL, "label without image"),
        (lambda root: save(root / "labelsTr/c1.nii", mask()), LABEL, "has the same id 'c1' as"),
        (lambda root: save(root / LABEL, mask()[:-1]), LABEL, "has shape (5, 5, 4), its image has (6, 5, 4)"),
        (spoil_shift, LABEL, "a corner 0.1 mm"),
        (spoil_labels(3), LABEL, "holds labels [3], but the dataset declares 0..2"),
        (spoil_labels(0.5), LABEL, "holds label 0.5 at voxel (0, 0, 0), which is not an integer"),
        (spoil_labels(-1), LABEL, "holds label -1"),
        (spoil_image(with_value(np.nan)), IMAGE, "holds 1 NaN or infinite voxels, the first at (1, 2, 3)"),
        (spoil_image(with_value(-np.inf)), IMAGE, "holds 1 NaN or infinite voxels"),
        (spoil_image(lambda a: np.stack([a, a], -1)), IMAGE, "has 2 channels, the dataset has 1"),
        (truncate(IMAGE), IMAGE, "cannot be read"),
        (truncate(LABEL), LABEL, "cannot be read"),
    ],
)
def test_each_error_is_found_once_and_the_other_cases_still_count(tmp_path, spoil, file, words):
    spoil(dataset(tmp_path))
    found = look(tmp_path)
    (defect,) = found.defects
    assert defect.case == "c1"
    assert defect.severity == "error"
    assert defect.file == tmp_path / file
    assert words in defect.problem
    assert defect.mend
    assert {"c0", "c2"} <= {case.id for case in found.fingerprint.cases}
    with pytest.raises(DataError) as caught:
        require_usable(found)
    assert str(defect) in str(caught.value)


def test_all_defects_of_one_case_are_told(tmp_path):
    dataset(tmp_path)
    spoil_image(with_value(np.nan))(tmp_path)
    spoil_labels(7)(tmp_path)
    assert len(look(tmp_path).defects) == 2


def test_a_file_that_vanished_since_detection_is_a_defect(tmp_path):
    data = detect(dataset(tmp_path))
    (tmp_path / IMAGE).unlink()
    found = inspect(data, workers=1, progress=silent)
    assert any(d.file == tmp_path / IMAGE and "no such file" in d.problem for d in found.defects)


def test_constant_and_twice_given_images_are_warnings(tmp_path):
    dataset(tmp_path, 4)
    spoil_image(np.zeros_like)(tmp_path)
    nib.save(nib.load(tmp_path / "imagesTr/c0_0000.nii.gz"), tmp_path / "imagesTr/c2_0000.nii.gz")
    found = look(tmp_path)
    assert [(d.case, d.severity) for d in found.defects] == [("c1", "warning"), ("c2", "warning")]
    assert "is constant (0 everywhere)" in found.defects[0].problem
    assert "holds the same image as" in found.defects[1].problem
    require_usable(found)


def test_an_empty_dataset_is_an_error(tmp_path):
    dataset(tmp_path, 0)
    (tmp_path / "imagesTr").mkdir()
    with pytest.raises(DataError, match="holds no labelled case"):
        require_usable(look(tmp_path))


def test_a_single_case_is_an_error(tmp_path):
    with pytest.raises(DataError, match="holds only one case"):
        require_usable(look(dataset(tmp_path, 1)))


def test_no_foreground_in_any_case_is_an_error_but_in_one_case_is_fine(tmp_path):
    dataset(tmp_path)
    save(tmp_path / "labelsTr/c1.nii.gz", np.zeros(SHAPE, np.uint8))
    assert look(tmp_path).defects == ()
    for i in range(3):
        save(tmp_path / f"labelsTr/c{i}.nii.gz", np.zeros(SHAPE, np.uint8))
    with pytest.raises(DataError, match="no mask has any foreground"):
        require_usable(look(tmp_path))


def test_a_class_that_never_occurs_is_a_warning(tmp_path):
    dataset(tmp_path)
    for i in range(3):
        save(tmp_path / f"labelsTr/c{i}.nii.gz", np.minimum(mask(), 1))
    (defect,) = look(tmp_path).defects
    assert (defect.severity, defect.problem) == ("warning", "class 2 (tumour) occurs in no case")


def test_only_the_first_ten_errors_are_listed(tmp_path):
    dataset(tmp_path, 13)
    for i in range(12):
        (tmp_path / f"labelsTr/c{i}.nii.gz").unlink()
    assert len(orphans(detect(tmp_path))) == 12
    with pytest.raises(DataError) as caught:
        require_usable(look(tmp_path))
    assert "13 errors" in str(caught.value)
    assert "and 3 more" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 12


def test_worker_processes_find_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "BYTES_PER_WORKER", 1)
    dataset(tmp_path, 4)
    spoil_labels(0.5)(tmp_path)
    truncate("imagesTr/c2_0000.nii.gz")(tmp_path)
    seen = []
    several = inspect(detect(tmp_path), workers=2, progress=lambda done, total: seen.append((done, total)))
    assert several == look(tmp_path)
    assert seen == [(i, 4) for i in range(1, 5)]


def test_the_digest_follows_the_content(tmp_path):
    first = look(dataset(tmp_path)).fingerprint
    assert look(tmp_path).fingerprint == first
    spoil_labels(1)(tmp_path)
    changed = look(tmp_path).fingerprint
    assert changed.digest != first.digest
    assert replace(changed.cases[1], digest="", voxels=()) == replace(first.cases[1], digest="", voxels=())


@pytest.mark.skipif(not REAL.is_dir(), reason="the real data of development, ../shared/data, is not here")
@pytest.mark.parametrize(("name", "shape"), [("hippocampus", (35, 50, 36)), ("acdc", (216, 256, 10))])
def test_real_datasets_have_no_errors(name, shape):
    data = detect(REAL / name)
    # A part of it, for time.
    found = inspect(replace(data, cases=data.cases[:12]), workers=1, progress=silent)
    assert found.defects == ()
    np.testing.assert_allclose(found.fingerprint.median_shape, shape, rtol=0.1)
