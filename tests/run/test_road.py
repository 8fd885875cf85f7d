"""The whole road on tiny phantoms: fit, predict, evaluate, report, resume."""

import csv
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml

import edgewise as package

VALIDATION = ["phantom_001", "phantom_004"]


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def journal(run):
    path = run / "journal.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def temporaries(folder):
    return [path for path in folder.rglob(".*") if path.name.startswith(".")]


def image(road, case):
    return road.data / "imagesTr" / f"{case}_0000.nii.gz"


def voxels(path):
    return np.asanyarray(nib.load(path).dataobj)


# --- fit


def test_a_run_folder_holds_every_file_and_nothing_else(road):
    names = {str(path.relative_to(road.run)) for path in road.run.rglob("*") if path.is_file()}
    assert names == {
        "experiment.yaml", "plan.yaml", "dataset.json", "environment.json", "journal.jsonl", "metrics.csv",
        "lesions.csv", "summary.json", "curves.png", "checkpoints/best.pt", "checkpoints/last.pt",
        *(f"predictions/{case}.nii.gz" for case in VALIDATION),
    }  # fmt: skip
    assert not temporaries(road.root)


def test_the_plan_gives_a_reason_for_every_decision(road):
    plan = yaml.safe_load((road.run / "plan.yaml").read_text(encoding="utf-8"))
    assert {"dimensions", "spacing", "patch", "batch", "strides", "widths", "intensity", "arithmetic"} <= set(plan)
    assert all(entry["reason"] and "value" in entry for entry in plan.values())
    assert plan["dimensions"]["value"] == 3
    assert plan["arithmetic"]["value"] == {"precision": "fp32", "memory_format": "contiguous", "threads": 1}


def test_the_experiment_is_kept_with_every_default_filled_in(road):
    from edgewise.experiment import dump
    from edgewise.experiment_file import load

    kept = yaml.safe_load((road.run / "experiment.yaml").read_text(encoding="utf-8"))
    assert kept == dump(load(road.run / "experiment.yaml"))
    assert load(road.run / "experiment.yaml") == load(road.experiment)
    assert kept["loss"]["kind"] == "sum"


def test_the_journal_begins_with_units_and_ends_with_the_reason(road):
    units, *events = journal(road.run)
    assert units["event"] == "units"
    assert units["units"]["seconds"] == "s"
    assert [(e["event"], e["step"]) for e in events] == [
        ("train", 1), ("train", 2), ("validation", 2), ("train", 3), ("train", 4), ("validation", 4), ("end", 4),
    ]  # fmt: skip
    assert all(math.isfinite(e["loss"]) and e["rate"] > 0 for e in events if e["event"] == "train")
    assert set(events[2]["dice"]) == {"1", "2"}
    assert events[-1]["best_step"] in {2, 4}


@pytest.mark.parametrize("name", ["best", "last"])
def test_checkpoints_load_without_pickled_code(road, name):
    content = torch.load(road.run / "checkpoints" / f"{name}.pt", weights_only=True)
    assert content["step" if name == "best" else "progress"]


def test_metrics_have_one_row_a_case_and_class(road):
    rows = table(road.run / "metrics.csv")
    assert [(row["case"], row["class"]) for row in rows] == [(case, c) for case in VALIDATION for c in "12"]
    assert {row["class_name"] for row in rows} == {"liver", "tumour"}
    assert all(0 <= float(row["dice"]) <= 1 and float(row["hd95"]) >= 0 for row in rows)


def test_the_summary_holds_the_means_and_definitions_of_the_table(road):
    summary = json.loads((road.run / "summary.json").read_text(encoding="utf-8"))
    rows = table(road.run / "metrics.csv")
    for label in "12":
        mean = np.mean([float(row["dice"]) for row in rows if row["class"] == label])
        assert summary["classes"][label]["dice"]["mean"] == pytest.approx(mean)
        assert summary["classes"][label]["dice"]["cases"] == 2
    assert {"dice", "hd95", "assd"} <= set(summary["definitions"])
    assert summary["failures"] == {}


