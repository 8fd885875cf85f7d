"""The training loop: batches in, records out. It knows no files, clocks' meaning or screens."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch

from edgewise.data.batches import Batch
from edgewise.errors import DivergedError, LogitsError
from edgewise.training.group import ALONE, Group
from edgewise.training.learner import Learner
from edgewise.training.records import Diverged, Ended, Record, Snapshot, Trained, Validated


@dataclass(kw_only=True)
class Progress:
    """How far a training has come; part of a checkpoint.

    Attributes:
        step: steps done.
        seconds: time spent so far, over all sessions.
        best: best validation score so far.
        best_step: its step.
        since: validations since then.
    """

    step: int = 0
    seconds: float = 0.0
    best: float = -math.inf
    best_step: int = 0
    since: int = 0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When to look and when to end.

    Attributes:
        steps: training steps in all.
        minutes: wall time in all, `inf` for no limit.
        validate_every: steps between validations.
        patience: end after this many validations without a better score; 0 never does.
        report_every: steps between `Trained` records.
        enough: end at a validation score that reaches this; `inf` never does.
        snapshots: steps after which a `Snapshot` comes; 0 is before the first.
    """

    steps: int
    minutes: float
    validate_every: int
    patience: int
    report_every: int
    enough: float = math.inf
    snapshots: tuple[int, ...] = ()


def fit(
    learner: Learner,
    batches: Iterator[Batch],
    validate: Callable[[torch.nn.Module], Mapping[str, float]],
    limits: Limits,
    progress: Progress,
    group: Group = ALONE,
) -> Iterator[Record]:
    """Train until a limit is reached.

    Args:
        learner: what is trained.
        batches: batches from step `progress.step` on.
        validate: mean Dice by class of a network on the validation cases; raises `DivergedError` for outputs that are
            not finite.
        limits: when to look and when to end.
        progress: updated in place before each record, so that a checkpoint written on a record is consistent.
        group: the processes that train together; the first one's clock says when time is up.

    Yields:
        `Trained` every `report_every` steps, `Snapshot` after the steps in `snapshots`, then `Validated` every
        `validate_every` steps and at the end, then `Ended`; or `Diverged`, just before the error. Whenever a record
        comes, but for that one, the weights are finite.

    Raises:
        DivergedError: the loss, the gradient, a weight or a prediction is not finite; names the step and the cases.
    """
    begun, rows = time.monotonic() - progress.seconds, _Rows(batches, progress.step)
    try:
        yield from _records(learner, rows, validate, limits, progress, group)
    except DivergedError as error:
        # All processes are here: what diverges is the mean of what they have.
        cases = tuple(case for own in group.gathered(rows.cases) for case in own)
        yield Diverged(step=rows.taken, seconds=time.monotonic() - begun, cases=cases, reason=str(error))
        raise DivergedError(f"{error} at step {rows.taken} (cases {', '.join(cases)}).") from error


class _Rows:
    """The batches, and which of them was taken last."""

    def __init__(self, batches: Iterator[Batch], start: int) -> None:
        self._batches, self.taken, self.cases = batches, start, tuple[str, ...]()

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._batches:
            self.taken, self.cases = self.taken + 1, batch.cases
            yield batch


def _records(
    learner: Learner,
    batches: Iterable[Batch],
    validate: Callable[[torch.nn.Module], Mapping[str, float]],
    limits: Limits,
    progress: Progress,
    group: Group,
) -> Iterator[Record]:
    begun, losses = time.monotonic() - progress.seconds, [0.0, 0.0]
    seen = progress.step if progress.best_step else -1
    reason = group.told(_enough(limits, progress))  # a resumed run may have reached a limit before
    if progress.step == 0 and 0 in limits.snapshots:
        yield Snapshot(step=0, seconds=progress.seconds)
    for batch in () if reason else batches:
        loss = _learnt(learner, batch, progress.step)
        progress.step += 1
        progress.seconds = time.monotonic() - begun
        losses = [losses[0] + loss, losses[1] + 1]
        if progress.step % limits.report_every == 0:
            yield Trained(step=progress.step, seconds=progress.seconds, loss=losses[0] / losses[1], rate=learner.rate)
            losses = [0.0, 0.0]
        if progress.step in limits.snapshots:  # before the validation, whose checkpoint a resumed run goes on from
            yield Snapshot(step=progress.step, seconds=progress.seconds)
        if progress.step % limits.validate_every == 0:
            yield _validated(learner, validate, progress, begun)
            seen = progress.step
        reason = group.told(_enough(limits, progress))
        if reason:
            break
    if seen != progress.step:
        yield _validated(learner, validate, progress, begun)
    yield Ended(
        step=progress.step,
        seconds=progress.seconds,
        reason=reason or f"all {progress.step} steps are done",
        best_step=progress.best_step,
        best_mean_dice=progress.best,
    )


def _learnt(learner: Learner, batch: Batch, step: int) -> float:
    try:
        loss = learner.step(batch, step)
    except LogitsError as error:
        raise DivergedError("the network's output became nan") from error
    if not math.isfinite(loss):
        raise DivergedError(f"the loss became {loss}")
    return loss


def _enough(limits: Limits, progress: Progress) -> str:
    """Why to end before all steps are done; empty if there is no reason."""
    if progress.seconds > 60 * limits.minutes:
        return f"the time limit of {limits.minutes:g} minutes is reached"
    if progress.best >= limits.enough:
        return f"a validation score of {progress.best:.4f} is enough"
    if limits.patience and progress.since >= limits.patience:
        return f"no better validation score for {progress.since} validations"
    return ""


def _validated(
    learner: Learner,
    validate: Callable[[torch.nn.Module], Mapping[str, float]],
    progress: Progress,
    begun: float,
) -> Validated:
    dice = validate(learner.predictor)
    score = sum(dice.values()) / len(dice)
    learner.observe(score)
    better = score > progress.best
    if better:
        progress.best, progress.best_step, progress.since = score, progress.step, 0
    else:
        progress.since += 1
    progress.seconds = time.monotonic() - begun
    return Validated(step=progress.step, seconds=progress.seconds, dice=dice, mean_dice=score, best=better)
