"""What is wrong with an experiment file, in words that name the key and the nearest right one."""

import dataclasses
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args, get_type_hints

from edgewise.catalog import Component, discover

UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")
"""What pydantic calls the error of a misspelt key."""


def explain(root: type[Any], errors: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line for each wrong key.

    Args:
        root: the dataclass the file was checked against.
        errors: what pydantic found: `ValidationError.errors()`.
    """
    problems: dict[str, str] = {}
    for error in _relevant(errors):
        path, known = _walk(root, error["loc"], unknown=error["type"] in UNKNOWN_KEY)
        # A value that fits no member of a union such as `int | auto` gives one error a member: the first will do.
        place = path.split("[")[0]
        if place in problems and error["type"] == "literal_error":
            problems[place] += f" Or write {error['ctx']['expected']}."
        if place in problems and error["type"] == "dataclass_type":
            problems[place] += " Or write a mapping with a `kind`."
        problems.setdefault(place, _problem(path, known, error))
    return list(problems.values())


def _relevant(errors: Sequence[Any]) -> list[Any]:
    """Without the errors of those members of a union that the value's own `kind` rules out."""
    other = [e for e in errors if e["type"] == "literal_error" and e["loc"][-1] == "kind"]
    members = [e["loc"][:-1] for e in other]
    kept = [e for e in errors if not any(e["loc"][: len(m)] == m for m in members) and not _meant_otherwise(e, errors)]
    for e in other:
        union = e["loc"][:-2]
        if not any(k["loc"][: len(union)] == union for k in kept):  # its kind is none of them
            tags = ", ".join(o["ctx"]["expected"] for o in other if o["loc"][:-2] == union)
            kept.insert(
                0, {**e, "type": "union_tag_invalid", "loc": union, "ctx": {"tag": e["input"], "expected_tags": tags}}
            )
    return kept


def _meant_otherwise(error: Any, errors: Sequence[Any]) -> bool:
    """Whether a mapping was compared with the words that may stand in its place, though its own keys are wrong."""
    place = error["loc"][:-1]
    if error["type"] != "literal_error" or not isinstance(error["input"], dict):
        return False
    return any(e is not error and e["loc"][: len(place)] == place for e in errors)


def _problem(path: str, known: Sequence[str], error: Any) -> str:
    """One line about one error: where, what, and the nearest right name."""
    kind, message, context, value = error["type"], error["msg"], error.get("ctx", {}), error["input"]
    if kind in UNKNOWN_KEY:
        return f"{path}: unknown key.{_nearest(str(error['loc'][-1]), known)}"
    if kind in {"missing", "missing_keyword_only_argument"}:
        return f"{path}: required, but missing."
    if kind == "union_tag_invalid":
        options = re.findall(r"'([^']*)'", str(context.get("expected_tags", "")))
        return f"{path}.kind: {context.get('tag')!r} is unknown.{_nearest(str(context.get('tag')), options)}"
    if kind == "union_tag_not_found":
        return f"{path}: needs a `kind`."
    if kind == "value_error":  # one of our own checks: its message says everything
        return f"{path}: {message.removeprefix('Value error, ')}"
    shown = value if not isinstance(value, dict | list) else type(value).__name__
    return f"{path}: {message[0].lower()}{message[1:]} (it is {shown!r})."


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f" Did you mean `{close[0]}`?"
    return f" Known: {', '.join(known)}." if known else ""


def _walk(root: type[Any], loc: tuple[int | str, ...], *, unknown: bool) -> tuple[str, list[str]]:
    """The path of an error as the file spells it (no union tags), and the keys known beside its last one."""
    path, types, known = "", list(_choices(root)), list[str]()
    for place, step in enumerate(loc, start=1):
        if isinstance(step, int):
            path += f"[{step}]"
            continue
        key = unknown and place == len(loc)
        chosen = [t for t in types if step in {_kind(t), t.__name__}]
        if chosen and len(types) > 1 and not key:
            types = chosen
            continue
        hints = {k: v for t in types for k, v in _hints(t).items()}
        if step not in hints and not key:  # pydantic's name of a union's member, such as `int` or `literal['auto']`
            continue
        known = sorted(hints)
        path += f".{step}" if path else step
        types = list(_choices(hints.get(step)))
    return path, known


def _hints(cls: type[Any]) -> dict[str, Any]:
    if not dataclasses.is_dataclass(cls):
        return {}
    hints = get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls)}


def _kind(cls: Any) -> str | None:
    kind = getattr(cls, "kind", None)
    return kind if isinstance(kind, str) else None


def _choices(hint: Any) -> Iterator[Any]:
    """All classes that a type annotation may stand for."""
    if isinstance(hint, type) and issubclass(hint, Component) and hint.__subclasses__() and _kind(hint) is None:
        yield from discover(hint).values()
    elif isinstance(hint, type):
        yield hint
    else:
        for part in get_args(hint):
            yield from _choices(part)
