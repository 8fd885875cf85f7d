"""Challenge datasets are recognised as downloaded, on miniatures with the same names and folders."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from edgewise.data import checks, folders
from edgewise.data.layouts import detect, scan
from edgewise.data.layouts.challenges import TEST_FOLDER
from edgewise.data.splits import group_of
from edgewise.errors import DataError


def write(path, values, shape=(4, 6, 5), seed=0):
    """A volume of random values below `values`, x fastest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(seed).integers(0, values, shape[::-1]).astype(np.int16)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(path))
    return path


def lits(root, numbers=(0, 3, 12), batch="media/nas/01_Datasets/CT/LITS/Training Batch 1", suffix=".nii"):
    for number in numbers:
        write(root / batch / f"volume-{number}{suffix}", 1000, seed=number)
        write(root / batch / f"segmentation-{number}{suffix}", 3, seed=number)
    return root


def promise(root, numbers=(0, 7, 30), part="TrainingData_Part1"):
    for number in numbers:
        write(root / part / f"Case{number:02d}.mhd", 1000, seed=number)
        write(root / part / f"Case{number:02d}_segmentation.mhd", 2, seed=number)
    return root


def oai(root, numbers=(9001104, 9996098), images="images", suffix=".nii.gz"):
    for number in numbers:
        write(root / images / f"{number}{suffix}", 1000, seed=number)
        write(root / f"segmentation/segmentation_masks/{number}.segmentation_masks.mhd", 5, seed=number)
    (root / "segmentation/doc").mkdir(parents=True)
    (root / "segmentation/doc/oai_mri_paths.txt").touch()
    return root


BUILD = {"lits": lits, "promise12": promise, "oai_zib": oai}


def refusals(found):
    return [(defect.case, defect.file.name) for defect in found.defects if defect.severity == "error"]


class TestAsDownloaded:
    def test_lits_is_recognised_over_both_batches(self, tmp_path):
        lits(tmp_path, (0, 3), "Training_Batch1/media/nas/01_Datasets/CT/LITS/Training Batch 1")
        lits(tmp_path, (28, 130), "Training_Batch2/media/nas/01_Datasets/CT/LITS/Training Batch 2")
        found = scan(tmp_path)
        data = found.dataset
        assert (data.layout, data.name, data.channels) == ("lits", "LiTS", ("CT",))
        assert data.classes == ("background", "liver", "tumour")
        assert [case.id for case in data.cases] == ["volume-0", "volume-130", "volume-28", "volume-3"]
        assert found.defects == ()
        for case in data.cases:
            assert case.label == case.images[0].parent / case.images[0].name.replace("volume", "segmentation")

    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
    @pytest.mark.parametrize("batch", [".", "Training Batch 1"])
    def test_lits_may_be_compressed_and_lie_flat(self, tmp_path, batch, suffix):
        found = scan(lits(tmp_path, batch=batch, suffix=suffix))
        assert (len(found.dataset.cases), found.defects) == (3, ())

    def test_volumes_and_segmentations_of_lits_may_lie_in_two_folders(self, tmp_path):
        lits(tmp_path, batch="volumes")
        (tmp_path / "segmentations").mkdir()
        for file in (tmp_path / "volumes").glob("segmentation-*"):
            file.rename(tmp_path / "segmentations" / file.name)
        found = scan(tmp_path)
        assert (found.dataset.layout, len(found.dataset.cases), found.defects) == ("lits", 3, ())

    def test_promise12_is_recognised_over_its_three_parts(self, tmp_path):
        for part, number in enumerate((0, 20, 40), 1):
            promise(tmp_path, (number, number + 1), f"TrainingData_Part{part}")
        found = scan(tmp_path)
        data = found.dataset
        assert (data.layout, data.name, data.channels) == ("promise12", "PROMISE12", ("MR",))
        assert data.classes == ("background", "prostate")
        assert [case.id for case in data.cases] == ["Case00", "Case01", "Case20", "Case21", "Case40", "Case41"]
        assert found.defects == ()

    @pytest.mark.parametrize("images", ["images", "segmentation/segmentation_masks"])
    @pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".mhd"])
    def test_oai_zib_is_recognised_with_converted_images_wherever_they_lie(self, tmp_path, images, suffix):
        found = scan(oai(tmp_path, images=images, suffix=suffix))
        data = found.dataset
        assert (data.layout, data.name, data.channels) == ("oai_zib", "OAI-ZIB", ("MR",))
        assert data.classes == ("background", "femur", "femoral cartilage", "tibia", "tibial cartilage")
        assert [case.id for case in data.cases] == ["9001104", "9996098"]
        assert found.defects == ()

    def test_the_two_class_masks_of_the_oai_zib_archive_are_left_alone(self, tmp_path):
        oai(tmp_path)
        shutil.copytree(tmp_path / "segmentation", tmp_path / "classification")
        found = scan(tmp_path)
        assert found.defects == ()
        assert all("classification" not in str(case.label) for case in found.dataset.cases)

    def test_oaizib_cm_is_recognised(self, tmp_path):
        for number in (1, 404):
            write(tmp_path / f"imagesTr/oaizib_{number:03d}_0000.nii.gz", 1000)
            write(tmp_path / f"labelsTr/oaizib_{number:03d}.nii.gz", 6)
        write(tmp_path / "imagesTs/oaizib_405_0000.nii.gz", 1000)
        found = scan(tmp_path)
        data = found.dataset
        assert (data.layout, data.channels, found.defects) == ("oaizib_cm", ("MR",), ())
        assert data.classes[3:] == ("tibia", "medial tibial cartilage", "lateral tibial cartilage")
        assert [case.id for case in data.cases] == ["oaizib_001", "oaizib_404"]

    @pytest.mark.parametrize("layout", BUILD)
    def test_the_check_finds_a_miniature_usable(self, tmp_path, layout):
        inspection = checks.inspect(detect(BUILD[layout](tmp_path)), workers=1, progress=lambda *_: None)
        assert inspection.defects == ()

    @given(kind=st.sampled_from(["volume-{}", "Case{:02d}", "{:07d}"]), number=st.integers(0, 9999999))
    def test_each_case_is_a_patient_of_its_own(self, kind, number):
        assert group_of(kind.format(number), "auto") == kind.format(number)


