"""Runs that differ in their seed and their fold only are one method, trained several times."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from edgewise.report.records import RunRecord

OWN = ("name", "description", "seed", "claim")
"""Settings in which two trainings of one method may differ; the fold is another one."""
T = TypeVar("T")
Place: TypeAlias = tuple[str, str]
"""Seed and fold of a run; the fold is empty where the split has none."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One method and its runs.

    Attributes:
        name: what its runs are called, less seed and fold.
        runs: numbers of its runs, one for each seed and fold.
    """

    name: str
    runs: tuple[int, ...]


def methods(records: Sequence[RunRecord]) -> tuple[Method, ...]:
    """The methods in the order of their first runs; runs without an experiment are methods of their own.

    Runs of one method on other data are another method: their cases must not be pooled. So is what has a seed and a
    fold that the method has already.
    """
    groups: dict[str, list[int]] = {}
    taken: Counter[tuple[str, Place]] = Counter()
    for index, record in enumerate(records):
        key = _key(record) or f"run {index}"
        place = place_of(record)
        again = taken[key, place]
        taken[key, place] += 1
        groups.setdefault(f"{key} again {again}" if again else key, []).append(index)
    names = [_name([records[run] for run in runs]) for runs in groups.values()]
    found = [
        _common([records[run].name for run in runs]) if names.count(name) > 1 else name
        for name, runs in zip(names, groups.values(), strict=True)
    ]
    told = [f"{name} ({found[:i].count(name) + 1})" if found.count(name) > 1 else name for i, name in enumerate(found)]
    return tuple(Method(name=name, runs=tuple(runs)) for name, runs in zip(told, groups.values(), strict=True))


def palette(records: Sequence[RunRecord]) -> tuple[int, ...]:
    """The number of the colour of every run: the trainings of a method share one."""
    colours = {run: number for number, method in enumerate(methods(records)) for run in method.runs}
    return tuple(colours[index] for index in range(len(records)))


def place_of(record: RunRecord) -> Place:
    """Seed and fold of a run."""
    split = record.experiment.get("split")
    fold = split.get("fold", "") if isinstance(split, Mapping) else ""
    return str(record.experiment.get("seed", 0)), str(fold)


def by_seed(records: Sequence[RunRecord], method: Method) -> dict[str, list[RunRecord]]:
    """The runs of a method by seed: one a fold."""
    seeds: dict[str, list[RunRecord]] = {}
    for run in method.runs:
        seeds.setdefault(place_of(records[run])[0], []).append(records[run])
    return seeds


def merged(columns: Sequence[Mapping[str, T]]) -> dict[str, T]:
    """The values of the folds of one seed as those of one run: a case validates in one of them alone."""
    return {case: value for column in columns for case, value in column.items()}


def extent(records: Sequence[RunRecord], method: Method) -> str:
    """Of how many folds and seeds a method is, such as "2 folds, 3 seeds"; empty for one run."""
    places = [place_of(records[run]) for run in method.runs]
    counts = {"folds": len({fold for _, fold in places}), "seeds": len({seed for seed, _ in places})}
    return ", ".join(f"{count} {noun}" for noun, count in counts.items() if count > 1)


def gaps(records: Sequence[RunRecord]) -> Iterator[str]:
    """Folds that some seeds of a method have and others have not, in sentences."""
    for method in methods(records):
        folds = {seed: {place_of(run)[1] for run in runs} for seed, runs in by_seed(records, method).items()}
        whole = sorted(set().union(*folds.values()))
        missing = [
            f"fold {fold} of seed {seed}" for seed, there in folds.items() for fold in whole if fold not in there
        ]
        if missing:
            are = "is" if len(missing) == 1 else "are"
            yield f"{method.name}: {', '.join(missing)} {are} not there; only the cases that all its seeds have count"


def _key(record: RunRecord) -> str:
    """What runs of one method have in common; empty where nothing is known."""
    settings: dict[str, Any] = {key: value for key, value in record.experiment.items() if key not in OWN}
    if not settings:
        return ""
    split = settings.get("split")
    if isinstance(split, Mapping):
        settings["split"] = {key: value for key, value in split.items() if key != "fold"}
    return json.dumps([settings, record.dataset.get("digest", "")], sort_keys=True, default=str)


def _name(records: Sequence[RunRecord]) -> str:
    """What all runs are called once seed and fold are left out; else what their names begin with."""
    if len(records) == 1:
        return records[0].name
    places = [place_of(record) for record in records]
    several = [len(set(numbers)) > 1 for numbers in zip(*places, strict=True)]
    own = [str(record.experiment.get("name") or record.name) for record in records]
    told = {_without(name, place, several) for name, place in zip(own, places, strict=True)}
    return told.pop() if len(told) == 1 else _common([record.name for record in records])


def _without(name: str, place: Place, several: Sequence[bool]) -> str:
    """A name without the seed and the fold at its end, if these are the run's own and the method has several."""
    for word, number, count in zip(("(?:seed|s)", "(?:fold|f)"), place, several, strict=True):
        if count:
            name = re.sub(rf"(?<=\w)[\s_.-]+\(?{word}[\s_.=-]*{re.escape(number)}\)?$", "", name)
    return name


def _common(names: Sequence[str]) -> str:
    """What several names begin with, less the word before a number; the first name where they share nothing."""
    same = 0
    while all(same < len(name) and name[same] == names[0][same] for name in names):
        same += 1
    shared = re.sub(r"[\s_.-]*\(?(seed|fold|run|s|f)?[\s_.=-]*$", "", names[0][:same])
    return shared if shared and len(names) > 1 else names[0]
