"""`edgewise evaluate`: predicted masks against reference masks."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from edgewise.console import progress, say
from edgewise.data.case import CaseFiles
from edgewise.data.folders import by_id, content
from edgewise.data.images import read_case, whole_labels
from edgewise.data.volumes import read_volume
from edgewise.errors import DataError, OutputError
from edgewise.files import output_folder, write_json, write_text
from edgewise.metrics.cases import Row, rows_of, summarise, to_csv
from edgewise.metrics.definitions import Definitions, named
from edgewise.run import environment
from edgewise.types import Labels

WORTH_WORKERS = 64
"""Fewer cases than this are scored in this process."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Rows of every case with a readable reference, whose definitions they follow, and which cases failed why."""

    rows: tuple[Row, ...]
    definitions: Definitions
    failures: Mapping[str, str]


def evaluate(
    predictions: Path,
    references: Path,
    out: Path | Literal["none"],
    *,
    definitions: str = "default",
    tolerance: float = 2.0,
) -> Mapping[str, str]:
    """Match masks by name, score them, print a table, and write CSV and JSON if asked.

    Args:
        predictions: folder of predicted masks.
        references: folder of reference masks; each one needs a prediction.
        out: CSV file; a summary goes beside it with the ending `.json`.
        definitions: whose definitions the metrics follow.
        tolerance: of the metrics that forgive small distances, in mm.

    Returns:
        The cases that could not be scored as they are, with the reason; a missing or unreadable prediction is scored
        as an empty mask.

    Raises:
        DataError: a folder is missing or holds no masks, two masks have the same name, or no names match.
        ExperimentError: there are no such definitions.
        OutputError: `out` cannot be written.
    """
    chosen = named(definitions, tolerance)
    if out != "none":
        _require_table(out)
    truth, predicted = _masks(references), _masks(predictions)
    if not set(truth) & set(predicted):
        raise DataError(
            f"{predictions}: no mask has the name of a reference: they are called {content(predictions)}, those of "
            f"{references} {content(references)}. Give both the same names."
        )
    for name in sorted(set(predicted) - set(truth)):
        say(f"warning: {predicted[name]} has no reference and was not scored")
    result = evaluate_pairs(truth, predicted, _names([*truth.values(), *predicted.values()]), chosen)
    if not result.rows:
        reason = next(iter(result.failures.values()), "")
        raise DataError(f"{references}: no case could be scored. {reason}")
    _print(result)
    if out != "none":
        write_tables(result, out, out.with_suffix(".json"))
    return result.failures


def evaluate_pairs(
    references: Mapping[str, Path], predictions: Mapping[str, Path], names: tuple[str, ...], definitions: Definitions
) -> Evaluation:
    """Score masks case by case; a failing case does not stop the others.

    A prediction that is missing or cannot be read counts as an empty mask: leaving it out would flatter the method.

    Args:
        references: reference mask of each case.
        predictions: predicted mask of each case.
        names: class names; the index is the label value.
        definitions: the metrics.
    """
    rows: list[Row] = []
    failures: dict[str, str] = {}
    tasks = [(name, predictions.get(name), path, names, definitions) for name, path in sorted(references.items())]
    with progress("evaluating") as report:
        for done, (name, scored, problem) in enumerate(_scores(tasks), start=1):
            rows += scored
            if problem:
                failures[name] = problem
            report(done, len(tasks), "")
    return Evaluation(rows=tuple(rows), definitions=definitions, failures=failures)


def write_tables(result: Evaluation, table: Path, summary: Path) -> None:
    """Write the rows as CSV and their summary as JSON."""
    write_text(table, to_csv(result.rows))
    write_json(summary, summarise(result.rows, result.definitions) | {"failures": dict(result.failures)})


_Task: TypeAlias = tuple[str, Path | None, Path, tuple[str, ...], Definitions]
_Scored: TypeAlias = tuple[str, tuple[Row, ...], str]


def _scores(tasks: list[_Task]) -> Iterator[_Scored]:
    """The rows of each case, and what is wrong with it."""
    workers = min(environment.cores(), len(tasks))
    # A worker takes seconds to import what it needs: only many cases repay that.
    if workers <= 1 or len(tasks) < WORTH_WORKERS:
        yield from map(_score, tasks)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
        yield from pool.map(_score, tasks)


def _score(task: _Task) -> _Scored:
    name, prediction, reference, names, definitions = task
    try:
        case = read_case(CaseFiles(id=name, images=(reference,), label=reference))
    except DataError as error:
        return name, (), f"{error} It was not scored."
    assert case.labels is not None
    empty, problem = np.zeros_like(case.labels), ""
    labels: Labels | None = empty
    try:
        if prediction is None:
            problem = "it has no prediction; scored as an empty mask"
        else:
            # The reference stands in for the image: it carries the grid on which the prediction has to lie.
            labels = read_case(CaseFiles(id=name, images=(reference,), label=prediction)).labels
    except DataError as error:
        problem = f"{error} Scored as an empty mask."
    predicted = labels if labels is not None else empty
    return name, rows_of(name, predicted, case.labels, case.spacing, names, definitions), problem


def _masks(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder. Pass a folder of masks.")
    files, defects = by_id(folder)
    if not files:
        raise DataError(f"{folder}: no mask lies in this folder. Pass the folder of the masks.")
    if defects:
        raise DataError(str(defects[0]))
    return files


def _require_table(out: Path) -> None:
    """Fail before the work rather than after it."""
    if out.suffix == ".json" or out.is_dir():
        raise OutputError(f"cannot write the table {out}. Choose a file that ends in .csv; a summary goes beside it.")
    output_folder(out.parent)


def _names(masks: Sequence[Path]) -> tuple[str, ...]:
    """Class names up to the largest label of any readable mask."""
    largest = 1
    for path in masks:
        with suppress(DataError):  # scoring names what is wrong with it
            largest = max(largest, int(whole_labels(read_volume(path)).max(initial=0)))
    return ("background", *(f"class {value}" for value in range(1, largest + 1)))


def _print(result: Evaluation) -> None:
    summary = summarise(result.rows, result.definitions)
    for index, entry in summary["classes"].items():
        for kind, facts in summary["definitions"].items():
            numbers = entry[kind]
            unit = "" if facts["unit"] == "1" else f" {facts['unit']}"
            arrow = "higher is better" if facts["better"] == "higher" else "lower is better"
            mean, median = (f"{numbers[k]:.3f}" if numbers[k] is not None else "undefined" for k in ("mean", "median"))
            empty = f", {numbers['one_empty']} with one empty mask" if numbers["one_empty"] else ""
            print(  # noqa: T201
                f"class {index} ({entry['name']}) {kind}: mean {mean}{unit}, median {median}{unit} "
                f"over {numbers['cases']} cases{empty} ({arrow})"
            )
    print(f"empty masks: {summary['policy']}")  # noqa: T201
