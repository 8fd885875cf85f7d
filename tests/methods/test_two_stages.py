"""LR-Net through the command line: two trainings in one command, killed anywhere, resumed to the same bits."""

import re
import shutil
from types import SimpleNamespace

import pytest
import torch
import yaml

from methods.cases import same
from methods.killed_runs import arguments, events, killed, timeless
from tiny import PLAN, fit

METHOD = {"kind": "lrnet", "pretraining": {"steps": 12, "validate_every": 3, "batch": 1}}


def experiment(path, **changes):
    content = {
        "name": "two stages",
        "split": {"kind": "folds", "folds": 3},
        "plan": PLAN,
        "method": METHOD,
        "training": {"steps": 6, "validate_every": 2, "report_every": 1},
    }
    path.write_text(yaml.safe_dump(content | changes), encoding="utf-8")
    return path


def notes(run):
    return [event["text"] for event in events(run / "journal.jsonl") if event["event"] == "note"]


@pytest.fixture(scope="module")
def whole(road, tmp_path_factory):
    """A run that nobody interrupted: `.run`, `.experiment`."""
    root = tmp_path_factory.mktemp("stages")
    file = experiment(root / "two.yaml")
    return SimpleNamespace(experiment=file, run=fit(file, road.data, root / "run", road.cache))


def test_a_run_holds_both_stages_and_nothing_half_done(whole):
    names = {str(path.relative_to(whole.run)) for path in whole.run.rglob("*") if path.is_file()}
    assert {"lrnet.jsonl", "checkpoints/lrnet.pt", "checkpoints/best.pt", "checkpoints/last.pt"} <= names
    assert not {name for name in names if "lrnet.last" in name or "partial" in name}
    first = events(whole.run / "lrnet.jsonl")
    assert [(event["event"], event["step"]) for event in first if event["event"] != "units"] == [
        *((kind, step) for step in (3, 6, 9, 12) for kind in ("train", "validation")),
        ("end", 12),
    ]
    assert [event["step"] for event in events(whole.run / "journal.jsonl") if event["event"] == "train"] == [
        *range(1, 7)
    ]


def test_its_file_says_what_it_is_for(whole):
    content = torch.load(whole.run / "checkpoints" / "lrnet.pt", weights_only=True)
    about = content["about"]
    assert about["map"] == {"kind": "normalized_inverse"}
    assert (about["activation"], about["classes"], about["axes"], about["widths"]) == ("relu", 3, 3, (4, 8))
    scores = {e["step"]: e["mean_dice"] for e in events(whole.run / "lrnet.jsonl") if e["event"] == "validation"}
    assert content["score"] == max(scores.values()) == scores[content["step"]]


def test_that_it_is_not_good_enough_is_said_once_and_kept(whole, road, edgewise, tmp_path):
    (note,) = notes(whole.run)
    assert re.match(r"warning: lrnet has a Dice of 0\.\d+ on the validation masks, after \d+ steps, but 0\.98", note)
    call = edgewise(*arguments(road, whole.experiment, tmp_path / "run"))
    assert [line for line in call.complaints if line.startswith("warning: lrnet")] == [note]


def test_the_network_that_predicts_holds_nothing_of_lrnet(whole, road):
    kept = [torch.load(run / "checkpoints" / "best.pt", weights_only=True)["network"] for run in (whole.run, road.run)]
    assert kept[0].keys() == kept[1].keys()


@pytest.mark.parametrize(
    ("name", "count"),
    [("lrnet.last.pt", 3), ("lrnet.pt", 1), ("best.pt", 1), ("last.pt", 3)],
)
def test_killed_anywhere_it_resumes_to_the_same_bits(whole, road, edgewise, tmp_path, name, count):
    out = killed(road, whole.experiment, tmp_path / "run", name, count)
    assert (out / "checkpoints" / "lrnet.pt").exists() == (not name.startswith("lrnet"))
    assert edgewise(*arguments(road, whole.experiment, out), "--resume").code == 0
    for each in ("lrnet", "best", "last"):
        a, b = (torch.load(run / "checkpoints" / f"{each}.pt", weights_only=True) for run in (out, whole.run))
        assert same(timeless(a), timeless(b)), each
    assert (out / "metrics.csv").read_text() == (whole.run / "metrics.csv").read_text()
    for journal in ("lrnet.jsonl", "journal.jsonl"):
        a, b = (
            [{k: v for k, v in event.items() if k != "seconds"} for event in events(run / journal)]
            for run in (out, whole.run)
        )
        assert [event for event in a if event.get("event") != "note"] == [e for e in b if e.get("event") != "note"]
    assert notes(out)[0] == notes(whole.run)[0]
    assert [text.split(" at ")[0] for text in notes(out)[1:]] == ["resumed"]
    assert not [*out.rglob(".*partial*"), *out.rglob("lrnet.last.pt")]


