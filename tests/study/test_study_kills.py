"""A study goes on after whatever happens to it: it is killed, a part of it is, or its disk is full."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from study.small_studies import (
    ROWS,
    alive,
    awaited,
    begun,
    events,
    killed,
    path_of_processes,
    run,
    runs,
    same_training,
    write_study,
    written,
)

pytestmark = pytest.mark.timeout(1200)  # a dozen processes that each import torch, on whatever machine

ONE = {"dice": ROWS["dice"]}


@pytest.fixture
def intruder(tmp_path):
    """The environment in which something happens to one part, and the file that says it has."""

    def named(*instructions):
        mark = tmp_path / "mark"
        return {"PYTHONPATH": path_of_processes(tmp_path), "INTRUDER": " ".join([*instructions, str(mark)])}, mark

    return named


@pytest.mark.slow
def test_a_study_that_is_killed_takes_its_parts_along_and_goes_on_to_the_same_weights(place, finished, intruder):
    shutil.rmtree(runs(place)["dice", 0])
    environment, mark = intruder("dice", "last.pt", "3", "hold")
    study = begun(place, environment)
    try:
        awaited(mark.exists)
    finally:
        killed(study)
    part = int(mark.read_text("utf-8"))
    awaited(lambda: not alive(part), seconds=30)
    assert not events(runs(place)["dice", 0], "end")
    kept = {key: written(folder) for key, folder in runs(place).items() if key != ("dice", 0)}

    call = run(place)
    assert (call.code, call.complaints) == (0, ["3 of 4 parts are done already"])
    assert [event["text"] for event in events(runs(place)["dice", 0], "note")] == ["resumed at step 10"]
    assert same_training(runs(place)["dice", 0], runs(finished.place)["dice", 0])
    assert {key: written(folder) for key, folder in runs(place).items() if key != ("dice", 0)} == kept


@pytest.mark.slow
def test_a_part_that_is_killed_is_named_with_the_signal_and_the_rest_goes_on(place, finished, intruder, monkeypatch):
    for row in ("dice", "entropy"):
        shutil.rmtree(runs(place)[row, 0])
    environment, mark = intruder("dice", "last.pt", "2", "kill")
    with monkeypatch.context() as patched:
        for key, value in environment.items():
            patched.setenv(key, value)
        call = run(place)
    assert mark.exists()
    assert call.code == 1
    assert "failed: dice seed 0: its process was killed by signal 9, most likely for lack of memory" in call.complaints
    assert call.out.splitlines()[-1] == str(place.out)
    assert {key for key, folder in runs(place).items() if (folder / "curves.png").exists()} == {
        ("dice", 1), ("entropy", 0), ("entropy", 1),
    }  # fmt: skip

    again = run(place)
    assert (again.code, again.complaints) == (0, ["3 of 4 parts are done already"])
    assert same_training(runs(place)["dice", 0], runs(finished.place)["dice", 0])


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a disk of a few bytes, which can be made larger."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(*options):
        subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(disk)], check=True)

    try:
        mount("size=64k")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a disk of a given size needs the right to mount one")
    yield disk, lambda size: mount("remount", f"size={size}")
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="a disk of a given size needs the right to mount one")
def test_a_full_disk_is_said_once_and_nothing_is_lost(place, finished, small_disk):
    disk, resize = small_disk
    place.out = disk / "out"
    write_study(place, ONE, seeds=[0])
    call = run(place)
    assert call.code in {1, 2}
    assert "Traceback" not in call.err
    assert "No space left on device" in call.err or "no space left" in call.err
    resize("50m")
    again = run(place)
    assert (again.code, again.complaints) == (0, [])
    assert same_training(runs(place)["dice", 0], runs(finished.place)["dice", 0])


@pytest.fixture
def files_of():
    """Lets no file grow beyond so many bytes, as a full disk does, for those who may not mount one."""
    import resource

    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, usual[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, usual)


def test_a_checkpoint_that_does_not_fit_is_an_error_in_words_and_leaves_the_old_one(tmp_path, files_of):
    import torch

    from edgewise.errors import OutputError
    from edgewise.training import checkpoint

    path = tmp_path / "last.pt"
    checkpoint.save(path, {"weights": torch.ones(3)})
    files_of(20_000)
    with pytest.raises(OutputError, match=r"cannot write .*last.pt: File too large. Make space, or choose"):
        checkpoint.save(path, {"weights": torch.zeros(100_000)})
    assert torch.equal(checkpoint.load(path, torch.device("cpu"))["weights"], torch.ones(3))
    assert [each.name for each in tmp_path.iterdir()] == ["last.pt"]


def test_a_journal_that_cannot_grow_is_an_error_in_words(tmp_path, files_of):
    from edgewise.errors import OutputError
    from edgewise.run.folder import Journal

    journal = Journal(tmp_path / "journal.jsonl")
    files_of(500)
    with pytest.raises(OutputError, match=r"cannot write .*journal.jsonl: File too large. Make space"):
        journal.note("a long remark, " * 100)


def test_a_log_that_cannot_be_opened_is_an_error_in_words(tmp_path):
    from edgewise.engines.base import Task
    from edgewise.engines.local import Local
    from edgewise.errors import EngineError

    (tmp_path / "logs").write_text("a file where the folder should be", encoding="utf-8")
    task = Task(name="a", command=("true",), log=tmp_path / "logs" / "a.log")
    with pytest.raises(EngineError, match=r"cannot start a part that writes to .*a.log: .* the same command then goes"):
        list(Local().outcomes([task], lambda: None))


def test_closing_an_engine_early_ends_what_it_runs_with_all_that_those_have_started(tmp_path):
    from edgewise.engines.base import Task
    from edgewise.engines.local import Local

    pids = tmp_path / "pids"
    script = f"sleep 300 & echo $! $$ > {pids}.new; mv {pids}.new {pids}; wait"
    tasks = [
        Task(name="short", command=("true",), log=tmp_path / "short.log"),
        Task(name="long", command=("sh", "-c", script), log=tmp_path / "long.log"),
    ]
    outcomes = Local(slots=2).outcomes(tasks, lambda: None)
    assert next(outcomes).name == "short"
    awaited(pids.exists)
    outcomes.close()
    awaited(lambda: not any(alive(int(pid)) for pid in pids.read_text("utf-8").split()), seconds=30)


def test_tasks_end_each_with_its_own_code_and_what_they_say_is_appended_to_their_logs(tmp_path):
    from edgewise.engines.base import Task
    from edgewise.engines.local import Local

    def task(name, script):
        return Task(name=name, command=("sh", "-c", script), log=tmp_path / "logs" / f"{name}.log")

    tasks = [task("good", "echo out; echo err >&2"), task("bad", "exit 3"), task("shot", "kill -TERM $$")]
    looks = []
    for _ in range(2):
        ended = {each.name: each for each in Local(slots=2).outcomes(tasks, lambda: looks.append(time.monotonic()))}
    assert {name: each.code for name, each in ended.items()} == {"good": 0, "bad": 3, "shot": -15}
    assert {name: each.reason for name, each in ended.items()} == {
        "good": "", "bad": "", "shot": "its process was killed by signal 15",
    }  # fmt: skip
    assert looks
    assert Path(tmp_path / "logs" / "good.log").read_text("utf-8") == "out\nerr\n" * 2
