"""Post-processing of predictions, in `predict` and in the evaluation of a run."""

import json
import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import yaml

from edgewise.inference.postprocess import Postprocessing, postprocess

CASE = "phantom_001"
CLASSES = ("background", "liver", "tumour")


def changed(road, folder, **postprocessing):
    """A copy of the run whose experiment post-processes."""
    shutil.copytree(road.run, folder)
    path = folder / "experiment.yaml"
    experiment = yaml.safe_load(path.read_text(encoding="utf-8"))
    experiment["postprocessing"] = postprocessing
    path.write_text(yaml.safe_dump(experiment), encoding="utf-8")
    return folder


def image(road, case=CASE):
    return road.data / "imagesTr" / f"{case}_0000.nii.gz"


def canonical(path):
    mask = nib.as_closest_canonical(nib.load(path))
    return np.asanyarray(mask.dataobj), tuple(float(size) for size in mask.header.get_zooms())


def events(run, kind):
    lines = (run / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for line in lines if (event := json.loads(line))["event"] == kind]


@pytest.mark.parametrize(
    "settings", [{"components": 1}, {"closing": 9.0}, {"closing": 12.0, "components": {"liver": 2}}]
)
def test_predict_mends_the_most_probable_classes_on_the_grid_of_the_image(road, edgewise, tmp_path, settings):
    run = changed(road, tmp_path / "run", **settings)
    call = edgewise("predict", run, image(road), "--out", tmp_path / "masks")
    assert call.code == 0
    plain, spacing = canonical(road.run / "predictions" / f"{CASE}.nii.gz")
    expected = postprocess(plain, spacing, CLASSES, Postprocessing(**settings))
    found, _ = canonical(tmp_path / "masks" / f"{CASE}.nii.gz")
    assert np.array_equal(found, expected.labels)
    assert (found != plain).any()


def test_the_evaluation_of_a_run_scores_mended_masks_and_keeps_the_warnings(road, edgewise, tmp_path):
    run = changed(road, tmp_path / "run", closing=0.5, components={"tumour": 1})
    (run / "curves.png").unlink()
    call = edgewise("fit", road.experiment, "--data", road.data, "--out", run, "--cache", road.cache, "--resume")
    assert call.code == 0
    warning = "closing with 0.5 mm does nothing: no voxel is as small"
    assert f"warning: {CASE}: " in call.err
    assert warning in call.err
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert sorted(summary["warnings"]) == ["phantom_001", "phantom_004"]
    assert any(warning in text for text in summary["warnings"][CASE])
    assert [warning in event["text"] for event in events(run, "note")] == [True, True]
    plain, spacing = canonical(road.run / "predictions" / f"{CASE}.nii.gz")
    settings = Postprocessing(closing=0.5, components={"tumour": 1})
    found, _ = canonical(run / "predictions" / f"{CASE}.nii.gz")
    assert np.array_equal(found, postprocess(plain, spacing, CLASSES, settings).labels)


def test_without_warnings_a_summary_has_none(road):
    assert json.loads((road.run / "summary.json").read_text(encoding="utf-8"))["warnings"] == {}
    assert not events(road.run, "note")


def test_a_prediction_of_which_nothing_is_left_is_a_warning_and_a_mask(road):
    from edgewise.data.case import CaseFiles
    from edgewise.data.images import read_case
    from edgewise.run.folder import RunFolder
    from edgewise.run.trained import load

    trained = load(RunFolder(path=road.run))
    for parameter in trained.network.parameters():
        parameter.data.zero_()  # every class is as probable as another: all is background
    mend = replace(trained.experiment, postprocessing=Postprocessing(closing=20.0, components=3))
    mended = replace(trained, experiment=mend).predict(read_case(CaseFiles(id=CASE, images=(image(road),))))
    assert not mended.labels.any()
    assert [text.split()[0] for text in mended.warnings] == ["liver", "tumour"]


def test_a_misspelt_class_is_refused_before_anything_is_done(road, edgewise, tmp_path):
    out, option = tmp_path / "run", "postprocessing.components={livr: 1}"
    call = edgewise("fit", road.experiment, "--data", road.data, "--out", out, "--cache", road.cache, "--set", option)
    assert call.code == 2
    assert "there is no class livr. Did you mean liver? Known: liver, tumour." in call.err
    assert not out.exists()
    run = changed(road, tmp_path / "other", components={"livr": 1})
    call = edgewise("predict", run, image(road), "--out", tmp_path / "masks")
    assert call.code == 2
    assert "Did you mean liver?" in call.err


@pytest.mark.parametrize("value", ["0", "-3", "some", "[1, 2]", "{liver: 0}", "1.5"])
def test_components_that_are_no_number_are_refused(road, edgewise, tmp_path, value):
    option = f"postprocessing.components={value}"
    call = edgewise("fit", road.experiment, "--data", road.data, "--out", tmp_path / "run", "--set", option)
    assert call.code == 2
    assert "components" in call.err
    assert "Traceback" not in call.err