def test_a_groundwork_does_not_go_on_with_another_experiment(whole, road, edgewise, tmp_path):
    out = killed(road, whole.experiment, tmp_path / "run", "lrnet.last.pt", 2)
    file = out / "experiment.yaml"
    file.write_text(file.read_text().replace("seed: 0", "seed: 1"))
    call = edgewise(*arguments(road, file, out), "--resume")
    assert call.code == 2
    assert "was trained with another experiment" in call.err


class TestAFile:
    """An LR-Net of another run."""

    @pytest.fixture
    def taken(self, whole, tmp_path):
        other = shutil.copy(whole.run / "checkpoints" / "lrnet.pt", tmp_path / "other.pt")
        return experiment(tmp_path / "again.yaml", method={**METHOD, "file": str(other)})

    def test_is_used_as_it_is_and_kept_with_the_run(self, whole, road, edgewise, tmp_path, taken):
        call = edgewise(*arguments(road, taken, tmp_path / "run"))
        assert call.code == 0
        assert not (tmp_path / "run" / "lrnet.jsonl").exists()
        for name in ("lrnet", "best"):
            a, b = (
                torch.load(run / "checkpoints" / f"{name}.pt", weights_only=True)
                for run in (tmp_path / "run", whole.run)
            )
            assert same(a, b)
        (note,) = notes(tmp_path / "run")
        assert re.search(r"lrnet of .*other\.pt, trained at a voxel spacing of [\d.]+ x [\d.]+ x [\d.]+ mm, has", note)

    def test_may_be_gone_when_the_run_is_resumed(self, whole, road, edgewise, tmp_path, taken):
        out = killed(road, taken, tmp_path / "run", "last.pt", 2)
        (tmp_path / "other.pt").unlink()
        assert edgewise(*arguments(road, taken, out), "--resume").code == 0
        a, b = (torch.load(run / "checkpoints" / "best.pt", weights_only=True) for run in (out, whole.run))
        assert same(a, b)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ("method.map={kind: inverse}", "where .* is needed"),
            ("method.network.widths=[4, 16]", r"widths \[4, 8\], where \[4, 16\] is needed"),
            ("method.file=nowhere.pt", "no lrnet at nowhere.pt"),
        ],
    )
    def test_that_does_not_fit_is_refused_before_anything_is_prepared(
        self, road, edgewise, tmp_path, taken, change, words
    ):
        cache = tmp_path / "cache"
        call = edgewise("fit", taken, "--data", road.data, "--out", tmp_path / "run", "--cache", cache, "--set", change)
        assert call.code == 2
        assert re.search(words, call.err)
        assert "Traceback" not in call.err
        assert not cache.exists()
        assert not [path for path in (tmp_path / "run").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"method": {"kind": "multi_branch"}, "network": {"kind": "fcn"}},
            "multi_branch needs .* fcn has none. Choose",
        ),
        ({"method": {"kind": "lrnet", "activation": "sigmoid", "map": {"kind": "inverse"}}}, "Choose relu"),
        ({"method": {"kind": "lrnet", "map": {"kind": "boundary"}}}, "choose another map"),
        ({"method": {"kind": "lrnet", "weights": "from_scratch", "file": "x.pt"}}, "Leave out `file`"),
        ({"method": {"kind": "lrnet", "weights": "thawed"}}, "from_scratch"),
        ({"method": {"kind": "multi_brunch"}}, "Did you mean `multi_branch`"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_prepared(road, edgewise, tmp_path, changes, words):
    file, cache = experiment(tmp_path / "bad.yaml", **changes), tmp_path / "cache"
    call = edgewise("fit", file, "--data", road.data, "--out", tmp_path / "run", "--cache", cache)
    assert call.code == 2
    assert re.search(words, call.err)
    assert "Traceback" not in call.err
    assert not cache.exists()
