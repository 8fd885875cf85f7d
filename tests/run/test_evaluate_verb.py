"""`edgewise evaluate`: what is matched, what is measured, what is written, and what is said about wrong input."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from deadly import Deadly

import edgewise as package
from edgewise.errors import RunError
from edgewise.metrics import Definitions, evaluate, from_csv, named
from edgewise.metrics.lesion_table import lesions_from_csv
from edgewise.run.evaluate import evaluate_pairs

SHAPE, SPACING = (14, 12, 10), (2.0, 1.0, 1.5)
SPEED = ("--workers", "1")


def save(path, array, spacing=SPACING):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([*spacing, 1.0])), path)


def labels_of(seed, shape=SHAPE):
    """A liver with two lesions, none in every fourth case."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint8)
    labels[2:11, 2:9, 1:8] = 1
    if seed % 4 != 3:
        labels[3:5, 3:6, 2:4] = labels[7:10, 6:8, 5:7] = 2
    labels[rng.random(shape) < 0.02] = 0
    return labels


@pytest.fixture
def folders(tmp_path):
    """Five cases: `c1` misses its lesions, `c3` has none, `c4` has no prediction."""
    for seed in range(5):
        reference = labels_of(seed)
        prediction = np.roll(reference, 1, axis=1)
        save(tmp_path / "references" / f"c{seed}.nii.gz", reference)
        if seed != 4:
            save(tmp_path / "predictions" / f"c{seed}.nii.gz", np.minimum(prediction, 1) if seed == 1 else prediction)
    return tmp_path / "predictions", tmp_path / "references"


def rows_in(path):
    return {(row.case, row.class_name): row for row in from_csv(path.read_text(encoding="utf-8"))}


def message(call, *parts):
    assert call.code == 2, call.err
    assert "Traceback" not in call.err
    (text,) = [line for line in call.complaints if line.startswith("edgewise: ")]
    for part in parts:
        assert part in text


# --- what is matched


def test_two_files_are_one_case_whatever_their_names(edgewise, tmp_path):
    save(tmp_path / "mine.nii.gz", np.roll(labels_of(0), 1, axis=0))
    save(tmp_path / "truth.nii.gz", labels_of(0))
    call = edgewise("evaluate", tmp_path / "mine.nii.gz", tmp_path / "truth.nii.gz", "--out", tmp_path / "s.csv")
    assert (call.code, call.complaints) == (0, [])
    rows = rows_in(tmp_path / "s.csv")
    expected = evaluate(np.roll(labels_of(0), 1, axis=0), labels_of(0), SPACING)
    assert list(rows) == [("truth", "class 1"), ("truth", "class 2")]
    for (_, name), row in rows.items():
        assert row.values == pytest.approx(expected[int(name[-1])], rel=1e-6)  # spacing lies in float32 in the file


@pytest.mark.parametrize("swapped", [False, True])
def test_a_file_and_a_folder_are_that_case(folders, edgewise, tmp_path, swapped):
    predictions, references = folders
    one = (predictions, references / "c0.nii.gz") if swapped else (predictions / "c0.nii.gz", references)
    call = edgewise("evaluate", *one, "--out", tmp_path / "s.csv")
    assert (call.code, call.complaints) == (0, [])
    assert {case for case, _ in rows_in(tmp_path / "s.csv")} == {"c0"}


def test_a_prediction_without_reference_is_warned_of_and_not_scored(folders, edgewise, tmp_path):
    predictions, references = folders
    (references / "c2.nii.gz").unlink()
    call = edgewise("evaluate", predictions, references, "--out", tmp_path / "s.csv")
    assert [line for line in call.complaints if line.startswith("warning: ")] == [
        f"warning: {predictions / 'c2.nii.gz'} has no reference and was not scored"
    ]
    assert {case for case, _ in rows_in(tmp_path / "s.csv")} == {"c0", "c1", "c3", "c4"}


