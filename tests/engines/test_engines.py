"""Laws of every engine of the catalogue, on commands that take a moment."""

import os
import signal
from contextlib import suppress

import pytest
from pydantic import TypeAdapter
from small_tasks import begins_and_waits, lives, processes, task

from edgewise.catalog import discover
from edgewise.engines import slurm as slurm_module
from edgewise.engines.base import Engine
from edgewise.engines.local import Local
from edgewise.engines.ray import Ray
from edgewise.engines.slurm import Slurm
from edgewise.errors import EngineError
from edgewise.study.file import engine_of


@pytest.fixture(scope="module")
def cluster():
    """Two machines of one core each; they are processes here."""
    cluster_utils = pytest.importorskip("ray.cluster_utils", reason="Ray has no wheel for this platform")
    node = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 * 2**20}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        machines = cluster_utils.Cluster(initialize_head=True, head_node_args=node)
        machines.add_node(**node)
        yield machines
        machines.shutdown()


@pytest.fixture
def engine(request):
    """An engine with room for two."""
    match request.param:
        case "local":
            return Local(slots=2)
        case "slurm":
            pytest.importorskip("submitit")
            return Slurm(executor="local", jobs=2, gpus=0)
        case "ray":
            return Ray(address=request.getfixturevalue("cluster").address, memory_gb=0.1)


ALL = pytest.mark.parametrize("engine", ["local", "slurm", "ray"], indirect=True)
HERE = pytest.mark.parametrize("engine", ["local", pytest.param("ray", marks=pytest.mark.slow)], indirect=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(slurm_module, "EVERY", 0.5)


@ALL
def test_every_outcome_comes_with_its_code_and_what_it_said_is_in_its_log(engine, tmp_path):
    codes, watched = {"good": 0, "bad": 3, "last": 0}, []
    tasks = [
        task(tmp_path, name, f"import sys; print('this is {name}'); print('aside', file=sys.stderr); sys.exit({code})")
        for name, code in codes.items()
    ]
    engine.require()
    assert engine.room(3) == 2
    assert engine.threads(3) >= 1
    outcomes = list(engine.outcomes(tasks, lambda: watched.append(1)))
    assert {each.name: each.code for each in outcomes} == codes
    assert all(each.reason == "" for each in outcomes)
    assert watched
    for each in tasks:
        assert set(each.log.read_text().splitlines()) == {f"this is {each.name}", "aside"}


@HERE
def test_closing_the_outcomes_stops_what_runs(engine, tmp_path):
    begun = {}

    def watch():
        begun.update({name: processes(tmp_path, name) for name in ("a", "b") if processes(tmp_path, name)})
        if begun:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(engine.outcomes([begins_and_waits(tmp_path, name) for name in ("a", "b")], watch))
    assert begun
    assert not any(lives(own) for own, _ in begun.values())


def test_no_more_run_at_a_time_than_there_is_room(tmp_path):
    code = f"""
import pathlib, time, uuid
mine = pathlib.Path({str(tmp_path)!r}) / f"{{uuid.uuid4().hex}}.runs"
mine.touch()
print(len(list(mine.parent.glob("*.runs"))))
time.sleep(0.7)
mine.unlink()
"""
    tasks = [task(tmp_path, f"task{number}", code) for number in range(5)]
    assert all(each.code == 0 for each in Local(slots=2).outcomes(tasks, lambda: None))
    assert max(int(each.log.read_text()) for each in tasks) == 2


def test_a_process_that_is_killed_is_told_from_one_that_chose_to_end(tmp_path):
    deadly = task(tmp_path, "deadly", "import os; os.kill(os.getpid(), 9)")
    (outcome,) = Local(slots=1).outcomes([deadly], lambda: None)
    assert outcome.code == -9
    assert "signal 9" in outcome.reason
    assert "memory" in outcome.reason


@pytest.mark.slow
def test_a_task_goes_on_elsewhere_when_its_ray_worker_is_killed(cluster, tmp_path):
    waits, killed = begins_and_waits(tmp_path), []

    def watch():
        if not killed and processes(tmp_path):
            killed.append(processes(tmp_path))
            os.kill(killed[0][1], signal.SIGKILL)

    (outcome,) = Ray(address=cluster.address, memory_gb=0.1).outcomes([waits], watch)
    assert outcome.code == 0
    assert waits.log.read_text().split() == ["began", "began"]
    assert not lives(killed[0][0])


@pytest.mark.slow
def test_a_task_goes_on_elsewhere_when_its_machine_is_lost(cluster, tmp_path):
    lost = cluster.add_node(num_cpus=1, resources={"lost": 1}, include_dashboard=False, object_store_memory=80 * 2**20)
    tasks, gone = [begins_and_waits(tmp_path, name) for name in ("a", "b", "c")], []

    def watch():
        begun = [processes(tmp_path, each.name) for each in tasks]
        if not gone and all(begun):  # one on each machine
            cluster.remove_node(lost, allow_graceful=False)
            gone.extend(begun)
        elif gone:  # those whose machines are there
            for _, worker in gone:
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)

    outcomes = list(Ray(address=cluster.address, memory_gb=0.1).outcomes(tasks, watch))
    assert [each.code for each in outcomes] == [0, 0, 0]
    assert all(each.log.read_text().split() == ["began", "began"] for each in tasks)


def test_a_cluster_that_is_not_there_is_said_soon():
    pytest.importorskip("ray")
    with pytest.raises(EngineError, match=r"no cluster at '127.0.0.1:9'.*ray start --head"):
        Ray(address="127.0.0.1:9").require()


def test_without_sbatch_slurm_says_where_to_go(monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EngineError, match="no `sbatch` here"):
        Slurm().require()


@pytest.mark.parametrize(("engine", "extra"), [(Slurm(), "slurm"), (Ray(), "ray")])
def test_what_is_not_installed_is_named_with_its_extra(engine, extra, monkeypatch):
    monkeypatch.setattr(f"edgewise.engines.{extra}.find_spec", lambda _: None)
    with pytest.raises(EngineError, match=rf"is not installed. Install it: pip install 'edgewise\[{extra}\]'"):
        engine.require()


def test_every_engine_is_chosen_by_its_kind_in_a_file_and_on_the_command_line():
    assert list(discover(Engine)) == ["local", "ray", "slurm"]
    assert TypeAdapter(Engine).json_schema()["discriminator"]["mapping"].keys() == {"local", "ray", "slurm"}
    assert engine_of("{kind: slurm, partition: gpu, options: {qos: long}}") == Slurm(
        partition="gpu", options={"qos": "long"}
    )
    assert TypeAdapter(Engine).validate_python({"kind": "ray", "gpus": 0.5}) == Ray(gpus=0.5)


@pytest.mark.parametrize("wrong", ["{kind: slurm, minutes: 0}", "{kind: ray, cpus: -1}", "{kind: slurm, queue: gpu}"])
def test_a_setting_that_cannot_be_is_refused(wrong):
    with pytest.raises(EngineError, match=r"minutes|cpus|queue"):
        engine_of(wrong)
