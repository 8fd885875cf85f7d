"""`edgewise demo`: the whole road in a few minutes, on data it makes itself."""

from pathlib import Path
from typing import Any

from edgewise.console import say
from edgewise.data.phantoms import write_dataset
from edgewise.errors import OutputError
from edgewise.experiment import Experiment
from edgewise.experiment_file import load, parse
from edgewise.files import output_folder
from edgewise.run.fit import Workplace
from edgewise.run.fit import run as fit
from edgewise.run.folder import RunFolder
from edgewise.run.report import report

LOSSES: dict[str, dict[str, Any]] = {
    "dice_ce": {
        "kind": "sum",
        "terms": [{"loss": {"kind": "dice"}}, {"loss": {"kind": "cross_entropy"}}],
    },
    "region_wise": {
        "kind": "sum",
        "terms": [{"loss": {"kind": "dice"}}, {"loss": {"kind": "cross_entropy"}}, {"loss": {"kind": "region_wise"}}],
    },
}
"""What the two networks differ in, and all they differ in: a region-wise term on top.

Without the cross entropy neither Dice nor the region-wise loss learns the tumours in so few steps."""


def run(out: Path, *, cases: int, steps: int) -> Path:
    """Make phantoms, train one small network a loss, evaluate, compare, report.

    What an earlier demo left in `out` is used: finished runs are kept, an interrupted one goes on.

    Args:
        out: folder for the data, the runs and the report.
        cases: phantoms, at least 3; a third of them validates.
        steps: training steps of each network.

    Returns:
        The report.

    Raises:
        OutputError: `out` cannot be written, or holds runs of another demo.
    """
    data, runs = output_folder(out) / "phantoms", out / "runs"
    if not (data / "dataset.json").exists():
        say(f"making {cases} phantoms in {data}")
        write_dataset(data, cases=cases, seed=0)
    command = f"edgewise demo --out {out}"
    for name, loss in LOSSES.items():
        place = Workplace(data=data, out=runs / name, cache=out / "cache", command=command)
        chosen = parse(_experiment(name, loss, steps), "demo")
        say(f"training {name}")
        fit(chosen, place, resume=_begun(RunFolder(path=place.out), chosen))
    return report([runs], out / "report.html")


def _begun(folder: RunFolder, chosen: Experiment) -> bool:
    """Whether a run of the same experiment is there already."""
    if not folder.experiment.exists():
        return False
    if load(folder.experiment) != chosen:
        raise OutputError(f"{folder.path} holds a run with other settings than this demo's. Choose another --out.")
    return True


def _experiment(name: str, loss: dict[str, Any], steps: int) -> dict[str, Any]:
    """Small patches about the foreground: tumours of a few voxels are learnt in minutes on two cores."""
    return {
        "name": name,
        "split": {"kind": "folds", "folds": 3, "fold": 1},  # the fold that holds the phantoms without a tumour
        "loss": loss,
        "plan": {"patch": [16, 64, 64], "batch": 2},
        "training": {
            "steps": steps,
            "foreground": 0.6,
            "validate_every": max(steps // 3, 1),
            "report_every": max(steps // 30, 1),
            "average": 0.99,
        },
        "augmentation": {"spatial": 0.2},
    }
