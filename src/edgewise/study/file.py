"""The study file: YAML in, a checked `Study` out; what is wrong with it is said in words."""

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import TypeAdapter, ValidationError

from edgewise import experiment_file
from edgewise.engines.base import Engine
from edgewise.engines.local import Local
from edgewise.errors import EngineError, ExperimentError, StudyError
from edgewise.experiment import AnySplit, Experiment, Folds, identity, with_fold
from edgewise.experiment import dump as dump_experiment
from edgewise.mistakes import explain
from edgewise.run.shipped import located
from edgewise.study.written import Written, of_study, read

_FILE = -1
"""Stands for the fold or the seed that the experiments have."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the study's table: an experiment, to be run for every fold and seed."""

    name: str
    experiment: Experiment


@dataclass(frozen=True, kw_only=True)
class Part:
    """One training of a study.

    Attributes:
        row: name of its row.
        experiment: complete, with its fold and seed.
        folder: name of its run folder: row, fold, seed, and what decides its numbers.
    """

    row: str
    experiment: Experiment
    folder: str

    @property
    def digest(self) -> str:
        """What decides its numbers, at the end of its folder's name."""
        return self.folder.rpartition("-")[2]

    @property
    def seed(self) -> int:
        """The seed it is trained with."""
        return self.experiment.seed


