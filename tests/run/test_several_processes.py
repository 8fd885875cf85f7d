"""`edgewise fit` in two processes: one run folder, as one process would have made it, and no process left behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import edgewise as package
from edgewise.data.patches import Patches
from edgewise.errors import DataError, RunError
from edgewise.run import processes
from methods.cases import same
from methods.dying import watching
from methods.killed_runs import arguments, events, timeless
from run.fellows import together
from tiny import PLAN, fit, write_experiment

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="forked processes cannot use a GPU")
TRAINING = {"steps": 6, "validate_every": 2, "report_every": 1}


def journal(run, kind):
    return [event for event in events(run / "journal.jsonl") if event["event"] == kind]


def last(run):
    """A checkpoint, without what `timeless` leaves out."""
    content = torch.load(run / "checkpoints" / "last.pt", weights_only=True)
    others = [timeless({"random": each})["random"] for each in content.pop("random_of_others")]
    return timeless(content) | {"random_of_others": others}


@pytest.fixture(scope="module")
def runs(road, tmp_path_factory):
    """An experiment by one process, `.one`, and by two, `.pair`; and one with dropout by two, `.two`."""
    root = tmp_path_factory.mktemp("several")
    plan = {**PLAN, "batch": 2}
    file = write_experiment(root / "plain.yaml", "plain", TRAINING, plan)
    drops = root / "drops.yaml"
    drops.write_text("base: plain.yaml\nnetwork: {kind: residual_unet, dropout: 0.5}\n", encoding="utf-8")
    one = fit(file, road.data, root / "one", road.cache)
    pair = together(root / "said pair", arguments(road, file, root / "pair"))
    two = together(root / "said two", arguments(road, drops, root / "two"))
    return SimpleNamespace(
        root=root, file=file, drops=drops, one=one, pair=root / "pair", said=pair, two=root / "two", ended=two
    )


def test_all_processes_end_well_and_the_first_alone_speaks(runs):
    assert [each.code for each in (*runs.said, *runs.ended)] == [0] * 4
    first, second = runs.said
    assert first.out.strip() == str(runs.pair)
    assert "training 6/6" in first.err
    assert (second.out, second.err) == ("", "")


def test_the_run_folder_holds_what_that_of_one_process_holds(runs):
    def names(run):
        return {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}

    assert names(runs.pair) == names(runs.one)
    assert [event["event"] for event in events(runs.pair / "journal.jsonl")] == [
        event["event"] for event in events(runs.one / "journal.jsonl")
    ]
    count = [json.loads((run / "environment.json").read_text())["processes"] for run in (runs.one, runs.pair)]
    assert count == [1, 2]


def test_the_losses_and_scores_are_those_of_one_process_with_the_same_batch(runs):
    one, two = ([event["loss"] for event in journal(run, "train")] for run in (runs.one, runs.pair))
    assert two == pytest.approx(one, abs=1e-4)
    one, two = ([event["mean_dice"] for event in journal(run, "validation")] for run in (runs.one, runs.pair))
    assert two == pytest.approx(one, abs=1e-2)


def test_dropout_is_drawn_anew_in_each_process(runs):
    first, (second,) = last(runs.two)["random"]["torch"], last(runs.two)["random_of_others"]
    assert not torch.equal(first, second["torch"])


def test_a_run_killed_in_one_process_ends_in_all_and_goes_on_to_the_same_weights(road, runs):
    call, out = arguments(road, runs.drops, runs.root / "killed"), runs.root / "killed"
    dead = together(runs.root / "dead", call, hooks=[lambda: sys.addaudithook(watching("last.pt", 2))])
    assert [each.code for each in dead] == [-9, 2]
    assert last(out)["progress"]["step"] == 2
    resumed = together(runs.root / "resumed", (*call, "--resume"))
    assert [each.code for each in resumed] == [0, 0], resumed
    assert same(last(out), last(runs.two))
    assert same(*(torch.load(run / "checkpoints" / "best.pt", weights_only=True) for run in (out, runs.two)))


def test_a_run_goes_on_in_another_number_of_processes_and_says_so(road, runs, edgewise):
    out = runs.root / "changed"
    call = arguments(road, runs.file, out)
    together(runs.root / "cut", call, hooks=[lambda: sys.addaudithook(watching("last.pt", 2))])
    ended = edgewise(*call, "--resume")
    assert ended.code == 0
    assert "was trained by 2 processes and goes on with 1" in ended.err
    one, two = ([event["loss"] for event in journal(run, "train")] for run in (runs.one, out))
    assert two == pytest.approx(one, abs=1e-4)


def _at_the_third_patch(happens):
    read, count = Patches.__getitem__, [0]

    def spoilt(patches, number):
        count[0] += 1
        if count[0] == 3:
            happens()
        return read(patches, number)

    Patches.__getitem__ = spoilt


def _spoil():
    """Make the third patch of this process one that cannot be read."""

    def happens():
        raise DataError("this patch is bad. Mend it.")

    _at_the_third_patch(happens)


def _die():
    """End as if memory had run out, at the third patch."""
    _at_the_third_patch(lambda: os.kill(os.getpid(), signal.SIGKILL))


def test_a_process_that_is_killed_ends_all_and_the_first_says_so(road, runs, tmp_path):
    ended = together(tmp_path, arguments(road, runs.file, tmp_path / "run"), hooks=[lambda: None, _die])
    assert [each.code for each in ended] == [2, -9]
    assert ended[0].err.splitlines()[-1].startswith("edgewise: the connection to the other processes")
    assert "Traceback" not in ended[0].err


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_in_one_process_ends_all_with_one_message(road, runs, tmp_path, rank):
    hooks = [_spoil if each == rank else lambda: None for each in range(2)]
    ended = together(tmp_path, arguments(road, runs.file, tmp_path / "run"), hooks=hooks)
    assert [each.code for each in ended] == [2, 2]
    assert ended[rank].err.endswith("edgewise: this patch is bad. Mend it.\n")
    assert "this patch" not in ended[1 - rank].err
    assert not any("Traceback" in each.err or "connection" in each.err for each in ended)


def test_a_training_that_diverges_ends_all_and_names_the_cases_of_the_whole_batch(road, runs, tmp_path):
    blown = "training.optimiser={kind: sgd, rate: 1.0e+30}"
    ended = together(tmp_path, (*arguments(road, runs.file, tmp_path / "run"), "--set", blown))
    assert [each.code for each in ended] == [2, 2]
    assert sum(each.err.count("edgewise:") for each in ended) == 1
    (event,) = journal(tmp_path / "run", "diverged")
    assert len(event["cases"]) == 2
    assert len(journal(tmp_path / "run", "note")) == 1


def test_the_clock_of_the_first_process_ends_all(road, runs, tmp_path):
    call = (*arguments(road, runs.file, tmp_path / "run"), "--set", "training.minutes=1e-9")
    assert [each.code for each in together(tmp_path, call)] == [0, 0]
    (end,) = journal(tmp_path / "run", "end")
    assert (end["step"], end["reason"].startswith("the time limit")) == (1, True)


def test_what_goes_before_is_done_by_the_first_process_and_told_to_all(road, runs):
    file = runs.root / "lrnet.yaml"
    work = "{steps: 2, validate_every: 2}"
    file.write_text(f"base: plain.yaml\nmethod: {{kind: lrnet, pretraining: {work}}}\n", encoding="utf-8")
    one = fit(file, road.data, runs.root / "lrnet one", road.cache)
    ended = together(runs.root / "said lrnet", arguments(road, file, runs.root / "lrnet two"))
    assert [each.code for each in ended] == [0, 0]
    losses = [[event["loss"] for event in journal(run, "train")] for run in (one, runs.root / "lrnet two")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_more_processes_than_gpus_are_refused_before_they_meet(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name, value in {"WORLD_SIZE": 2, "RANK": 1, "LOCAL_RANK": 1, "LOCAL_WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    refusal = r"2 processes were started on a machine with 1 GPUs.*--nproc-per-node 1"
    with pytest.raises(RunError, match=refusal), processes.together():
        pass


def test_a_finished_run_leaves_nothing_to_do(road, runs):
    ended = together(runs.root / "again", (*arguments(road, runs.file, runs.pair), "--resume"))
    assert [each.code for each in ended] == [0, 0]
    assert "nothing left to do" in ended[0].err


def test_a_batch_that_cannot_be_shared_out_is_refused_under_torchrun(road, tmp_path):
    source = str(Path(package.__file__).parents[1])
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "edgewise"]
    call = [*start, *map(str, arguments(road, road.experiment, tmp_path / "run"))]
    clean = {key: value for key, value in os.environ.items() if key not in {"RANK", "WORLD_SIZE", "MASTER_PORT"}}
    ended = subprocess.run(call, env={**clean, "PYTHONPATH": source}, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert ended.stderr.count("edgewise: plan.batch is 1, the batch of all 2 processes together") == 1
    assert "Set it to 2," in ended.stderr
    assert not (tmp_path / "run" / "experiment.yaml").exists()