def test_a_missing_prediction_is_a_failure_with_the_worst_values(folders, edgewise, tmp_path):
    call = edgewise("evaluate", *folders, "--out", tmp_path / "s.csv")
    assert call.code == 1
    assert call.complaints == ["failed: c4: it has no prediction; scored as an empty mask"]
    row = rows_in(tmp_path / "s.csv")["c4", "class 1"]
    assert (row.values["dice"], row.values["hd95"], row.empty) == (0, np.inf, "prediction")
    summary = json.loads((tmp_path / "s.json").read_text())
    assert list(summary["failures"]) == ["c4"]
    values = [each.values["hd95"] for each in rows_in(tmp_path / "s.csv").values() if each.class_index == 1]
    worst = [row.diagonal_mm if np.isinf(value) else value for value in values]
    assert summary["classes"]["1"]["hd95"]["mean"] == pytest.approx(np.mean(worst))


def test_a_reference_that_cannot_be_read_is_a_failure_and_the_others_are_scored(folders, edgewise, tmp_path):
    predictions, references = folders
    (references / "c0.nii.gz").write_bytes(b"no image")
    call = edgewise("evaluate", predictions, references, "--out", tmp_path / "s.csv")
    assert call.code == 1
    assert "c0.nii.gz" in call.complaints[0]
    assert call.complaints[0].endswith("It was not scored.")
    assert {case for case, _ in rows_in(tmp_path / "s.csv")} == {"c1", "c2", "c3", "c4"}


def test_a_mask_that_is_stored_in_another_orientation_is_the_same_mask(tmp_path, edgewise):
    labels = labels_of(0)
    save(tmp_path / "r.nii.gz", labels)
    turned = nib.load(tmp_path / "r.nii.gz").as_reoriented([[1, -1], [0, 1], [2, -1]])
    nib.save(turned, tmp_path / "p.nii.gz")
    assert turned.shape != labels.shape
    call = edgewise("evaluate", tmp_path / "p.nii.gz", tmp_path / "r.nii.gz", "--out", tmp_path / "s.csv")
    assert (call.code, call.complaints) == (0, [])
    assert all((row.values["dice"], row.values["hd95"]) == (1, 0) for row in rows_in(tmp_path / "s.csv").values())


# --- classes


def test_classes_are_called_as_dataset_json_says_beside_the_references_or_above(folders, edgewise, tmp_path):
    for place, labels in (("", {"background": 0, "liver": 1, "tumour": 2}), ("references", {"0": "b", "1": "x"})):
        (tmp_path / place / "dataset.json").write_text(json.dumps({"labels": labels}))
        edgewise("evaluate", *folders, "--out", tmp_path / "s.csv", *SPEED)
        names = {name for _, name in rows_in(tmp_path / "s.csv")}
        assert names == ({"x", "class 2"} if place else {"liver", "tumour"})


@pytest.mark.parametrize(("content", "warned"), [("{", False), ('{"name": "x"}', False), ('{"labels": [1]}', True)])
def test_a_dataset_json_that_declares_no_classes_changes_nothing(folders, edgewise, tmp_path, content, warned):
    (tmp_path / "dataset.json").write_text(content)
    call = edgewise("evaluate", *folders, "--out", tmp_path / "s.csv", *SPEED)
    assert {name for _, name in rows_in(tmp_path / "s.csv")} == {"class 1", "class 2"}
    assert any("dataset.json" in line for line in call.complaints) == warned


def test_a_declared_class_has_rows_even_where_nothing_shows_it_and_a_label_that_is_not_has_too(edgewise, tmp_path):
    declared = {"labels": {"background": 0, "liver": 1, "never": 2}}
    save(tmp_path / "r" / "a.nii.gz", np.where(labels_of(3) == 1, np.uint8(1), np.uint8(0)))
    save(tmp_path / "p" / "a.nii.gz", np.where(labels_of(0) == 2, np.uint8(5), np.uint8(0)))
    (tmp_path / "dataset.json").write_text(json.dumps(declared))
    edgewise("evaluate", tmp_path / "p", tmp_path / "r", "--out", tmp_path / "s.csv")
    found = {name: row.empty for (_, name), row in rows_in(tmp_path / "s.csv").items()}
    assert found == {"liver": "prediction", "never": "both", "class 5": "reference"}


