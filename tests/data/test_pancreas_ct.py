"""Pancreas-CT as TCIA delivers it, on a miniature of real DICOM files; through the command line too."""

import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from pydicom.uid import generate_uid

from dicom_files import Scan, as_pydicom_reads, write
from edgewise.data import checks
from edgewise.data.images import read_case
from edgewise.data.layouts import detect, scan
from edgewise.data.splits import group_of
from edgewise.errors import DataError
from tiny import write_experiment

SHAPE = (20, 24, 12)
LABELS = "TCIA_pancreas_labels-02-05-2017"
FOLDERS = {
    "by UID": "manifest-1599750808610/Pancreas-CT/{case}/1.2.826.0.1.3680043.2.1125.1.38/1.2.826.0.1.3680043.2",
    "descriptive": "Pancreas-CT/{case}/11-24-2015-{flat}-Pancreas-18957/Pancreas-99667",
    "first release": "DOI/{case}/1.2.826.1/1.2.826.2",
}


def organ(seed):
    """A scan with a bright box, the one place above 400 HU, and the mask of the box; nothing in it is symmetric."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(SHAPE, bool)
    low = rng.integers(1, 5, 3)
    mask[tuple(slice(int(start), int(start) + length) for start, length in zip(low, (9, 7, 4), strict=True))] = True
    stored = np.where(mask, rng.integers(1500, 2000, SHAPE), rng.integers(0, 1200, SHAPE)).astype(np.int16)
    turn = np.radians(float(rng.uniform(-4, 4)))
    directions = ((float(np.cos(turn)), 0.0, float(np.sin(turn))), (0.0, 1.0, 0.0))
    return Scan(stored=stored, directions=directions, uid=generate_uid(), size=(0.7, 0.8), distance=1.5), mask


def tcia(root, numbers=(1, 2, 3, 4), folders="descriptive", labels=LABELS):
    """The images in a folder of patients, studies and series, the labels in a folder beside it."""
    for number in numbers:
        one, mask = organ(number)
        case = f"PANCREAS_{number:04d}"
        write(root / FOLDERS[folders].format(case=case, flat=case.replace("_", "")), one, seed=number)
        label = nib.Nifti1Image(mask.astype(np.uint8), one.affine)
        (root / labels).mkdir(parents=True, exist_ok=True)
        # Every second label is stored along other axes than its scan, as another program would write it.
        nib.save(nib.as_closest_canonical(label) if number % 2 else label, root / labels / f"label{number:04d}.nii.gz")
    return root


def told(found, severity="error"):
    return [(defect.case, defect.problem) for defect in found.defects if defect.severity == severity]


class TestAsDownloaded:
    @pytest.mark.parametrize("folders", FOLDERS)
    def test_it_is_recognised_however_its_folders_are_called(self, tmp_path, folders):
        found = scan(tcia(tmp_path, folders=folders))
        data = found.dataset
        assert (data.layout, data.name, data.channels) == ("pancreas_ct", "Pancreas-CT", ("CT",))
        assert data.classes == ("background", "pancreas")
        assert [case.id for case in data.cases] == [f"PANCREAS_{number:04d}" for number in (1, 2, 3, 4)]
        assert found.defects == ()

    @pytest.mark.parametrize("labels", [f"Pancreas-CT/{LABELS}", "TCIA_pancreas_labels", "my labels"])
    def test_labels_may_lie_anywhere_below(self, tmp_path, labels):
        found = scan(tcia(tmp_path, labels=labels))
        assert (len(found.dataset.cases), found.defects) == (4, ())

    def test_labels_of_another_dataset_are_left_alone_beside_the_released_ones(self, tmp_path):
        tcia(tmp_path)
        shutil.copytree(tmp_path / LABELS, tmp_path / "BTCV/label")
        assert scan(tmp_path).defects == ()

    def test_labels_of_that_name_alone_are_no_pancreas_ct(self, tmp_path):
        shutil.copytree(tcia(tmp_path / "a") / LABELS, tmp_path / "b/label")
        with pytest.raises(DataError, match="is no dataset we know"):
            detect(tmp_path / "b")

    def test_scans_converted_to_nifti_are_recognised_too(self, tmp_path):
        tcia(tmp_path)
        one, _ = organ(2)
        shutil.rmtree(tmp_path / "Pancreas-CT/PANCREAS_0002")
        nib.save(nib.Nifti1Image(one.stored, one.affine), tmp_path / "Pancreas-CT/PANCREAS_0002.nii.gz")
        found = scan(tmp_path)
        assert (len(found.dataset.cases), found.defects) == (4, ())

    def test_each_case_is_a_patient_of_its_own(self):
        assert group_of("PANCREAS_0001", "auto") != group_of("PANCREAS_0002", "auto")


class TestGeometry:
    def test_the_labels_lie_on_the_organ_whatever_axes_they_are_stored_along(self, tmp_path):
        for files in detect(tcia(tmp_path)).cases:
            case = read_case(files)
            np.testing.assert_array_equal(case.labels == 1, case.image[0] > 400)
            assert case.labels.sum() == 9 * 7 * 4
            assert case.spacing == pytest.approx((0.7, 0.8, 1.5))

    def test_every_voxel_has_the_hounsfield_units_and_the_place_that_pydicom_reads(self, tmp_path):
        files = detect(tcia(tmp_path)).cases[0]
        case = read_case(files)
        (series,) = files.images[0].glob("*/*")
        places, values = as_pydicom_reads(series)
        index = np.rint((np.c_[places, np.ones(len(places))] @ np.linalg.inv(case.affine).T)[:, :3]).astype(int)
        np.testing.assert_array_equal(case.image[0][tuple(index.T)], values)
        assert len(values) == case.image.size

    @pytest.mark.parametrize("mirrored", [[-1, 1, 1], [1, -1, 1], [1, 1, -1]])
    def test_a_header_that_contradicts_the_scan_is_an_error_rather_than_guessed_at(self, tmp_path, mirrored):
        file = tcia(tmp_path) / LABELS / "label0002.nii.gz"
        label = nib.load(file)
        data = np.asanyarray(label.dataobj).copy()
        nib.save(nib.Nifti1Image(data, label.affine @ np.diag([*mirrored, 1])), file)
        (defect,) = checks.inspect(detect(tmp_path), workers=1, progress=lambda *_: None).defects
        assert (defect.case, defect.file, defect.severity) == ("PANCREAS_0002", file, "error")
        assert "has an affine that puts a corner" in defect.problem


class TestDefects:
    def test_a_scan_without_label_and_a_label_without_scan_are_told(self, tmp_path):
        tcia(tmp_path)
        (tmp_path / LABELS / "label0001.nii.gz").unlink()
        shutil.rmtree(tmp_path / "Pancreas-CT/PANCREAS_0003")
        found = scan(tmp_path)
        told_of = {"PANCREAS_0001": "is an image without label", "PANCREAS_0003": "is a label without image"}
        assert dict(told(found)) == told_of
        assert [case.id for case in found.dataset.cases] == ["PANCREAS_0002", "PANCREAS_0004"]

    def test_an_empty_folder_of_a_patient_is_told_by_the_check(self, tmp_path):
        tcia(tmp_path)
        shutil.rmtree(tmp_path / "Pancreas-CT/PANCREAS_0003")
        (tmp_path / "Pancreas-CT/PANCREAS_0003").mkdir()
        (defect,) = checks.inspect(detect(tmp_path), workers=1, progress=lambda *_: None).defects
        assert (defect.case, defect.problem) == ("PANCREAS_0003", "holds no DICOM slices")

    def test_a_second_series_of_a_patient_is_told_by_the_check(self, tmp_path):
        tcia(tmp_path)
        write(tmp_path / "Pancreas-CT/PANCREAS_0003/another study/series", organ(9)[0])
        (defect,) = checks.inspect(detect(tmp_path), workers=1, progress=lambda *_: None).defects
        assert defect.case == "PANCREAS_0003"
        assert "holds DICOM slices in 2 folders" in defect.problem

    def test_a_patient_downloaded_twice_is_told(self, tmp_path):
        tcia(tmp_path)
        shutil.copytree(tmp_path / "Pancreas-CT/PANCREAS_0003", tmp_path / "manifest-2/Pancreas-CT/PANCREAS_0003")
        found = scan(tmp_path)
        ((case, problem),) = told(found)
        assert case == "PANCREAS_0003"
        assert "is a second one of case PANCREAS_0003" in problem
        assert len(found.dataset.cases) == 3

    @pytest.mark.parametrize("scans_too", [False, True])
    def test_the_withdrawn_cases_are_left_out_with_a_warning(self, tmp_path, scans_too):
        tcia(tmp_path, (1, 2, 25, 70))
        if not scans_too:
            for number in (25, 70):
                shutil.rmtree(tmp_path / f"Pancreas-CT/PANCREAS_{number:04d}")
        found = scan(tmp_path)
        assert [case.id for case in found.dataset.cases] == ["PANCREAS_0001", "PANCREAS_0002"]
        assert told(found) == []
        cases = [case for case, problem in told(found, "warning") if "TCIA withdrew" in problem]
        assert cases == sorted(["PANCREAS_0025", "PANCREAS_0070"] * (2 if scans_too else 1))

    def test_labels_alone_are_told_once(self, tmp_path):
        shutil.rmtree(tcia(tmp_path) / "Pancreas-CT")
        ((_, problem),) = told(scan(tmp_path))
        assert "4 labels of Pancreas-CT lie below it, and not a single scan" in problem

    def test_scans_alone_are_told_once_and_labels_beside_them_are_named(self, tmp_path):
        (defect,) = scan(tcia(tmp_path) / "Pancreas-CT").defects
        assert "4 scans of Pancreas-CT lie below it, and not a single label" in defect.problem
        assert f"Pass the folder above: it holds {LABELS}" in defect.mend
        shutil.rmtree(tmp_path / LABELS)
        (defect,) = scan(tmp_path).defects
        assert f"Add {LABELS}" in defect.mend


class TestCommandLine:
    def test_check_finds_the_miniature_usable(self, tmp_path, edgewise):
        done = edgewise("check", tcia(tmp_path))
        assert done.code == 0
        assert "Pancreas-CT: 4 labelled cases, layout pancreas_ct" in done.out
        assert "median shape 20 × 24 × 12 at 0.7 × 0.8 × 1.5 mm" in done.out
        assert "class 1 pancreas: 4.38 % of voxels, in 4 cases" in done.out
        assert done.out.endswith("usable\n")

    def test_check_names_the_file_that_is_broken(self, tmp_path, edgewise):
        tcia(tmp_path)
        broken = sorted((tmp_path / "Pancreas-CT/PANCREAS_0002").rglob("*.dcm"))[5]
        broken.write_bytes(broken.read_bytes()[:-100])
        done = edgewise("check", tmp_path)
        assert done.code == 2
        assert f"error: {broken}: cannot be read as an image" in done.out

    def test_a_network_is_trained_on_it_and_predicts_a_series(self, tmp_path, edgewise):
        data = tcia(tmp_path / "data")
        experiment = write_experiment(tmp_path / "tiny.yaml", "tiny", {"steps": 2, "validate_every": 2})
        run = tmp_path / "run"
        done = edgewise("fit", experiment, "--data", data, "--out", run, "--cache", tmp_path / "cache")
        assert done.code == 0, done.err
        # CT is normalised by the whole dataset.
        assert "kind: clip_zscore" in (run / "plan.yaml").read_text(encoding="utf-8")
        written = sorted(path.name for path in (run / "predictions").iterdir())
        assert all(name.startswith("PANCREAS_") and name.endswith(".nii.gz") for name in written)
        assert len(written) in {1, 2}

        done = edgewise("predict", run, data / "Pancreas-CT", "--out", tmp_path / "masks")
        assert done.code == 0, done.err
        assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == [
            f"PANCREAS_{number:04d}.nii.gz" for number in (1, 2, 3, 4)
        ]
        for number in (1, 2):
            one, _ = organ(number)
            mask = nib.load(tmp_path / f"masks/PANCREAS_{number:04d}.nii.gz")
            assert mask.shape == SHAPE
            assert mask.get_data_dtype() == np.uint8
            np.testing.assert_allclose(mask.affine, one.affine, atol=1e-4)
        # What was predicted for validation is what predict makes of the same series.
        again = tmp_path / "masks" / written[0]
        same = [np.asanyarray(nib.load(path).dataobj) for path in (run / "predictions" / written[0], again)]
        np.testing.assert_array_equal(*same)

    def test_predict_goes_on_after_a_broken_series_and_names_it(self, tmp_path, edgewise):
        data = tcia(tmp_path / "data", (1, 2, 3))
        experiment = write_experiment(tmp_path / "tiny.yaml", "tiny", {"steps": 1})
        run = tmp_path / "run"
        assert edgewise("fit", experiment, "--data", data, "--out", run, "--cache", tmp_path / "cache").code == 0
        one, _ = organ(1)
        write(tmp_path / "new/good", one)
        write(tmp_path / "new/bad", replace(one, uid=generate_uid()))
        sorted((tmp_path / "new/bad").iterdir())[4].unlink()
        done = edgewise("predict", run, tmp_path / "new", "--out", tmp_path / "masks")
        assert done.code == 1
        assert "do not lie evenly" in done.err + done.out
        assert [path.name for path in (tmp_path / "masks").iterdir()] == ["good.nii.gz"]
