"""Cross-validated runs with made-up numbers: the folds of a seed are a whole run, dealt out."""

import json
import re

from edgewise.metrics.cases import from_csv, to_csv
from edgewise.report.records import read_run


def write_folds(folder, whole, folds=2, only=None, name=None, claim=None):
    """Deal the cases of a finished run out to `folds` runs beside it; their folders."""
    experiment = json.loads((whole / "experiment.yaml").read_text())
    own = name or re.sub(r"_s\d+$", "", experiment["name"])
    found = []
    for fold in range(folds) if only is None else only:
        target = folder / f"{own}_fold_{fold}_seed_{experiment['seed']}"
        target.mkdir(parents=True)
        for file in whole.iterdir():
            (target / file.name).write_bytes(file.read_bytes())
        rows = from_csv((whole / "metrics.csv").read_text())
        cases = sorted({row.case for row in rows})[fold::folds]
        (target / "metrics.csv").write_text(to_csv([row for row in rows if row.case in cases]))
        split = experiment["split"] | {"folds": folds, "fold": fold}
        told = f"{own} fold {fold} seed {experiment['seed']}"
        changed = experiment | {"name": told, "split": split, "claim": claim}
        (target / "experiment.yaml").write_text(json.dumps(changed))
        dataset = json.loads((whole / "dataset.json").read_text())
        (target / "dataset.json").write_text(json.dumps(dataset | {"validation": cases}))
        found.append(target)
    return found


def read(folders):
    return [read_run(folder) for folder in folders]
