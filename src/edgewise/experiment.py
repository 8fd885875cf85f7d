"""What decides a run: one tree of frozen dataclasses, its JSON schema and its digest. `experiment_file` reads it."""

import dataclasses
import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag, TypeAdapter

from edgewise.catalog import discover
from edgewise.data.augment import Augmentation
from edgewise.data.sampling import AnySampling, RandomPlaces
from edgewise.errors import ExperimentError
from edgewise.inference.postprocess import Postprocessing
from edgewise.inference.sliding import Inference
from edgewise.losses.base import Loss
from edgewise.losses.compound import Sum, Term
from edgewise.losses.cross_entropy import CrossEntropy
from edgewise.losses.dice import Dice
from edgewise.methods.base import Method
from edgewise.methods.supervised import Supervised
from edgewise.metrics.base import Metric
from edgewise.networks.base import Network
from edgewise.networks.residual_unet import ResidualUNet
from edgewise.plan import PlanSettings
from edgewise.training.optimise import AdamW, AnyOptimiser, AnySchedule, Poly

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
class Parity:
    """Every second patient trains and the others validate, as in papers that halve a dataset without listing it.

    Attributes:
        of: what is even or odd: `number`, the last one in the patient's name (7 in patient007), or `position` among
            the sorted patients, from 0.
        train: the patients that train: `even` or `odd`.
        group: as in `folds`.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    kind: Literal["parity"] = "parity"
    of: Literal["number", "position"] = "number"
    train: Literal["even", "odd"] = "even"
    group: str = "auto"


AnySplit: TypeAlias = Folds | Fixed | Parity


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
        sampling: random, or grid: where training patches are cut.
        foreground: share of patches that are sure to hold foreground: centred on it (random), or drawn from the
            sub-images that hold some (grid).
        validate_every: steps between validations.
        patience: validations without improvement after which training ends; 0 never ends early.
        report_every: steps between journal records.
        snapshots: steps after which the weights that predict are kept as a file of their own; 0 is before the first. It
            changes nothing in a training, and a step that is not reached leaves none.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    steps: Count = 4000
    epoch: Count = 250
    minutes: Annotated[float, Field(gt=0)] = float("inf")
    optimiser: Annotated[AnyOptimiser, Field(discriminator="kind")] = AdamW()
    schedule: Annotated[AnySchedule, Field(discriminator="kind")] = Poly()
    clip: Annotated[float, Field(gt=0)] = 12.0
    average: Share = 0.999
    sampling: Annotated[AnySampling, Field(discriminator="kind")] = RandomPlaces()
    foreground: Share = 1 / 3
    validate_every: Count = 500
    patience: Annotated[int, Field(ge=0)] = 0
    report_every: Count = 50
    snapshots: tuple[Annotated[int, Field(ge=0)], ...] = ()


def _dice_and_cross_entropy() -> Loss:
    return Sum(terms=(Term(loss=Dice()), Term(loss=CrossEntropy())))


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a paper published for this very experiment. It changes nothing in a run; reports print it beside the result.

    Attributes:
        source: the paper and where in it, such as "Li et al. 2020, Table 1".
        data: what it was measured on.
        values: the published means by metric column, in the metric's own unit and scale (Dice from 0 to 1), such as
            `dice: 0.7463`; `dice_global` is the Dice of the voxels of all cases together, and `mean_iou` that of the
            boxes that a two-stage network's first stage finds (`localisation` in summary.json).
        deviations: standard deviations over cases, where they were published.
        of: the class that was measured, by name; `all` is the mean over the classes.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    source: Annotated[str, Field(min_length=1)]
    data: Annotated[str, Field(min_length=1)]
    values: Annotated[Mapping[str, float], Field(min_length=1)]
    deviations: Mapping[str, float] = field(default_factory=dict)
    of: str = "all"

    def __post_init__(self) -> None:
        known = {"dice_global", "mean_iou", *discover(Metric)}
        for name in (*self.values, *self.deviations):
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f" Did you mean {near[0]}?" if near else " See `edgewise list metrics`."
                raise ExperimentError(f"claim: {name} is no metric.{hint}")


def _one_or_more(claim: Any) -> str:
    return "claims" if isinstance(claim, list | tuple) else "Claim"


OneOrMoreClaims: TypeAlias = Annotated[
    Annotated[Claim, Tag("Claim")] | Annotated[tuple[Claim, ...], Field(min_length=1), Tag("claims")],
    Discriminator(_one_or_more),  # so that a misspelt key is told as that, and not as a list that it is not
]


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
        postprocessing: what is mended in its label maps.
        claim: what a paper published for it; several where it measured several classes.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    name: Annotated[str, Field(min_length=1)]
    seed: Annotated[int, Field(ge=0)] = 0
    split: Annotated[AnySplit, Field(discriminator="kind")] = Folds()
    plan: PlanSettings = PlanSettings()
    network: Network = ResidualUNet()
    loss: Loss = field(default_factory=_dice_and_cross_entropy)
    method: Method = Supervised()
    training: Training = Training()
    augmentation: Augmentation = Augmentation()
    inference: Inference = Inference()
    postprocessing: Postprocessing = Postprocessing()
    claim: OneOrMoreClaims | None = None

    @property
    def claims(self) -> tuple[Claim, ...]:
        """What a paper published for it, one claim a class; nothing if nothing was published."""
        match self.claim:
            case None:
                return ()
            case Claim() as claim:
                return (claim,)
            case claims:
                return claims


# A lambda, because the type checker of the tests does not know the type annotation of a `TypeAdapter`.
adapter = cache(lambda: TypeAdapter(Experiment))
"""What checks plain data against the tree, and turns the tree into plain data."""


def schema() -> dict[str, Any]:
    """JSON schema of the experiment file: editors complete and check experiments with it."""
    whole = adapter().json_schema()
    # Not a part of an experiment, but of its file: see `experiment_file.load`.
    whole["properties"]["base"] = {"type": "string", "description": "the experiment file this one starts from"}
    return whole


def dump(experiment: Experiment) -> dict[str, Any]:
    """The experiment as plain data, every default filled in."""
    value: dict[str, Any] = adapter().dump_python(experiment, mode="python")
    plain: dict[str, Any] = _plain(value)
    return plain


def _plain(value: Any) -> Any:
    """Tuples as lists and paths as text, so that YAML shows plain data."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def with_fold(experiment: Experiment, fold: int) -> Experiment:
    """The experiment with another fold validating; any other split becomes folds of the same patients.

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


def identity(experiment: Experiment) -> str:
    """Short name of what decides a run's numbers: equal for experiments that differ in name and claim only.

    Settings that have their defaults do not count, so that a new setting in a later version changes no name.
    """
    import hashlib

    own = {key: value for key, value in essence(experiment).items() if key not in {"name", "claim"}}
    return hashlib.blake2b(json.dumps(own, sort_keys=True).encode(), digest_size=4).hexdigest()


def essence(value: Any) -> Any:
    """What differs from the defaults, as plain data."""
    if dataclasses.is_dataclass(value):
        own = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
        usual = {each.name: _default(each) for each in dataclasses.fields(value)}
        return {key: essence(each) for key, each in own.items() if key == "kind" or each != usual[key]}
    if isinstance(value, Mapping):
        return {str(key): essence(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [essence(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def _default(setting: "dataclasses.Field[Any]") -> Any:
    if setting.default_factory is not dataclasses.MISSING:
        return setting.default_factory()
    return setting.default
