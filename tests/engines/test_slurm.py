"""Jobs of a SLURM cluster, which is pretended here, and of submitit's own processes."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
import slurm_pretender
from small_tasks import begins_and_waits, lives, processes, task

from edgewise.engines import slurm
from edgewise.engines.slurm import Slurm
from edgewise.errors import EngineError

submitit = pytest.importorskip("submitit")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(slurm, "EVERY", 0.5)


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """The folder of its commands."""
    submitit.SlurmJob.watcher.clear()  # it remembers the jobs of the last cluster, which had the same numbers
    slurm_pretender.install(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    yield tmp_path / "bin"
    for file in (tmp_path / "bin").glob("*.pid"):
        if not file.with_suffix(".state").exists():
            subprocess.run(("scancel", file.stem), check=True)


def job_of(each) -> str:
    return json.loads((each.log.parent / "jobs" / each.name / "job.json").read_text())["job"]


def test_a_job_is_asked_for_as_the_settings_say(cluster, tmp_path):
    engine = Slurm(
        partition="gpu",
        account="lab",
        minutes=90.0,
        cpus=6,
        gpus=2,
        memory_gb=1.5,
        options={"qos": "long", "exclusive": True},
    )
    engine.require()
    done = task(tmp_path, "done", "import sys; print('said'); sys.exit(4)")
    (outcome,) = engine.outcomes([done], lambda: None)
    assert (outcome.code, outcome.reason) == (4, "")
    assert done.log.read_text() == "said\n"
    asked = (cluster / "1.sh").read_text()
    for option in ("partition=gpu", "account=lab", "time=90", "cpus-per-task=6", "gpus-per-node=2", "mem=1536M"):
        assert f"#SBATCH --{option}\n" in asked
    assert "#SBATCH --qos=long\n" in asked
    assert "#SBATCH --exclusive\n" in asked


@pytest.mark.usefixtures("cluster")
def test_what_sbatch_refuses_is_said_in_its_words(tmp_path):
    with pytest.raises(EngineError, match="invalid partition specified: none"):
        list(Slurm(partition="none").outcomes([task(tmp_path, "never", "")], lambda: None))


@pytest.mark.parametrize(
    ("state", "code", "words"), [("CANCELLED by 1000", -9, "was cancelled"), ("NODE_FAIL", 0, ""), ("PREEMPTED", 0, "")]
)
def test_a_job_that_is_cancelled_ends_and_one_that_is_lost_begins_again(cluster, tmp_path, state, code, words):
    waits, ended = begins_and_waits(tmp_path), []

    def watch():
        if processes(tmp_path) and not ended:
            ended.append(job_of(waits))
            subprocess.run(("scancel", ended[0], state), check=True)

    (outcome,) = Slurm().outcomes([waits], watch)
    assert outcome.code == code
    assert words in outcome.reason
    assert len(list(cluster.glob("*.sh"))) == (1 if words else 2)


def test_a_job_that_is_lost_too_often_is_an_outcome(cluster, tmp_path):
    waits = begins_and_waits(tmp_path)

    def watch():
        if processes(tmp_path) and not (cluster / "1.state").exists():
            subprocess.run(("scancel", "1", "NODE_FAIL"), check=True)

    (outcome,) = Slurm(restarts=0).outcomes([waits], watch)
    assert outcome.code == -9
    assert "job 1 vanished" in outcome.reason


def test_a_job_that_is_warned_of_its_time_limit_is_queued_again(cluster, tmp_path):
    waits, warned = begins_and_waits(tmp_path), []

    def watch():
        if processes(tmp_path) and not warned:
            warned.append(processes(tmp_path))
            os.kill(warned[0][1], signal.SIGUSR2)

    (outcome,) = Slurm(minutes=5.0).outcomes([waits], watch)
    assert (outcome.code, outcome.reason) == (0, "")
    assert waits.log.read_text().split() == ["began", "began"]
    assert len(list(cluster.glob("*.sh"))) == 1
    assert not lives(warned[0][0])


@pytest.mark.parametrize("executor", ["slurm", "local"])
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
@pytest.mark.usefixtures("cluster")
def test_a_study_that_starts_again_finds_its_jobs(tmp_path, executor):
    code = f"""
import pathlib, sys, time
print("began", flush=True)
pathlib.Path({str(tmp_path)!r}, "begun").touch()
while not pathlib.Path({str(tmp_path)!r}, "go").exists():
    time.sleep(0.1)
sys.exit(5)
"""
    patient, engine = task(tmp_path, "patient", code), Slurm(executor=executor, gpus=0)

    def stop_when_begun():
        if (tmp_path / "begun").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(engine.outcomes([patient], stop_when_begun))
    first = job_of(patient)
    jobs = []

    def go():
        jobs.append(job_of(patient))
        (tmp_path / "go").touch()

    (outcome,) = engine.outcomes([patient], go)
    assert jobs[0] == first
    assert outcome.code == 5
    assert patient.log.read_text() == "began\n"


def test_a_local_job_that_reaches_its_time_limit_too_often_says_so(tmp_path):
    endless = task(tmp_path, "endless", "import time; print('began', flush=True); time.sleep(1000)")
    (outcome,) = Slurm(executor="local", gpus=0, minutes=0.1, restarts=1).outcomes([endless], lambda: None)
    assert outcome.code == -9
    assert "time limit of 0.1 minutes" in outcome.reason
    assert endless.log.read_text().split() == ["began", "began"]


def test_a_local_job_whose_process_is_killed_begins_again(tmp_path):
    waits, killed = begins_and_waits(tmp_path), []

    def watch():
        if processes(tmp_path) and not killed:
            killed.extend([int(job_of(waits)), *processes(tmp_path)])
            os.kill(killed[0], signal.SIGKILL)
            os.kill(killed[2], signal.SIGKILL)

    (outcome,) = Slurm(executor="local", gpus=0).outcomes([waits], watch)
    assert outcome.code == 0
    assert waits.log.read_text().split() == ["began", "began"]
    assert not lives(killed[1])


def test_the_result_of_an_old_job_of_the_same_number_is_not_taken(tmp_path):
    done = task(tmp_path, "done", "import sys; sys.exit(6)")
    stale = done.log.parent / "jobs" / "done" / "1_0_result.pkl"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(Path(__file__).read_bytes())
    (outcome,) = Slurm(executor="local", gpus=0).outcomes([done], lambda: None)
    assert outcome.code == 6
    assert not stale.exists()
