"""What a report is made from: run folders, read into plain records."""

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from edgewise.errors import DataError, RunError
from edgewise.metrics.cases import FIXED
from edgewise.metrics.lesion_table import LesionRow, lesions_from_csv
from edgewise.metrics.located_table import LocatedRow, located_from_csv
from edgewise.report.journal import Journal, number, read_journal
from edgewise.types import Field, Labels, Spacing

EXPECTED = (
    "experiment.yaml",
    "plan.yaml",
    "dataset.json",
    "environment.json",
    "journal.jsonl",
    "metrics.csv",
    "summary.json",
)
VOXELS = ("reference_voxels", "prediction_voxels", "shared_voxels")


@dataclass(frozen=True, kw_only=True)
class PanelCase:
    """What a picture of one case needs; all arrays share one grid, turned to RAS+.

    Attributes:
        image: (x, y, z) float32, one channel.
        reference: (x, y, z) labels.
        prediction: (x, y, z) labels.
        spacing: voxel size along x, y, z in mm.
    """

    image: Field
    reference: Labels
    prediction: Labels
    spacing: Spacing


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One line of a plan: what was decided, and why."""

    name: str
    value: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Score:
    """The metrics of one class in one case.

    Attributes:
        case: id of the case.
        label: value of the class.
        values: metric -> value; `inf` and `nan` are kept.
        empty: which mask was empty: "", "both", "prediction" or "reference".
        diagonal: of the image in mm, the largest distance there is in it; `nan` where the table has none.
        voxels: of the reference, of the prediction, and of both; empty where the table does not count them.
    """

    case: str
    label: int
    values: Mapping[str, float]
    empty: str
    diagonal: float = math.nan
    voxels: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """Everything a report says about one run.

    Attributes:
        name: unique name of the run within a report.
        folder: where it lies.
        experiment: the experiment file, as a tree.
        experiment_text: the experiment file, as written.
        plan: decisions in order.
        dataset: name, root, classes (index = label), train and validation ids, digest.
        environment: packages, python, hardware, commit, command.
        journal: training.
        scores: one a case and class.
        summary: aggregates, metric definitions and the policy for empty masks.
        missing: files a finished run has and this one has not.
        lesions: of both masks of all cases; empty where the run did not write them.
        located: objects and the regions a two-stage network found for them; empty for all other runs.
        load: gives the arrays of a validation case; `None` where pictures are not wanted.
        heat: gives the heatmap of a validation case, (x, y, z) in [0, 1] on the image's grid; of no voxel where the
            run has none.
    """

    name: str
    folder: Path
    experiment: Mapping[str, Any]
    experiment_text: str
    plan: tuple[Decision, ...]
    dataset: Mapping[str, Any]
    environment: Mapping[str, Any]
    journal: Journal
    scores: tuple[Score, ...]
    summary: Mapping[str, Any]
    missing: tuple[str, ...]
    lesions: tuple[LesionRow, ...] = ()
    located: tuple[LocatedRow, ...] = ()
    load: Callable[[str], PanelCase] | None = None
    heat: Callable[[str], Field] | None = None

    @property
    def finished(self) -> bool:
        """Training ended and every file is there."""
        return bool(self.journal.ending) and not self.missing

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; the index is the label and 0 the background."""
        names = [str(name) for name in self.dataset.get("classes", ())]
        top = max((score.label for score in self.scores), default=0)
        return tuple(names + [f"class {label}" for label in range(len(names), top + 1)])

    @property
    def definitions(self) -> dict[str, Mapping[str, Any]]:
        """What the summary says about each column; older runs say less, or nothing."""
        said = self.summary.get("definitions")
        entries = said.items() if isinstance(said, Mapping) else ()
        return {str(name): entry if isinstance(entry, Mapping) else {"definition": entry} for name, entry in entries}

    @property
    def unscored(self) -> tuple[str, ...]:
        """Validation cases without a row in `metrics.csv`, once there is one."""
        scored = {score.case for score in self.scores}
        expected = (str(case) for case in self.dataset.get("validation", ()))
        return tuple(case for case in expected if case not in scored) if scored else ()


