"""A trained run: load its network, and predict images with it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from edgewise import experiment_file
from edgewise.console import advancing, progress, say
from edgewise.data.case import Case, CaseFiles
from edgewise.data.images import read_case, write_labels
from edgewise.data.transform import Prepared, restore, transform
from edgewise.data.volumes import suffix_of
from edgewise.errors import EdgewiseError, OutputError, RunError
from edgewise.experiment import Experiment
from edgewise.inference.apply import applied
from edgewise.inference.postprocess import Mended, postprocess
from edgewise.inference.prediction import Prediction
from edgewise.inference.sliding import Window
from edgewise.networks.resnet import unread
from edgewise.plan import Plan
from edgewise.run import environment
from edgewise.run.folder import RunFolder
from edgewise.training import checkpoint

NOTHING = "no region was found in it: the mask is empty"


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """A case that was predicted, and what led there.

    Attributes:
        files: where it lies.
        case: as it was read.
        prepared: what the network saw.
        prediction: what it answered.
        mended: the labels, post-processed, and what a user must know of them.
    """

    files: CaseFiles
    case: Case
    prepared: Prepared
    prediction: Prediction
    mended: Mended


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
        return self._look(case)[2]

    def _look(self, case: Case) -> tuple[Prepared, Prediction, Mended]:
        prepared = transform(case, self.plan.preparation())
        window = Window(
            patch=self.plan.patch,
            classes=len(self.classes),
            arithmetic=self.plan.arithmetic,
            device=self.device,
            mirrored=self.experiment.augmentation.mirrored(self.plan.dimensions),
        )
        found = applied(self.network, prepared.image, window, self.experiment.inference)
        labels = restore(found.probabilities, prepared.undo)
        mended = postprocess(labels, case.spacing, self.classes, self.experiment.postprocessing)
        blank = (NOTHING,) if found.blank else ()
        mended = replace(mended, warnings=(*prepared.notes, *blank, *mended.warnings))
        return prepared, found, mended

    def predict_file(self, files: CaseFiles, target: Path) -> Look:
        """Predict one image and write the mask on the image's own grid.

        Args:
            files: the image; its reference, if it comes with one, changes nothing.
            target: the mask.

        Raises:
            DataError: the image cannot be read, or does not have the channels the network was trained on.
        """
        case = read_case(files)
        prepared, prediction, mended = self._look(case)
        write_labels(target, mended.labels, case.grid)
        return Look(files=files, case=case, prepared=prepared, prediction=prediction, mended=mended)


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What became of the images that were to be predicted.

    Attributes:
        failures: what went wrong, by case id; empty if all went well.
        warnings: of preparation and post-processing, by case id; cases without any are left out.
    """

    failures: Mapping[str, str] = field(default_factory=dict)
    warnings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def load(folder: RunFolder, weights: Path | Literal["best"] = "best") -> Trained:
    """Load a trained run.

    Args:
        folder: of the run.
        weights: its checkpoint of the weights to predict with: the best, or a snapshot.

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
    content = checkpoint.load(folder.best if weights == "best" else weights, device)
    built = unread(experiment)  # its weights come from the checkpoint
    network = built.method.predictor(built.network, plan.topology(len(dataset["classes"])))
    network.load_state_dict(content["network"])
    return Trained(
        experiment=experiment,
        plan=plan,
        classes=tuple(dataset["classes"]),
        channels=tuple(dataset["channels"]),
        network=plan.arithmetic.placed(network, device, plan.dimensions).eval(),
        device=device,
    )


def predict_all(
    trained: Trained, files: tuple[CaseFiles, ...], out: Path, watch: Callable[[Look], None] = lambda _: None
) -> Predicted:
    """Predict many images, and say what there is to be warned of; a failing image does not stop the others.

    Args:
        trained: predicts.
        files: the images.
        out: folder of the masks.
        watch: sees every case that was predicted.
    """
    failures: dict[str, str] = {}
    warnings: dict[str, tuple[str, ...]] = {}
    with progress("predicting") as report, trained.plan.arithmetic.applied():
        for i, case in enumerate(files):
            try:
                look = trained.predict_file(case, out / f"{case.id}{ending(case)}")
                watch(look)
                if look.mended.warnings:
                    warnings[case.id] = look.mended.warnings
            except OutputError:  # the next case could not be written either
                raise
            except EdgewiseError as error:
                failures[case.id] = str(error)
            advancing(report)(i + 1, len(files))
    for name, texts in warnings.items():
        say(f"warning: {name}: {'; '.join(texts)}")
    return Predicted(failures=failures, warnings=warnings)


def ending(files: CaseFiles) -> str:
    """The file ending of a prediction: that of the image, but one file for two, and NIfTI for a DICOM series."""
    suffix = suffix_of(files.images[0])
    return {".mhd": ".mha", "": ".nii.gz"}.get(suffix, suffix)
