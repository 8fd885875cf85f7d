"""L-SNet and its rival through the command line: files, resume, bad input, and a case in which nothing is found."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import torch
import yaml

from edgewise.metrics.located_table import located_from_csv, located_summary
from methods.cases import same
from methods.killed_runs import arguments, events, killed, timeless
from tiny import PLAN, fit

NARROW = {"encoder": {"width": 0.125}}
LSNET = {
    "kind": "lsnet",
    "localisation": {"network": {**NARROW, "features": 8, "kernel": 3}},
    "recalibration": {"margin": 2.0},
}
COARSE = {
    "kind": "coarse_to_fine",
    "first": {"kind": "segmentation", "network": {"kind": "unet"}},
    "crop": {"border": 2},
}


def experiment(path, method, **changes):
    content = {
        "name": path.stem,
        "split": {"kind": "folds", "folds": 3},
        "plan": PLAN,
        "method": method,
        "training": {"steps": 6, "validate_every": 2, "report_every": 1},
    }
    path.write_text(yaml.safe_dump(content | changes), encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=[LSNET, COARSE], ids=["lsnet", "coarse to fine"])
def whole(request, road, tmp_path_factory):
    """A run that nobody interrupted: `.run`, `.experiment`."""
    root = tmp_path_factory.mktemp("located")
    file = experiment(root / "two.yaml", request.param)
    return SimpleNamespace(experiment=file, run=fit(file, road.data, root / "run", road.cache))


def test_a_run_killed_between_two_steps_goes_on_to_the_same_bits(road, whole, edgewise, tmp_path):
    out = killed(road, whole.experiment, tmp_path / "run", "last.pt", 3)
    assert [event["step"] for event in events(out / "journal.jsonl") if event["event"] == "validation"] == [2, 4, 6]
    call = edgewise(*arguments(road, whole.experiment, out), "--resume")
    assert (call.code, call.complaints) == (0, [line for line in call.complaints if "mask is empty" in line])
    for name in ("best", "last"):
        first, second = (
            timeless(torch.load(run / "checkpoints" / f"{name}.pt", weights_only=True)) for run in (whole.run, out)
        )
        assert same(first, second)
    for name in ("metrics.csv", "localisation.csv"):
        assert (out / name).read_text() == (whole.run / name).read_text()


def test_a_run_says_how_well_its_first_stage_located(road, whole):
    rows = located_from_csv((whole.run / "localisation.csv").read_text(encoding="utf-8"))
    summary = json.loads((whole.run / "summary.json").read_text(encoding="utf-8"))["localisation"]
    validation = json.loads((whole.run / "dataset.json").read_text(encoding="utf-8"))["validation"]
    assert {row.case for row in rows if row.object} == set(validation)
    expected = {key: value for key, value in located_summary(rows).items() if not math.isnan(value)}
    assert {key: summary[key] for key in expected} == expected
    assert len(summary["missed_in"]) == summary["missed"] == sum(row.missed for row in rows)
    for row in rows:
        if row.object:
            image = nibabel.load(next(road.data.rglob(f"*{row.case}*.nii.gz")))
            assert all(-0.5 - 1e-6 <= side <= max(image.shape) for side in row.object)


def test_the_box_of_an_object_is_where_its_voxels_are(road, whole):
    """The table counts in voxels of the image turned to RAS+, to within the resampling of the prepared volume."""
    from edgewise.data import layouts
    from edgewise.data.images import read_case

    rows = located_from_csv((whole.run / "localisation.csv").read_text(encoding="utf-8"))
    files = {case.id: case for case in layouts.detect(road.data).cases}
    names = layouts.detect(road.data).classes
    seen = 0
    for row in (row for row in rows if row.object):
        places = np.argwhere(read_case(files[row.case]).labels == names.index(row.kind))
        box = np.concatenate((places.min(0) - 0.5, places.max(0) + 0.5))
        assert np.abs(box - row.object).max() <= 1.5
        seen += 1
    assert seen


def test_heatmaps_lie_on_the_grid_of_the_image_in_per_cent(whole):
    found = sorted((whole.run / "localisation").iterdir())
    predictions = sorted((whole.run / "predictions").iterdir())
    assert [path.name for path in found] == [path.name for path in predictions]
    for heat, mask in zip(found, predictions, strict=True):
        first, second = nibabel.load(heat), nibabel.load(mask)
        assert first.shape == second.shape
        assert np.allclose(first.affine, second.affine)
        assert 0 <= np.asarray(first.dataobj).min() <= np.asarray(first.dataobj).max() <= 100


def test_the_report_of_a_located_run_can_be_written(whole, edgewise, tmp_path):
    call = edgewise("report", whole.run, "--out", tmp_path / "page.html")
    assert call.code == 0
    assert "ocalisation" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_case_in_which_nothing_is_found_is_empty_named_and_counted(road, edgewise, tmp_path):
    method = {**LSNET, "localisation": {**LSNET["localisation"], "threshold": 0.999}}
    file, out = experiment(tmp_path / "blind.yaml", method), tmp_path / "run"
    call = edgewise(*arguments(road, file, out))
    assert call.code == 0
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    validation = json.loads((out / "dataset.json").read_text(encoding="utf-8"))["validation"]
    assert set(summary["warnings"]) == set(validation)
    assert all("no region was found in it" in texts[0] for texts in summary["warnings"].values())
    assert all(f"warning: {case}: no region was found" in call.err for case in validation)
    assert summary["localisation"]["missed"] == summary["localisation"]["objects"] > 0
    table = (out / "metrics.csv").read_text(encoding="utf-8").splitlines()
    assert len(table) > len(validation)
    for mask in (out / "predictions").iterdir():
        assert not np.asarray(nibabel.load(mask).dataobj).any()


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ({**LSNET, "recalibration": {"size": [8, 16]}}, "does not fit a 3D network"),
        ({**LSNET, "recalibration": {"size": [7, 16, 16]}}, "not divisible by the strides"),
        ({**LSNET, "recalibration": {"margin": -1}}, "margin"),
        ({**LSNET, "localisation": {"objects": "lesion"}}, "objects"),
        ({**LSNET, "localisation": {"shrink": [1, 2]}}, "shrink"),
        ({**LSNET, "decay": -0.1}, "decay"),
        ({**COARSE, "crop": {"border": -3}}, "margin"),
        ({**COARSE, "first": {"kind": "guess"}}, "guess"),
    ],
)
def test_settings_without_sense_end_before_anything_is_written(road, edgewise, tmp_path, method, words):
    file = experiment(tmp_path / "wrong.yaml", method)
    call = edgewise(*arguments(road, file, tmp_path / "run"))
    assert call.code == 2
    assert words in call.err
    assert "Traceback" not in call.err
    assert not (tmp_path / "run").exists() or not any(Path(tmp_path / "run").iterdir())


def test_a_two_stage_run_is_not_exported_as_if_it_were_one_network(whole, edgewise, tmp_path):
    call = edgewise("export", whole.run, "--out", tmp_path / "net.onnx")
    assert call.code == 2
    assert "two stages" in call.err
    assert not list(tmp_path.iterdir())


class TestWeightsFromAFile:
    """An encoder may start from a file: the run says what it took, and is whole without the file afterwards."""

    @pytest.fixture
    def weights(self, tmp_path):
        from monai.networks.nets.resnet import resnet18

        torch.manual_seed(0)
        known = {"spatial_dims": 2, "n_input_channels": 3, "num_classes": 10, "shortcut_type": "B"}
        network = resnet18(**known, bias_downsample=False, conv1_t_stride=2)
        torch.save(network.state_dict(), tmp_path / "weights.pt")
        return tmp_path / "weights.pt"

    def file(self, path, weights, dimensions=2, steps=1):
        network = {"kind": "resnet_unet", "encoder": {"depth": 18, "weights": str(weights)}, "features": 8}
        plan = {**PLAN, "dimensions": dimensions, "patch": [16, 16] if dimensions == 2 else PLAN["patch"]}
        training = {"steps": steps, "validate_every": 1}
        return experiment(path, {"kind": "supervised"}, network=network, plan=plan, training=training)

    def test_what_was_loaded_is_said_and_the_file_is_needed_once(self, road, edgewise, weights, tmp_path):
        file, out = self.file(tmp_path / "warm.yaml", weights), tmp_path / "run"
        call = edgewise(*arguments(road, file, out))
        assert call.code == 0
        assert "ResNet-18 encoder: " in call.err
        assert "summed over 3 colours" in call.err
        weights.unlink()
        assert edgewise("predict", out, next((road.data / "imagesTr").iterdir()), "--out", tmp_path / "masks").code == 0
        fresh = edgewise(*arguments(road, file, tmp_path / "other"))
        assert fresh.code == 2
        assert "weights.pt" in fresh.err

    @pytest.mark.slow
    def test_a_killed_run_goes_on_without_the_file(self, road, edgewise, weights, tmp_path):
        file, out = self.file(tmp_path / "warm.yaml", weights, steps=2), tmp_path / "run"
        killed(road, file, out, "last.pt", 2)
        weights.unlink()
        assert edgewise(*arguments(road, file, out), "--resume").code == 0

    def test_a_3d_network_cannot_take_them(self, road, edgewise, weights, tmp_path):
        call = edgewise(*arguments(road, self.file(tmp_path / "warm.yaml", weights, 3), tmp_path / "run"))
        assert call.code == 2
        assert "3D" in call.err
