"""What a method trains before the main training: networks that learn from reference masks alone."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import nn
from torch.nn.functional import one_hot

from edgewise.console import progress, say
from edgewise.data.batches import batches
from edgewise.data.patches import Patches
from edgewise.data.prepare import PreparedSet
from edgewise.methods.base import Groundwork, Laid
from edgewise.run.folder import Journal, RunFolder
from edgewise.training import checkpoint
from edgewise.training.arithmetic import Arithmetic
from edgewise.training.loop import Limits, Progress, fit
from edgewise.training.records import Record, Validated


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


def lay(works: tuple[Groundwork, ...], masks: Masks, folder: RunFolder) -> Laid:
    """Train each groundwork, or go on with it, or take its weights where it is done; keep the best weights."""
    return {work.name: _lay(work, masks, folder) for work in works}


def _lay(work: Groundwork, masks: Masks, folder: RunFolder) -> Mapping[str, Any]:
    done, last = folder.groundwork(work.name), folder.groundwork(f"{work.name}.last")
    if not done.exists():
        best = _train(work, masks, folder, last)
        checkpoint.save(done, best)
        last.unlink(missing_ok=True)
    content = checkpoint.load(done, masks.device)
    if content["score"] < work.expected:
        say(
            f"warning: {work.name} reached a Dice of {content['score']:.3f} on the validation masks, but "
            f"{work.expected:g} is expected of it: what it tells the segmentation network is doubtful. Give "
            "method.pretraining.steps more, or choose another map."
        )
    weights: Mapping[str, Any] = content["network"]
    return weights


def _train(work: Groundwork, masks: Masks, folder: RunFolder, last: Path) -> dict[str, Any]:
    state, best = Progress(), {"network": work.learner.predictor.state_dict(), "score": 0.0, "step": 0}
    journal = Journal(folder.path / f"{work.name}.jsonl")
    if last.exists():
        content = checkpoint.load(last, masks.device)
        work.learner.restore(content["learner"])
        state, best = Progress(**content["progress"]), content["best"]
        checkpoint.restore_random_state(content["random"])
        journal.back_to(state.step)
    limits = Limits(
        steps=work.steps, minutes=float("inf"), validate_every=work.validate_every, patience=0, report_every=50
    )
    rows = batches(masks.patches, size=work.batch, start=state.step, stop=work.steps, workers=masks.workers)
    with progress(f"training {work.name}") as report, masks.arithmetic.applied():
        for record in fit(work.learner, rows, lambda net: mask_dice(net, masks, work.threshold), limits, state):
            journal.record(record)
            report(record.step, work.steps, _remark(record))
            if not isinstance(record, Validated):
                continue
            if record.best:
                weights = {key: value.clone() for key, value in work.learner.predictor.state_dict().items()}
                best = {"network": weights, "score": record.mean_dice, "step": record.step}
            if record.mean_dice >= work.enough:
                journal.note(f"ended at step {record.step}: a Dice of {record.mean_dice:.4f} is enough")
                break
            random = checkpoint.random_state()
            content = {"learner": work.learner.state(), "progress": asdict(state), "best": best, "random": random}
            checkpoint.save(last, content)
    return best


def mask_dice(network: nn.Module, masks: Masks, threshold: float) -> dict[str, float]:
    """Mean Dice over the validation cases, by class, of (predicted map > threshold) with the mask it was made from."""
    table = []
    for name in masks.validation:
        counts = np.zeros((3, masks.classes - 1))
        for tile in _tiles(np.asarray(masks.cases.load(name).labels), masks.patches.patch):
            labels = torch.from_numpy(tile).to(masks.device)
            hot = one_hot(labels.long(), masks.classes).movedim(-1, 1).to(torch.float32)
            with torch.inference_mode():
                predicted = network(masks.arithmetic.arrange(hot)) > threshold
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
