"""`edgewise report`: one HTML page about a run, or about several runs compared."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from edgewise.compare.runs import Results, verdicts
from edgewise.data import layouts
from edgewise.data.case import CaseFiles
from edgewise.data.folders import by_id
from edgewise.data.images import read_case
from edgewise.data.splits import group_of
from edgewise.errors import DataError, RunError
from edgewise.metrics.cases import from_csv
from edgewise.report.page import told_apart, write
from edgewise.report.records import PanelCase, RunRecord, read_run
from edgewise.run.folder import RunFolder


def report(runs: Sequence[Path], out: Path | Literal["run"]) -> Path:
    """Write the page; return its path.

    Args:
        runs: run folders, or one folder that holds run folders.
        out: HTML file; `run` is `report.html` in the first folder given.

    Raises:
        RunError: a folder is no run and holds none.
    """
    folders = list(dict.fromkeys(folder for path in runs for folder in _runs_in(path)))
    records = told_apart([read_run(folder, _loader(RunFolder(path=folder))) for folder in folders])
    target = runs[0] / "report.html" if out == "run" else out
    write(records, target, verdicts([results_of(record) for record in records]))
    return target


def _runs_in(path: Path) -> list[Path]:
    if (path / "experiment.yaml").exists():
        return [path]
    below = sorted(p.parent for p in path.glob("*/experiment.yaml"))
    if not below:
        raise RunError(f"{path} is no run folder and holds none. Pass a folder made by `edgewise fit`.")
    return below


def _loader(folder: RunFolder) -> Callable[[str], PanelCase]:
    """Gives the arrays of a case: the dataset's image and reference, the run's prediction."""
    files = {}
    if folder.dataset.exists():
        try:
            root = Path(str(folder.mapping(folder.dataset).get("root", "")))
            files = {case.id: case for case in layouts.detect(root).cases}
        except DataError:
            files = {}  # the data has moved away: the page says so where a picture is missing
    predicted, _ = by_id(folder.predictions)

    def load(name: str) -> PanelCase:
        if name not in files:
            raise DataError(f"the image of case {name} is not where it was when the run was made.")
        case = read_case(files[name])
        if name not in predicted or case.labels is None:
            raise RunError(f"case {name} has no prediction in {folder.predictions}.")
        prediction = read_case(CaseFiles(id=name, images=files[name].images[:1], label=predicted[name])).labels
        assert prediction is not None
        return PanelCase(image=case.image[0], reference=case.labels, prediction=prediction, spacing=case.spacing)

    return load


def results_of(record: RunRecord) -> Results:
    """What comparisons need of a run."""
    table = RunFolder(path=record.folder).metrics
    rows = from_csv(table.read_text(encoding="utf-8")) if table.exists() else ()
    pattern = str(record.experiment.get("split", {}).get("group", "auto"))
    return Results(
        name=record.name,
        rows={str(record.experiment.get("seed", 0)): rows},
        definitions=record.summary.get("definitions", {}),
        groups={row.case: group_of(row.case, pattern) for row in rows},
    )
