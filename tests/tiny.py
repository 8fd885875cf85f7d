"""A plan as small as it gets, the experiment file that holds it, and the run that follows."""

from pathlib import Path

import pytest
import yaml

from edgewise.cli import main

# Everything the machine would decide is fixed, so that runs can be compared bit by bit.
PLAN = {
    "patch": [8, 16, 16],
    "widths": [8, 8],
    "batch": 1,
    "precision": "fp32",
    "memory_format": "contiguous",
    "threads": 1,
    "workers": 0,
}


def write_experiment(path: Path, name: str, training: dict[str, int], plan: dict[str, object] = PLAN) -> Path:
    experiment = {"name": name, "split": {"kind": "folds", "folds": 3}, "plan": plan, "training": training}
    path.write_text(yaml.safe_dump(experiment), encoding="utf-8")
    return path


def fit(experiment: Path, data: Path, out: Path, cache: Path) -> Path:
    with pytest.raises(SystemExit) as ended:
        main(["fit", str(experiment), "--data", str(data), "--out", str(out), "--cache", str(cache)])
    assert ended.value.code == 0
    return out
