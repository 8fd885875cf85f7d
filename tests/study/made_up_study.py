"""A study folder whose parts have made-up numbers: nothing is trained."""

import json

import numpy as np
import yaml

from edgewise.experiment import dump
from edgewise.metrics.cases import Row, summarise, to_csv
from edgewise.metrics.presets import named
from edgewise.study.file import load
from edgewise.study.folder import StudyFolder

DEFINITIONS = named("default").only("dice", "hd95", "nsd")
FILE = {
    "name": "Which loss",
    "folds": [0, 1],
    "seeds": [0, 1],
    "rows": {
        "dice": {
            "split": {"kind": "folds", "folds": 2},
            "loss": {"kind": "dice"},
            "claim": {"source": "Nobody et al. 2020", "data": "ACDC", "values": {"dice": 0.7, "nsd": 0.1}},
        },
        "dice_ce": {"split": {"kind": "folds", "folds": 2}},
    },
}


def write(folder, **changes):
    """The study and its folder, as `edgewise study` leaves them before the first part."""
    file = folder.parent / f"{folder.name}.yaml"
    file.write_text(yaml.safe_dump(FILE | changes))
    study, found = load(file), StudyFolder(path=folder)
    found.path.mkdir()
    found.runs.mkdir()
    found.write(study, {"data": "/nowhere"})
    return study, found


def begin(folder, part, step=7):
    run = folder.run(part)
    run.path.mkdir(parents=True)
    run.experiment.write_text(yaml.safe_dump(dump(part.experiment)))
    run.journal.write_text(
        json.dumps({"event": "train", "step": step, "seconds": 1.0, "loss": 1.0, "rate": 0.1}) + "\n"
    )


def finish(folder, part, mean=0.7):
    """Ten patients, dealt out to the folds."""
    begin(folder, part)
    run, fold = folder.run(part), part.experiment.split.fold
    rng = np.random.default_rng([part.seed, len(part.row)])
    dice = np.clip(mean + rng.normal(0, 0.02, 10), 0, 1)
    rows = [
        Row(
            case=f"patient{i:03}", class_index=1, class_name="tumour", reference_ml=9.0, prediction_ml=9.0,
            reference_voxels=100, prediction_voxels=100, shared_voxels=90, empty="", diagonal_mm=300.0,
            values={"dice": float(dice[i]), "hd95": float(20 * (1 - dice[i])), "nsd": float(dice[i])},
        )
        for i in range(10)[fold::2]
    ]  # fmt: skip
    run.metrics.write_text(to_csv(rows))
    run.summary.write_text(json.dumps(summarise(rows, DEFINITIONS) | {"failures": {}}))
    run.dataset.write_text(json.dumps({"name": "Phantoms", "classes": ["background", "tumour"], "digest": "1"}))
    with run.journal.open("a") as file:
        file.write('{"event": "end", "reason": "all steps done", "best_step": 7}\n')
    run.curves.write_bytes(b"")
