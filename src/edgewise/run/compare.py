"""`edgewise compare`: paired statistics between finished runs, or between tables of scores."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from edgewise.compare.ranks import RankStability, rankings
from edgewise.compare.runs import PRIMARY, Compared, Results, classes_of, compared
from edgewise.data.splits import group_of
from edgewise.errors import DataError, RunError
from edgewise.metrics.cases import FIXED, POLICIES, Row, from_csv
from edgewise.metrics.definitions import nearest
from edgewise.metrics.presets import named
from edgewise.report.methods import gaps
from edgewise.report.page import told_apart
from edgewise.report.records import read_run
from edgewise.report.words import counted
from edgewise.run.folder import RunFolder, runs_in
from edgewise.run.report import grouped
from edgewise.run.verdict_table import brief, described, show


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be compared, and how it is to be printed.

    Attributes:
        metrics: columns; none is the primary ones.
        group: pattern that finds the patient in a case id of a table, `auto`, or `none`: each case is one.
        output: every comparison as a table for people; `brief`: the means, and the differences that were found; or
            everything as JSON.
    """

    metrics: tuple[str, ...] = ()
    group: str = "auto"
    output: Literal["table", "brief", "json"] = "table"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything the verb prints.

    Attributes:
        results: of each method.
        found: verdicts and refusals.
        ranks: of three or more methods, by metric and class.
        notes: what a reader of the numbers must know.
    """

    results: tuple[Results, ...]
    found: Compared
    ranks: tuple[RankStability, ...]
    notes: tuple[str, ...]


def compare(paths: Sequence[Path], wanted: Wanted) -> None:
    """Print what paired statistics say about runs and tables of scores.

    Args:
        paths: run folders, folders of them, and tables that `edgewise evaluate` wrote.
        wanted: what and how.

    Raises:
        DataError: there is one method only, a table cannot be used, or nothing could be compared.
        RunError: a folder is no run, or the run has not finished.
    """
    found = comparison(paths, wanted)
    if wanted.output == "json":
        print(json.dumps(described(found.results, found.found, found.ranks, found.notes), indent=1))  # noqa: T201
    elif wanted.output == "brief":
        brief(found.results, found.found, found.notes)
    else:
        show(found.results, found.found, found.ranks, found.notes)


def comparison(paths: Sequence[Path], wanted: Wanted) -> Comparison:
    """Read and compare; see `compare`."""
    tables = [path for path in paths if path.suffix.lower() == ".csv"]
    folders = [path for path in paths if path not in tables]
    for path in folders:
        if path.is_file():
            raise DataError(f"{path} is neither a run folder nor a table that ends in .csv. Pass one of these.")
    runs = [run for path in folders for run in runs_in(path)]
    results, notes = _methods(list(dict.fromkeys(runs)))
    for path in dict.fromkeys(tables):
        table, remarks = _table(path, wanted.group)
        results.append(table)
        notes += remarks
    results = _told_apart(results)
    if len(results) < 2:
        raise DataError(_too_few(results, len(set(runs))))
    metrics = wanted.metrics or PRIMARY
    _require_metrics(results, metrics)
    for each in results:
        _require_numbers(each, metrics)
    found = compared(results, metrics)
    if not found.verdicts:
        first = found.refusals[0]
        raise DataError(
            f"nothing could be compared: {first.metric} of {first.first} and {first.second}: {first.reason}."
        )
    notes += [note for each in results for note in _notes_on(each, metrics)]
    return Comparison(
        results=tuple(results),
        found=found,
        ranks=rankings(results, metrics),
        notes=tuple(dict.fromkeys([*notes, *_notes_on_pairs(found)])),
    )


def _methods(folders: Sequence[Path]) -> tuple[list[Results], list[str]]:
    """Runs whose experiments differ in name, seed and fold only are one method, as in the report."""
    for folder in folders:
        files = RunFolder(path=folder)
        missing = [path.name for path in (files.metrics, files.summary) if not path.exists()]
        if missing:
            raise RunError(
                f"{folder} has not finished: it has no {' and no '.join(missing)}. Go on with it "
                "(`edgewise fit` with --resume), or leave it out."
            )
    records = told_apart([read_run(folder) for folder in folders])
    for record in records:
        _rows(record.folder / "metrics.csv")
    results, refused = grouped(records)
    if refused:
        raise DataError(f"{refused[0].first}: {refused[0].reason}.")
    notes = [
        f"{record.name}: {failure}"
        for record in records
        for failure in dict.fromkeys([*record.journal.failures, *_failures(record.summary)])
    ]
    notes += gaps(records)
    if len({str(record.dataset.get("digest", "")) for record in records}) > 1:
        notes.append("the runs were trained on datasets of different content")
    return results, notes


def _failures(summary: Any) -> list[str]:
    failures = summary.get("failures", {}) if isinstance(summary, dict) else {}
    return [f"{case}: {reason}" for case, reason in failures.items()] if isinstance(failures, dict) else []


def _table(path: Path, group: str) -> tuple[Results, list[str]]:
    """A table of `edgewise evaluate`, called by its file, or that of a run, called by its folder.

    Its summary, which lies beside it, says what the columns mean.
    """
    rows, run = _rows(path), RunFolder(path=path.parent)
    of_run = path.name == run.metrics.name and run.experiment.exists()
    name, beside = (path.resolve().parent.name, run.summary) if of_run else (path.stem, path.with_suffix(".json"))
    summary = run.mapping(beside) if beside.exists() else {}
    definitions, notes = summary.get("definitions"), [f"{name}: {failure}" for failure in _failures(summary)]
    if not isinstance(definitions, dict):
        facts = named("default").facts()
        columns = dict.fromkeys(column for row in rows for column in row.values)
        definitions = {column: facts[column] for column in columns if column in facts}
        notes.append(f"{name}: no summary lies beside the table ({beside.name}): default definitions are assumed")
    groups = {row.case: row.case if group == "none" else group_of(row.case, group) for row in rows}
    return Results(name=name, rows={"0": rows}, definitions=definitions, groups=groups), notes


def _rows(path: Path) -> tuple[Row, ...]:
    """The rows of a table.

    Raises:
        DataError: it cannot be read, has no rows or no metrics, or holds a case twice.
    """
    try:
        rows = from_csv(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}. Pass a table that `edgewise evaluate` wrote.") from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    if not rows or not any(row.values for row in rows):
        mend = f"Besides {', '.join(FIXED)} it needs a column for each metric."
        raise DataError(f"{path} holds no {'metrics' if rows else 'cases'}. {mend if rows else 'Evaluate some.'}")
    seen: set[tuple[str, int]] = set()
    for row in rows:
        if (row.case, row.class_index) in seen:
            raise DataError(
                f"{path} holds case {row.case}, class {row.class_index} more than once. Remove all but one."
            )
        seen.add((row.case, row.class_index))
    return rows


def _told_apart(results: Sequence[Results]) -> list[Results]:
    names = [each.name for each in results]
    return [
        replace(each, name=f"{each.name} ({names[:i].count(each.name) + 1})") if names.count(each.name) > 1 else each
        for i, each in enumerate(results)
    ]


def _too_few(results: Sequence[Results], runs: int) -> str:
    if runs > 1:
        return (
            f"all {runs} runs are one method, {results[0].name}: their experiments differ in name, seed and fold only. "
            "Pass the runs of another method too, or their metrics.csv files to compare the seeds."
        )
    return "one run alone cannot be compared. Pass at least two runs or tables."


def _require_metrics(results: Sequence[Results], metrics: Sequence[str]) -> None:
    known = dict.fromkeys(column for each in results for column in each.definitions)
    for metric in metrics:
        if metric not in known:
            raise DataError(f"none of the runs has a metric {nearest(metric, known)}")


def _require_numbers(results: Results, metrics: Sequence[str]) -> None:
    """Refuse NaN where both masks have voxels: no definition gives it, so the table is broken."""
    for rows in results.rows.values():
        for row in rows:
            bad = [metric for metric in metrics if not row.empty and math.isnan(row.values.get(metric, 0.0))]
            if bad:
                raise DataError(
                    f"{results.name}: {bad[0]} of case {row.case}, {row.class_name} is NaN though neither mask is "
                    "empty. Evaluate this case again, or remove it from every table."
                )


def _notes_on(results: Results, metrics: Sequence[str]) -> Iterator[str]:
    rows = [row for seed in results.rows.values() for row in seed]
    for index, name in classes_of([results]):
        empty = [row.empty for row in rows if row.class_index == index]
        for kind, said in (("prediction", "missed altogether"), ("reference", "invented")):
            count = empty.count(kind)  # type: ignore[arg-type]
            if count:
                yield f"{results.name}: {name} was {said} in {count} of {counted(len(empty), 'case')}"
    infinite = [m for m in metrics if any(not math.isfinite(row.values.get(m, 0.0)) for row in rows)]
    if infinite:
        yield f"{', '.join(infinite)} of empty masks: {POLICIES['worst']}"


def _notes_on_pairs(found: Compared) -> Iterator[str]:
    for each in found.verdicts:
        if each.left_out:
            yield f"{each.first} and {each.second} share {each.result.cases} cases; {each.left_out} were left out"
    if any(min(each.result.seeds) == 1 for each in found.verdicts):
        yield (
            "with one seed a comparison speaks of these trained networks, not of what another training of the same "
            "methods would give; pass runs with several seeds"
        )
