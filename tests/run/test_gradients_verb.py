"""`edgewise gradients`: figures and numbers of losses over the simplex, and of runs at their snapshots."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from edgewise.cli import main
from edgewise.compare.gradients import negative, slice_gradient
from edgewise.compare.simplex import cells
from edgewise.data.phantoms import write_dataset
from edgewise.losses import CrossEntropy, RegionWise
from edgewise.losses.compound import Sum
from edgewise.maps import MAPS
from edgewise.run import gradients as verb
from edgewise.run.gradients import title
from tiny import PLAN, fit, write_experiment

BOUNDARY = "{kind: region_wise, map: {kind: boundary}}"


@pytest.fixture
def coarse(monkeypatch):
    """A simplex of few triangles."""
    monkeypatch.setattr(verb, "RESOLUTION", 6)


def size(path):
    with Image.open(path) as picture:
        return picture.size


def table(folder):
    with (folder / "gradients.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("coarse")
class TestTheSimplex:
    def test_it_writes_figures_and_numbers_and_prints_where(self, edgewise, tmp_path):
        values = ("--values=10,20,-3", "--values=1,1,-1", "--values=built")
        call = edgewise(
            "gradients", "--out", tmp_path, "--loss", BOUNDARY, "--loss=region_wise", "--loss=focal", *values
        )
        assert (call.code, call.out.splitlines()[0]) == (0, str(tmp_path))
        for name in ("simplex", "true_class"):
            assert size(tmp_path / f"{name}.png") > (500, 300)
            assert "<svg" in (tmp_path / f"{name}.svg").read_text()
        boundary, rectified, focal = table(tmp_path)
        assert boundary["loss"] == "region_wise (map: boundary)"
        p = cells(6)
        z = np.array([10.0, 20.0, -3.0])
        share = (negative(p * (z[:, None] - p.T @ z)).sum(0) > 1).mean()
        assert float(boundary["several"]) == pytest.approx(share, abs=1e-5)
        assert f"several negative {100 * share:5.1f} %" in call.out
        assert [float(each["true_class_alone"]) for each in (rectified, focal)] == [1, 1]
        first, *_ = json.loads((tmp_path / "gradients.json").read_text())
        assert first["settings"]["map"]["kind"] == "boundary"
        assert first["values"] == [10, 20, -3]
        assert first["held"] == "the image is one voxel, whose map holds 10, 20, -3"

    def test_what_is_held_fixed_is_a_setting_and_said(self, edgewise, tmp_path):
        settings = ("--true=1", "--voxel=edge", "--others=even")
        assert edgewise("gradients", "--out", tmp_path, "--loss=dice", *settings).code == 0
        (found,) = json.loads((tmp_path / "gradients.json").read_text())
        assert found["true_class"] == 1
        assert found["held"].endswith("of a label map of 28 × 28; all others predict all classes evenly")

    @pytest.mark.parametrize(
        ("arguments", "complaint"),
        [
            (["--loss=region_wse"], "Did you mean `region_wise`?"),
            (
                ["--loss={kind: region_wise, map: {kind: boundry}}"],
                "map.kind: 'boundry' is unknown. Did you mean `boundary`?",
            ),
            (["--loss={kind: dice, epsilon: 1}"], "epsilon: unknown key."),
            (["--loss=[1, 2]"], "is neither a kind nor a mapping such as '{kind: dice}'"),
            (["--loss={kind: dice"], "is not valid YAML"),
            (["--loss=dice", "--values=1,2"], "map values '1,2' are 2: give 3, one a class, such as 10,20,-3"),
            (["--loss=dice", "--values=1,b,2"], "are no numbers with commas between them"),
            (["--loss=region_wise", "--values=10,20,-3"], "give this loss values of its own, such as 1,1,-3"),
            (["--loss=dice", "--loss=focal", "--loss=sum", "--values=built", "--values=built"], "2 sets of map values"),
            (["--loss=dice", "--true=3"], "give 0, 1 or 2"),
            (["--loss={kind: cross_entropy, class_weights: [1, 2]}"], "2 class weights"),
        ],
    )
    def test_wrong_input_is_one_message(self, arguments, complaint, edgewise, tmp_path):
        call = edgewise("gradients", "--out", tmp_path / "out", *arguments)
        assert call.code == 2
        assert complaint in call.err
        assert "Traceback" not in call.err

    @pytest.mark.parametrize(
        ("loss", "name"),
        [
            (CrossEntropy(), "cross_entropy"),
            (RegionWise(map=MAPS["boundary"]()), "region_wise (map: boundary)"),
            (Sum(), "dice + cross_entropy"),
        ],
    )
    def test_a_loss_is_called_by_its_kind_and_what_is_unusual_in_it(self, loss, name):
        assert title(loss) == name


@pytest.fixture(scope="module")
def slices_run(tmp_path_factory):
    """A run of slices with snapshots of two moments, on four thick-slice phantoms."""
    root = tmp_path_factory.mktemp("snapshots")
    write_dataset(root / "data", cases=4, seed=1, shape=(32, 32, 8), spacing=(8.0, 8.0, 40.0))
    plan = {**PLAN, "patch": [16, 16]}
    training = {"steps": 2, "validate_every": 2, "snapshots": [0, 2]}
    experiment = write_experiment(root / "slices.yaml", "slices", training, plan)
    return fit(experiment, root / "data", root / "run", root / "cache")


def validation(run):
    return json.loads((run / "dataset.json").read_text())["validation"]


class TestRuns:
    def test_every_snapshot_is_counted_and_drawn(self, edgewise, slices_run, tmp_path):
        call = edgewise(
            "gradients", slices_run, "--out", tmp_path, "--loss", BOUNDARY, "--loss=region_wise", "--case=all"
        )
        assert call.code == 0, call.err
        first, *_ = validation(slices_run)
        assert size(tmp_path / f"run_{first}.png") > (500, 300)
        assert (tmp_path / f"run_{first}.svg").exists()
        rows = table(tmp_path)
        assert {(row["loss"], row["step"]) for row in rows} == {
            (loss, step) for loss in ("region_wise (map: boundary)", "region_wise") for step in "02"
        }
        for row in rows:
            shares = [float(row[key]) for key in ("share_0", "share_1", "share_2", "share_3_or_more")]
            assert sum(shares) == pytest.approx(1, abs=1e-5)
            if row["loss"] == "region_wise":  # at most a pixel that is sure beyond rounding has no slope
                assert (shares[2:], row["true_class_alone"]) == ([0, 0], row["share_1"])
        everything, *classes = [row for row in rows if (row["loss"], row["step"]) == ("region_wise", "0")]
        assert int(everything["pixels"]) == sum(int(row["pixels"]) for row in classes)
        (whole,) = json.loads((tmp_path / "gradients.json").read_text())
        assert whole["cases"] == validation(slices_run)
        assert whole["of"] == "slices with foreground"

    def test_without_a_loss_it_is_the_runs_own_and_without_snapshots_the_best_checkpoint(
        self, edgewise, road, tmp_path
    ):
        call = edgewise("gradients", road.run, "--out", tmp_path)
        assert call.code == 0, call.err
        rows = table(tmp_path)
        assert {row["loss"] for row in rows} == {"dice + cross_entropy"}
        end = json.loads((road.run / "journal.jsonl").read_text().splitlines()[-1])
        assert {row["step"] for row in rows} == {str(end["best_step"])}

    def test_a_wrong_case_is_refused_with_the_nearest(self, edgewise, slices_run, tmp_path):
        name = validation(slices_run)[0]
        call = edgewise("gradients", slices_run, "--out", tmp_path, "--case", name[:-1])
        assert call.code == 2
        assert f"{name[:-1]} is no validation case of" in call.err
        assert "Did you mean " in call.err

    def test_what_is_no_run_or_has_no_weights_is_refused(self, edgewise, slices_run, tmp_path):
        call = edgewise("gradients", tmp_path / "nothing", "--out", tmp_path / "out")
        assert (call.code, "there is no such folder" in call.err) == (2, True)
        bare = tmp_path / "bare"
        shutil.copytree(slices_run, bare, ignore=shutil.ignore_patterns("checkpoints"))
        call = edgewise("gradients", bare, "--out", tmp_path / "out")
        assert (call.code, "no checkpoint" in call.err) == (2, True)


def test_the_count_at_a_pixel_is_that_of_the_loss_of_its_whole_slice():
    import torch

    labels = np.zeros((9, 7), np.int64)
    labels[2:6, 1:5], labels[3, 2] = 1, 2
    logits = torch.randn(3, 9, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    loss = RegionWise(map=MAPS["boundary"]())
    found = slice_gradient(loss, logits, labels, (2.0, 1.0))
    z = MAPS["boundary"]()(labels, classes=3, spacing=(2.0, 1.0), channels="all")
    p = logits.softmax(0).numpy()
    np.testing.assert_allclose(found, p * (z - (p * z).sum(0)) / (3 * labels.size), rtol=1e-6, atol=1e-12)


def test_help_answers(capsys):
    with pytest.raises(SystemExit):
        main(["gradients", "--help"])
    assert "--values" in capsys.readouterr().out
