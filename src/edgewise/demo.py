"""`edgewise demo`: the whole road in a few minutes, on data it makes itself."""

from pathlib import Path
from typing import Any

from edgewise.console import say
from edgewise.data.phantoms import write_dataset
from edgewise.errors import RunError
from edgewise.experiment_file import parse
from edgewise.files import output_folder
from edgewise.study.file import Row, Study
from edgewise.study.folder import StudyFolder
from edgewise.study.work import Workplace, study

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
    """Make phantoms, and a study of two rows: train one small network a loss, evaluate, compare, report.

    What an earlier demo left in `out` is used: finished runs are kept, an interrupted one goes on.

    Args:
        out: folder for the data, the study and the report.
        cases: phantoms, at least 3; a third of them validates.
        steps: training steps of each network.

    Returns:
        The report.

    Raises:
        OutputError: `out` cannot be written.
        RunError: a part of the study failed.
    """
    data = output_folder(out) / "phantoms"
    if not (data / "dataset.json").exists():
        say(f"making {cases} phantoms in {data}")
        write_dataset(data, cases=cases, seed=0)
    rows = tuple(
        Row(name=name, experiment=parse(_experiment(name, loss, steps), "demo")) for name, loss in LOSSES.items()
    )
    place = Workplace(data=data, out=out, cache=out / "cache", command=f"edgewise demo --out {out}")
    failures = study(Study(name="demo", rows=rows), place)
    if failures:
        raise RunError("; ".join(f"{part}: {reason}" for part, reason in failures.items()))
    return StudyFolder(path=out).report


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
