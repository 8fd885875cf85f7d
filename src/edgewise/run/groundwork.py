"""What a method trains before the main training: networks that learn from reference masks alone."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from numpy import ndarray
from torch import nn
from torch.nn.functional import one_hot

from edgewise.console import progress, say
from edgewise.data.batches import batches
from edgewise.data.patches import Patches
from edgewise.data.prepare import PreparedSet
from edgewise.errors import DivergedError, RunError
from edgewise.methods.groundwork import Foundation, Groundwork, Laid, read
from edgewise.run.folder import Journal, RunFolder
from edgewise.training import checkpoint
from edgewise.training.arithmetic import Arithmetic
from edgewise.training.loop import Limits, Progress, fit
from edgewise.training.records import Record, Validated
from edgewise.types import Spacing


@dataclass(frozen=True, kw_only=True)
class Masks:
    """The reference masks that a groundwork learns from, and those that judge it.

    Attributes:
        patches: the training patches.
        cases: the prepared cases.
        validation: ids of the cases that judge.
        classes: number of classes, background included.
        workers: processes that make patches.
        arithmetic: memory format and threads.
        device: where to compute.
    """

    patches: Patches
    cases: PreparedSet
    validation: tuple[str, ...]
    classes: int
    workers: int
    arithmetic: Arithmetic
    device: torch.device


def lay(works: tuple[Groundwork, ...], masks: Masks, folder: RunFolder, experiment: str) -> Laid:
    """Train each groundwork, or go on with it, or take its weights where it is done.

    Args:
        works: what to train.
        masks: what from.
        folder: of the run; what is done lies in it as `checkpoints/NAME.pt`, and its journal gets a note.
        experiment: digest of the experiment, which an interrupted groundwork must share.

    Returns:
        The best weights of each.

    Raises:
        DivergedError: a training did; the note says so, too.
        RunError: a file to start from is missing or does not fit, or was made by another experiment.
    """
    return {work.name: _lay(work, masks, folder, experiment).weights for work in works}


def _lay(work: Groundwork, masks: Masks, folder: RunFolder, experiment: str) -> Foundation:
    done, journal = folder.groundwork(work.name), Journal(folder.journal)
    if done.exists():
        found = read(done, masks.device, work.name, work.about)
        origin = work.name
    elif work.file == "train":
        found = _train(work, masks, folder, experiment)
        found.save(done)
        folder.groundwork_last(work.name).unlink(missing_ok=True)
        origin = work.name
    else:
        found = read(work.file, masks.device, work.name, work.about)
        found.save(done)  # the run is complete without the other, and goes on should that be gone
        origin = f"{work.name} of {work.file}, trained at a voxel spacing of {_sizes(found.spacing)} mm,"
    _tell(found, work, origin, journal)
    return found


def _tell(found: Foundation, work: Groundwork, origin: str, journal: Journal) -> None:
    """Say how good it is, and note it once."""
    text = f"{origin} has a Dice of {found.score:.3f} on the validation masks, after {found.step} steps"
    if found.score < work.expected:
        text = (
            f"warning: {text}, but {work.expected:g} is expected of it: what it tells the segmentation network is "
            "doubtful. Train it longer (method.pretraining.steps), or choose another map."
        )
    say(text)
    journal.note_once(text)


def _sizes(spacing: Spacing) -> str:
    return " x ".join(f"{size:g}" for size in spacing)


def _train(work: Groundwork, masks: Masks, folder: RunFolder, experiment: str) -> Foundation:
    training = _Training(work, masks, folder, experiment)
    limits = Limits(
        steps=work.steps,
        minutes=math.inf,
        validate_every=work.validate_every,
        patience=0,
        report_every=min(50, work.validate_every),
        enough=work.enough,
    )
    start = training.progress.step
    rows = batches(masks.patches, size=work.batch, start=start, stop=work.steps, workers=masks.workers)

    def validate(network: nn.Module) -> Mapping[str, float]:
        return mask_dice(network, masks, work.threshold)

    try:
        with progress(f"training {work.name}") as report, masks.arithmetic.applied():
            for record in fit(work.learner, rows, validate, limits, training.progress):
                training.keep(record)
                report(record.step, work.steps, _remark(record))
    except DivergedError as error:
        text = f"{work.name}: {error} Start a new run with a lower method.pretraining.rate{masks.arithmetic.safer}."
        Journal(folder.journal).note(text)
        raise DivergedError(text) from error
    return training.best


class _Training:
    """The training of a groundwork, and its files: it goes on where an earlier one was interrupted."""

    def __init__(self, work: Groundwork, masks: Masks, folder: RunFolder, experiment: str) -> None:
        self._work, self._experiment = work, experiment
        self._last = folder.groundwork_last(work.name)
        self._journal = Journal(folder.groundwork_journal(work.name))
        self.progress = Progress()
        self.best = Foundation(weights={}, score=-math.inf, step=0, about=work.about, spacing=work.spacing)
        if self._last.exists():
            self._restore(masks.device)
        self._journal.back_to(self.progress.step)

    def keep(self, record: Record) -> None:
        """Write the record, and at each validation a checkpoint."""
        self._journal.record(record)
        if not isinstance(record, Validated):
            return
        if record.best:
            weights = {key: value.clone() for key, value in self._work.learner.predictor.state_dict().items()}
            self.best = replace(self.best, weights=weights, score=record.mean_dice, step=record.step)
        checkpoint.save(
            self._last,
            {
                "learner": self._work.learner.state(),
                "progress": asdict(self.progress),
                "best": {"weights": self.best.weights, "score": self.best.score, "step": self.best.step},
                "random": checkpoint.random_state(),
                "experiment": self._experiment,
            },
        )

    def _restore(self, device: torch.device) -> None:
        content = checkpoint.load(self._last, device)
        if content["experiment"] != self._experiment:
            raise RunError(
                f"{self._last} was trained with another experiment than the run's folder holds now. Restore "
                "experiment.yaml, or start a new run."
            )
        self._work.learner.restore(content["learner"])
        self.progress = Progress(**content["progress"])
        self.best = replace(self.best, **content["best"])
        checkpoint.restore_random_state(content["random"])


def mask_dice(network: nn.Module, masks: Masks, threshold: float) -> dict[str, float]:
    """Mean Dice over the validation cases, by class, of (predicted map > threshold) with the mask it was made from."""
    table = []
    for name in masks.validation:
        counts = np.zeros((3, masks.classes - 1))
        for tile in _tiles(np.asarray(masks.cases.load(name).labels), masks.patches.patch):
            labels = torch.from_numpy(tile).to(masks.device)
            hot = one_hot(labels.long(), masks.classes).movedim(-1, 1).to(torch.float32)
            with torch.inference_mode():
                maps = network(masks.arithmetic.arrange(hot))
            if not maps.isfinite().all():  # finite weights may be large enough for that
                raise DivergedError(f"the map of the validation case {name} became nan")
            predicted = maps > threshold
            mask = hot[:, 1:] > 0
            axes = (0, *range(2, mask.ndim))
            counts += np.array([each.sum(axes).tolist() for each in (predicted & mask, predicted, mask)])
        total = counts[1] + counts[2]
        table.append(np.where(total > 0, 2 * counts[0] / np.maximum(total, 1), 1.0))
    return {str(c): float(dice) for c, dice in enumerate(np.mean(table, axis=0), start=1)}


def _tiles(labels: ndarray, patch: tuple[int, ...]) -> Iterator[ndarray]:
    """Batches (n, *patch) that cover the labels once, row by row; what sticks out is background."""
    box = (1,) * (labels.ndim - len(patch)) + patch
    padded = np.pad(labels, [(0, -n % p) for n, p in zip(labels.shape, box, strict=True)])
    for first in range(0, padded.shape[0], box[0]):
        for second in range(0, padded.shape[1], box[1]):
            row = padded[first : first + box[0], second : second + box[1]]
            tiles = np.stack(np.split(row, padded.shape[2] // box[2], axis=2))
            yield tiles.reshape(len(tiles), *patch)


def _remark(record: Record) -> str:
    return f"Dice {record.mean_dice:.3f}" if isinstance(record, Validated) else ""
