"""ACDC, BraTS 2018 and KiTS19 as downloaded, on miniatures; what BraTS stores as 4 is class 3 for every verb."""

import csv
import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import yaml

from edgewise.data import checks
from edgewise.data.fingerprint import content_digest
from edgewise.data.images import read_case
from edgewise.data.layouts import detect, scan
from edgewise.data.splits import group_of, parity
from edgewise.errors import DataError
from edgewise.run.folder import RunFolder
from edgewise.run.report import _loader
from shipped_files import ROOT
from tiny import PLAN, fit

SHAPE, SPACING = (20, 18, 8), (1.0, 1.0, 2.0)
SEQUENCES = ("t1", "t1ce", "t2", "flair")
STORED = {"acdc": (0, 1, 2, 3), "brats18": (0, 1, 2, 4), "kits19": (0, 1, 2)}


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([*SPACING, 1.0])), path)
    return path


def noise(seed):
    return np.random.default_rng(seed).integers(1, 1000, SHAPE).astype(np.int16)


def mask(values, seed):
    """Every class as a slab, in an order of its own."""
    array = np.zeros(SHAPE, np.uint8)
    for place, value in enumerate(np.random.default_rng(seed).permutation(values[1:])):
        array[4:14, 3:15, 2 * place : 2 * place + 2] = value
    return array


def acdc(root, numbers=(1, 2, 100), below="training"):
    for number in numbers:
        folder = root / below / f"patient{number:03d}"
        for frame in (1, 12):
            save(folder / f"patient{number:03d}_frame{frame:02d}.nii.gz", noise(number + 1000 * frame))
            save(folder / f"patient{number:03d}_frame{frame:02d}_gt.nii.gz", mask(STORED["acdc"], number))
        save(folder / f"patient{number:03d}_4d.nii.gz", np.zeros((3, 3, 3, 2), np.int16))
        (folder / "Info.cfg").write_text("ED: 1\nES: 12\n")
        (folder / "MANDATORY_CITATION.md").touch()
    return root


def patients(*names, grade="HGG"):
    return [f"{grade}/Brats18_{name}_1" for name in names]


GLIOMAS = (*patients("TCIA02_117", "2013_10", "CBICA_AAB"), *patients("TCIA09_141", grade="LGG"))


def brats(root, cases=GLIOMAS, below="MICCAI_BraTS_2018_Data_Training"):
    for number, case in enumerate(cases):
        name = case.split("/")[-1]
        for channel, kind in enumerate(SEQUENCES):
            save(root / below / case / f"{name}_{kind}.nii.gz", noise(10 * number + channel))
        save(root / below / case / f"{name}_seg.nii.gz", mask(STORED["brats18"], number))
    return root


def kits(root, numbers=(0, 1, 2, 209), hidden=(210, 299), below="kits19/data"):
    for number in (*numbers, *hidden):
        save(root / below / f"case_{number:05d}/imaging.nii.gz", noise(number))
    for number in numbers:
        save(root / below / f"case_{number:05d}/segmentation.nii.gz", mask(STORED["kits19"], number))
    (root / below / "kits.json").write_text("[]")
    return root


BUILD = {"acdc": acdc, "brats18": brats, "kits19": kits}


def told(found):
    return [(defect.case, defect.file.name, defect.severity) for defect in found.defects]


def inspected(root):
    return checks.inspect(detect(root), workers=1, progress=lambda *_: None)


