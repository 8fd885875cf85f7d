"""`edgewise report`: one HTML page about a run, or about several runs compared."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from edgewise.compare.ranks import rankings
from edgewise.compare.runs import Refusal, Results, compared
from edgewise.data import layouts
from edgewise.data.case import CaseFiles
from edgewise.data.folders import by_id
from edgewise.data.images import read_case
from edgewise.data.splits import group_of
from edgewise.errors import DataError, RunError
from edgewise.metrics.cases import Row, from_csv
from edgewise.report.methods import methods
from edgewise.report.page import told_apart, write
from edgewise.report.records import PanelCase, RunRecord, read_run
from edgewise.report.standing import Study
from edgewise.run.folder import RunFolder, runs_in
from edgewise.types import Field


def report(runs: Sequence[Path], out: Path | Literal["run"]) -> Path:
    """Write the page; return its path.

    Args:
        runs: run folders, or one folder that holds run folders.
        out: HTML file; `run` is `report.html` in the first folder given.

    Raises:
        RunError: a folder is no run and holds none.
    """
    folders = list(dict.fromkeys(folder for path in runs for folder in runs_in(path)))
    target = runs[0] / "report.html" if out == "run" else out
    page(read(folders), target, "none")
    return target


def read(folders: Sequence[Path]) -> list[RunRecord]:
    """The runs with all that a page wants, told apart by their names."""
    return told_apart([_read(RunFolder(path=folder)) for folder in folders])


def page(records: Sequence[RunRecord], target: Path, study: Study | Literal["none"]) -> None:
    """Compare the runs, and write the page about them, or about the study that they are of."""
    results, unread = grouped(records)
    found = compared(results)
    refusals = (*found.refusals, *(unread if len(records) > 1 else ()))
    write(records, target, found.verdicts, refusals, rankings(results), study)


def grouped(records: Sequence[RunRecord]) -> tuple[list[Results], list[Refusal]]:
    """What comparisons need of each method: its seeds, each with all its folds; and the runs that cannot give it."""
    found, refused = [], []
    for method in methods(records):
        read = []
        for run in method.runs:
            try:
                read.append(results_of(records[run]))
            except DataError as error:  # an older run, whose table has fewer columns: the page shows what it has
                pair = {"first": records[run].name, "second": "the other runs"}
                refused.append(Refusal(metric="every metric", class_name="", **pair, reason=str(error).rstrip(".")))
        found += _pooled(method.name, read)
    return found, refused


def _pooled(name: str, runs: Sequence[Results]) -> list[Results]:
    """The runs of a method as one set of results, the folds of a seed together; as they are where that cannot be.

    That is where they were not measured alike, or a case lies in two folds.
    """
    rows: dict[str, tuple[Row, ...]] = {}
    for each in runs:
        for seed, own in each.rows.items():
            rows[seed] = (*rows.get(seed, ()), *own)
    groups = {case: patient for each in runs for case, patient in each.groups.items()}
    twice = any(len({(row.case, row.class_index) for row in own}) < len(own) for own in rows.values())
    if twice or any(each.definitions != runs[0].definitions for each in runs):
        return list(runs)
    return [replace(runs[0], name=name, rows=rows, groups=groups)] if runs else []


def _read(folder: RunFolder) -> RunRecord:
    return read_run(folder.path, _loader(folder), _heats(folder))


def _heats(folder: RunFolder) -> Callable[[str], Field]:
    """Gives the heatmap of a case, as a share of 1; of no voxel where there is none."""
    maps, _ = by_id(folder.heat)

    def heat(name: str) -> Field:
        if name not in maps:
            return np.zeros((0, 0, 0), np.float32)
        percent: Field = read_case(CaseFiles(id=name, images=(maps[name],))).image[0]
        return percent / 100

    return heat


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
