"""A trained run: load its network, predict images with it, evaluate it on its validation cases."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from edgewise import experiment_file
from edgewise.console import advancing, progress, say
from edgewise.data import layouts
from edgewise.data.case import Case, CaseFiles, Dataset
from edgewise.data.images import read_case, write_labels
from edgewise.data.transform import restore, transform
from edgewise.data.volumes import suffix_of
from edgewise.errors import EdgewiseError, OutputError, RunError
from edgewise.experiment import Experiment
from edgewise.inference.postprocess import Mended, postprocess
from edgewise.inference.sliding import Window, probabilities
from edgewise.plan import Plan
from edgewise.run import environment
from edgewise.run.folder import Journal, RunFolder
from edgewise.training import checkpoint


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A network with everything needed to apply it to images.

    Attributes:
        experiment: what was trained.
        plan: how images are prepared and cut into windows.
        classes: class names; the index is the label value.
        channels: channel names the network expects.
        network: in evaluation mode, on `device`.
        device: where it computes.
    """

    experiment: Experiment
    plan: Plan
    classes: tuple[str, ...]
    channels: tuple[str, ...]
    network: nn.Module
    device: torch.device

    def predict(self, case: Case) -> Mended:
        """The most probable class of each voxel, post-processed, on the case's canonical grid: (x, y, z) uint8."""
        prepared = transform(case, self.plan.preparation())
        window = Window(
            patch=self.plan.patch,
            classes=len(self.classes),
            arithmetic=self.plan.arithmetic,
            device=self.device,
            mirrored=self.experiment.augmentation.mirrored(self.plan.dimensions),
        )
        p = probabilities(self.network, prepared.image, window, self.experiment.inference)
        labels = restore(p, prepared.undo)
        mended = postprocess(labels, case.spacing, self.classes, self.experiment.postprocessing)
        return replace(mended, warnings=(*prepared.notes, *mended.warnings))

    def predict_file(self, files: CaseFiles, target: Path) -> tuple[str, ...]:
        """Predict one image and write the mask on the image's own grid.

        Returns:
            Warnings of the preparation and the post-processing.

        Raises:
            DataError: the image cannot be read, or does not have the channels the network was trained on.
        """
        case = read_case(CaseFiles(id=files.id, images=files.images))
        mended = self.predict(case)
        write_labels(target, mended.labels, case.grid)
        return mended.warnings


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What became of the images that were to be predicted.

    Attributes:
        failures: what went wrong, by case id; empty if all went well.
        warnings: of preparation and post-processing, by case id; cases without any are left out.
    """

    failures: Mapping[str, str] = field(default_factory=dict)
    warnings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def load(folder: RunFolder) -> Trained:
    """Load the best checkpoint of a run.

    Raises:
        RunError: the folder is no run, or has no checkpoint yet.
        ExperimentError: its post-processing names a class that it does not have.
    """
    if not folder.experiment.exists():
        raise RunError(
            f"{folder.path} is no run: it has no {folder.experiment.name}. Pass a folder made by `edgewise fit`."
        )
    experiment = experiment_file.load(folder.experiment)
    plan = experiment_file.read_plan(folder.mapping(folder.plan))
    dataset = folder.mapping(folder.dataset)
    experiment.postprocessing.kept(dataset["classes"])
    device = environment.device()
    content = checkpoint.load(folder.best, device)
    network = experiment.method.predictor(experiment.network, plan.topology(len(dataset["classes"])))
    network.load_state_dict(content["network"])
    return Trained(
        experiment=experiment,
        plan=plan,
        classes=tuple(dataset["classes"]),
        channels=tuple(dataset["channels"]),
        network=plan.arithmetic.placed(network, device, plan.dimensions).eval(),
        device=device,
    )


def predict_all(trained: Trained, files: tuple[CaseFiles, ...], out: Path) -> Predicted:
    """Predict many images, and say what the post-processing warns of; a failing image does not stop the others."""
    failures: dict[str, str] = {}
    warnings: dict[str, tuple[str, ...]] = {}
    with progress("predicting") as report, trained.plan.arithmetic.applied():
        for i, case in enumerate(files):
            try:
                found = trained.predict_file(case, out / f"{case.id}{ending(case)}")
                if found:
                    warnings[case.id] = found
            except OutputError:  # the next case could not be written either
                raise
            except EdgewiseError as error:
                failures[case.id] = str(error)
            advancing(report)(i + 1, len(files))
    for name, texts in warnings.items():
        say(f"warning: {name}: {'; '.join(texts)}")
    return Predicted(failures=failures, warnings=warnings)


def ending(files: CaseFiles) -> str:
    """The file ending of a prediction: that of the image, but one file where the image takes two."""
    suffix = suffix_of(files.images[0])
    return ".mha" if suffix == ".mhd" else suffix


def evaluate_run(folder: RunFolder, dataset: Dataset) -> Mapping[str, str]:
    """Predict the validation cases with the best checkpoint, and write metrics, summary and curves.

    Returns:
        What went wrong, by case id; a case without prediction is scored as an empty mask.
    """
    from edgewise.metrics.presets import named
    from edgewise.report.figures import curves
    from edgewise.report.records import read_run
    from edgewise.run.evaluate import evaluate_pairs

    trained = load(folder)
    chosen = set(folder.mapping(folder.dataset)["validation"])
    cases = tuple(case for case in dataset.cases if case.id in chosen)
    predicted = predict_all(trained, cases, folder.predictions)
    failures = predicted.failures
    references = {case.id: case.label for case in cases if case.label is not None}
    found = {case.id: folder.predictions / f"{case.id}{ending(case)}" for case in cases if case.id not in failures}
    result = evaluate_pairs(references, found, trained.classes, named("default"))
    result = replace(result, failures={**result.failures, **failures}, warnings=predicted.warnings)
    result.write(folder.metrics, folder.lesions, folder.summary)
    journal = Journal(folder.journal)
    for case, texts in predicted.warnings.items():
        journal.note(f"{case}: {'; '.join(texts)}")
    for case, text in result.failures.items():
        journal.failure(case, text)
    curves([read_run(folder.path)], folder.curves)
    return result.failures


def finish(folder: RunFolder, data: Path) -> Mapping[str, str]:
    """What is left to do for a run whose training has ended: nothing, or its evaluation.

    Returns:
        What went wrong, by case id.
    """
    if not folder.curves.exists():
        say(f"{folder.path} is trained to its end; what is missing is its evaluation")
        return evaluate_run(folder, layouts.detect(data))
    say(f"{folder.path} is finished: there is nothing left to do")
    failures: Mapping[str, str] = folder.mapping(folder.summary).get("failures", {})
    return failures