def test_labels_that_occur_nowhere_are_no_classes(edgewise, tmp_path):
    save(tmp_path / "r.nii.gz", 7 * np.minimum(labels_of(0), 1))
    edgewise("evaluate", tmp_path / "r.nii.gz", tmp_path / "r.nii.gz", "--out", tmp_path / "s.csv")
    assert [name for _, name in rows_in(tmp_path / "s.csv")] == ["class 7"]


def test_every_case_has_every_class(folders, edgewise, tmp_path):
    edgewise("evaluate", *folders, "--out", tmp_path / "s.csv")
    rows = rows_in(tmp_path / "s.csv")
    assert list(rows) == [(f"c{number}", f"class {label}") for number in range(5) for label in (1, 2)]
    assert rows["c3", "class 2"].empty == "both"
    assert rows["c3", "class 2"].values["dice"] == 1
    assert rows["c1", "class 2"].empty == "prediction"


@pytest.mark.parametrize("axis", range(3))
def test_a_single_slice_is_measured_in_its_plane(edgewise, tmp_path, axis):
    flat = labels_of(0)[:, :, 5]
    for name, labels in (("r", flat), ("p", np.roll(flat, 1, axis=0))):
        save(tmp_path / f"{name}.nii.gz", np.expand_dims(labels, axis), np.insert([2.0, 1.0], axis, 9.0))
    edgewise("evaluate", tmp_path / "p.nii.gz", tmp_path / "r.nii.gz", "--out", tmp_path / "s.csv")
    expected = evaluate(np.roll(flat, 1, axis=0), flat, (2.0, 1.0))
    for (_, name), row in rows_in(tmp_path / "s.csv").items():
        assert row.values == pytest.approx(expected[int(name[-1])], rel=1e-6)


# --- definitions


@pytest.mark.parametrize("preset", ["medpy", "surface_distance", "monai"])
def test_definitions_are_chosen_by_name(folders, edgewise, tmp_path, preset):
    edgewise("evaluate", *folders, "--out", tmp_path / "s.csv", "--definitions", preset)
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["set"]["name"] == preset.replace("_", "-")
    row = rows_in(tmp_path / "s.csv")["c0", "class 2"]
    pair = [np.asarray(nib.load(folder / "c0.nii.gz").dataobj) == 2 for folder in folders]
    assert row.values == pytest.approx(evaluate(*pair, SPACING, definitions=preset), rel=1e-6)


def test_a_preset_with_regions_scores_those(folders, edgewise, tmp_path):
    edgewise("evaluate", *folders, "--out", tmp_path / "s.csv", "--definitions", "lits")
    rows = rows_in(tmp_path / "s.csv")
    assert {name for _, name in rows} == {"liver", "lesion"}
    assert "msd" in rows["c0", "liver"].values
    assert "msd" not in rows["c0", "lesion"].values
    assert rows["c4", "liver"].values["assd"] == 9001
    assert rows["c3", "lesion"].values["dice"] == 1


def test_the_tolerance_reaches_the_metrics(folders, edgewise, tmp_path):
    found = {}
    for tolerance in ("0.5", "6"):
        edgewise("evaluate", *folders, "--out", tmp_path / "s.csv", "--metrics", "nsd", "--tolerance", tolerance)
        found[tolerance] = rows_in(tmp_path / "s.csv")["c0", "class 1"].values["nsd"]
        assert f"within {tolerance} mm" in (tmp_path / "s.json").read_text()
    assert found["0.5"] < found["6"] == 1


