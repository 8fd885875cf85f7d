"""`edgewise fit`: from a folder of labelled scans to a trained and evaluated network."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edgewise import experiment_file, machine
from edgewise import plan as planning
from edgewise.console import advancing, progress, say
from edgewise.data import checks, layouts, splits
from edgewise.data.case import CaseFiles, Dataset
from edgewise.data.checks import Inspection
from edgewise.data.prepare import Preparation, PreparedSet, prepare
from edgewise.data.splits import Split
from edgewise.experiment import Experiment, Fixed, Folds, Parity, dump
from edgewise.files import write_json
from edgewise.networks.resnet import described, encoders
from edgewise.plan import Plan
from edgewise.run import environment, processes
from edgewise.run.arithmetic import measured
from edgewise.run.folder import RunFolder, write_yaml
from edgewise.run.trainer import Trainer
from edgewise.run.validate import evaluate_run, finish
from edgewise.training.group import Group


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """Where a run happens.

    Attributes:
        data: dataset folder.
        out: run folder.
        cache: prepared volumes, shared by runs.
        command: how the run was started, for the record.
    """

    data: Path
    out: Path
    cache: Path
    command: str


def default_cache() -> Path:
    """Where prepared volumes are kept: `EDGEWISE_CACHE`, or `~/.cache/edgewise`."""
    return Path(os.environ.get("EDGEWISE_CACHE", Path.home() / ".cache" / "edgewise"))


def run(experiment: Experiment, place: Workplace, *, resume: bool = False) -> Mapping[str, str]:
    """Train, then predict and evaluate the validation cases.

    Args:
        experiment: what to do.
        place: where.
        resume: go on with an interrupted run; its own experiment counts.

    Returns:
        The validation cases that could not be predicted, with the reason.

    Raises:
        EdgewiseError: the data, the experiment or the folder cannot be used.
    """
    with processes.together() as group:
        return _lead(experiment, place, group, resume=resume) if group.leads else _follow(place, group)


def _follow(place: Workplace, group: Group) -> Mapping[str, str]:
    """What all processes but the first do: wait for what it has prepared, and train with it."""
    told = group.told(None)
    if told is not None:
        parts, resume = told
        Trainer(*parts, RunFolder(path=place.out)).train(resume=resume)
    return {}


def _lead(experiment: Experiment, place: Workplace, group: Group, *, resume: bool) -> Mapping[str, str]:
    folder = RunFolder(path=place.out)
    if resume:
        folder.open_again()
        own = experiment_file.load(folder.experiment)
        if own != experiment:
            say(f"warning: {place.out} goes on with its own experiment, which differs from the one given")
        experiment = own
        if folder.ended():
            group.told(None)
            return finish(folder, place.data)
    dataset = layouts.detect(place.data)
    experiment.postprocessing.kept(dataset.classes)  # a misspelt class is said now, not after the training
    if not resume:
        folder.open_new()
    inspection = inspection_of(dataset)
    if resume:
        folder.require_data(inspection.fingerprint.digest, place.data)
    split = split_of(experiment, dataset)
    plan = (
        experiment_file.read_plan(folder.mapping(folder.plan)) if resume else plan_of(experiment, dataset, inspection)
    )
    group.share(plan.batch, "plan.batch")
    prepared = prepared_for(dataset, inspection, plan, split, place.cache)
    trainer = Trainer(experiment, plan, dataset, split, prepared, folder)
    if not resume:
        _write_head(trainer, inspection, place)
    group.told(((experiment, plan, dataset, split, prepared), resume))
    trainer.train(resume=resume)
    return evaluate_run(folder, dataset)


def _made(folder: RunFolder) -> Plan:
    """The plan that the run began with."""
    return experiment_file.read_plan(folder.mapping(folder.plan))


def inspection_of(dataset: Dataset) -> Inspection:
    """Read every case once; refuse a dataset with errors, and say what else there is to be warned of."""
    with progress("checking") as report:
        inspection = checks.inspect(dataset, workers=machine.cores(), progress=advancing(report))
    checks.require_usable(inspection)
    for defect in inspection.defects:
        say(f"warning: {defect}")
    return inspection


def split_of(experiment: Experiment, dataset: Dataset) -> Split:
    """Which cases of the dataset train and which validate."""
    ids = tuple(case.id for case in dataset.cases)
    match experiment.split:
        case Folds() as s:
            return splits.folds(ids, folds=s.folds, fold=s.fold, group=s.group)
        case Fixed() as s:
            return splits.fixed(ids, validation=s.validation, group=s.group)
        case Parity() as s:
            return splits.parity(ids, of=s.of, train=s.train, group=s.group)


def plan_of(experiment: Experiment, dataset: Dataset, inspection: Inspection) -> Plan:
    """Every decision that is left to the data and the machine, which is measured where it has to be."""
    hardware = environment.machine()
    plan = planning.make(inspection.fingerprint, dataset.channels, experiment.plan, hardware, dataset.classes)
    experiment.method.require(experiment.network, plan.topology(len(dataset.classes)))
    for encoder in encoders(experiment):
        if encoder.weights != "random":
            say(described(encoder, len(dataset.channels), plan.dimensions))
    return replace(plan, arithmetic=measured(experiment, plan, len(dataset.classes), environment.device()))


def prepared_for(dataset: Dataset, inspection: Inspection, plan: Plan, split: Split, cache: Path) -> PreparedSet:
    """The cases of the dataset as training and validation see them; those in the cache are taken from there."""
    digests = {case.id: case.digest for case in inspection.fingerprint.cases}
    alike: dict[Preparation, list[CaseFiles]] = {}
    for case in dataset.cases:
        preparation = plan.training_preparation() if case.id in split.train else plan.preparation()
        alike.setdefault(preparation, []).append(case)
    folders: dict[str, Path] = {}
    for preparation, cases in alike.items():
        with progress("preparing") as report:
            prepared = prepare(
                cases,
                preparation,
                cache / "prepared",
                workers=machine.cores(),
                digests=digests,
                progress=advancing(report),
            )
        folders.update(prepared.folders)
    prepared = PreparedSet(folders=folders)
    for warning in prepared.warnings():
        say(f"warning: {warning}")
    return prepared


def _write_head(trainer: Trainer, inspection: Inspection, place: Workplace) -> None:
    """What is known before training starts."""
    folder, dataset = trainer.folder, trainer.dataset
    write_yaml(folder.plan, trainer.plan.table())
    write_json(
        folder.dataset,
        {
            "name": dataset.name,
            "root": str(dataset.root.resolve()),
            "layout": dataset.layout,
            "classes": list(dataset.classes),
            "channels": list(dataset.channels),
            "train": list(trainer.split.train),
            "validation": list(trainer.split.validation),
            "digest": inspection.fingerprint.digest,
        },
    )
    write_json(folder.environment, environment.describe(place.command, trainer.experiment.seed))
    # Last, because its presence says that there is a run to resume.
    write_yaml(folder.experiment, dump(trainer.experiment))
