"""Files of masks to scores, case by case, in this process or in several: never more than a few cases in memory."""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Integer
from numpy import ndarray

from edgewise import machine
from edgewise.data.images import canonical_shape, canonical_spacing, labels_on, read_mask
from edgewise.data.volumes import Volume, read_volume
from edgewise.errors import DataError, RunError
from edgewise.metrics.definitions import Definitions
from edgewise.metrics.scoring import CaseScore, Names, score
from edgewise.types import Spacing

Workers: TypeAlias = int | Literal["auto"]
WORTH_SECONDS = 20.0
"""Less work than this is done in this process: another one takes seconds to import what it needs."""
TIMED = 2
"""So many cases are scored before the work is estimated, by the last of them: the first one compiles and imports."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One case to score.

    Attributes:
        case: its id.
        reference: its reference mask.
        prediction: its predicted mask; `None` where there is none.
        names: of the classes.
        definitions: the metrics.
        values: what the reference stores each class under, as in `CaseFiles`.
    """

    case: str
    reference: Path
    prediction: Path | None
    names: Names
    definitions: Definitions
    values: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a task.

    Attributes:
        case: its id.
        score: the case's rows; `None` where its reference cannot be read.
        problem: why it could not be scored as it is; empty where it could.
    """

    case: str
    score: CaseScore | None
    problem: str


def outcomes(tasks: Sequence[Task], workers: Workers = "auto") -> Iterator[Outcome]:
    """Score every task, in their order.

    A prediction that is missing or cannot be read counts as an empty mask: leaving it out would flatter the method.

    Args:
        tasks: the cases.
        workers: number of processes; `auto` is one for each core where the first cases say that this pays.

    Raises:
        RunError: a process was killed.
    """
    if workers != "auto":
        yield from map(outcome, tasks) if workers == 1 else _in_processes(tasks, workers)
        return
    seconds = 0.0
    for task in tasks[:TIMED]:
        begun = time.monotonic()
        done = outcome(task)
        seconds = time.monotonic() - begun
        yield done
    rest = tasks[TIMED:]
    several = min(machine.cores(), len(rest))
    alone = several <= 1 or seconds * len(rest) < WORTH_SECONDS
    yield from map(outcome, rest) if alone else _in_processes(rest, several)


def outcome(task: Task) -> Outcome:
    """Score one task."""
    try:
        volume = read_mask(task.reference, task.values)
        reference = _in_plane(labels_on(volume, volume))
    except DataError as error:
        return Outcome(case=task.case, score=None, problem=f"{error} It was not scored.")
    prediction, problem = np.zeros_like(reference), ""
    try:
        if task.prediction is None:
            problem = "it has no prediction; scored as an empty mask"
        else:
            prediction = _in_plane(labels_on(read_volume(task.prediction), volume))
    except DataError as error:
        problem = f"{error} Scored as an empty mask."
    spacing = _spacing_in_plane(volume)
    return Outcome(
        case=task.case,
        score=score(task.case, prediction, reference, spacing, task.names, task.definitions),
        problem=problem,
    )


def _in_plane(labels: Integer[ndarray, "x y z"]) -> Integer[ndarray, "..."]:
    """Labels of a single slice as an image of two axes: in three, all its voxels would be border."""
    return labels.squeeze(labels.shape.index(1)) if 1 in labels.shape else labels


def _spacing_in_plane(volume: Volume) -> Spacing:
    spacing, shape = canonical_spacing(volume), canonical_shape(volume)
    left_out = shape.index(1) if 1 in shape else len(shape)
    return tuple(size for axis, size in enumerate(spacing) if axis != left_out)


def _in_processes(tasks: Iterable[Task], workers: int) -> Iterator[Outcome]:
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])  # imported once, and not by every worker
    running: deque[tuple[str, Future[Outcome]]] = deque()
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        try:
            for task in tasks:
                yield from _finished(running, 2 * workers - 1)
                running.append((task.case, pool.submit(outcome, task)))
            yield from _finished(running, 0)
        except BrokenProcessPool as error:
            cases = ", ".join(case for case, _ in running)
            raise RunError(
                f"a process that scored one of the cases {cases} was killed, perhaps because memory ran out. "
                "Use fewer processes: --workers 1."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _finished(running: "deque[tuple[str, Future[Outcome]]]", waiting: int) -> Iterator[Outcome]:
    """Results in order of submission, until no more than `waiting` are left."""
    while len(running) > waiting:
        yield running[0][1].result()
        running.popleft()