@pytest.mark.parametrize("policy", ["worst", "skip", "nan"])
def test_the_policy_for_what_is_not_finite_is_chosen_and_written_down(folders, edgewise, tmp_path, policy):
    edgewise("evaluate", *folders, "--out", tmp_path / "s.csv", "--metrics", "dice,hd95", "--empty", policy)
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["policy"].startswith(f"{policy}: ")
    entry = summary["classes"]["2"]["hd95"]
    rows = [row for row in rows_in(tmp_path / "s.csv").values() if row.class_index == 2]
    finite = [row.values["hd95"] for row in rows if np.isfinite(row.values["hd95"])]
    counts = {key: entry[key] for key in ("cases", "both_empty", "prediction_empty", "reference_empty", "not_finite")}
    assert counts == {"cases": 5, "both_empty": 1, "prediction_empty": 2, "reference_empty": 0, "not_finite": 2}
    expected = {"worst": [*finite, *[rows[0].diagonal_mm] * 2], "skip": finite, "nan": []}[policy]
    assert entry["mean"] == (pytest.approx(np.mean(expected)) if expected else None)
    assert entry["used"] == (5 if policy == "worst" else 3)


# --- what is written and printed


def test_the_summary_holds_the_dice_of_all_voxels_at_once(folders, edgewise, tmp_path):
    edgewise("evaluate", *folders, "--out", tmp_path / "s.csv")
    entry = json.loads((tmp_path / "s.json").read_text())["classes"]["1"]
    shared = total = 0
    for path in folders[1].iterdir():
        reference = np.asarray(nib.load(path).dataobj) == 1
        other = folders[0] / path.name
        prediction = np.asarray(nib.load(other).dataobj) == 1 if other.exists() else np.zeros_like(reference)
        shared += (prediction & reference).sum()
        total += prediction.sum() + reference.sum()
    assert entry["dice_global"] == pytest.approx(2 * shared / total)
    assert abs(entry["dice_global"] - entry["dice"]["mean"]) > 1e-3


def test_every_lesion_is_in_a_table_of_its_own(folders, edgewise, tmp_path):
    edgewise("evaluate", *folders, "--out", tmp_path / "s.csv")
    lesions = lesions_from_csv((tmp_path / "s.lesions.csv").read_text(encoding="utf-8"))
    large = {(row.case, row.mask): 0 for row in lesions}
    for row in lesions:
        large[row.case, row.mask] += row.class_index == 2 and row.volume_ml > 0.01
    assert large == {("c3", "reference"): 0, ("c3", "prediction"): 0, ("c1", "prediction"): 0} | {
        (case, mask): 2
        for case in ("c0", "c1", "c2", "c4")
        for mask in ("reference", "prediction")
        if (case, mask) not in {("c1", "prediction"), ("c4", "prediction")}
    }


