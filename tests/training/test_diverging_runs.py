"""A training whose numbers overflow, through the command line: it stops, says where, and leaves what was good."""

import json

import pytest
import torch
import yaml

from tiny import PLAN
from training.test_diverging import finite

BLOWN_UP = {"kind": "sgd", "rate": 1e30}
"""The first step is as large as that; the numbers of the second are no numbers."""
GOOD_AT_FIRST = {
    "optimiser": {"kind": "sgd", "rate": 1e-3, "momentum": 0.9},
    "schedule": {"kind": "step", "every": 4, "drop": 1e36},
}
"""Four good steps, then such a one."""


def experiment(path, training, **changes):
    content = {
        "name": "diverging",
        "split": {"kind": "folds", "folds": 3},
        "plan": PLAN,
        "training": {"steps": 20, "report_every": 1, **training},
    }
    path.write_text(yaml.safe_dump(content | changes), encoding="utf-8")
    return path


def run(edgewise, road, tmp_path, training, *more, **changes):
    file, out = experiment(tmp_path / "x.yaml", training, **changes), tmp_path / "run"
    return edgewise("fit", file, "--data", road.data, "--out", out, "--cache", road.cache, *more), out


def events(path, kind):
    return [event for event in map(json.loads, path.read_text().splitlines()) if event["event"] == kind]


def weights(out):
    return [torch.load(path, weights_only=True) for path in sorted((out / "checkpoints").rglob("*.pt"))]


def test_without_a_validation_before_there_is_nothing_to_predict_with_and_it_says_so(road, edgewise, tmp_path):
    call, out = run(edgewise, road, tmp_path, {"optimiser": BLOWN_UP, "validate_every": 10})
    assert call.code == 2
    (event,) = events(out / "journal.jsonl", "diverged")
    assert f"at step {event['step']} (cases {', '.join(event['cases'])})" in call.err
    assert "No validation came before" in call.err
    assert "lower training.optimiser.rate" in call.err
    assert "Traceback" not in call.err
    assert "plan.precision" not in call.err  # it is fp32 already
    assert event["step"] in {1, 2, 3}
    assert set(event["cases"]) < {f"phantom_{n:03d}" for n in range(1, 7)}
    assert not weights(out)
    predicted = edgewise("predict", out, road.data / "imagesTr", "--out", tmp_path / "masks")
    assert predicted.code == 2
    assert "no checkpoint" in predicted.err
    assert "diverged" in predicted.err


def test_it_predicts_with_what_was_good_before(road, edgewise, tmp_path):
    call, out = run(edgewise, road, tmp_path, {**GOOD_AT_FIRST, "validate_every": 2})
    assert call.code == 2
    (event,) = events(out / "journal.jsonl", "diverged")
    (note,) = events(out / "journal.jsonl", "note")
    assert event["step"] in {5, 6}
    assert note["text"] in call.err
    best, last = weights(out)
    assert f"uses the checkpoint of step {best['step']}" in call.err
    assert best["step"] in {2, 4}
    assert last["progress"]["step"] == 4
    assert finite(best)
    assert finite(last["learner"]["network"])
    assert finite(last["learner"]["average"])
    assert max(float(value.abs().max()) for value in best["network"].values()) < 100
    image = road.data / "imagesTr" / "phantom_001_0000.nii.gz"
    assert edgewise("predict", out, image, "--out", tmp_path / "masks").code == 0
    assert (tmp_path / "masks" / "phantom_001.nii.gz").exists()


def test_a_validation_right_after_the_step_saves_nothing_of_it(road, edgewise, tmp_path):
    call, out = run(edgewise, road, tmp_path, {**GOOD_AT_FIRST, "validate_every": 1})
    assert call.code == 2
    (event,) = events(out / "journal.jsonl", "diverged")
    assert event["step"] == 5
    best, last = weights(out)
    assert best["step"] <= 4
    assert last["progress"]["step"] == 4
    assert finite(best)
    assert finite(last["learner"]["network"])


def test_going_on_with_it_ends_at_the_same_step(road, edgewise, tmp_path):
    first, out = run(edgewise, road, tmp_path, {**GOOD_AT_FIRST, "validate_every": 2})
    again, _ = run(edgewise, road, tmp_path, {**GOOD_AT_FIRST, "validate_every": 2}, "--resume")
    assert again.code == 2
    assert again.complaints[-1] == first.complaints[-1]
    assert len(events(out / "journal.jsonl", "diverged")) == 1


def test_a_report_on_it_tells(road, edgewise, tmp_path):
    call, out = run(edgewise, road, tmp_path, {**GOOD_AT_FIRST, "validate_every": 2})
    assert edgewise("report", out, "--out", tmp_path / "page.html").code == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    (event,) = events(out / "journal.jsonl", "diverged")
    assert f"at step {event['step']}" in page
    assert call.code == 2


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_groundwork_that_diverges_stops_the_run(road, edgewise, tmp_path, precision):
    method = {"kind": "lrnet", "pretraining": {"steps": 20, "batch": 1, "rate": 1e30, "validate_every": 10}}
    plan = {**PLAN, "precision": precision}
    call, out = run(edgewise, road, tmp_path, {"validate_every": 10}, method=method, plan=plan)
    assert call.code == 2
    assert "lrnet: " in call.err
    assert "lower method.pretraining.rate" in call.err
    (event,) = events(out / "lrnet.jsonl", "diverged")
    assert f"at step {event['step']} (cases {event['cases'][0]})" in call.err
    assert not weights(out)
    (note,) = events(out / "journal.jsonl", "note")
    assert note["text"] in call.err
