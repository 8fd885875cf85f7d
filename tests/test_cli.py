"""Wrong input through the command line: one clear message, the right exit code, and nothing half-written."""

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

import edgewise as package
from edgewise.maps import Rectified, rectified

SHAPE = (12, 12, 8)


def save(path, array, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([2.0, 2.0, 2.0, 1.0]) if affine is None else affine), path)


def labels_of(number):
    labels = np.zeros(SHAPE, np.uint8)
    labels[3 : 6 + number, 4:8, 2:6] = 1
    return labels


@pytest.fixture
def data(tmp_path):
    """Three good cases in nnU-Net's layout."""
    rng = np.random.default_rng(0)
    root = tmp_path / "data"
    for number in range(3):
        save(root / "imagesTr" / f"case{number}_0000.nii.gz", rng.normal(size=SHAPE).astype(np.float32))
        save(root / "labelsTr" / f"case{number}.nii.gz", labels_of(number))
    describe(root, labels={"background": 0, "organ": 1})
    return root


def describe(root, **changes):
    table = {"channel_names": {"0": "MR"}, "labels": {"background": 0}, "file_ending": ".nii.gz", **changes}
    (root / "dataset.json").write_text(json.dumps(table), encoding="utf-8")


@pytest.fixture
def experiment(tmp_path):
    content = {"name": "tiny", "split": {"kind": "folds", "folds": 3}, "training": {"steps": 1}}
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def image(root, number=1):
    return root / "imagesTr" / f"case{number}_0000.nii.gz"


def label(root, number=1):
    return root / "labelsTr" / f"case{number}.nii.gz"


def no_label(root):
    label(root).unlink()
    return "case1_0000.nii.gz", "image without label", "Add a mask"


def no_image(root):
    image(root).unlink()
    return "case1.nii.gz", "label without image", "Add an image"


def other_shape(root):
    save(label(root), np.ones((12, 12, 7), np.uint8))
    return "case1.nii.gz", "has shape (12, 12, 7)", "Resample"


def other_affine(root):
    save(label(root), labels_of(1), np.array([[2, 0, 0, 0.02], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1.0]]))
    return "case1.nii.gz", "0.02 mm", "Resample"


def undeclared_label(root):
    save(label(root), 3 * labels_of(1))
    return "case1.nii.gz", "holds labels [3]", "dataset.json"


def fractional_label(root):
    save(label(root), 0.5 * labels_of(1).astype(np.float32))
    return "case1.nii.gz", "label 0.5", "interpolated?"


def negative_label(root):
    save(label(root), -1 * labels_of(1).astype(np.int16))
    return "case1.nii.gz", "label -1", "Renumber"


def nan_voxel(root):
    array = np.ones(SHAPE, np.float32)
    array[1, 2, 3] = np.nan
    save(image(root), array)
    return "case1_0000.nii.gz", "1 NaN or infinite voxels, the first at (1, 2, 3)", "Replace"


def infinite_voxel(root):
    array = np.ones(SHAPE, np.float32)
    array[0, 0, 0] = np.inf
    save(image(root), array)
    return "case1_0000.nii.gz", "NaN or infinite", "Replace"


def empty(root):
    for folder in ("imagesTr", "labelsTr"):
        shutil.rmtree(root / folder)
        (root / folder).mkdir()
    return "data", "holds no labelled case", "Add images"


def one_case(root):
    for number in (1, 2):
        image(root, number).unlink()
        label(root, number).unlink()
    return "data", "only one case", "Add a second"