@dataclass(frozen=True, kw_only=True)
class Study:
    """A grid of experiments, folds and seeds.

    Attributes:
        name: what the report calls it.
        rows: in the file's order.
        folds: which folds validate; empty for what the experiments say.
        seeds: empty for what the experiments say.
        minutes: wall time for all of it.
        engine: where it is worked on.
    """

    name: str
    rows: tuple[Row, ...]
    folds: tuple[int, ...] = ()
    seeds: tuple[int, ...] = ()
    minutes: float = float("inf")
    engine: Engine = field(default_factory=Local)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Every training, seed by seed and fold by fold, so that all rows have something to show early."""
        return tuple(
            self._part(row, fold, seed)
            for seed in self.seeds or (_FILE,)
            for fold in self.folds or (_FILE,)
            for row in self.rows
        )

    def _part(self, row: Row, fold: int, seed: int) -> Part:
        own = row.experiment if fold == _FILE else with_fold(row.experiment, fold)
        own = own if seed == _FILE else replace(own, seed=seed)
        told = [*([f"fold {fold}"] if len(self.folds) > 1 else []), *([f"seed {seed}"] if len(self.seeds) > 1 else [])]
        own = replace(own, name=" ".join([row.name, *told]))
        plain = re.sub(r"\W+", "_", own.name).strip("_")[:80]
        return Part(row=row.name, experiment=own, folder=f"{plain}-{identity(own)}")


def load(path: Path, changes: Sequence[str] = ()) -> Study:
    """Read and check a study file.

    Args:
        path: the file, or the name of a study that comes with Edgewise.
        changes: one-off changes such as `minutes=30` or `seeds=[0]`; what is no key of a study changes the base, such
            as `training.steps=500`.

    Raises:
        ExperimentError: there is no such file, or a row is no valid experiment.
        StudyError: the file or a base cannot be read, a key is misspelt or mistyped, two rows have one name or are one
            experiment, a row changes nothing, rows are split differently, or the folds do not fit; the message names
            the row and how to mend it.
    """
    path = located(path)
    written = read(path, [change for change in changes if of_study(change)])
    base = _base(str(path), path.parent, written.base) if written.base else {}
    for change in changes:
        if not of_study(change):
            experiment_file.change_in(base, change)
    rows = tuple(_row(path, name, changes or {}, base) for name, changes in written.rows.items())
    _require_differences(path, rows, written, base)
    folds = _folds(path, rows, written.folds)
    seeds = () if written.seeds == "file" else written.seeds
    for what, numbers in (("folds", folds), ("seeds", seeds)):
        if len(set(numbers)) < len(numbers):
            raise StudyError(f"{path}: `{what}` names {_twice(numbers)} twice. Remove one.")
    return Study(name=written.name, rows=rows, folds=folds, seeds=seeds, minutes=written.minutes, engine=written.engine)


def engine_of(text: str) -> Engine:
    """The engine that a command line names: its kind, or a YAML mapping with settings.

    Raises:
        EngineError: there is no such engine, or a setting is misspelt or mistyped.
    """
    try:
        value = yaml.safe_load(text)
        content = value if isinstance(value, dict) else {"kind": value}
        return TypeAdapter(Engine).validate_python(content)
    except yaml.YAMLError as error:
        raise EngineError(
            f"--engine {text!r} is not valid YAML. Write a kind, or {{kind: local, slots: 4}}."
        ) from error
    except ValidationError as error:
        problems = explain(Engine, error.errors())
        raise EngineError(f"--engine {text}: {'; '.join(each.removeprefix('.') for each in problems[:5])}") from error


def dump(study: Study) -> dict[str, Any]:
    """The study as a study file: complete experiments, and no base."""
    return {
        "name": study.name,
        "folds": list(study.folds) or "file",
        "seeds": list(study.seeds) or "file",
        "minutes": study.minutes,
        "engine": vars(study.engine),
        "rows": {row.name: _without_seed(row.experiment) for row in study.rows},
    }


def _without_seed(experiment: Experiment) -> dict[str, Any]:
    return {key: value for key, value in dump_experiment(experiment).items() if key not in {"name", "seed"}}


def _base(where: str, folder: Path, base: str | Mapping[str, Any]) -> dict[str, Any]:
    """What a base says: a path relative to the study file, the name of a shipped experiment, or the content itself."""
    if not isinstance(base, str):
        return deepcopy(dict(base))
    beside = folder / base
    try:
        return experiment_file.content(beside if beside.is_file() else located(Path(base)))
    except ExperimentError as error:
        raise StudyError(f"{where}: base: {error}") from error


def _row(path: Path, name: str, changes: Mapping[str, Any], base: Mapping[str, Any]) -> Row:
    where = f"{path}, row {name!r}"
    own = dict(changes)
    below = own.pop("base", None)
    if below is not None and not isinstance(below, str):
        raise StudyError(f"{where}: `base` must be the path or name of an experiment; it is {below!r}.")
    if "seed" in own:
        raise StudyError(f"{where}: rows share their seeds. Write `seeds: [0, 1, 2]` beside `rows`.")
    if "name" in own:
        raise StudyError(f"{where}: a row's key is its name. Write it there, and leave out `name: {own['name']}`.")
    start = _base(where, path.parent, below) if below else base
    if not start and not own:
        raise StudyError(f"{where} is empty, and there is no `base` to take as it is. Name one.")
    whole = {**experiment_file.on_top(start, own), "name": name}
    return Row(name=name, experiment=experiment_file.parse(whole, where))


def _require_differences(path: Path, rows: Sequence[Row], written: Written, base: Mapping[str, Any]) -> None:
    """Every row is an experiment of its own, and one that says it changes something does."""
    unchanged = identity(experiment_file.parse({**base, "name": "base"}, f"{path}: base")) if base else ""
    seen: dict[str, str] = {}
    for row in rows:
        key, changes = identity(row.experiment), {k for k in written.rows[row.name] or {} if k != "claim"}
        if changes and key == unchanged:
            raise StudyError(
                f"{path}: row {row.name!r} changes nothing: {', '.join(sorted(changes))} is what the base says "
                "already. Change something else, or write `{}` for the base as it is."
            )
        if key in seen:
            raise StudyError(
                f"{path}: rows {seen[key]!r} and {row.name!r} are one experiment under two names. Remove or change "
                "one; several trainings of one experiment are `seeds`."
            )
        seen[key] = row.name


def _folds(path: Path, rows: Sequence[Row], asked: tuple[int, ...] | Literal["all", "file"]) -> tuple[int, ...]:
    """The folds to run; all rows must be split alike, or nothing could be compared case by case."""
    first, split = rows[0], rows[0].experiment.split
    other = next((row for row in rows if not _alike(row.experiment.split, split, asked)), None)
    if other is not None:
        raise StudyError(
            f"{path}: rows {first.name!r} and {other.name!r} have different splits, and could not be compared on the "
            "same cases. Give the split in the base alone."
        )
    if asked == "file":
        return ()
    if not isinstance(split, Folds):
        raise StudyError(f"{path}: the split is {split.kind}, which has no folds. Leave `folds` out, or set the split.")
    chosen = tuple(range(split.folds)) if asked == "all" else asked
    if max(chosen) >= split.folds:
        raise StudyError(
            f"{path}: there is no fold {max(chosen)}: the split has {split.folds} folds, numbered 0 to "
            f"{split.folds - 1}. Raise `split.folds`, or choose others."
        )
    return chosen


def _alike(one: AnySplit, other: AnySplit, asked: tuple[int, ...] | Literal["all", "file"]) -> bool:
    """Whether two splits are one; the fold that they name does not count where the study names its own."""
    if asked != "file" and isinstance(one, Folds) and isinstance(other, Folds):
        return replace(one, fold=0) == replace(other, fold=0)
    return one == other


def _twice(numbers: Sequence[int]) -> int:
    return next(number for number in numbers if numbers.count(number) > 1)
