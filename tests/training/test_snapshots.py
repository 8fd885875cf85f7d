"""The weights of chosen moments: when they are kept, and that a resumed run keeps the same."""

import json
import math
import shutil

import pytest
import torch
import yaml

from edgewise.data.batches import Batch
from edgewise.run.folder import Journal, RunFolder
from edgewise.training.loop import Limits, Progress, fit
from edgewise.training.records import Snapshot
from tiny import PLAN


class Still:
    """A learner that learns nothing."""

    rate = 0.1
    predictor = torch.nn.Identity()

    def step(self, *_):
        return 1.0

    def state(self):
        return {}

    def restore(self, state):
        pass

    def observe(self, score):
        pass


def records(snapshots, *, done=0, steps=6):
    batch = Batch(image=torch.zeros(1), labels=torch.zeros(1, dtype=torch.int64), cases=("a",))
    limits = Limits(steps=steps, minutes=math.inf, validate_every=3, patience=0, report_every=9, snapshots=snapshots)
    rest = iter([batch] * (steps - done))
    return list(fit(Still(), rest, lambda _: {"1": 0.5}, limits, Progress(step=done)))


def test_a_snapshot_comes_before_the_first_step_and_after_chosen_ones_that_are_reached():
    assert [each.step for each in records((0, 3, 5, 99)) if isinstance(each, Snapshot)] == [0, 3, 5]


def test_it_comes_before_the_validation_of_its_step_whose_checkpoint_a_run_goes_on_from():
    assert [each.event for each in records((3,)) if each.step == 3] == ["snapshot", "validation"]


def test_a_resumed_training_takes_those_that_are_left():
    assert [each.step for each in records((0, 3, 5), done=3) if isinstance(each, Snapshot)] == [5]


@pytest.mark.parametrize(("back", "kept"), [(2, [0, 2]), (1, [0]), (0, [])])
def test_a_resumed_training_forgets_the_snapshots_that_it_will_take_again(tmp_path, back, kept):
    journal = Journal(tmp_path / "journal.jsonl")
    for step in (0, 2):
        journal.record(Snapshot(step=step, seconds=0.0))
    journal.back_to(back)
    events = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    assert [event["step"] for event in events if event["event"] == "snapshot"] == kept


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    training = {"steps": 4, "validate_every": 2, "report_every": 1, "snapshots": [0, 1, 4]}
    content = {"name": "kept", "split": {"kind": "folds", "folds": 3}, "plan": PLAN, "training": training}
    path = tmp_path_factory.mktemp("snapshots") / "kept.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def weights(path):
    return torch.load(path, weights_only=True)


def test_a_run_keeps_what_predicts_and_its_training_is_the_same(road, experiment, edgewise, tmp_path):
    out = tmp_path / "run"
    arguments = ("fit", experiment, "--data", road.data, "--cache", road.cache)
    assert edgewise(*arguments, "--out", out).code == 0
    snapshots = RunFolder(path=out).snapshots()
    assert list(snapshots) == [0, 1, 4]
    assert [weights(path)["step"] for path in snapshots.values()] == [0, 1, 4]
    best, plain = weights(out / "checkpoints/best.pt"), weights(road.run / "checkpoints/best.pt")
    assert all(torch.equal(value, plain["network"][name]) for name, value in best["network"].items())
    if best["step"] == 4:
        assert all(
            torch.equal(value, best["network"][name]) for name, value in weights(snapshots[4])["network"].items()
        )

    # As if it had been killed before its first checkpoint: it starts over and keeps the same.
    before = {step: weights(path)["network"] for step, path in snapshots.items()}
    shutil.rmtree(out / "checkpoints")
    for name in ("summary.json", "curves.png"):
        (out / name).unlink()
    journal = out / "journal.jsonl"
    journal.write_text("".join(line + "\n" for line in journal.read_text().splitlines() if '"end"' not in line))
    assert edgewise(*arguments, "--out", out, "--resume").code == 0
    for step, path in RunFolder(path=out).snapshots().items():
        assert all(torch.equal(value, before[step][name]) for name, value in weights(path)["network"].items())
    assert journal.read_text().count('"snapshot"') == 3


def test_a_snapshot_before_the_start_is_refused(road, edgewise, tmp_path):
    call = edgewise(
        "fit", road.experiment, "--data", road.data, "--out", tmp_path / "run", "--set", "training.snapshots=[-1]"
    )
    assert call.code == 2
    assert "training.snapshots[0]" in call.err