def truncated(root):
    whole = image(root).read_bytes()
    image(root).write_bytes(whole[: len(whole) // 2])
    return "case1_0000.nii.gz", "cannot be read", "damaged or truncated"


def unreadable(root):
    label(root).write_bytes(gzip.compress(b"no image at all"))
    return "case1.nii.gz", "cannot be read", "damaged or truncated"


def duplicate_id(root):
    shutil.copy(label(root), root / "labelsTr" / "copy.nii.gz")
    (root / "labelsTr" / "copy.nii.gz").rename(root / "labelsTr" / "case1.nii")
    return "case1.nii", "same id", "rename"


def no_foreground(root):
    for number in range(3):
        save(label(root, number), np.zeros(SHAPE, np.uint8))
    return "data", "no mask has any foreground", "Check that the masks"


def unknown_layout(root):
    (root / "dataset.json").unlink()
    return "data", "is no dataset we know", "Looked for"


def broken_description(root):
    (root / "dataset.json").write_text("{", encoding="utf-8")
    return "dataset.json", "cannot be read as JSON", "Correct it"


def absent(root):
    shutil.rmtree(root)
    return "data", "there is no such folder", "Pass the folder"


DEFECTS = [
    no_label, no_image, other_shape, other_affine, undeclared_label, fractional_label, negative_label, nan_voxel,
    infinite_voxel, empty, one_case, truncated, unreadable, duplicate_id, no_foreground, unknown_layout,
    broken_description, absent,
]  # fmt: skip


def require_one_message(call, code, *parts):
    """One message that says what, where and how to mend; no traceback."""
    assert call.code == code, call.err
    assert "Traceback" not in call.out + call.err
    messages = [line for line in call.complaints if line.startswith("edgewise: ")]
    assert len(messages) == 1, call.err
    text = "\n".join(call.complaints)
    assert text.startswith("edgewise: ")
    for part in parts:
        assert part in text


def require_nothing_written(root):
    """No temporary, and no run folder with anything in it."""
    assert not [path for path in root.rglob("*") if path.name.startswith(".") or ".partial." in path.name]
    assert not list(root.rglob("experiment.yaml"))
    out = root / "out"
    assert not out.is_dir() or not list(out.iterdir())


def start(experiment, data, tmp_path, **options):
    chosen = {"data": data, "out": tmp_path / "out", "cache": tmp_path / "cache", **options}
    return "fit", experiment, *(part for name, value in chosen.items() for part in (f"--{name}", value))


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.__name__)
def test_fit_refuses_a_defective_dataset_and_leaves_nothing(defect, data, experiment, edgewise, tmp_path):
    parts = defect(data)
    call = edgewise(*start(experiment, data, tmp_path))
    require_one_message(call, 2, *parts)
    require_nothing_written(tmp_path)


@pytest.mark.parametrize("defect", DEFECTS[:15], ids=lambda defect: defect.__name__)
def test_check_names_the_same_defects(defect, data, edgewise):
    parts = defect(data)
    call = edgewise("check", data)
    assert call.code == 2
    assert "Traceback" not in call.err
    assert all(part in call.out for part in parts)


def test_check_of_a_good_dataset_says_so(data, edgewise):
    call = edgewise("check", data)
    assert (call.code, call.complaints) == (0, [])
    assert call.out.splitlines()[-1] == "usable"


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_an_output_folder_that_cannot_be_written_is_refused(below, data, experiment, edgewise, tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    call = edgewise(*start(experiment, data, tmp_path, out=tmp_path / "file" / below))
    require_one_message(call, 2, "file", "cannot write", "Choose another folder")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "in the way"


def test_a_cache_that_cannot_be_written_is_refused(data, experiment, edgewise, tmp_path):
    (tmp_path / "file").touch()
    plan = "plan={precision: fp32, memory_format: contiguous, threads: 1, workers: 0}"
    call = edgewise(*start(experiment, data, tmp_path, cache=tmp_path / "file"), "--set", plan)
    require_one_message(call, 2, "file", "cannot write", "Choose another folder")
    require_nothing_written(tmp_path)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("name: a\ntrainig: {}\n", ["trainig", "unknown key", "`training`"]),
        ("name: a\ntraining: {step: 5}\n", ["training.step", "unknown key", "`steps`"]),
        ("name: a\ntraining: {steps: many}\n", ["training.steps", "many"]),
        ("name: a\nloss: {kind: dise}\n", ["loss.kind", "dise", "`dice`"]),
        ("training: {steps: 5}\n", ["name", "required"]),
        ("name: [a\n", ["not valid YAML"]),
        ("- name\n", ["must hold a mapping"]),
    ],
)
def test_a_wrong_experiment_file_is_refused_with_the_key_named(text, parts, data, edgewise, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(text, encoding="utf-8")
    call = edgewise(*start(path, data, tmp_path))
    require_one_message(call, 2, "wrong.yaml", *parts)
    require_nothing_written(tmp_path)


def test_a_missing_experiment_file_is_named(data, edgewise, tmp_path):
    call = edgewise(*start(tmp_path / "nowhere.yaml", data, tmp_path))
    require_one_message(call, 2, "nowhere.yaml", "No such file", "Give the path")
    require_nothing_written(tmp_path)


@pytest.mark.parametrize("change", ["training.step=5", "training.steps", "training.steps=-1"])
def test_a_wrong_set_option_is_refused(change, data, experiment, edgewise, tmp_path):
    call = edgewise(*start(experiment, data, tmp_path), "--set", change)
    require_one_message(call, 2, "training.step")
    require_nothing_written(tmp_path)


def test_a_fold_that_does_not_exist_is_refused(data, experiment, edgewise, tmp_path):
    require_one_message(edgewise(*start(experiment, data, tmp_path, fold=3)), 2, "--fold 3", "0 to 2")


def test_resuming_where_nothing_was_begun_is_refused(data, experiment, edgewise, tmp_path):
    call = edgewise(*start(experiment, data, tmp_path), "--resume")
    require_one_message(call, 2, "out", "no run to resume", "Leave out --resume")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["fitt"], "fitt"),
        (["fit", "a.yaml", "--data", "x", "--out", "y", "--resumee"], "--resumee"),
        (["fit"], "experiment"),
        (["list", "lossess"], "lossess"),
        (["fit", "a.yaml", "--data", "x", "--out", "y", "--fold", "first"], "first"),
    ],
)
def test_a_wrong_command_line_is_explained(arguments, part, edgewise):
    call = edgewise(*arguments)
    assert call.code == 2
    assert part in call.err
    assert "Traceback" not in call.err
    assert call.out == ""


