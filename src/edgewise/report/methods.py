"""Runs that differ in their seed only are one method, trained several times."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgewise.report.records import RunRecord

OWN = ("name", "description", "seed", "claim")
"""Settings in which two trainings of one method may differ."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One method and its runs.

    Attributes:
        name: what its runs are called, less the seed.
        runs: numbers of its runs, one a seed.
    """

    name: str
    runs: tuple[int, ...]


def methods(records: Sequence[RunRecord]) -> tuple[Method, ...]:
    """The methods in the order of their first runs; runs without an experiment are methods of their own."""
    groups: dict[str, list[int]] = {}
    for index, record in enumerate(records):
        settings = {key: value for key, value in record.experiment.items() if key not in OWN}
        key = json.dumps(settings, sort_keys=True, default=str) if settings else f"run {index}"
        same_seed = [other for other in groups.get(key, ()) if _seed(records[other]) == _seed(record)]
        groups.setdefault(f"{key} again {len(same_seed)}" if same_seed else key, []).append(index)
    return tuple(Method(name=_name([records[run].name for run in runs]), runs=tuple(runs)) for runs in groups.values())


def palette(records: Sequence[RunRecord]) -> tuple[int, ...]:
    """The number of the colour of every run: the seeds of a method share one."""
    colours = {run: number for number, method in enumerate(methods(records)) for run in method.runs}
    return tuple(colours[index] for index in range(len(records)))


def _seed(record: RunRecord) -> str:
    return str(record.experiment.get("seed", ""))


def _name(names: Sequence[str]) -> str:
    """What the names of several runs begin with, less a seed; the first name where they share nothing."""
    if len(names) == 1:
        return names[0]
    same = 0
    while all(same < len(name) and name[same] == names[0][same] for name in names):
        same += 1
    return re.sub(r"[\s_.-]*\(?(seed|run|s)?[\s_.=-]*$", "", names[0][:same]) or names[0]
