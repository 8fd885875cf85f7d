"""From the command line: images are corrected and cut as the experiment says, once, and what failed is said."""

import json

import nibabel
import numpy as np
import pytest
import yaml

from edgewise.data.phantoms import write_dataset
from tiny import PLAN, write_experiment

N4 = {"kind": "n4", "iterations": [5], "shrink": 2}


@pytest.fixture(scope="module")
def mr(tmp_path_factory):
    """Phantoms turned into MR images, one of which shows nothing."""
    root = tmp_path_factory.mktemp("mr") / "data"
    write_dataset(root, cases=4, seed=0, shape=(24, 24, 16), spacing=(8.0, 8.0, 12.0))
    for number, path in enumerate(sorted((root / "imagesTr").glob("*.nii.gz"))):
        image = nibabel.load(path)
        array = np.clip(np.asarray(image.dataobj, np.float32) + 1000, 0, None) * (number != 1)
        nibabel.save(nibabel.Nifti1Image(array, image.affine), path)
    about = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(json.dumps({**about, "channel_names": {"0": "T2"}}))
    return root


def stamps(cache):
    return {path: path.stat().st_mtime_ns for path in (cache / "prepared").rglob("*")}


def said(outcome):
    return [line for line in outcome.complaints if line.startswith("warning")]


def test_corrected_images_are_kept_and_what_failed_is_said_by_every_run_and_prediction(edgewise, mr, tmp_path):
    plan = {**PLAN, "bias_field": N4}
    experiment = write_experiment(tmp_path / "e.yaml", "n4", {"steps": 1, "validate_every": 1}, plan)
    cache = tmp_path / "cache"
    arguments = ("fit", experiment, "--data", mr, "--cache", cache, "--out")
    first = edgewise(*arguments, tmp_path / "first")
    assert first.code == 0
    empty = sorted(path.name for path in (mr / "imagesTr").iterdir())[1].removesuffix("_0000.nii.gz")
    warning = f"case {empty}: channel 0 stays without bias-field correction, because it has no foreground"
    assert sum(warning in line for line in said(first)) == 1
    before = stamps(cache)
    second = edgewise(*arguments, tmp_path / "second")
    assert stamps(cache) == before
    assert sum(warning in line for line in said(second)) == 1
    assert "preparing" in first.err
    assert "preparing" not in second.err
    decided = yaml.safe_load((tmp_path / "first" / "plan.yaml").read_text())["bias_field"]
    assert decided["value"]["channels"] == [0]
    masks = edgewise("predict", tmp_path / "first", mr / "imagesTr", "--out", tmp_path / "masks")
    assert masks.code == 0
    assert sum("no foreground" in line for line in said(masks)) == 1


def test_n4_for_ct_is_refused(edgewise, road, tmp_path):
    experiment = write_experiment(tmp_path / "e.yaml", "n4", {"steps": 1}, {**PLAN, "bias_field": N4})
    refused = edgewise("fit", experiment, "--data", road.data, "--out", tmp_path / "run", "--cache", road.cache)
    assert refused.code == 2
    assert "plan.bias_field: n4 corrects the coils of MR scanners" in refused.err


def test_slices_with_labels_train_and_whole_images_are_predicted(edgewise, road, tmp_path):
    crop = {"kind": "labels", "margin": 0, "within": "none"}
    training = {"steps": 2, "validate_every": 1, "foreground": 1.0, "sampling": {"kind": "grid", "stride": 0.5}}
    experiment = write_experiment(tmp_path / "e.yaml", "range", training, {**PLAN, "crop": crop})
    cache = tmp_path / "cache"
    done = edgewise("fit", experiment, "--data", road.data, "--out", tmp_path / "run", "--cache", cache)
    assert done.code == 0, done.err
    boxes = {}
    for path in (cache / "prepared").rglob("case.json"):
        record = json.loads(path.read_text())
        boxes[record["id"]] = record["undo"]["box"]
    dataset = json.loads((tmp_path / "run" / "dataset.json").read_text())
    whole = [[0, 32], [0, 32], [0, 16]]
    assert all(boxes[name] == whole for name in dataset["validation"])
    for name in dataset["train"]:
        labels = np.asarray(nibabel.load(road.data / "labelsTr" / f"{name}.nii.gz").dataobj)
        held = np.flatnonzero((labels > 0).any(axis=(0, 1)))
        assert boxes[name] == [*whole[:2], [int(held[0]), int(held[-1]) + 1]]
    assert any(boxes[name] != whole for name in dataset["train"])
    for name in dataset["validation"]:
        mask = nibabel.load(tmp_path / "run" / "predictions" / f"{name}.nii.gz")
        assert mask.shape == (32, 32, 16)
