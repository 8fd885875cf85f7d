"""A whole study on each engine, with whoever keeps its first part killed in the middle."""

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace

import pytest
import torch
import yaml

from edgewise.cli import main
from edgewise.engines import slurm
from tiny import write_experiment

ROWS = {"as_in_base": {}, "cross_entropy": {"loss": {"kind": "cross_entropy"}}}


@dataclass(frozen=True)
class Given:
    """A study file, and a folder of the study that nobody disturbed."""

    file: Path
    undisturbed: Path


@pytest.fixture(scope="module")
def given(road, tmp_path_factory):
    root = tmp_path_factory.mktemp("clusters")
    write_experiment(root / "base.yaml", "base", {"steps": 24, "validate_every": 8, "report_every": 8})
    file = root / "study.yaml"
    file.write_text(yaml.safe_dump({"name": "clusters", "base": "base.yaml", "rows": ROWS}), encoding="utf-8")
    assert study(file, road, root / "local", "{kind: local, slots: 1}") == 0
    return Given(file=file, undisturbed=root / "local")


def study(file: Path, road: SimpleNamespace, out: Path, engine: str) -> int:
    places = [("--data", road.data), ("--out", out), ("--cache", road.cache), ("--engine", engine)]
    with pytest.raises(SystemExit) as ended:
        main(["study", str(file), *(str(word) for pair in places for word in pair)])
    return ended.value.code or 0


def keepers(out: Path) -> list[int]:
    """The processes that began parts of a study: Ray's workers, or submitit's jobs."""
    found = []
    for place in Path("/proc").iterdir():
        try:
            command = (place / "cmdline").read_bytes().decode().split("\0")
            above = int((place / "stat").read_text(encoding="ascii").rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if "edgewise.study.part" in command and str(out.resolve()) in command:
            found.append(above)
    return found


def kill_after_first_checkpoint(out: Path, ended: Event, killed: list[int]) -> None:
    while not killed and not ended.wait(0.02):
        if list(out.glob("runs/*/checkpoints/last.pt")):
            killed.extend(keepers(out))
            for keeper in killed:
                os.kill(keeper, signal.SIGKILL)


def weights(out: Path) -> dict[str, dict[str, torch.Tensor]]:
    runs = sorted((out / "runs").glob("*/checkpoints/best.pt"))
    return {run.parts[-3]: torch.load(run, weights_only=True)["network"] for run in runs}


def resumed(out: Path) -> list[str]:
    journals = [path.read_text(encoding="utf-8").splitlines() for path in (out / "runs").glob("*/journal.jsonl")]
    texts = [json.loads(line).get("text", "") for lines in journals for line in lines]
    return [text for text in texts if text.startswith("resumed at step")]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
@pytest.mark.parametrize(
    "engine",
    [
        "{kind: ray, address: local, cpus: 1, memory_gb: 0.5}",
        "{kind: slurm, executor: local, gpus: 0, cpus: 1, jobs: 2}",
    ],
)
def test_a_study_goes_on_after_a_kill_and_ends_as_if_there_had_been_none(engine, given, road, tmp_path, monkeypatch):
    pytest.importorskip("ray" if "ray" in engine else "submitit")
    monkeypatch.setattr(slurm, "EVERY", 0.5)
    out, ended, killed = tmp_path / "cluster", Event(), []
    killer = Thread(target=kill_after_first_checkpoint, args=(out, ended, killed))
    killer.start()
    try:
        assert study(given.file, road, out, engine) == 0
    finally:
        ended.set()
        killer.join()
    assert killed
    assert any(text != "resumed at step 0" for text in resumed(out))
    ours, undisturbed = weights(out), weights(given.undisturbed)
    assert len(ours) == len(ROWS)
    assert ours.keys() == undisturbed.keys()
    for run, network in ours.items():
        for name, values in network.items():
            torch.testing.assert_close(values, undisturbed[run][name], rtol=0, atol=0)