def test_parquet_holds_what_the_csv_holds(folders, edgewise, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    for ending in ("csv", "parquet"):
        edgewise("evaluate", *folders, "--out", tmp_path / f"s.{ending}", "--definitions", "lits")
    table = parquet.read_table(tmp_path / "s.parquet")
    with (tmp_path / "s.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert table.column_names == list(lines[0])
    for line, row in zip(lines, table.to_pylist(), strict=True):
        assert {key: "" if value is None else str(value) for key, value in row.items()} == line
    assert (tmp_path / "s.lesions.csv").exists()


def test_parquet_without_pyarrow_says_what_to_install(folders, edgewise, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    call = edgewise("evaluate", *folders, "--out", tmp_path / "s.parquet")
    message(call, "s.parquet", "pyarrow", "edgewise[parquet]", ".csv")
    assert not list(tmp_path.glob("s.*"))


def test_json_is_the_summary_and_nothing_else(folders, edgewise, tmp_path):
    call = edgewise("evaluate", *folders, "--json", "--out", tmp_path / "s.csv")
    assert json.loads(call.out) == json.loads((tmp_path / "s.json").read_text())


def test_metrics_are_chosen_and_printed_in_plain_lines_to_a_file(folders, edgewise, tmp_path):
    call = edgewise("evaluate", *folders, "--metrics", "rvd,dice", "--out", tmp_path / "s.csv")
    assert list(rows_in(tmp_path / "s.csv")["c0", "class 1"].values) == ["rvd", "dice"]
    lines = call.out.splitlines()
    assert [line.split(" mean")[0] for line in lines[:4]] == [
        "class 1: rvd", "class 1: dice", "class 2: rvd", "class 2: dice",
    ]  # fmt: skip
    assert "5 of 5 cases, 1 both empty, 2 missed" in lines[3]
    assert call.out.isascii()
    assert any(line.startswith("definitions: default (Maier-Hein") for line in lines)


def test_a_terminal_gets_a_table_that_fits_it(folders):
    """With the columns that matter, arrows, units and counts; the rest is announced."""
    source = str(Path(package.__file__).parents[1])
    program = f"""
import os, pty, sys
os.environ.update(COLUMNS="80", PYTHONPATH={source!r}, TERM="dumb")
command = [sys.executable, "-c", "from edgewise.cli import main; main()", "evaluate", *sys.argv[1:]]
pty.spawn(command)
"""
    arguments = [sys.executable, "-c", program, *map(str, folders)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL)
    lines = done.stdout.splitlines()
    table = lines[: next(number for number, line in enumerate(lines) if line.startswith("Dice pooled"))]
    shown = [line for line in table if "↑" in line or "↓" in line]
    assert all(len(line.rstrip()) <= 80 for line in shown)
    assert [name for name in ("dice ↑", "hd95 ↓ mm", "nsd ↑", "assd ↓ mm", "lesion_f1 ↑") if name in done.stdout] == [
        "dice ↑", "hd95 ↓ mm", "nsd ↑", "assd ↓ mm", "lesion_f1 ↑",
    ]  # fmt: skip
    assert "2 missed" in done.stdout
    assert "more metrics" in done.stdout


# --- processes and memory


def test_several_processes_give_what_one_gives(folders):
    files = [{path.name.split(".")[0]: path for path in folder.iterdir()} for folder in (folders[1], folders[0])]
    one, several = (evaluate_pairs(*files, "present", named("default"), workers) for workers in (1, 2))
    assert one == several
    assert len(one.rows) == 10


def test_a_killed_process_is_one_message_that_names_the_cases(folders):
    files = [{path.name.split(".")[0]: path for path in folder.iterdir()} for folder in (folders[1], folders[0])]
    deadly = Definitions(name="deadly", summary="", source="", metrics={"deadly": Deadly()})
    with pytest.raises(RunError, match=r"cases c0, c1.* was killed.*--workers 1"):
        evaluate_pairs(*files, "present", deadly, 2)


def test_memory_does_not_grow_with_the_number_of_cases(tmp_path):
    labels = np.zeros((64, 64, 64), np.uint8)
    labels[20:40, 20:36, 20:30] = 1
    save(tmp_path / "r.nii.gz", labels)
    save(tmp_path / "p.nii.gz", np.roll(labels, 1, axis=0))
    program = """
import resource, sys
from pathlib import Path
from edgewise.metrics import named
from edgewise.run.evaluate import evaluate_pairs
folder, cases = Path(sys.argv[1]), [f"c{number}" for number in range(int(sys.argv[2]))]
result = evaluate_pairs(
    dict.fromkeys(cases, folder / "r.nii.gz"), dict.fromkeys(cases, folder / "p.nii.gz"),
    "present", named("monai"), 1,
)
assert len(result.rows) == len(cases)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
    peaks = []
    for cases in (20, 200):
        command = [sys.executable, "-c", program, str(tmp_path), str(cases)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=250)
        peaks.append(float(done.stdout))
    # 180 cases that are kept would be at least 90 MB: two masks of 0.25 MB each.
    assert peaks[1] - peaks[0] < 30


# --- wrong input


def wrong_options(*options):
    return lambda folders: (*folders, *options)


def empty_folder(folders):
    nothing = folders[0].parent / "nothing"
    nothing.mkdir()
    return folders[0], nothing


def no_folder(folders):
    return folders[0].parent / "nowhere", folders[1]


def no_image(folders):
    notes = folders[0].parent / "notes.txt"
    notes.touch()
    return notes, folders[1]


def same_id_twice(folders):
    nib.save(nib.load(folders[1] / "c0.nii.gz"), folders[1] / "c0.nii")
    return folders


def no_common_name(folders):
    other = folders[0].parent / "other"
    save(other / "x1.nii.gz", labels_of(0))
    return other, folders[1]


def folder_that_is_a_file(folders):
    file = folders[0].parent / "file"
    file.touch()
    return *folders, "--out", file / "s.csv"


def nothing_readable(folders):
    (folders[1] / "c0.nii.gz").write_bytes(b"no image")
    return folders[0] / "c0.nii.gz", folders[1] / "c0.nii.gz"


@pytest.mark.parametrize(
    ("wrong", "parts"),
    [
        (wrong_options("--definitions", "medpi"), ["'medpi'", "Did you mean medpy?", "brats-lesionwise"]),
        (wrong_options("--metrics", "dice,hd59"), ["'hd59'", "Did you mean hd95?"]),
        (wrong_options("--tolerance", "0"), ["tolerance of 0.0 mm", "positive"]),
        (wrong_options("--tolerance=-1"), ["tolerance of -1.0 mm", "positive"]),
        (wrong_options("--tolerance", "nan"), ["tolerance of nan mm", "positive"]),
        (wrong_options("--workers", "0"), ["0 workers", "positive"]),
        (empty_folder, ["nothing", "no mask lies in this folder"]),
        (no_folder, ["nowhere", "no such folder or file"]),
        (no_image, ["notes.txt", "not an image format", ".nii.gz"]),
        (same_id_twice, ["c0.nii", "same id", "Remove or rename"]),
        (no_common_name, ["no mask has the name of a reference", "x1.nii.gz", "c0.nii.gz"]),
        (folder_that_is_a_file, ["cannot write", "file"]),
        (wrong_options("--out", "scores.xlsx"), ["scores.xlsx", ".csv or .parquet"]),
        (nothing_readable, ["no case could be scored", "c0.nii.gz"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_wrong_input_is_one_clear_message(folders, edgewise, tmp_path, wrong, parts):
    message(edgewise("evaluate", *wrong(folders)), *parts)
    assert not list(tmp_path.glob("s.*"))


def halves(labels):
    return labels / 2.0, SPACING


def smaller(labels):
    return labels[:-1], SPACING


def finer(labels):
    return labels, (1.9, 1.0, 1.5)


def negative(labels):
    return -labels.astype(np.int16), SPACING


@pytest.mark.parametrize(
    ("wrong", "part"),
    [(halves, "not an integer"), (smaller, "has shape"), (finer, "affine"), (negative, "outside 0..255")],
)
def test_a_mask_that_cannot_be_used_fails_its_case_and_no_other(folders, edgewise, tmp_path, wrong, part):
    save(folders[0] / "c0.nii.gz", *wrong(labels_of(0)))
    save(folders[0] / "c4.nii.gz", labels_of(4))
    call = edgewise("evaluate", *folders, "--out", tmp_path / "s.csv")
    assert call.code == 1
    (line,) = call.complaints
    assert line.startswith("failed: c0: ")
    assert part in line
    assert line.endswith("Scored as an empty mask.")
    rows = rows_in(tmp_path / "s.csv")
    assert [rows[f"c{number}", "class 1"].values["dice"] > 0 for number in range(5)] == [False, True, True, True, True]


def test_a_truncated_prediction_is_a_failure(folders, edgewise, tmp_path):
    path = folders[0] / "c0.nii.gz"
    path.write_bytes(path.read_bytes()[:100])
    call = edgewise("evaluate", *folders, "--out", tmp_path / "s.csv")
    assert call.code == 1
    assert "c0.nii.gz" in call.complaints[0]
    assert "Traceback" not in call.err


def test_definitions_are_listed_with_sources_and_regions(edgewise):
    text = edgewise("list", "definitions").out
    assert "Regions by label: liver = 1 + 2, lesion = 2." in text
    entries = {entry["kind"]: entry for entry in json.loads(edgewise("list", "definitions", "--json").out)}
    assert entries["kits21"]["regions"] == {"kidney_and_mass": [1, 2, 3], "mass": [2, 3], "tumour": [2]}
    assert "pooled" in entries["medpy"]["metrics"]["hd95"]["definition"]
    assert all(entry["source"] and entry["summary"] for entry in entries.values())
