"""The command line as a function, and trained runs that tests share: each costs seconds."""

import os
from dataclasses import dataclass
from types import SimpleNamespace

# Before torch is there, for it and for what tests start: tests run side by side, and threads that wait for each other
# on the same cores make them twice as slow.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

from edgewise.cli import main
from tiny import PLAN, fit, write_experiment

# Machines are shared and noisy: a test asserts what is true, never how long it took. Every run draws other examples.
settings.register_profile("edgewise", deadline=None, max_examples=40)
settings.register_profile("thorough", deadline=None, max_examples=100)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "edgewise"))


@dataclass(frozen=True)
class Outcome:
    """What one call of the command line left behind."""

    code: int
    out: str
    err: str

    @property
    def complaints(self) -> list[str]:
        """What it said beside progress."""
        tasks = ("checking ", "preparing ", "training ", "predicting ", "evaluating ")
        return [line for line in self.err.splitlines() if not line.startswith(tasks)]


@pytest.fixture
def edgewise(capfd):
    """Calls the command line in this process."""

    def call(*arguments):
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        printed = capfd.readouterr()
        return Outcome(code=ended.value.code or 0, out=printed.out, err=printed.err)

    return call


@pytest.fixture(scope="session")
def road(tmp_path_factory):
    """Six phantoms and a run trained on them: `.data`, `.cache`, `.experiment`, `.run`."""
    from edgewise.data.phantoms import write_dataset

    root = tmp_path_factory.mktemp("road")
    data, cache = root / "phantoms", root / "cache"
    write_dataset(data, cases=6, seed=0, shape=(32, 32, 16), spacing=(8.0, 8.0, 12.0))
    experiment = write_experiment(root / "first.yaml", "first", {"steps": 4, "validate_every": 2, "report_every": 1})
    run = fit(experiment, data, root / "runs" / "first", cache)
    return SimpleNamespace(root=root, data=data, cache=cache, experiment=experiment, run=run)


@pytest.fixture(scope="session")
def second_run(road):
    """A second run on the same data: `.run`, and when the prepared cases were written `.before` and `.after`."""
    experiment = write_experiment(road.root / "second.yaml", "second", {"steps": 30, "validate_every": 2})
    before = {path: path.stat().st_mtime_ns for path in (road.cache / "prepared").rglob("*")}
    run = fit(experiment, road.data, road.root / "runs" / "second", road.cache)
    after = {path: path.stat().st_mtime_ns for path in (road.cache / "prepared").rglob("*")}
    return SimpleNamespace(run=run, experiment=experiment, before=before, after=after)


@pytest.fixture(scope="session")
def thick_run(tmp_path_factory):
    """A run on four thick-slice phantoms."""
    from edgewise.data.phantoms import write_dataset

    root = tmp_path_factory.mktemp("thick")
    write_dataset(root / "data", cases=4, seed=1, shape=(32, 32, 8), spacing=(8.0, 8.0, 40.0))
    plan = {**PLAN, "patch": [32, 32], "widths": "auto"}
    experiment = write_experiment(root / "thick.yaml", "thick", {"steps": 2, "validate_every": 2}, plan)
    return fit(experiment, root / "data", root / "run", root / "cache")
