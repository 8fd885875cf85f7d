"""`edgewise evaluate`: predicted masks against reference masks."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edgewise.console import progress, say
from edgewise.data import layouts
from edgewise.data.case import Dataset
from edgewise.data.folders import by_id, case_id, content
from edgewise.data.folders import names as numbered_names
from edgewise.data.volumes import SUFFIXES, suffix_of
from edgewise.errors import DataError, ExperimentError
from edgewise.files import write_json, write_text
from edgewise.metrics.cases import Policy, Row, summarise
from edgewise.metrics.definitions import Definitions
from edgewise.metrics.lesion_table import LesionRow, lesions_to_csv
from edgewise.metrics.presets import named
from edgewise.metrics.scoring import Names, complete
from edgewise.run.score_table import main_columns, show
from edgewise.run.scores import Task, Workers, outcomes
from edgewise.run.tables import require_table, write_table


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How masks are to be scored, and what is to be printed.

    Attributes:
        definitions: whose definitions the metrics follow.
        tolerance: of the metrics that forgive small distances, in mm.
        metrics: columns to measure; none is all of them.
        policy: what an aggregate takes for an infinite or undefined value.
        workers: number of processes.
        output: a table for people, or the summary as JSON.

    Raises:
        ExperimentError: the number of processes is not positive.
    """

    definitions: str = "default"
    tolerance: float = 2.0
    metrics: tuple[str, ...] = ()
    policy: Policy = "worst"
    workers: Workers = "auto"
    output: Literal["table", "json"] = "table"

    def __post_init__(self) -> None:
        if self.workers != "auto" and self.workers < 1:
            raise ExperimentError(f"{self.workers} workers score nothing: expected a positive number, or auto.")

    def chosen(self) -> Definitions:
        """The definitions themselves.

        Raises:
            ExperimentError: there are no such definitions or metrics, or the tolerance is not positive.
        """
        every = named(self.definitions, self.tolerance)
        return every.only(*self.metrics) if self.metrics else every


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What came of a set of cases.

    Attributes:
        rows: of every case with a readable reference, one a class or region.
        lesions: of the same cases, one a connected component of either mask.
        definitions: whose the metrics are.
        failures: why a case could not be scored as it is, by its id.
        warnings: what else is to be known of the predictions, by case.
        localisation: how well a two-stage network located the objects; empty for all others.
    """

    rows: tuple[Row, ...]
    lesions: tuple[LesionRow, ...]
    definitions: Definitions
    failures: Mapping[str, str]
    warnings: Mapping[str, Sequence[str]] = field(default_factory=dict)
    localisation: Mapping[str, Any] = field(default_factory=dict)

    def summary(self, policy: Policy = "worst") -> dict[str, Any]:
        """Aggregates, definitions, failures and warnings, ready for JSON."""
        said = {"failures": dict(self.failures), "warnings": dict(self.warnings)}
        located = {"localisation": dict(self.localisation)} if self.localisation else {}
        return summarise(self.rows, self.definitions, policy) | said | located

    def write(self, table: Path, lesions: Path, summary: Path, policy: Policy = "worst") -> None:
        """Write the table of cases (the ending chooses its format), the table of lesions, and the summary as JSON."""
        write_table(table, self.rows)
        write_text(lesions, lesions_to_csv(self.lesions))
        write_json(summary, self.summary(policy))


def evaluate(predictions: Path, references: Path, out: Path | Literal["none"], wanted: Wanted) -> Mapping[str, str]:
    """Match masks by name, score them, print a table, and write files if asked.

    Args:
        predictions: folder of predicted masks, or one of them.
        references: folder of reference masks, each of which needs a prediction, or one of them; or the folder of a
            dataset, whose cases without a prediction are left out, and counted.
        out: table of the cases, CSV or Parquet; a summary goes beside it with the ending `.json`, and a table of
            lesions with the ending `.lesions.csv`.
        wanted: how.

    Returns:
        The cases that could not be scored as they are, with the reason; a missing or unreadable prediction is scored
        as an empty mask.

    Raises:
        DataError: a file or folder is missing or holds no masks, two masks have the same name, or no names match.
        ExperimentError: there are no such definitions or metrics, or the tolerance is not positive.
        OutputError: `out` cannot be written.
        RunError: a process was killed.
    """
    chosen = wanted.chosen()
    if out != "none":
        require_table(out)
    known = _known(predictions, references)
    result = evaluate_pairs(
        known.references, known.predictions, known.names, chosen, wanted.workers, values=known.values
    )
    if not result.rows:
        reason = next(iter(result.failures.values()), "")
        raise DataError(f"{references}: no case could be scored. {reason}")
    if out != "none":
        result.write(out, out.with_suffix(".lesions.csv"), out.with_suffix(".json"), wanted.policy)
    summary = result.summary(wanted.policy)
    if wanted.output == "json":
        print(json.dumps(summary, indent=1))  # noqa: T201
    else:
        elsewhere = "--out FILE writes them, --metrics chooses" if out == "none" else f"see {out}"
        show(summary, wanted.metrics or main_columns(chosen.columns()), elsewhere)
    return result.failures


def evaluate_pairs(
    references: Mapping[str, Path],
    predictions: Mapping[str, Path],
    names: Names,
    definitions: Definitions,
    workers: Workers = "auto",
    *,
    values: tuple[int, ...] = (),
) -> Evaluation:
    """Score masks case by case; a failing case does not stop the others.

    A prediction that is missing or cannot be read counts as an empty mask: leaving it out would flatter the method.

    Args:
        references: reference mask of each case.
        predictions: predicted mask of each case.
        names: of the classes; those beyond have numbers for names.
        definitions: the metrics.
        workers: number of processes.
        values: what the references store each class under, as in `CaseFiles`.

    Raises:
        RunError: a process was killed.
    """
    scores = []
    failures: dict[str, str] = {}
    tasks = [
        Task(
            case=name,
            reference=path,
            prediction=predictions.get(name),
            names=names,
            definitions=definitions,
            values=values,
        )
        for name, path in sorted(references.items())
    ]
    with progress("evaluating") as report:
        for done, outcome in enumerate(outcomes(tasks, workers), start=1):
            if outcome.score is not None:
                scores.append(outcome.score)
            if outcome.problem:
                failures[outcome.case] = outcome.problem
            report(done, len(tasks), outcome.case)
    return Evaluation(
        rows=complete(scores, names, definitions),
        lesions=tuple(lesion for score in scores for lesion in score.lesions),
        definitions=definitions,
        failures=failures,
    )


@dataclass(frozen=True, kw_only=True)
class _Known:
    """Masks by the id of their case, and what the labels of the references mean."""

    references: Mapping[str, Path]
    predictions: Mapping[str, Path]
    names: Names
    values: tuple[int, ...] = ()


def _known(predictions: Path, references: Path) -> _Known:
    """Masks in a folder, or, where none lies there and a layout fits it, those of the dataset."""
    dataset: Dataset | None = None
    if references.is_dir() and not by_id(references)[0]:
        with contextlib.suppress(DataError):
            dataset = layouts.detect(references)
    if dataset is not None and dataset.cases:
        return _of_dataset(predictions, dataset)
    truth, predicted = matched(predictions, references)
    return _Known(references=truth, predictions=predicted, names=declared_names(references))


def _of_dataset(predictions: Path, dataset: Dataset) -> _Known:
    cases = {case.id: case for case in dataset.cases}
    predicted = _masks(predictions)
    for name in sorted({*predicted} - {*cases}):
        say(f"warning: {predicted[name]} has no reference and was not scored")
    own = [case for name, case in cases.items() if name in predicted]
    if not own:
        found, known = _found(predictions), ", ".join([*cases][:3])
        problem = f"{found}, and {dataset.root} has cases such as {known}"
        raise DataError(f"{predictions}: no mask has the name of a case: {problem}. Give both the same names.")
    if len(own) < len(cases):
        say(f"{len(cases) - len(own)} of the {len(cases)} cases of {dataset.root} have no prediction and are left out")
    return _Known(
        references={case.id: case.label for case in own if case.label is not None},
        predictions={case.id: predicted[case.id] for case in own},
        names=dataset.classes,
        values=own[0].values,
    )


def matched(predictions: Path, references: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Reference masks and predicted masks by the id of their case; two files are one case, whatever their names.

    Raises:
        DataError: a file or folder is missing or holds no masks, two masks have the same name, or no names match.
    """
    truth, predicted = _masks(references), _masks(predictions)
    if predictions.is_file() and references.is_file():
        return truth, dict(zip(truth, predicted.values(), strict=True))
    if predictions.is_file() != references.is_file():  # one case of many is wanted, not a failure of all the others
        one = predicted if predictions.is_file() else truth
        truth = {name: path for name, path in truth.items() if name in one}
        predicted = {name: path for name, path in predicted.items() if name in one}
    if not set(truth) & set(predicted):
        raise DataError(
            f"{predictions}: no mask has the name of a reference: {_found(predictions)}, {_found(references)}. "
            "Give both the same names."
        )
    for name in sorted(set(predicted) - set(truth)):
        say(f"warning: {predicted[name]} has no reference and was not scored")
    return truth, predicted


