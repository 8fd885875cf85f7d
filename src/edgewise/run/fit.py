"""`edgewise fit`: from a folder of labelled scans to a trained and evaluated network."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edgewise import experiment_file
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
from edgewise.run import environment
from edgewise.run.arithmetic import measured
from edgewise.run.folder import RunFolder, write_yaml
from edgewise.run.trainer import Trainer
from edgewise.run.validate import evaluate_run, finish


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
    folder = RunFolder(path=place.out)
    if resume:
        folder.open_again()
        own = experiment_file.load(folder.experiment)
        if own != experiment:
            say(f"warning: {place.out} goes on with its own experiment, which differs from the one given")
        experiment = own
        if folder.ended():
            return finish(folder, place.data)
    dataset = layouts.detect(place.data)
    experiment.postprocessing.kept(dataset.classes)  # a misspelt class is said now, not after the training
    if not resume:
        folder.open_new()
    inspection = _inspect(dataset)
    if resume:
        folder.require_data(inspection.fingerprint.digest, place.data)
    split = _split(experiment, dataset)
    plan = _plan(experiment, dataset, inspection, folder if resume else None)
    prepared = _prepare(dataset, inspection, plan, split, place.cache)
    trainer = Trainer(experiment, plan, dataset, split, prepared, folder)
    if not resume:
        _write_head(trainer, inspection, place)
    trainer.train(resume=resume)
    return evaluate_run(folder, dataset)


def _inspect(dataset: Dataset) -> Inspection:
    with progress("checking") as report:
        inspection = checks.inspect(dataset, workers=environment.cores(), progress=advancing(report))
    checks.require_usable(inspection)
    for defect in inspection.defects:
        say(f"warning: {defect}")
    return inspection


def _split(experiment: Experiment, dataset: Dataset) -> Split:
    ids = tuple(case.id for case in dataset.cases)
    match experiment.split:
        case Folds() as s:
            return splits.folds(ids, folds=s.folds, fold=s.fold, group=s.group)
        case Fixed() as s:
            return splits.fixed(ids, validation=s.validation, group=s.group)
        case Parity() as s:
            return splits.parity(ids, of=s.of, train=s.train, group=s.group)


def _plan(experiment: Experiment, dataset: Dataset, inspection: Inspection, resumed: RunFolder | None) -> Plan:
    if resumed is not None:
        return experiment_file.read_plan(resumed.mapping(resumed.plan))
    machine = environment.machine()
    plan = planning.make(inspection.fingerprint, dataset.channels, experiment.plan, machine, dataset.classes)
    experiment.method.require(experiment.network, plan.topology(len(dataset.classes)))
    for encoder in encoders(experiment):
        if encoder.weights != "random":
            say(described(encoder, len(dataset.channels), plan.dimensions))
    return replace(plan, arithmetic=measured(experiment, plan, len(dataset.classes), environment.device()))


def _prepare(dataset: Dataset, inspection: Inspection, plan: Plan, split: Split, cache: Path) -> PreparedSet:
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
                workers=environment.cores(),
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