# --- predict, evaluate, report


def test_predict_wants_a_run(data, edgewise, tmp_path):
    call = edgewise("predict", data, image(data), "--out", tmp_path / "out")
    require_one_message(call, 2, "data", "is no run", "edgewise fit")
    require_nothing_written(tmp_path)


def test_predict_goes_on_past_a_corrupt_image(road, edgewise, tmp_path):
    given = shutil.copytree(road.data / "imagesTr", tmp_path / "images")
    bad = given / "phantom_003_0000.nii.gz"
    bad.write_bytes(bad.read_bytes()[:200])
    for number in (4, 5, 6):
        (given / f"phantom_{number:03d}_0000.nii.gz").unlink()
    call = edgewise("predict", road.run, given, "--out", tmp_path / "masks")
    assert call.code == 1
    (line,) = call.complaints
    assert line.startswith("failed: phantom_003: ")
    assert bad.name in line
    assert "damaged or truncated" in line
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["phantom_001.nii.gz", "phantom_002.nii.gz"]


def test_predict_of_nothing_but_wrong_images_is_wrong_input(road, edgewise, tmp_path):
    save(tmp_path / "two.nii.gz", np.ones((*SHAPE, 2), np.float32))
    call = edgewise("predict", road.run, tmp_path / "two.nii.gz", "--out", tmp_path / "out")
    require_one_message(call, 2, "two.nii.gz", "2 channels", "same channels as in training")
    require_nothing_written(tmp_path)