def _masks(path: Path) -> dict[str, Path]:
    if path.is_file():
        if not suffix_of(path):
            raise DataError(f"{path}: is not an image format we read. Convert it to one of {', '.join(SUFFIXES)}.")
        return {case_id(path): path}
    if not path.is_dir():
        raise DataError(f"{path}: there is no such folder or file. Pass a mask, or a folder of masks.")
    files, defects = by_id(path)
    if not files:
        raise DataError(f"{path}: no mask lies in this folder, only {content(path)}. Pass the folder of the masks.")
    if defects:
        raise DataError(str(defects[0]))
    return files


def _found(path: Path) -> str:
    return path.name if path.is_file() else f"{path} holds {content(path)}"


def declared_names(references: Path) -> Names:
    """The class names of a dataset.json beside the references or above them, as data layouts have it."""
    folder = references.parent if references.is_file() else references
    for path in (folder / "dataset.json", folder.parent / "dataset.json"):
        try:
            labels = json.loads(path.read_text(encoding="utf-8"))["labels"]
        except (OSError, ValueError, KeyError, TypeError):  # no such file, or it describes something else
            continue
        try:
            return numbered_names(path, "labels", labels)
        except DataError as error:
            say(f"warning: {error} Until then classes have numbers for names.")
    return "present"