class TestCasesToPredict:
    def test_test_volumes_of_lits_are_no_defects(self, tmp_path):
        lits(tmp_path)
        write(tmp_path / "LITS-Challenge-Test-Data/test-volume-0.nii", 1000)
        write(tmp_path / "media/test-volume-3.nii", 1000)
        found = scan(tmp_path)
        assert (len(found.dataset.cases), found.defects) == (3, ())

    @pytest.mark.parametrize("folder", ["TestData", "test_data", "livechallenge_test_data", "Promise12/test"])
    def test_test_cases_of_promise12_are_not_taken_for_training_cases_with_the_same_numbers(self, tmp_path, folder):
        promise(tmp_path)
        write(tmp_path / folder / "Case00.mhd", 1000, shape=(3, 3, 3))
        write(tmp_path / folder / "Case29.mhd", 1000)
        found = scan(tmp_path)
        assert (len(found.dataset.cases), found.defects) == (3, ())
        assert "TrainingData_Part1" in str(found.dataset.cases[0].images[0])

    @pytest.mark.parametrize("name", ["Latest", "contest", "attested", "TrainingData_Part1", "Training Batch 2"])
    def test_a_folder_whose_name_holds_the_letters_by_chance_is_used(self, tmp_path, name):
        assert not TEST_FOLDER.search(name)
        assert len(scan(promise(tmp_path, part=name)).dataset.cases) == 3

    def test_the_folder_given_may_have_any_name(self, tmp_path):
        assert len(scan(promise(tmp_path / "test")).dataset.cases) == 3