class TestAsDownloaded:
    @pytest.mark.parametrize("below", [".", "training", "ACDC/database/training"])
    def test_acdc_is_its_frames_and_nothing_else(self, tmp_path, below):
        found = scan(acdc(tmp_path, below=below))
        data = found.dataset
        assert (data.layout, data.name, data.channels, found.defects) == ("acdc", "ACDC", ("MR",), ())
        assert data.classes == ("background", "RV", "myocardium", "LV")
        ids = [f"patient{number:03d}_frame{frame:02d}" for number in (1, 2, 100) for frame in (1, 12)]
        assert [case.id for case in data.cases] == ids
        assert [group_of(name, "auto") for name in ids[:3]] == ["patient001", "patient001", "patient002"]

    def test_the_frames_of_testing_are_left_out_and_are_a_dataset_of_their_own(self, tmp_path):
        acdc(tmp_path)
        acdc(tmp_path, (101, 150), "testing")
        for root, count, found in ((tmp_path, 6, scan(tmp_path)), (None, 4, scan(tmp_path / "testing"))):
            assert (len(found.dataset.cases), found.defects) == (count, ()), root

    def test_brats18_has_four_channels_in_order_and_both_grades(self, tmp_path):
        found = scan(brats(tmp_path))
        data = found.dataset
        assert (data.layout, data.name, found.defects) == ("brats18", "BraTS18", ())
        assert data.channels == ("T1", "T1ce", "T2", "FLAIR")
        assert data.classes == ("background", "non-enhancing core", "oedema", "enhancing tumour")
        assert [case.id for case in data.cases] == sorted(case.split("/")[-1] for case in GLIOMAS)
        for case in data.cases:
            assert [path.name for path in case.images] == [f"{case.id}_{kind}.nii.gz" for kind in SEQUENCES]
            assert group_of(case.id, "auto") == case.id

    @pytest.mark.parametrize("folder", ["MICCAI_BraTS_2018_Data_Training", "MICCAI_BraTS_2018_Data_Training/HGG"])
    def test_the_folder_of_the_high_grade_gliomas_is_a_dataset(self, tmp_path, folder):
        data = detect(brats(tmp_path) / folder)
        assert (data.layout, len(data.cases)) == ("brats18", 3 if folder.endswith("HGG") else 4)

    def test_kits19_has_no_masks_of_its_last_ninety_cases_and_that_is_no_defect(self, tmp_path):
        found = scan(kits(tmp_path))
        data = found.dataset
        assert (data.layout, data.name, data.channels, found.defects) == ("kits19", "KiTS19", ("CT",), ())
        assert data.classes == ("background", "kidney", "tumour")
        assert [case.id for case in data.cases] == ["case_00000", "case_00001", "case_00002", "case_00209"]

    @pytest.mark.parametrize("layout", BUILD)
    def test_the_check_finds_a_miniature_usable_and_counts_the_voxels_of_each_class(self, tmp_path, layout, edgewise):
        root = BUILD[layout](tmp_path)
        inspection = inspected(root)
        assert inspection.defects == ()
        for case, facts in zip(detect(root).cases, inspection.fingerprint.cases, strict=True):
            stored = np.asarray(nib.load(case.label).dataobj)
            assert facts.voxels == tuple(int((stored == value).sum()) for value in STORED[layout])
        call = edgewise("check", root)
        assert (call.code, call.out.splitlines()[-1]) == (0, "usable")
        assert f"layout {layout}" in call.out

    def test_the_splits_of_the_region_wise_paper_halve_each(self):
        hearts = [f"patient{number:03d}_frame{frame:02d}" for number in range(1, 101) for frame in (1, 12)]
        brains = [f"Brats18_TCIA{number:02d}_{500 - number}_1" for number in range(210)]
        for ids, of in ((hearts, "number"), (brains, "position"), ([f"case_{n:05d}" for n in range(210)], "number")):
            split = parity(ids, of=of, train="even", group="auto")
            assert len(split.train) == len(split.validation) == len(ids) // 2
        assert "patient002_frame01" in parity(hearts, of="number", train="even", group="auto").train


