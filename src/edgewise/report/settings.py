"""What ran, and in what the runs differ, as plain data for the page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgewise.report.records import Decision, RunRecord, plain
from edgewise.report.words import counted, duration, shortened

OUTCOMES = ("Training", "Best while training", "Ended", "Failures")
OWN = ("seed", "started", "memory_gb")
"""What the environment of a run holds that belongs to the run rather than to the machine."""


UNSHOWN = ("name", "description", "claim")
"""Keys of an experiment that say something about it, rather than what it does."""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One property of every run, and whether the runs differ in it."""

    name: str
    values: tuple[str, ...]

    @property
    def same(self) -> bool:
        """All runs have one value."""
        return len(set(self.values)) == 1

    @property
    def differs(self) -> bool:
        """The runs do not agree in a setting; that their results differ is no news."""
        return not self.same and self.name not in OUTCOMES


def facts(records: Sequence[RunRecord]) -> list[Fact]:
    """What ran: one row a property, one value a run; properties no run has are left out."""
    columns = [dict(_facts(record)) for record in records]
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [Fact(name=name, values=tuple(shortened(column.get(name, "")) for column in columns)) for name in names]
    return [row for row in rows if any(row.values)]


def _facts(record: RunRecord) -> Iterator[tuple[str, str]]:
    data, journal = record.dataset, record.journal
    yield "Data", str(data.get("name", ""))
    if "train" in data or "validation" in data:
        train, validation = len(data.get("train", ())), len(data.get("validation", ()))
        yield "Cases", f"{train} train, {validation} validation"
    yield "Classes", ", ".join(record.classes[1:])
    yield "Channels", plain(data.get("channels", ""))
    for name in ("network", "loss", "method"):
        yield name.capitalize(), plain(_find(record.experiment, name) or "")
    yield "Training", _training(record)
    if journal.validations:
        best = max(journal.validations, key=lambda validation: validation.mean)
        yield "Best while training", f"mean Dice {best.mean:.3f} at step {best.step:,}"
    yield "Ended", journal.ending
    failed = len(journal.failures) + len(record.unscored)
    yield "Failures", str(failed) if failed else ""
    yield "Device", _device(record.environment)


def _training(record: RunRecord) -> str:
    journal = record.journal
    return f"{counted(journal.steps, 'step')}, {duration(journal.seconds)}" if journal.steps else "not begun"


def _device(environment: Mapping[str, Any]) -> str:
    if environment.get("gpu"):
        return plain(environment["gpu"])
    cores = f", {counted(int(environment['cores']), 'core')}" if environment.get("cores") else ""
    return f"{environment.get('cpu') or 'CPU'}{cores}" if environment else ""


def _find(tree: Any, name: str) -> Any:
    """The first entry called `name`, from the top of the tree down."""
    if not isinstance(tree, Mapping):
        return None
    if name in tree:
        return tree[name]
    return next((found for value in tree.values() if (found := _find(value, name)) is not None), None)


def differences(records: Sequence[RunRecord]) -> list[Fact]:
    """Settings of the experiments in which the runs differ, by their dotted names; the name is left out."""
    flats = [dict(_flat(record.experiment, "")) for record in records]
    names = dict.fromkeys(name for flat in flats for name in flat)
    rows = [Fact(name=name, values=tuple(flat.get(name, "–") for flat in flats)) for name in names]
    return [row for row in rows if row.differs and row.name.split(".")[0] not in UNSHOWN]


def _flat(tree: Any, prefix: str) -> Iterator[tuple[str, str]]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(tree, list) and any(isinstance(item, Mapping) for item in tree):
        for index, value in enumerate(tree):
            yield from _flat(value, f"{prefix}.{index}")
    else:
        yield prefix, shortened(plain(tree))


def plans(records: Sequence[RunRecord]) -> list[tuple[str, tuple[Decision, ...]]]:
    """Plans with the names of the runs they belong to; equal plans are shown once."""
    groups: dict[tuple[Decision, ...], list[str]] = {}
    for record in records:
        if record.plan:
            groups.setdefault(record.plan, []).append(record.name)
    return [(", ".join(names), plan) for plan, names in groups.items()]


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """How to repeat a run: its command, what else is its own, and the experiment as written."""

    name: str
    command: str
    facts: tuple[tuple[str, str], ...]
    experiment: str


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where some of the runs were made: facts and package versions; `runs` are their names."""

    runs: str
    facts: tuple[tuple[str, str], ...]
    packages: tuple[tuple[str, str], ...]


def repeat(record: RunRecord) -> Repeat:
    """How to repeat a run; absolute paths are shortened."""
    root = str(record.dataset.get("root", ""))
    known = record.environment
    command = known.get("command") or ""
    facts = [(name.replace("_", " "), plain(known[name])) for name in OWN if known.get(name) not in {None, ""}]
    facts += [("data digest", str(record.dataset["digest"]))] if record.dataset.get("digest") else []
    return Repeat(
        name=record.name,
        command=shortened(" ".join(command) if isinstance(command, list) else str(command), root),
        facts=tuple(facts),
        experiment=shortened(record.experiment_text, root),
    )


def machines(records: Sequence[RunRecord]) -> list[Machine]:
    """The machines; runs of equal environments share one."""
    groups: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for record in records:
        known = {key: value for key, value in record.environment.items() if key not in {*OWN, "command"}}
        if known:
            groups.setdefault(plain(known), (known, []))[1].append(record.name)
    return [_machine(known, ", ".join(names)) for known, names in groups.values()]


def _machine(known: dict[str, Any], runs: str) -> Machine:
    packages = known.get("packages")
    facts = [(key, plain(value)) for key, value in known.items() if key != "packages" and value not in {None, ""}]
    return Machine(
        runs=runs,
        facts=tuple((key.replace("_", " "), shortened(value)) for key, value in facts),
        packages=tuple(sorted((str(k), str(v)) for k, v in packages.items())) if isinstance(packages, Mapping) else (),
    )