def test_the_environment_and_the_dataset_are_recorded(road):
    environment = json.loads((road.run / "environment.json").read_text(encoding="utf-8"))
    assert environment["packages"]["torch"] == torch.__version__
    assert environment["cores"] >= 1
    dataset = json.loads((road.run / "dataset.json").read_text(encoding="utf-8"))
    assert dataset["classes"] == ["background", "liver", "tumour"]
    assert dataset["validation"] == VALIDATION
    assert not set(dataset["train"]) & set(dataset["validation"])
    assert len(dataset["train"]) == 4
    assert Path(dataset["root"]) == road.data


def test_the_curves_are_a_picture(road):
    assert (road.run / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("case", VALIDATION)
def test_predictions_lie_on_the_exact_grid_of_their_image(road, case):
    mask, source = nib.load(road.run / "predictions" / f"{case}.nii.gz"), nib.load(image(road, case))
    assert mask.shape == source.shape
    assert np.array_equal(mask.affine, source.affine)
    assert mask.get_data_dtype() == np.uint8
    assert set(np.unique(voxels(road.run / "predictions" / f"{case}.nii.gz"))) <= {0, 1, 2}


def test_a_second_fit_into_the_same_folder_is_refused_and_changes_nothing(road, edgewise):
    before = {path: path.stat().st_mtime_ns for path in road.run.rglob("*")}
    call = edgewise("fit", road.experiment, "--data", road.data, "--out", road.run, "--cache", road.cache)
    assert call.code == 2
    assert "already holds a run" in call.err
    assert {path: path.stat().st_mtime_ns for path in road.run.rglob("*")} == before


def test_a_second_run_uses_the_prepared_cases(second_run):
    assert second_run.before
    assert second_run.after == second_run.before


def test_thick_slices_are_segmented_in_two_dimensions(thick_run):
    plan = yaml.safe_load((thick_run / "plan.yaml").read_text(encoding="utf-8"))
    assert plan["dimensions"]["value"] == 2
    assert "times as thick" in plan["dimensions"]["reason"]
    assert all(len(row) == 2 for row in plan["strides"]["value"])
    assert len(table(thick_run / "metrics.csv")) == 2 * len(list((thick_run / "predictions").iterdir()))


# --- predict


def test_predicting_the_images_again_gives_the_same_masks(road, edgewise, tmp_path):
    call = edgewise("predict", road.run, *(image(road, case) for case in VALIDATION), "--out", tmp_path / "masks")
    assert (call.code, call.complaints) == (0, [])
    assert call.out.strip() == str(tmp_path / "masks")
    for case in VALIDATION:
        again = tmp_path / "masks" / f"{case}.nii.gz"
        assert np.array_equal(voxels(again), voxels(road.run / "predictions" / f"{case}.nii.gz"))


def test_every_format_and_orientation_comes_back_on_its_own_grid(road, edgewise, tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    given, out, case = tmp_path / "images", tmp_path / "masks", VALIDATION[0]
    given.mkdir()
    source = nib.load(image(road, case))
    turn = np.array([[1, -1], [2, 1], [0, -1]])
    nib.save(source.as_reoriented(turn), given / "turned.nii.gz")
    for suffix in ("nrrd", "mha"):
        sitk.WriteImage(sitk.ReadImage(str(image(road, case))), str(given / f"copy_{suffix}.{suffix}"))
    call = edgewise("predict", road.run, given, "--out", out)
    assert (call.code, call.complaints) == (0, [])
    assert sorted(path.name for path in out.iterdir()) == ["copy_mha.mha", "copy_nrrd.nrrd", "turned.nii.gz"]

    expected = nib.load(road.run / "predictions" / f"{case}.nii.gz")
    turned, stored = nib.load(out / "turned.nii.gz"), nib.load(given / "turned.nii.gz")
    assert turned.shape == stored.shape != source.shape
    assert np.array_equal(turned.affine, stored.affine)
    assert np.array_equal(np.asanyarray(nib.as_closest_canonical(turned).dataobj), np.asanyarray(expected.dataobj))
    for suffix in ("nrrd", "mha"):
        name = f"copy_{suffix}.{suffix}"
        mask, original = sitk.ReadImage(str(out / name)), sitk.ReadImage(str(given / name))
        assert mask.GetSize() == original.GetSize()
        assert mask.GetSpacing() == original.GetSpacing()
        assert mask.GetOrigin() == original.GetOrigin()
        assert mask.GetDirection() == original.GetDirection()
        assert np.array_equal(sitk.GetArrayFromImage(mask).T, np.asanyarray(expected.dataobj))


def test_a_mask_never_takes_the_place_of_an_image(road, edgewise, tmp_path):
    shutil.copy(image(road, VALIDATION[0]), tmp_path / "scan.nii.gz")
    before = (tmp_path / "scan.nii.gz").read_bytes()
    call = edgewise("predict", road.run, tmp_path, "--out", tmp_path)
    assert call.code == 2
    assert "take the place" in call.err
    assert (tmp_path / "scan.nii.gz").read_bytes() == before


# --- evaluate


def test_references_against_themselves_are_perfect(road, edgewise, tmp_path):
    labels, out = road.data / "labelsTr", tmp_path / "scores.csv"
    call = edgewise("evaluate", labels, labels, "--out", out)
    assert (call.code, call.complaints) == (0, [])
    rows = table(out)
    assert len(rows) == 6 * 2
    assert all((float(row["dice"]), float(row["hd95"]), float(row["assd"])) == (1, 0, 0) for row in rows)
    assert [row["empty"] for row in rows if row["case"] == "phantom_002"] == ["", "both"]
    summary = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert summary["mean_dice"] == 1
    assert summary["classes"]["2"]["dice"]["both_empty"] == 1


def test_missing_predictions_are_named_and_count_as_empty(road, edgewise, tmp_path):
    out = tmp_path / "scores.csv"
    call = edgewise("evaluate", road.run / "predictions", road.data / "labelsTr", "--out", out)
    assert call.code == 1
    missing = [f"phantom_{n:03d}" for n in (2, 3, 5, 6)]
    assert [line.split(":")[1].strip() for line in call.complaints] == missing
    assert all("scored as an empty mask" in line for line in call.complaints)
    rows = {(row["case"], row["class"]): row for row in table(out)}
    assert all(float(rows[case, "1"]["dice"]) == 0 and rows[case, "1"]["hd95"] == "inf" for case in missing)
    assert rows["phantom_003", "1"]["empty"] == "prediction"
    assert rows["phantom_002", "2"]["empty"] == "both"
    assert sorted(json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))["failures"]) == missing


