"""`edgewise report`: one HTML page about a run, or about several runs compared."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path
from typing import Literal

from edgewise.compare.statistics import holm, paired
from edgewise.data import layouts
from edgewise.data.case import CaseFiles
from edgewise.data.folders import by_id
from edgewise.data.images import read_case
from edgewise.data.splits import group_of
from edgewise.errors import DataError, RunError
from edgewise.metrics.base import Metric
from edgewise.metrics.cases import Row, from_csv
from edgewise.report.page import told_apart, write
from edgewise.report.records import PanelCase, RunRecord, read_run
from edgewise.report.words import Verdict
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
    write(records, target, verdicts(records))
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


def verdicts(records: Sequence[RunRecord]) -> list[Verdict]:
    """Paired comparisons of every pair of runs on the cases both have, for every metric and class, Holm-corrected."""
    from edgewise.catalog import discover

    tables = [(record, _rows(record)) for record in records]
    found: list[Verdict] = []
    for (first, ours), (second, theirs) in combinations(tables, 2):
        pattern = str(first.experiment.get("split", {}).get("group", "auto"))
        for (label, name), (metric, component) in product(list(enumerate(first.classes))[1:], discover(Metric).items()):
            a, b = _column(ours, label, metric), _column(theirs, label, metric)
            groups = {case: group_of(case, pattern) for case in sorted(set(a) & set(b))}
            if not groups:
                continue
            result = paired({c: a[c] for c in groups}, {c: b[c] for c in groups}, groups, better=component.better)
            found.append(
                Verdict(
                    metric=metric,
                    class_name=name,
                    first=first.name,
                    second=second.name,
                    difference=result.difference,
                    interval=result.interval,
                    p=result.p,
                    cases=result.cases,
                    groups=result.groups,
                    correction="Holm",
                )
            )
    corrected = holm([verdict.p for verdict in found])
    return [replace(verdict, p=p) for verdict, p in zip(found, corrected, strict=True)]


def _rows(record: RunRecord) -> tuple[Row, ...]:
    table = RunFolder(path=record.folder).metrics
    return from_csv(table.read_text(encoding="utf-8")) if table.exists() else ()


def _column(rows: Sequence[Row], label: int, metric: str) -> dict[str, float]:
    """Finite values by case; an infinite distance counts as the diagonal of its image, as the summary's does."""
    return {
        row.case: row.values[metric] if math.isfinite(row.values[metric]) else row.diagonal_mm
        for row in rows
        if row.class_index == label and metric in row.values
    }