def read_run(
    folder: Path, load: Callable[[str], PanelCase] | None = None, heat: Callable[[str], Field] | None = None
) -> RunRecord:
    """Read a run folder, finished or not.

    Args:
        folder: the run folder.
        load: gives the arrays of a validation case by id, for the pictures.
        heat: gives the heatmap of a validation case by id.

    Returns:
        The record, named by the experiment's `name` where it has one, else by the folder; what is missing is
        empty and listed in `missing`.

    Raises:
        RunError: `folder` is no run folder, or one of its files cannot be read.
    """
    there = [name for name in EXPECTED if (folder / name).is_file()]
    if not {"experiment.yaml", "journal.jsonl", "metrics.csv"} & set(there):
        raise RunError(
            f"{folder} is no run folder: it has neither experiment.yaml nor journal.jsonl nor metrics.csv. "
            "Pass the folder that `edgewise fit --out` wrote."
        )
    experiment = _mapping(folder / "experiment.yaml")
    text = (folder / "experiment.yaml").read_text(encoding="utf-8") if experiment else ""
    return RunRecord(
        name=str(experiment.get("name") or folder.resolve().name),
        folder=folder,
        experiment=experiment,
        experiment_text=text,
        plan=tuple(_decisions(_mapping(folder / "plan.yaml"))),
        dataset=_mapping(folder / "dataset.json"),
        environment=_mapping(folder / "environment.json"),
        journal=read_journal(folder / "journal.jsonl"),
        scores=tuple(_scores(folder / "metrics.csv")),
        summary=_mapping(folder / "summary.json"),
        missing=tuple(name for name in EXPECTED if name not in there),
        lesions=_lesions(folder / "lesions.csv"),
        located=_located(folder / "localisation.csv"),
        load=load,
        heat=heat,
    )


def _mapping(path: Path) -> dict[str, Any]:
    """A YAML or JSON mapping; empty where the file is absent."""
    if not path.is_file():
        return {}
    try:
        text = path.read_text(encoding="utf-8")
        value = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise RunError(f"{path} cannot be read: {error}. Restore it, or repeat the run.") from error
    if not isinstance(value, dict):
        raise RunError(f"{path} holds a {type(value).__name__}, not a mapping. Restore it, or repeat the run.")
    return {str(key): item for key, item in value.items()}


def _decisions(plan: Mapping[str, Any]) -> Iterator[Decision]:
    for name, entry in plan.items():
        given = entry if isinstance(entry, dict) and "value" in entry else {"value": entry}
        yield Decision(name=name, value=plain(given["value"]), reason=str(given.get("reason", "")))


def plain(value: Any) -> str:
    """A setting as a reader would write it: lists joined by commas, mappings by their `kind` and fields."""
    if isinstance(value, Mapping):
        fields = ", ".join(f"{key} {plain(item)}" for key, item in value.items() if key != "kind")
        kind = str(value.get("kind", ""))
        return f"{kind} ({fields})" if kind and fields else kind or fields
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else "none" if value is None else str(value)


def _scores(path: Path) -> Iterator[Score]:
    if not path.is_file():
        return
    with path.open(newline="", encoding="utf-8") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            try:
                yield Score(
                    case=row["case"],
                    label=int(row["class"]),
                    values={key: number(entry) for key, entry in row.items() if key not in FIXED},
                    empty=row.get("empty") or "",
                    diagonal=number(row.get("diagonal_mm")),
                    voxels=tuple(int(row[column]) for column in VOXELS if row.get(column)),
                )
            except (KeyError, TypeError, ValueError) as error:
                raise RunError(
                    f"{path} line {line} cannot be understood ({error!r}). Repeat `edgewise evaluate`."
                ) from error


def _lesions(path: Path) -> tuple[LesionRow, ...]:
    if not path.is_file():
        return ()
    try:
        return lesions_from_csv(path.read_text(encoding="utf-8"))
    except DataError as error:
        raise RunError(f"{path} cannot be understood: {error} Repeat `edgewise evaluate`.") from error


def _located(path: Path) -> tuple[LocatedRow, ...]:
    if not path.is_file():
        return ()
    try:
        rows = located_from_csv(path.read_text(encoding="utf-8"))
        for row in rows:
            if not all(map(math.isfinite, (*row.object, *row.box, *row.roi))):
                raise DataError(f"a box of case {row.case} has a side that is no number.")
    except (DataError, UnicodeDecodeError) as error:
        mend = "Remove it and curves.png; `edgewise fit --resume` then evaluates the run again."
        raise RunError(f"{path} cannot be understood: {error} {mend}") from error
    return rows
