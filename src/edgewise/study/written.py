"""A study file as it is written: YAML in, checked as far as it is the study's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import override

from edgewise import experiment_file
from edgewise.engines.base import Engine
from edgewise.engines.local import Local
from edgewise.errors import StudyError
from edgewise.mistakes import explain

Seed = Annotated[int, Field(ge=0)]
Fold = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, kw_only=True)
class Written:
    """A study file as it is written.

    Attributes:
        name: what the report calls the study.
        base: the experiment that rows start from: a path relative to this file, the name of a shipped one, or what a
            file would say.
        rows: name of each row -> what it changes in the base, or, with a `base` of its own, in that.
        folds: which folds validate, one training each; `all` of them, or what the experiments say.
        seeds: one training each; or what the experiments say.
        minutes: wall time for the whole study; trainings are shortened alike until it is enough. `.inf` for no limit.
        engine: where its parts are worked on.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    name: Annotated[str, Field(min_length=1)]
    rows: Annotated[Mapping[str, Mapping[str, Any] | None], Field(min_length=1)]
    base: str | Mapping[str, Any] = ""
    folds: Annotated[tuple[Fold, ...], Field(min_length=1)] | Literal["all", "file"] = "file"
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] | Literal["file"] = "file"
    minutes: Annotated[float, Field(gt=0)] = float("inf")
    engine: Engine = field(default_factory=Local)


# A lambda, because the type checker of the tests does not know the type annotation of a `TypeAdapter`.
_adapter = cache(lambda: TypeAdapter(Written))


def schema() -> dict[str, Any]:
    """JSON schema of the study file; its rows are experiments, or parts of them."""
    return dict(_adapter().json_schema())


def of_study(change: str) -> bool:
    """Whether a change such as `minutes=30` is one of the study, and not of the experiment that its rows start from."""
    parents, last, _ = experiment_file.parsed(change)
    return (*parents, last)[0] in {each.name for each in fields(Written)}


def read(path: Path, changes: Sequence[str] = ()) -> Written:
    """Read a study file, and check what is its own; its rows are not checked yet.

    Args:
        path: the file.
        changes: one-off changes of the study.

    Raises:
        StudyError: it cannot be read, or a key is there twice, misspelt or mistyped.
    """
    content = _content(path)
    if not isinstance(content, dict):
        raise StudyError(f"{path} must hold a mapping with `name:` and `rows:`; it holds {type(content).__name__}.")
    if "rows" not in content:
        mend = "`edgewise fit` runs an experiment. " if {"loss", "network", "training", "split"} & {*content} else ""
        raise StudyError(f"{path} is no study: it has no `rows`. {mend}{_ROWS}")
    for change in changes:
        _change(content, change)
    _require_rows(path, content["rows"])
    if isinstance(content.get("engine"), str):  # as on the command line
        content["engine"] = {"kind": content["engine"]}
    elif isinstance(content.get("engine"), dict):
        content["engine"].setdefault("kind", Local.kind)
    try:
        return _adapter().validate_python(content)
    except ValidationError as error:
        lines = "\n".join(f"  {problem}" for problem in explain(Written, error.errors())[:10])
        raise StudyError(f"{path} is not a valid study:\n{lines}") from error


def _change(content: dict[str, Any], change: str) -> None:
    parents, last, value = experiment_file.parsed(change)
    node = content
    for parent in parents:
        below = node.get(parent)
        node[parent] = dict(below) if isinstance(below, dict) else {}
        node = node[parent]
    node[last] = value


_ROWS = "A study names its rows, each with what it changes in the `base`, such as `rows: {dice: {loss: {kind: dice}}}`."


def _require_rows(path: Path, rows: Any) -> None:
    """Rows have names, and are mappings or empty."""
    if not isinstance(rows, dict) or not rows:
        raise StudyError(f"{path}: `rows` {'holds ' + repr(rows) if rows else 'is empty'}. {_ROWS}")
    for name, changes in rows.items():
        if not isinstance(name, str) or not name:
            raise StudyError(
                f"{path}: a row is called {name!r}, as YAML reads it, which is no text. Write its name in quotes."
            )
        if changes is not None and not isinstance(changes, dict):
            raise StudyError(
                f"{path}, row {name!r}: it must say what it changes, such as `{{loss: {{kind: dice}}}}`, or be `{{}}` "
                f"for the base as it is; it is {changes!r}."
            )


def _content(path: Path) -> Any:
    try:
        loader = _Once(path.read_text(encoding="utf-8"))
        loader.name = str(path)  # which messages name
        return loader.get_single_data()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise StudyError(f"cannot read study {path}: {reason}. Give the path of a YAML file.") from error
    except yaml.YAMLError as error:
        raise StudyError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error


class _Once(yaml.SafeLoader):
    """Refuses a key that a mapping has twice, of which YAML readers silently keep the last."""

    @override
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
            if name in seen:
                raise StudyError(
                    f"{self.name}, line {key.start_mark.line + 1}: `{key.value}` is there twice, and the second would "
                    "replace the first. Rename or remove one."
                )
            if name is not None:
                seen.add(name)
        return node