def test_evaluate_repeats_the_metrics_of_the_run(road, edgewise, tmp_path):
    for case in VALIDATION:
        (tmp_path / "labels").mkdir(exist_ok=True)
        shutil.copy(road.data / "labelsTr" / f"{case}.nii.gz", tmp_path / "labels")
    call = edgewise("evaluate", road.run / "predictions", tmp_path / "labels", "--out", tmp_path / "scores.csv")
    assert (call.code, call.complaints) == (0, [])
    skip = {"class_name"}
    assert [{k: v for k, v in row.items() if k not in skip} for row in table(tmp_path / "scores.csv")] == [
        {k: v for k, v in row.items() if k not in skip} for row in table(road.run / "metrics.csv")
    ]


# --- report and list


def test_a_report_on_one_run_is_one_page_with_pictures(road, edgewise, tmp_path):
    call = edgewise("report", road.run, "--out", tmp_path / "page.html")
    assert (call.code, call.complaints) == (0, [])
    assert call.out.strip() == str(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<code>first</code>" in page
    assert "data:image/webp;base64," in page
    assert not re.search(r"""(src|href)=["']https?:""", page)


def test_a_report_on_two_runs_says_which_is_better_or_that_it_cannot_tell(road, second_run, edgewise, tmp_path):
    call = edgewise("report", road.run, second_run.run, "--out", tmp_path / "page.html")
    assert (call.code, call.complaints) == (0, [])
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<code>first</code>" in page
    assert "<code>second</code>" in page
    assert "No difference between the runs was found in" in page
    assert "too small to decide" in page


def test_runs_of_one_name_are_told_apart_in_the_verdicts(road, edgewise, tmp_path):
    for folder in ("a", "b"):
        shutil.copytree(road.run, tmp_path / folder)
    assert edgewise("report", tmp_path).code == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<code>first (a)</code>" in page
    assert "<code>first (b)</code>" in page


@pytest.mark.parametrize("what", ["losses", "maps", "networks", "methods", "metrics"])
def test_every_catalogue_is_listed_for_people_and_for_programs(edgewise, what):
    call = edgewise("list", what, "--json")
    rows = json.loads(call.out)
    assert rows
    assert all(set(row) == {"kind", "source", "needs", "parameters", "summary"} for row in rows)
    assert all(row["source"] and row["summary"] for row in rows)
    people = edgewise("list", what)
    assert (call.code, people.code) == (0, 0)
    assert [line.split()[0] for line in people.out.splitlines()] == [row["kind"] for row in rows]


def test_the_schema_of_the_experiment_file_is_json(edgewise):
    schema = json.loads(edgewise("list", "--schema").out)
    assert {"name", "training", "loss"} <= set(schema["properties"])


# --- resume


def resume(road, experiment, out):
    return "fit", experiment, "--data", road.data, "--out", out, "--cache", road.cache, "--resume"


def killed_run(road, second_run, out):
    """A run of the second experiment, killed after its second validation."""
    arguments = ["fit", second_run.experiment, "--data", road.data, "--out", out, "--cache", road.cache]
    source = str(Path(package.__file__).parents[1])
    path = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, "-c", "from edgewise.cli import main; main()", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while sum(event["event"] == "validation" for event in journal(out)) < 2:
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    return out


def differences(a, b, where=""):
    """Paths at which two trees of tensors and plain values differ."""
    if isinstance(a, torch.Tensor):
        same = a.dtype == b.dtype and torch.equal(a, b)
        return [] if same else [where]
    if isinstance(a, list | tuple):
        a, b = dict(enumerate(a)), dict(enumerate(b))
    if isinstance(a, dict):
        inside = [path for key in a.keys() & b.keys() for path in differences(a[key], b[key], f"{where}/{key}")]
        return [f"{where}/{key}" for key in a.keys() ^ b.keys()] + inside
    return [] if a == b or repr(a) == repr(b) == "nan" else [f"{where}: {a} {b}"]


def test_a_killed_run_resumes_to_the_same_bits(road, second_run, edgewise, tmp_path):
    out = killed_run(road, second_run, tmp_path / "run")
    assert "end" not in {event["event"] for event in journal(out)}
    call = edgewise(*resume(road, second_run.experiment, out))
    assert (call.code, call.complaints) == (0, [])
    (note,) = [event["text"] for event in journal(out) if event["event"] == "note"]
    assert int(re.fullmatch(r"resumed at step (\d+)", note)[1]) >= 2
    for name in ("best", "last"):
        contents = [torch.load(run / "checkpoints" / f"{name}.pt", weights_only=True) for run in (out, second_run.run)]
        for content in contents:
            content.get("progress", {}).pop("seconds", None)  # the clock is no part of the result
            content.get("random", {}).pop("python", None)  # beartype, which checks types in tests, draws from it
        assert differences(*contents) == []
    assert (out / "metrics.csv").read_text() == (second_run.run / "metrics.csv").read_text()
    steps = [(e["event"], e["step"], e.get("dice")) for e in journal(out) if e["event"] == "validation"]
    assert steps == [(e["event"], e["step"], e["dice"]) for e in journal(second_run.run) if e["event"] == "validation"]
    assert not temporaries(out)


def test_resuming_a_finished_run_says_so_and_adds_nothing(road, edgewise):
    before = {path: path.stat().st_mtime_ns for path in road.run.rglob("*") if path.is_file()}
    call = edgewise(*resume(road, road.experiment, road.run))
    assert call.code == 0
    assert "is finished" in call.err
    assert {path: path.stat().st_mtime_ns for path in road.run.rglob("*") if path.is_file()} == before


def test_a_run_killed_after_training_is_only_evaluated(road, edgewise, tmp_path):
    run = shutil.copytree(road.run, tmp_path / "run")
    for name in ("metrics.csv", "lesions.csv", "summary.json", "curves.png"):
        (run / name).unlink()
    before = (run / "journal.jsonl").read_text()
    assert edgewise(*resume(road, road.experiment, run)).code == 0
    assert (run / "journal.jsonl").read_text() == before
    assert (run / "metrics.csv").read_text() == (road.run / "metrics.csv").read_text()
    assert (run / "curves.png").exists()


def test_a_run_killed_before_its_first_checkpoint_starts_over(road, edgewise, tmp_path):
    run = shutil.copytree(road.run, tmp_path / "run")
    shutil.rmtree(run / "checkpoints")
    whole = (run / "journal.jsonl").read_text().splitlines()
    (run / "journal.jsonl").write_text("\n".join([*whole[:3], whole[3][:20]]))
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / ".17.partial.best.pt").write_bytes(b"half")
    assert edgewise(*resume(road, road.experiment, run)).code == 0
    steps = [event["step"] for event in journal(run) if event["event"] == "train"]
    assert steps == [1, 2, 3, 4]
    assert journal(run)[0]["event"] == "units"
    assert not temporaries(run)
    assert (run / "metrics.csv").read_text() == (road.run / "metrics.csv").read_text()


