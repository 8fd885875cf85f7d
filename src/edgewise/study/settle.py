"""What is settled once for all parts of a study, so that they differ in what the study file says alone."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from edgewise.data.case import Dataset
from edgewise.data.checks import Inspection
from edgewise.data.crop import LabelRange
from edgewise.data.splits import AUTO, group_of
from edgewise.experiment import Experiment, Folds, essence
from edgewise.plan import Plan
from edgewise.run.fit import plan_of, split_of
from edgewise.study.file import Part, Row, Study
from edgewise.training.optimise import Poly, Step

PINNED = ("dimensions", "batch", "patch", "widths", "stem", "precision", "memory_format", "threads")
"""Decisions of a plan that depend on the machine and on how busy it is."""
FEWEST = 50
"""Training steps below which a study would compare noise."""


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What a study stands on.

    Attributes:
        dataset: the cases.
        inspection: what was found in them.
        threads: CPU threads for each of the trainings that run at a time.
    """

    dataset: Dataset
    inspection: Inspection
    threads: int


def pinned(study: Study, ground: Ground, known: Mapping[str, Any]) -> tuple[Study, dict[str, Any]]:
    """The study with every decision of its rows' plans that depends on the machine written down.

    A plan is made for each set of settings, network and method, and what it decides is kept, so that a study that goes
    on later, on a machine that is busier, still trains the same networks.

    Args:
        study: as its file says.
        ground: what it stands on.
        known: what was decided when the study began; empty for a new one.

    Returns:
        The study, and what is decided by now.
    """
    decided = dict(known)
    rows = []
    for row in study.rows:
        key = _question(row.experiment)
        if key not in decided:
            decided[key] = _answer(_with_threads(row.experiment, ground.threads), ground)
        settings = replace(row.experiment.plan, **_tupled(decided[key]))
        rows.append(replace(row, experiment=replace(row.experiment, plan=settings)))
    return replace(study, rows=tuple(rows)), decided


def shortened(study: Study, factor: float, validations: int) -> Study:
    """The study with trainings of `factor` times as many steps; all that is counted in steps shrinks alike.

    Args:
        study: as its file says.
        factor: 1 leaves the steps as they are.
        validations: how many there are in a training at most; 0 leaves everything as it is.
    """
    return (
        replace(study, rows=tuple(_shorter(row, factor, validations) for row in study.rows)) if validations else study
    )


def required_splits(study: Study, dataset: Dataset) -> list[str]:
    """Make sure that every fold can be split off; say what looks wrong.

    Returns:
        Warnings: cases that look like one patient's, on both sides.

    Raises:
        DataError: there are more folds than patients, or a split names cases that are not there.
    """
    warnings = []
    for part in {part.experiment.split: part for part in study.parts}.values():
        split = split_of(part.experiment, dataset)
        patients = {group_of(case, AUTO): case for case in split.train}
        torn = [case for case in split.validation if group_of(case, AUTO) in patients]
        if torn:
            case, other = torn[0], patients[group_of(torn[0], AUTO)]
            where = f" of fold {part.experiment.split.fold}" if isinstance(part.experiment.split, Folds) else ""
            warnings.append(
                f"{case} validates and {other} trains{where}, and they look like one patient: scores are too good. "
                f"Set `split.group` (it is {part.experiment.split.group!r}), or `auto`, if they are."
            )
    return warnings


def preparing(part: Part) -> str:
    """Equal for parts whose cases are prepared alike."""
    plan = part.experiment.plan
    by_label = part.experiment.split if isinstance(plan.crop, LabelRange) else None  # then references decide, too
    return json.dumps([essence(plan), essence(by_label)], sort_keys=True)


def _question(experiment: Experiment) -> str:
    """What a plan depends on, beside the data and the machine."""
    asked = [essence(part) for part in (experiment.plan, experiment.network, experiment.method)]
    return json.dumps(asked, sort_keys=True)


def _with_threads(experiment: Experiment, threads: int) -> Experiment:
    if experiment.plan.threads != "auto":
        return experiment
    return replace(experiment, plan=replace(experiment.plan, threads=threads))


def _answer(experiment: Experiment, ground: Ground) -> dict[str, Any]:
    plan = plan_of(experiment, ground.dataset, ground.inspection)
    found = {**{name: getattr(plan, name, None) for name in PINNED}, **asdict(plan.arithmetic), "stem": _stem(plan)}
    return {name: found[name] for name in PINNED}


def _stem(plan: Plan) -> int:
    return 2 if max(plan.strides[0]) > 1 else 1


def _tupled(answer: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives it back, with tuples for lists."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in answer.items()}


def _shorter(row: Row, factor: float, validations: int) -> Row:
    training = row.experiment.training
    steps = max(math.floor(training.steps * factor), min(FEWEST, training.steps))

    def scaled(steps: int) -> int:
        return max(round(steps * factor), 1)

    schedule = training.schedule
    if isinstance(schedule, Step):
        schedule = replace(schedule, every=scaled(schedule.every))
    elif isinstance(schedule, Poly):
        schedule = replace(schedule, warm_up=round(schedule.warm_up * factor))
    training = replace(
        training,
        steps=steps,
        epoch=scaled(training.epoch),
        validate_every=max(math.ceil(steps / validations), scaled(training.validate_every)),
        report_every=scaled(training.report_every),
        schedule=schedule,
    )
    return replace(row, experiment=replace(row.experiment, training=training))
