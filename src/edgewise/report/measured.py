"""Our mean of a published kind of number, with its interval."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from edgewise.compare.statistics import mean_interval
from edgewise.errors import DataError
from edgewise.report.methods import Method, by_seed, extent, gaps, merged
from edgewise.report.records import RunRecord
from edgewise.report.tables import patients, seed_scores
from edgewise.report.words import Metric, counted

T = TypeVar("T")
Parts: TypeAlias = Mapping[str, tuple[float, float]]
"""Case -> numerator and denominator of its share in a ratio of sums."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A mean of ours.

    Attributes:
        mean: over the patients, and over the seeds.
        interval: its 95 % confidence interval: what other patients and, of several, other seeds would change.
        remark: what a reader must know of it; empty for nothing.
    """

    mean: float
    interval: tuple[float, float]
    remark: str


def measured(records: Sequence[RunRecord], method: Method, metric: Metric, of: str) -> Measured:
    r"""Our mean of a metric.

    A ratio of sums (the Dice of all voxels, the IoU of all boxes) has no value of a case whose mean it were. Its
    interval is that of the linearised values $R + (N_g - R D_g) / \bar D$ of the patients g, whose mean is the ratio
    R itself.

    Args:
        records: all runs of the report.
        method: its finished runs count.
        metric: `dice_global`, `mean_iou`, or a column of metrics.csv.
        of: name of a class, or `all` for the mean over the classes.

    Raises:
        DataError: there is no such number; the message says why.

    Source: Davison & Hinkley 1997, Bootstrap Methods, §2.7.2 (linear approximation), for the ratio.
    """
    runs = [records[run] for run in method.runs]
    if metric.name == "mean_iou":
        return _of_ratios(records, method, _ious, [_kind(runs, of)])
    labels = _labels(runs, of)
    if metric.name == "dice_global":
        return _of_ratios(records, method, _overlaps, labels)
    columns = {column for run in runs for score in run.scores for column in score.values}
    if metric.name not in columns:
        raise DataError(f"metrics.csv has no column {metric.name}")
    tables = [seed_scores(records, method, metric, label) for label in labels]
    shared = sorted(set.intersection(*(set(table) for table in tables)))
    if not shared:
        raise DataError("there is no case with a finite value" + _told(records, method))
    # The mean over the classes of each case: its mean over the cases is the mean over the classes of their means.
    scores = {
        case: tuple(float(np.mean(values)) for values in zip(*(table[case] for table in tables), strict=True))
        for case in shared
    }
    return _whole(scores, patients(runs[0], shared), records, method)


def _whole(
    scores: Mapping[str, tuple[float, ...]], groups: Mapping[str, str], records: Sequence[RunRecord], method: Method
) -> Measured:
    found = mean_interval(scores, groups)
    remarks = [] if found.groups > 1 else ["one patient has no interval"]
    chosen = [records[run] for run in method.runs]
    cases = {score.case for run in chosen for score in run.scores}
    if len(scores) < len(cases):
        remarks.append(f"over {len(scores)} of {counted(len(cases), 'case')}{_told(records, method)}")
    return Measured(mean=found.mean, interval=found.interval, remark="; ".join(remarks))


def _told(records: Sequence[RunRecord], method: Method) -> str:
    """What is missing, where some seeds lack folds."""
    own = [records[run] for run in method.runs]
    return "".join(f" ({gap.split(': ', 1)[1]})" for gap in gaps(own)) if extent(records, method) else ""


def _labels(runs: Sequence[RunRecord], of: str) -> list[int]:
    """The values of the classes that are meant."""
    names = max((run.classes for run in runs), key=len)[1:]
    if of == "all":
        return list(range(1, len(names) + 1))
    for fold in (str, str.casefold):
        for label, name in enumerate(names, start=1):
            if fold(name) == fold(of):
                return [label]
    raise DataError(f"no class is called {of}: there {'are' if len(names) > 1 else 'is'} {', '.join(names) or 'none'}")


def _kind(runs: Sequence[RunRecord], of: str) -> str:
    """The kind of object that is meant; a network that boxes the foreground of one class boxes this class."""
    kinds = {row.kind for run in runs for row in run.located}
    if not kinds:
        raise DataError("the run does not locate objects first: it has no localisation.csv")
    if of in {"all", *kinds}:
        return of
    if len(kinds) == 1 and len(runs[0].classes) == 2 and _labels(runs, of):
        return "all"
    raise DataError(f"no object is called {of}: there are {', '.join(sorted(kinds))}")


def _ious(run: RunRecord, kind: str) -> Parts:
    """Sum of the IoUs, and number, of the objects of each case."""
    found: dict[str, tuple[float, float]] = {}
    for row in run.located:
        if row.object and kind in {"all", row.kind}:
            total, count = found.get(row.case, (0.0, 0.0))
            found[row.case] = (total + row.iou, count + 1)
    return found


def _overlaps(run: RunRecord, label: int) -> Parts:
    """Twice the shared voxels, and the voxels of both masks, of each case."""
    return {
        score.case: (2.0 * score.voxels[2], float(score.voxels[0] + score.voxels[1]))
        for score in run.scores
        if score.label == label and score.voxels
    }


def _of_ratios(
    records: Sequence[RunRecord], method: Method, parts: Callable[[RunRecord, T], Parts], of: Sequence[T]
) -> Measured:
    """The mean over classes of ratios of sums over cases."""
    seeds = by_seed(records, method)
    columns = [[merged([parts(run, each) for run in runs]) for runs in seeds.values()] for each in of]
    shared = sorted(set.intersection(*(set(column) for row in columns for column in row)))
    if not shared:
        raise DataError("metrics.csv does not count voxels: evaluate again")
    groups = patients(records[method.runs[0]], shared)
    names = sorted(set(groups.values()))
    index = np.array([names.index(groups[case]) for case in shared])
    values = np.mean([[_linearised(column, shared, index) for column in row] for row in columns], axis=0)
    scores = {name: tuple(values[:, number].tolist()) for number, name in enumerate(names)}
    found = mean_interval(scores, "independent")
    few = "" if found.groups > 1 else "one patient has no interval"
    return Measured(mean=found.mean, interval=found.interval, remark=few)


def _linearised(parts: Parts, cases: Sequence[str], index: ndarray) -> Float[ndarray, " groups"]:
    """The value of each patient, such that their mean is the ratio of the sums."""
    table = np.array([parts[case] for case in cases], dtype=np.float64)
    numerator, denominator = (np.bincount(index, weights=column) for column in table.T)
    if denominator.sum() == 0:  # nothing to find and nothing found
        return np.ones(len(numerator))
    ratio = numerator.sum() / denominator.sum()
    return np.asarray(ratio + (numerator - ratio * denominator) / denominator.mean())
