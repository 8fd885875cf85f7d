"""The experiment file: YAML in, a checked `Experiment` out; what is wrong with it is said in words."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from edgewise.catalog import Component
from edgewise.errors import ExperimentError
from edgewise.experiment import Experiment, adapter, dump
from edgewise.mistakes import explain
from edgewise.plan import Plan

C = TypeVar("C", bound=Component)


def load(path: Path, changes: Sequence[str] = ()) -> Experiment:
    """Read and check an experiment file.

    A file may start from another one: `base: other.yaml`, a path relative to the file. It then holds only what differs;
    mappings are merged key by key, but where it names a `kind` that the base does not have there, its mapping counts
    alone, as the base's keys belong to another kind. Lists are replaced.

    Args:
        path: YAML file.
        changes: one-off changes such as `loss.kind=dice` or `training.steps=500`.

    Raises:
        ExperimentError: a file is missing or no YAML mapping, bases form a circle, or a key is misspelt or mistyped;
            the message names the key, and for a misspelt one the nearest right one.
    """
    whole = content(path)
    for change in changes:
        change_in(whole, change)
    return parse(whole, str(path))


def content(path: Path) -> dict[str, Any]:
    """What an experiment file says, on top of what its bases say; see `load`. It is not checked yet."""
    return _content(path, ())


def on_top(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`own` over `base`, key by key, as `load` does; a mapping of another kind than the base's replaces it."""
    return _on_top(dict(base), dict(own))


def parse(content: dict[str, Any], where: str) -> Experiment:
    """Check plain data against the experiment's types; `where` names its origin in messages."""
    try:
        return adapter().validate_python(content)
    except ValidationError as error:
        lines = "\n".join(f"  {problem}" for problem in explain(Experiment, error.errors())[:10])
        raise ExperimentError(f"{where} is not a valid experiment:\n{lines}") from error


def component(base: type[C], kind: str, changes: Sequence[str] = ()) -> C:
    """One component of a catalogue, from its kind and changes such as `per=component`.

    Raises:
        ExperimentError: there is no such kind, or a change is misspelt or mistyped; the message names the nearest.
    """
    content: dict[str, Any] = {"kind": kind}
    for change in changes:
        parents, last, value = parsed(change)
        node = content
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return _component(base, content)


def inline(base: type[C], text: str) -> C:
    """One component of a catalogue, as a command line spells it: its kind, or a YAML mapping such as `{kind: dice}`.

    Raises:
        ExperimentError: it is neither, there is no such kind, or a key is misspelt or mistyped; names the nearest.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ExperimentError(f"{text!r} is not valid YAML: {' '.join(str(error).split())}") from error
    if isinstance(content, str):
        content = {"kind": content}
    if not isinstance(content, dict):
        raise ExperimentError(f"{text!r} is neither a kind nor a mapping such as '{{kind: dice}}'.")
    return _component(base, content)


def _component(base: type[C], content: dict[str, Any]) -> C:
    try:
        return TypeAdapter(base).validate_python(content)
    except ValidationError as error:
        problems = explain(base, error.errors())
        raise ExperimentError("; ".join(problem.removeprefix(".") for problem in problems[:5])) from error


def read_plan(table: Mapping[str, Any]) -> Plan:
    """The plan that `Plan.table` wrote.

    Raises:
        ExperimentError: the table is not a plan.
    """
    try:
        values = {name: entry["value"] for name, entry in table.items()}
        reasons = {name: entry["reason"] for name, entry in table.items()}
        values["arithmetic"] = {**values["arithmetic"], "reason": reasons.pop("arithmetic")}
    except (KeyError, TypeError) as error:
        raise ExperimentError(f"plan.yaml is not a plan of this version of Edgewise: no {error}") from error
    try:
        return TypeAdapter(Plan).validate_python({**values, "reasons": reasons})
    except ValidationError as error:
        raise ExperimentError(f"plan.yaml is not a plan of this version of Edgewise: {error}") from error


def _content(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """What a file says, on top of what its base says."""
    if path.resolve() in seen:
        raise ExperimentError(f"{path} is its own base, by way of {len(seen)} files. Remove one `base:`.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        whose = f", the base of {seen[-1]}" if seen else ""
        raise ExperimentError(
            f"cannot read experiment {path}{whose}: {reason}. Give the path of a YAML file."
        ) from error
    except yaml.YAMLError as error:
        raise ExperimentError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ExperimentError(f"{path} must hold a mapping with at least `name:`; it holds {type(content).__name__}.")
    if "rows" in content:
        whose = f", and cannot be the base of {seen[-1]}" if seen else ""
        raise ExperimentError(f"{path} is a study of several experiments{whose}. Run it by `edgewise study`.")
    if "base" not in content:
        return content
    base = content.pop("base")
    if not isinstance(base, str):
        raise ExperimentError(f"{path}: `base` must be the path of another experiment file; it is {base!r}.")
    return _on_top(_content(path.parent / base, (*seen, path.resolve())), content)


def _on_top(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """`own` over `base`, key by key; a mapping of another kind than the base's replaces it."""
    merged = dict(base)
    for key, value in own.items():
        below = base.get(key)
        alike = isinstance(value, dict) and isinstance(below, dict) and value.get("kind") in {None, below.get("kind")}
        merged[key] = _on_top(below, value) if alike and isinstance(below, dict) else value
    return merged


def parsed(change: str) -> tuple[list[str], str, Any]:
    """`key.key=value` as the keys on the way, the last key, and the value, which is YAML."""
    key, equals, text = change.partition("=")
    if not equals or not key.strip():
        raise ExperimentError(f"--set {change!r} is not of the form key.key=value, such as training.steps=500.")
    *parents, last = key.strip().split(".")
    try:
        return parents, last, yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ExperimentError(
            f"--set {change!r}: the value is not valid YAML. Quote it, as in key='[1, 2]'."
        ) from error


def change_in(content: dict[str, Any], change: str) -> None:
    """Apply one `key.key=value`; a new `kind` starts its mapping afresh, as the old keys belong to the old kind."""
    parents, last, value = parsed(change)
    node: Any = content
    usual: Any = dump(Experiment(name="default"))
    for parent in parents:
        node = node.setdefault(parent, {})
        usual = usual.get(parent) if isinstance(usual, dict) else {}
        if not isinstance(node, dict):
            raise ExperimentError(f"--set {change!r}: `{parent}` holds {node!r}, not keys.")
        if isinstance(usual, dict) and "kind" in usual:  # what the file leaves out is of the default kind
            node.setdefault("kind", usual["kind"])
    if last == "kind" and node.get("kind") != value:
        node.clear()
    node[last] = value