class TestDefects:
    @pytest.mark.parametrize("layout", BUILD)
    def test_a_missing_segmentation_is_told(self, tmp_path, layout):
        root = BUILD[layout](tmp_path)
        case = detect(root).cases[0]
        case.label.unlink()
        found = scan(root)
        assert refusals(found) == [(case.id, case.images[0].name)]
        assert found.defects[0].problem == "is an image without label"
        assert case.id not in [each.id for each in found.dataset.cases]

    @pytest.mark.parametrize("layout", BUILD)
    def test_a_missing_image_is_told(self, tmp_path, layout):
        root = BUILD[layout](tmp_path)
        case = detect(root).cases[1]
        case.images[0].unlink()
        found = scan(root)
        assert refusals(found) == [(case.id, case.label.name)]
        assert found.defects[0].problem == "is a label without image"

    @pytest.mark.parametrize("name", ["Case07", "Case07_segmentation"])
    def test_a_missing_file_of_voxels_is_told_once_and_by_name(self, tmp_path, name):
        root = promise(tmp_path)
        (root / f"TrainingData_Part1/{name}.raw").unlink()
        found = scan(root)
        assert refusals(found) == [("Case07", f"{name}.mhd")]
        assert f"there is no {name}.raw beside it" in found.defects[0].problem
        inspection = checks.inspect(found.dataset, workers=1, progress=lambda *_: None)
        assert len(inspection.defects) == 1

    @pytest.mark.parametrize(("layout", "twin"), [("lits", "Training Batch 2"), ("promise12", "TrainingData_Part2")])
    def test_two_cases_with_one_number_are_told_with_both_files(self, tmp_path, layout, twin):
        root = BUILD[layout](tmp_path)
        case = detect(root).cases[0]
        for file in (case.images[0], case.label):
            write(root / twin / file.name, 2)
        found = scan(root)
        assert len(refusals(found)) == 2
        assert {defect.case for defect in found.defects} == {case.id}
        for defect in found.defects:
            assert str(root) in str(defect.file)
            assert f"second file of case {case.id}" in defect.problem
        assert case.id not in [each.id for each in found.dataset.cases]

    def test_one_volume_stored_twice_is_told(self, tmp_path):
        write(lits(tmp_path, batch=".") / "volume-3.nii.gz", 1000)
        assert refusals(scan(tmp_path)) == [("volume-3", "volume-3.nii.gz")]

    @pytest.mark.parametrize("layout", BUILD)
    def test_a_segmentation_of_another_shape_is_left_to_the_check(self, tmp_path, layout):
        case = detect(BUILD[layout](tmp_path)).cases[0]
        write(case.label, 2, shape=(4, 6, 4))
        inspection = checks.inspect(detect(tmp_path), workers=1, progress=lambda *_: None)
        (defect,) = inspection.defects
        assert "has shape (4, 6, 4), its image has (4, 6, 5)" in defect.problem

    def test_images_that_are_dicom_still_are_told_once_for_all(self, tmp_path):
        oai(tmp_path)
        shutil.rmtree(tmp_path / "images")
        (tmp_path / "images/9001104").mkdir(parents=True)
        (tmp_path / "images/9001104/001").write_bytes(b"DICM")
        (defect,) = scan(tmp_path).defects
        assert "2 masks" in defect.problem
        assert "Convert each DICOM series" in defect.mend

    def test_two_challenges_in_one_folder_are_refused(self, tmp_path):
        lits(tmp_path / "a")
        promise(tmp_path / "b")
        with pytest.raises(DataError, match=r"holds several datasets \(lits and promise12\)"):
            detect(tmp_path)

    def test_a_described_dataset_inside_is_named_rather_than_searched(self, tmp_path):
        lits(tmp_path / "lits")
        (tmp_path / "mine/images").mkdir(parents=True)
        (tmp_path / "mine/labels").mkdir()
        with pytest.raises(DataError, match=r"Did you mean .*mine\?"):
            detect(tmp_path)


class TestLookingBelow:
    def test_links_are_followed_but_never_twice(self, tmp_path):
        lits(tmp_path / "disk")
        root = tmp_path / "data"
        root.mkdir()
        for name in ("one", "two"):
            (root / name).symlink_to(tmp_path / "disk", target_is_directory=True)
        (tmp_path / "disk/loop").symlink_to(root, target_is_directory=True)
        found = scan(root)
        assert (len(found.dataset.cases), found.defects) == (3, ())

    def test_a_folder_of_too_many_files_is_refused_rather_than_searched_for_hours(self, tmp_path, monkeypatch):
        monkeypatch.setattr(folders, "MOST", 5)
        lits(tmp_path)
        with pytest.raises(DataError, match="more than 5 files lie below it"):
            detect(tmp_path)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
    def test_a_folder_that_cannot_be_listed_is_told(self, tmp_path):
        lits(tmp_path)
        Path(tmp_path / "closed").mkdir(mode=0)
        with pytest.raises(DataError, match="closed: cannot be listed"):
            detect(tmp_path)
