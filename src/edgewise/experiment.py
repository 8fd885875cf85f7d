"""The experiment file: YAML in, one tree of frozen dataclasses out. The only module that knows pydantic."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, TypeVar

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from edgewise.catalog import Component
from edgewise.data.augment import Augmentation
from edgewise.errors import ExperimentError
from edgewise.inference.sliding import Inference
from edgewise.losses.base import Loss
from edgewise.losses.compound import Sum, Term
from edgewise.losses.cross_entropy import CrossEntropy
from edgewise.losses.dice import Dice
from edgewise.methods.base import Method
from edgewise.methods.supervised import Supervised
from edgewise.mistakes import explain
from edgewise.networks.base import Network
from edgewise.networks.residual_unet import ResidualUNet
from edgewise.plan import Plan, PlanSettings
from edgewise.training.optimise import AdamW, AnyOptimiser, AnySchedule, Poly

C = TypeVar("C", bound=Component)
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Count: TypeAlias = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True)
class Folds:
    """Cross-validation: the sorted patients are dealt out to the folds in turn.

    Attributes:
        folds: number of folds.
        fold: which fold validates; `edgewise fit --fold` sets it.
        group: regular expression whose match in a case id names the patient, all of whose cases stay together;
            `auto` knows ids such as patient001_frame01.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    kind: Literal["folds"] = "folds"
    folds: Annotated[int, Field(ge=2)] = 5
    fold: Annotated[int, Field(ge=0)] = 0
    group: str = "auto"


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """A fixed split.

    Attributes:
        validation: ids of cases, or of patients, that validate; all others train.
        group: as in `folds`.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    kind: Literal["fixed"] = "fixed"
    validation: tuple[str, ...]
    group: str = "auto"


@dataclass(frozen=True, kw_only=True)
class Training:
    """How long and how fast to train.

    Attributes:
        steps: training steps.
        epoch: training steps that make an epoch, the unit of time of a loss's schedules; 250 as in nnU-Net.
        minutes: wall time after which training ends early; `.inf` for no limit. It ends a run, it does not shape it.
        optimiser: adamw, adam or sgd.
        schedule: poly, step or plateau.
        clip: gradient norms are scaled down to this.
        average: decay of the moving average of the weights that predicts; 0 predicts with the last weights.
        foreground: share of patches centred on foreground.
        validate_every: steps between validations.
        patience: validations without improvement after which training ends; 0 never ends early.
        report_every: steps between journal records.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    steps: Count = 4000
    epoch: Count = 250
    minutes: Annotated[float, Field(gt=0)] = float("inf")
    optimiser: Annotated[AnyOptimiser, Field(discriminator="kind")] = AdamW()
    schedule: Annotated[AnySchedule, Field(discriminator="kind")] = Poly()
    clip: Annotated[float, Field(gt=0)] = 12.0
    average: Share = 0.999
    foreground: Share = 1 / 3
    validate_every: Count = 500
    patience: Annotated[int, Field(ge=0)] = 0
    report_every: Count = 50


def _dice_and_cross_entropy() -> Loss:
    return Sum(terms=(Term(loss=Dice()), Term(loss=CrossEntropy())))


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One training run, complete: equal file, seed, data and machine give equal numbers.

    Attributes:
        name: what reports call it.
        seed: everything random follows from it.
        split: which cases train and which validate.
        plan: decisions taken out of the plan's hands.
        network: which network.
        loss: which loss.
        method: how the network is trained.
        training: how long and how fast.
        augmentation: how training patches are varied.
        inference: how the trained network is applied.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    name: Annotated[str, Field(min_length=1)]
    seed: Annotated[int, Field(ge=0)] = 0
    split: Annotated[Folds | Fixed, Field(discriminator="kind")] = Folds()
    plan: PlanSettings = PlanSettings()
    network: Network = ResidualUNet()
    loss: Loss = field(default_factory=_dice_and_cross_entropy)
    method: Method = Supervised()
    training: Training = Training()
    augmentation: Augmentation = Augmentation()
    inference: Inference = Inference()


# A lambda, because the type checker of the tests does not know the type annotation of a `TypeAdapter`.
_adapter = cache(lambda: TypeAdapter(Experiment))


def schema() -> dict[str, Any]:
    """JSON schema of the experiment file: editors complete and check experiments with it."""
    return _adapter().json_schema()


def dump(experiment: Experiment) -> dict[str, Any]:
    """The experiment as plain data, every default filled in."""
    value: dict[str, Any] = _adapter().dump_python(experiment, mode="python")
    plain: dict[str, Any] = _plain(value)
    return plain


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


def load(path: Path, changes: Sequence[str] = ()) -> Experiment:
    """Read and check an experiment file.

    Args:
        path: YAML file.
        changes: one-off changes such as `loss.kind=dice` or `training.steps=500`.

    Raises:
        ExperimentError: the file is missing or no YAML mapping, or a key is misspelt or mistyped; the message names the
            key, and for a misspelt one the nearest right one.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ExperimentError(f"cannot read experiment {path}: {reason}. Give the path of a YAML file.") from error
    except yaml.YAMLError as error:
        raise ExperimentError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ExperimentError(f"{path} must hold a mapping with at least `name:`; it holds {type(content).__name__}.")
    for change in changes:
        _change(content, change)
    return parse(content, str(path))


def parse(content: dict[str, Any], where: str) -> Experiment:
    """Check plain data against the experiment's types; `where` names its origin in messages."""
    try:
        return _adapter().validate_python(content)
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
        parents, last, value = _parsed(change)
        node = content
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    try:
        return TypeAdapter(base).validate_python(content)
    except ValidationError as error:
        problems = explain(base, error.errors())
        raise ExperimentError("; ".join(problem.removeprefix(".") for problem in problems[:5])) from error


def _parsed(change: str) -> tuple[list[str], str, Any]:
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


def _change(content: dict[str, Any], change: str) -> None:
    """Apply one `key.key=value`; a new `kind` starts its mapping afresh, as the old keys belong to the old kind."""
    parents, last, value = _parsed(change)
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


def _plain(value: Any) -> Any:
    """Tuples as lists and enums as values, so that YAML shows plain data."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value


def with_fold(experiment: Experiment, fold: int) -> Experiment:
    """The experiment with another fold validating; a fixed split becomes folds of the same patients.

    Raises:
        ExperimentError: `fold` is not one of the folds.
    """
    split = experiment.split if isinstance(experiment.split, Folds) else Folds(group=experiment.split.group)
    if not 0 <= fold < split.folds:
        raise ExperimentError(f"--fold {fold}: there are {split.folds} folds, numbered 0 to {split.folds - 1}.")
    return dataclasses.replace(experiment, split=dataclasses.replace(split, fold=fold))


def digest(experiment: Experiment) -> str:
    """Short name of the experiment's content: equal experiments, and only they, share it."""
    import hashlib

    text = json.dumps(dump(experiment), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