class TestDefects:
    @pytest.mark.parametrize("layout", BUILD)
    def test_a_missing_mask_is_told(self, tmp_path, layout):
        case = detect(BUILD[layout](tmp_path)).cases[0]
        case.label.unlink()
        found = scan(tmp_path)
        assert told(found) == [(case.id, case.images[0].name, "error")]
        assert found.defects[0].problem == "is an image without label"
        assert case.id not in [each.id for each in found.dataset.cases]

    @pytest.mark.parametrize("layout", ["acdc", "kits19"])
    def test_a_missing_image_is_told(self, tmp_path, layout):
        case = detect(BUILD[layout](tmp_path)).cases[1]
        case.images[0].unlink()
        assert told(scan(tmp_path)) == [(case.id, case.label.name, "error")]

    @pytest.mark.parametrize("gone", [("t2",), ("t1", "flair"), ("t1ce", "seg")])
    def test_a_missing_sequence_is_told_once_by_its_name(self, tmp_path, gone):
        case = detect(brats(tmp_path)).cases[0]
        for kind in gone:
            (case.label.parent / f"{case.id}_{kind}.nii.gz").unlink()
        found = scan(tmp_path)
        assert told(found) == [(case.id, case.id, "error")]
        missing = [kind for kind in gone if kind != "seg"]
        assert f"lacks {', '.join(missing)}: there is no {case.id}_{missing[0]}.nii.gz" in found.defects[0].problem
        assert case.id not in [each.id for each in found.dataset.cases]

    def test_a_mask_without_any_sequence_is_told(self, tmp_path):
        case = detect(brats(tmp_path)).cases[0]
        for image in case.images:
            image.unlink()
        assert told(scan(tmp_path)) == [(case.id, case.label.name, "error")]

    @pytest.mark.parametrize("layout", BUILD)
    def test_a_case_that_lies_there_twice_is_told_file_by_file(self, tmp_path, layout):
        root = BUILD[layout](tmp_path)
        case = detect(root).cases[0]
        for file in (*case.images, case.label):
            save(root / "copy" / file.parent.name / file.name, noise(0))
        found = scan(root)
        assert len(found.defects) == len(case.images) + 1
        assert {defect.case for defect in found.defects} == {case.id}
        assert all("is a second" in defect.problem for defect in found.defects)
        assert case.id not in [each.id for each in found.dataset.cases]

    def test_the_cases_that_brats18_validates_on_are_no_defects(self, tmp_path):
        brats(tmp_path)
        case = "MICCAI_BraTS_2018_Data_Validation/Brats18_CBICA_AAM_1/Brats18_CBICA_AAM_1"
        for kind in SEQUENCES:
            save(tmp_path / f"{case}_{kind}.nii.gz", noise(0))
        found = scan(tmp_path)
        assert (len(found.dataset.cases), found.defects) == (4, ())

    def test_a_mask_of_a_hidden_case_of_kits19_is_told_as_another_challenge(self, tmp_path):
        save(kits(tmp_path) / "kits19/data/case_00210/segmentation.nii.gz", mask((0, 1, 2, 3), 0))
        found = scan(tmp_path)
        assert told(found) == [("case_00210", "segmentation.nii.gz", "error")]
        assert "KiTS23" in found.defects[0].problem

    def test_kits19_as_its_repository_gives_it_lacks_all_images_at_once(self, tmp_path):
        for image in kits(tmp_path).rglob("imaging.nii.gz"):
            image.unlink()
        (defect,) = scan(tmp_path).defects
        assert "4 masks of KiTS19" in defect.problem

    @pytest.mark.parametrize(
        "name", ["case_1/imaging.nii.gz", "case_00000x/segmentation.nii.gz", "segmentation.nii.gz"]
    )
    def test_a_file_in_a_folder_of_another_name_is_none_of_kits19(self, tmp_path, name):
        save(tmp_path / name, noise(0))
        with pytest.raises(DataError, match="is no dataset we know"):
            detect(tmp_path)

    def test_several_of_them_in_one_folder_are_refused(self, tmp_path):
        kits(acdc(tmp_path))
        with pytest.raises(DataError, match=r"holds several datasets \(acdc and kits19\)"):
            detect(tmp_path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The experiment of the region-wise paper on the miniature of BraTS, made small, and its data."""
    root = tmp_path_factory.mktemp("brats")
    data = brats(root / "data") / "MICCAI_BraTS_2018_Data_Training"
    own = {
        "base": str(ROOT / "regionwise/brats18/base.yaml"),
        "plan": PLAN | {"patch": [16, 16], "batch": 2},
        "network": {"kind": "unet", "supervised": 1},
        "training": {"steps": 2, "validate_every": 2},
    }
    (root / "a.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
    return data, fit(root / "a.yaml", data, root / "run", root / "cache")


class TestStoredValues:
    def test_a_case_holds_the_number_of_each_class_whatever_stands_in_the_file(self, tmp_path):
        for case in detect(brats(tmp_path)).cases:
            stored = np.asarray(nib.load(case.label).dataobj)
            assert set(np.unique(stored)) == {0, 1, 2, 4}
            np.testing.assert_array_equal(read_case(case).labels, np.where(stored == 4, 3, stored))

    @pytest.mark.parametrize("value", [3, 5, 255])
    def test_a_value_that_stands_for_no_class_is_a_defect_with_file_and_voxel(self, tmp_path, value):
        case = detect(brats(tmp_path)).cases[0]
        wrong = mask(STORED["brats18"], 0)
        wrong[1, 2, 3] = value
        save(case.label, wrong)
        (defect,) = inspected(tmp_path).defects
        assert (defect.case, defect.file, defect.severity) == (case.id, case.label, "error")
        assert f"holds label {value} at voxel (1, 2, 3), which stands for no class" in defect.problem
        assert "[0, 1, 2, 4]" in defect.problem

    def test_the_same_files_with_other_values_are_another_content(self, tmp_path):
        case = detect(brats(tmp_path)).cases[0]
        assert content_digest(case) != content_digest(replace(case, values=()))

    def test_a_run_is_scored_by_class_and_evaluate_gives_the_same_from_the_dataset(self, run, tmp_path, edgewise):
        data, folder = run
        cases = {case.id: case for case in detect(data).cases}
        validation = json.loads((folder / "dataset.json").read_text())["validation"]
        assert validation == sorted(cases)[1::2]
        rows = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
        assert {row["class_name"] for row in rows} == {"non-enhancing core", "oedema", "enhancing tumour"}
        for row in rows:
            stored = np.asarray(nib.load(cases[row["case"]].label).dataobj) == (0, 1, 2, 4)[int(row["class"])]
            found = np.asarray(nib.load(folder / f"predictions/{row['case']}.nii.gz").dataobj) == int(row["class"])
            total = stored.sum() + found.sum()
            assert float(row["dice"]) == pytest.approx(2 * (stored & found).sum() / total)
        call = edgewise("evaluate", folder / "predictions", data, "--out", tmp_path / "again.csv")
        assert call.code == 0
        left_out = len(cases) - len(validation)
        assert f"{left_out} of the {len(cases)} cases of {data} have no prediction and are left out" in call.err
        assert (tmp_path / "again.csv").read_text() == (folder / "metrics.csv").read_text()

    def test_the_report_draws_the_references_by_class(self, run, edgewise):
        data, folder = run
        load = _loader(RunFolder(path=folder))
        for name in json.loads((folder / "dataset.json").read_text())["validation"]:
            case = next(case for case in detect(data).cases if case.id == name)
            np.testing.assert_array_equal(load(name).reference, read_case(case).labels)
        assert edgewise("report", folder).code == 0

    def test_predictions_of_other_names_than_the_cases_are_refused(self, run, tmp_path, edgewise):
        save(tmp_path / "mine/other.nii.gz", mask((0, 1), 0))
        call = edgewise("evaluate", tmp_path / "mine", run[0])
        assert call.code == 2
        assert "no mask has the name of a case" in call.err