def test_a_run_does_not_go_on_with_other_data(road, edgewise, tmp_path):
    run, data = shutil.copytree(road.run, tmp_path / "run"), shutil.copytree(road.data, tmp_path / "data")
    lines = (run / "journal.jsonl").read_text().splitlines(keepends=True)
    (run / "journal.jsonl").write_text("".join(lines[:-1]))
    for file in (data / "imagesTr" / "phantom_006_0000.nii.gz", data / "labelsTr" / "phantom_006.nii.gz"):
        file.unlink()
    call = edgewise("fit", road.experiment, "--data", data, "--out", run, "--cache", road.cache, "--resume")
    assert call.code == 2
    assert "is not the dataset" in call.err


def test_what_another_experiment_file_says_on_resume_is_not_silently_ignored(road, edgewise):
    call = edgewise(*resume(road, road.experiment, road.run), "--set", "training.steps=9")
    assert call.code == 0
    assert "goes on with its own experiment" in call.err


# --- demo


@pytest.mark.slow
def test_a_second_demo_uses_the_runs_of_the_first(tmp_path, monkeypatch):
    from edgewise import demo

    settings = {
        "plan": {"patch": [8, 16, 16], "widths": [4, 4], "batch": 1, "precision": "fp32", "threads": 1, "workers": 0}
    }
    small = demo._experiment("x", demo.LOSSES["dice_ce"], 2) | settings
    monkeypatch.setattr(demo, "_experiment", lambda name, loss, _: small | {"name": name, "loss": loss})
    write = demo.write_dataset
    monkeypatch.setattr(demo, "write_dataset", lambda folder, **k: write(folder, **k, shape=(32, 32, 16)))
    page = demo.run(tmp_path / "demo", cases=3, steps=2)
    runs = tmp_path / "demo" / "runs"
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()}
    page.unlink()
    assert demo.run(tmp_path / "demo", cases=3, steps=2) == page
    assert page.exists()
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()} == before