@pytest.mark.parametrize("given", ["nowhere.nii.gz", "empty", "notes.txt"])
def test_predict_wants_images(given, road, edgewise, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").touch()
    call = edgewise("predict", road.run, tmp_path / given, "--out", tmp_path / "out")
    require_one_message(call, 2, given)
    assert not (tmp_path / "out").exists()


def test_predict_refuses_an_output_folder_that_cannot_be_written(road, data, edgewise, tmp_path):
    (tmp_path / "file").touch()
    call = edgewise("predict", road.run, image(data), "--out", tmp_path / "file")
    require_one_message(call, 2, "file", "cannot write")


def test_a_run_without_checkpoint_cannot_predict(road, data, edgewise, tmp_path):
    run = shutil.copytree(road.run, tmp_path / "run")
    (run / "checkpoints" / "best.pt").unlink()
    require_one_message(edgewise("predict", run, image(data), "--out", tmp_path / "out"), 2, "best.pt", "checkpoint")
    (run / "checkpoints" / "best.pt").write_bytes(b"half")
    require_one_message(edgewise("predict", run, image(data), "--out", tmp_path / "out"), 2, "best.pt", "cannot read")
    assert not (tmp_path / "out").exists()


def test_evaluate_scores_a_prediction_on_another_grid_as_empty(data, edgewise, tmp_path):
    predictions, out = shutil.copytree(data / "labelsTr", tmp_path / "masks"), tmp_path / "scores.csv"
    save(predictions / "case1.nii.gz", np.ones((12, 12, 9), np.uint8))
    call = edgewise("evaluate", predictions, data / "labelsTr", "--out", out)
    assert call.code == 1
    (line,) = call.complaints
    assert line.startswith("failed: case1: ")
    assert "has shape (12, 12, 9)" in line
    assert "Scored as an empty mask" in line
    rows = [row.split(",") for row in out.read_text(encoding="utf-8").splitlines()]
    assert {row[0]: float(row[3]) for row in rows[1:]} == {"case0": 1, "case1": 0, "case2": 1}


def test_evaluate_wants_masks_of_the_same_names(data, edgewise, tmp_path):
    (tmp_path / "empty").mkdir()
    labels = data / "labelsTr"
    save(tmp_path / "other" / "another.nii.gz", labels_of(0))
    cases = [
        ((labels, tmp_path / "empty"), ["empty", "no mask"]),
        ((tmp_path / "nowhere", labels), ["nowhere", "no such folder"]),
        ((tmp_path / "other", labels), ["other", "no mask has the name of a reference"]),
    ]
    for arguments, parts in cases:
        require_one_message(edgewise("evaluate", *arguments), 2, *parts)
    shutil.copy(labels / "case0.nii.gz", tmp_path / "other" / "case0.nii.gz")
    nib.save(nib.load(labels / "case0.nii.gz"), tmp_path / "other" / "case0.nii")
    require_one_message(edgewise("evaluate", tmp_path / "other", labels), 2, "case0.nii", "same id")


def test_evaluate_refuses_a_table_that_cannot_be_written(data, edgewise, tmp_path):
    labels = data / "labelsTr"
    (tmp_path / "file").touch()
    for out in (tmp_path / "file" / "scores.csv", tmp_path, tmp_path / "scores.json"):
        require_one_message(edgewise("evaluate", labels, labels, "--out", out), 2, str(tmp_path), "cannot write")
    assert not (tmp_path / "scores.json").exists()


def test_maps_writes_a_map_on_the_grid_of_the_labels(data, edgewise, tmp_path):
    out = tmp_path / "new" / "map.nii.gz"
    done = edgewise("maps", label(data), "--kind", "rectified", "--set", "per=component", "--out", out)
    assert (done.code, done.err) == (0, "")
    assert str(out) in done.out
    written, labels = nib.load(out), nib.load(label(data))
    np.testing.assert_array_equal(written.affine, labels.affine)
    assert written.get_data_dtype() == np.float32
    expected = Rectified(per="component")(np.asarray(labels.dataobj), classes=2, spacing=(2.0, 2.0, 2.0))
    np.testing.assert_array_equal(np.asarray(written.dataobj), expected)


def test_maps_writes_all_channels_on_the_fourth_axis_and_measures_in_voxels_if_told(data, edgewise, tmp_path):
    out = tmp_path / "map.nii"
    wanted = ("--channels", "all", "--classes", 3, "--units", "voxels")
    assert edgewise("maps", label(data), "--kind", "rectified", "--out", out, *wanted).code == 0
    written = np.asarray(nib.load(out).dataobj)
    expected = rectified(labels_of(1), classes=3, spacing=(1.0, 1.0, 1.0), channels="all")
    np.testing.assert_array_equal(np.moveaxis(written, -1, 0), expected)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--kind", "rectifed"), "Did you mean `rectified`?"),
        (("--kind", "rectified", "--set", "pr=class"), "pr: unknown key. Did you mean `per`?"),
        (("--kind", "rectified", "--set", "per=klass"), "per: input should be 'class' or 'component'"),
        (("--kind", "rectified", "--set", "per"), "not of the form"),
        (("--kind", "rectified", "--classes", "1"), "holds label 1, but --classes is 1: give 2 or more"),
    ],
)
def test_maps_refuses_what_does_not_fit_and_writes_nothing(arguments, part, data, edgewise, tmp_path):
    out = tmp_path / "out" / "map.nii.gz"
    done = edgewise("maps", label(data), "--out", out, *arguments)
    assert done.code == 2
    assert part in done.err
    assert "Traceback" not in done.err
    assert not out.parent.exists()


def test_maps_refuses_a_file_that_holds_no_labels(data, edgewise, tmp_path):
    done = edgewise("maps", image(data), "--kind", "rectified", "--out", tmp_path / "map.nii.gz")
    assert done.code == 2
    assert "is not an integer" in done.err
    picture = edgewise("maps", label(data), "--kind", "rectified", "--out", tmp_path / "map.png")
    assert picture.code == 2
    assert "ends in .nii.gz or .nii" in picture.err
    missing = edgewise("maps", tmp_path / "nothing.nii", "--kind", "rectified", "--out", tmp_path / "map.nii.gz")
    assert missing.code == 2
    assert "there is no such file" in missing.err


def test_report_wants_a_run(data, edgewise, tmp_path):
    for folder, problem in ((data, "is no run"), (tmp_path / "nowhere", "there is no such folder")):
        call = edgewise("report", folder, "--out", tmp_path / "page.html")
        require_one_message(call, 2, folder.name, problem, "edgewise fit")
    assert not (tmp_path / "page.html").exists()


# --- start


def test_the_command_line_starts_without_the_heavy_libraries():
    source = str(Path(package.__file__).parents[1])
    heavy = ["torch", "monai", "pydantic", "scipy", "nibabel", "SimpleITK", "matplotlib"]
    code = (
        f"import sys; sys.path.insert(0, {source!r}); import edgewise.cli; "
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_reader_that_has_seen_enough_is_no_error():
    command = f"{sys.executable} -c 'from edgewise.cli import main; main()' list losses --json | true"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_and_version_are_answered(edgewise):
    assert edgewise("--version").out.strip() == package.__version__
    help_ = edgewise("--help")
    assert help_.code == 0
    assert all(verb in help_.out for verb in ("demo", "check", "fit", "predict", "evaluate", "report", "list"))
