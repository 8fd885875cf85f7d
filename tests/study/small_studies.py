"""Studies as small as they get, and how to run, interrupt and compare them."""

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import torch
import yaml

import edgewise as package
from edgewise.cli import main
from edgewise.data.phantoms import write_dataset
from methods.killed_runs import timeless
from tiny import PLAN

TRAINING = {"steps": 20, "validate_every": 5, "report_every": 5}
ROWS = {
    "dice": {"loss": {"kind": "dice"}},
    "entropy": {"loss": {"kind": "cross_entropy"}, "plan": {"workers": 1}},
}
ENGINE = {"kind": "local", "slots": 2}


@dataclass(frozen=True)
class Ended:
    """What a study printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def complaints(self):
        """What it said beside progress."""
        tasks = ("checking ", "preparing ", "study ", "predicting ", "evaluating ")
        return [line for line in self.err.splitlines() if not line.startswith(tasks)]


def settle_in(root):
    """A place with data and a base for studies: `.root`, `.data`, `.cache`, `.out`."""
    write_dataset(root / "data", cases=6, seed=0, shape=(32, 32, 16), spacing=(8.0, 8.0, 12.0))
    base = {"name": "base", "split": {"kind": "folds", "folds": 3}, "plan": PLAN, "training": TRAINING}
    (root / "base.yaml").write_text(yaml.safe_dump(base), encoding="utf-8")
    return SimpleNamespace(root=root, data=root / "data", cache=root / "cache", out=root / "out")


def write_study(place, rows, **keys):
    content = {"name": "small", "base": str(place.root / "base.yaml"), "engine": ENGINE, **keys, "rows": rows}
    path = place.root / "study.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def copied(place, root):
    """The place with a folder of its own to work in; data, cache and what is done are those of the other."""
    shutil.copytree(place.out, root / "out")
    shutil.copy(place.root / "base.yaml", root / "base.yaml")
    return SimpleNamespace(root=root, data=place.data, cache=place.cache, out=root / "out")


def arguments(place, *more):
    file = place.root / "study.yaml"
    return [
        str(each) for each in ("study", file, "--data", place.data, "--out", place.out, "--cache", place.cache, *more)
    ]


def run(place, *more):
    """The study in this process; its parts have their own."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments(place, *more))
        except SystemExit as ended:
            code = ended.code or 0
    return Ended(code=code, out=out.getvalue(), err=err.getvalue())


def path_of_processes(root):
    """`PYTHONPATH` with the intruder on it."""
    folder = root / "intruder"
    folder.mkdir()
    shutil.copy(Path(__file__).with_name("intruder.py"), folder / "sitecustomize.py")
    return os.pathsep.join([str(folder), str(Path(package.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])


def begun(place, environment):
    """The study in a process of its own."""
    log = (place.root / "study.log").open("ab")
    with log:
        return subprocess.Popen(
            [sys.executable, "-c", "from edgewise.cli import main; main()", *arguments(place)],
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
        )


def awaited(what, seconds=240.0):
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.1)


def alive(pid):
    """Whether a process runs; one that has ended and is not asked about yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def killed(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def runs(place):
    """Run folders by row and seed."""
    found = {}
    for path in sorted((place.out / "runs").glob("*/experiment.yaml")):
        experiment = yaml.safe_load(path.read_text("utf-8"))
        found[experiment["name"].split()[0], experiment["seed"]] = path.parent
    return found


def written(folder):
    """When each file below a folder was written, and its size; locks are no files of a run."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_size) for path in files}


def events(run_folder, kind):
    lines = (run_folder / "journal.jsonl").read_text("utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def same_training(one, other):
    """Whether two runs came to the same weights, optimiser and generators bit for bit, and to the same metrics."""
    contents = [timeless(torch.load(each / "checkpoints" / "last.pt", weights_only=True)) for each in (one, other)]
    torch.testing.assert_close(contents[0]["learner"], contents[1]["learner"], rtol=0, atol=0, equal_nan=True)
    tables = [(each / "metrics.csv").read_text("utf-8") for each in (one, other)]
    return tables[0] == tables[1]
