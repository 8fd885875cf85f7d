"""Would the ranking of the runs survive other patients? Ranks over bootstrap samples."""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations, product
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import stats

from edgewise.compare import resampling
from edgewise.compare.runs import PRIMARY, Results, classes_of, obstacle, scores_of
from edgewise.compare.statistics import averaged, matrix, members
from edgewise.errors import DataError

Means = Float[ndarray, "runs resamples"]
RANKED = 3
"""Runs from which on a ranking says more than the comparison of two."""


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """One run in a ranking.

    Attributes:
        name: of the run.
        mean: of the metric over the patients.
        rank: by that mean; 1 is best, runs with equal means share the mean of their ranks.
        mean_rank: mean rank over the bootstrap samples.
        shares: share of the bootstrap samples in which the run has rank 1, 2, ...; samples in which runs tie count for
            their ranks in equal parts. The shares of a run sum to 1, those of a rank too.
    """

    name: str
    mean: float
    rank: float
    mean_rank: float
    shares: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class RankStability:
    """A ranking by mean-then-rank, and how it changes over bootstrap samples of the patients.

    Attributes:
        metric: column of the metric.
        class_index: value of the class.
        runs: best first.
        tau: mean over the bootstrap samples of Kendall's tau-b between the observed ranking and the sample's; `nan`
            where all runs have one mean.
        interval: 2.5 % and 97.5 % quantile of tau.
        cases: number of cases, which all runs share.
        groups: number of patients.
    """

    metric: str
    class_index: int
    runs: tuple[Ranked, ...]
    tau: float
    interval: tuple[float, float]
    cases: int
    groups: int


def rankings(results: Sequence[Results], metrics: Sequence[str] = PRIMARY) -> tuple[RankStability, ...]:
    """How stable the order of three or more runs is, in every metric and class in which all of them can be ranked.

    Args:
        results: of the runs; fewer than three are not ranked.
        metrics: columns; where runs differ in a definition, or a value is undefined, there is no ranking: the refusals
            of `compared` say so.
    """
    if len(results) < RANKED:
        return ()
    alike = [metric for metric in metrics if not any(obstacle(results[0], each, metric) for each in results[1:])]
    found = []
    for metric, (index, _) in product(alike, classes_of(results)):
        with suppress(DataError):
            found.append(rank_stability(results, metric, index))
    return tuple(found)


def rank_stability(results: Sequence[Results], metric: str, class_index: int) -> RankStability:
    """Rank runs by the mean of a metric, and again in each of 10,000 bootstrap samples of the patients.

    Runs with several seeds are resampled by seed too. Signed errors rank by their absolute value.

    Args:
        results: of at least two runs, which define the metric alike.
        metric: column.
        class_index: value of the class.

    Raises:
        DataError: there are fewer than two runs, they share no case, a value is not finite, or the metric has no
            better side.

    Source: Wiesenfarth et al. 2021, doi:10.1038/s41598-021-82017-6.
    """
    if len(results) < 2:
        raise DataError(f"{len(results)} run cannot be ranked. Pass at least two.")
    better = results[0].definitions.get(metric, {}).get("better", "neither")
    if better not in {"higher", "lower", "zero"}:
        raise DataError(f"runs cannot be ranked by {metric}: it has no better side.")
    scores = [scores_of(each, class_index, metric) for each in results]
    shared = sorted(set.intersection(*(set(each) for each in scores)))
    if not shared:
        raise DataError(f"the runs share no case with {metric} of class {class_index}: there is nothing to rank.")
    index = members(shared, results[0].groups)
    tables = [matrix({case: each[case] for case in shared}) for each in scores]
    sides = [averaged(np.abs(table) if better == "zero" else table, index) for table in tables]
    observed = np.array([[side.mean()] for side in sides])
    sampled = np.concatenate([_sampled(side, run) for run, side in enumerate(sides)])
    taus = kendall(observed, sampled)
    finite = bool(np.isfinite(taus).all())
    low, high = np.quantile(taus, [0.025, 0.975]) if finite else (math.nan, math.nan)
    return RankStability(
        metric=metric,
        class_index=class_index,
        runs=_ranked([each.name for each in results], observed, sampled, "higher" if better == "higher" else "lower"),
        tau=float(taus.mean()),
        interval=(float(low), float(high)),
        cases=len(shared),
        groups=sides[0].shape[1],
    )


def kendall(observed: Float[ndarray, "runs 1"], sampled: Means) -> Float[ndarray, " resamples"]:
    """Kendall's tau-b between the observed values and those of each sample.

    Returns:
        -1 to 1; 0 for a sample in which all runs tie; `nan` where all observed values tie.

    Source: Kendall 1945, doi:10.1093/biomet/33.3.239.
    """
    pairs = np.array([*combinations(range(len(observed)), 2)])
    one, other = (np.sign(values[pairs[:, 0]] - values[pairs[:, 1]]) for values in (observed, sampled))
    if not one.any():
        return np.full(sampled.shape[1], np.nan)
    size = np.sqrt((one**2).sum(axis=0) * (other**2).sum(axis=0))
    return np.asarray(np.divide((one * other).sum(axis=0), size, out=np.zeros_like(size), where=size > 0))


def _sampled(side: Float[ndarray, "seeds groups"], run: int) -> Float[ndarray, "1 resamples"]:
    """The mean of one run in each bootstrap sample; all runs see the same patients and their own seeds."""
    means = resampling.resampled_means(side.mean(axis=0)[None])
    moved = resampling.shifts(resampling.seed_effects([side]), run)
    return means + moved[0] if moved else means


def _ranked(
    names: Sequence[str], observed: Float[ndarray, "runs 1"], sampled: Means, better: Literal["higher", "lower"]
) -> tuple[Ranked, ...]:
    turn = -1 if better == "higher" else 1
    ranks = stats.rankdata(turn * observed, axis=0)[:, 0]
    first, last = (stats.rankdata(turn * sampled, axis=0, method=method) for method in ("min", "max"))
    places = np.arange(1, len(names) + 1)[:, None, None]
    held = ((first <= places) & (places <= last)) / (last - first + 1)  # (place, run, sample)
    shares = held.mean(axis=2)
    found = [
        Ranked(
            name=name,
            mean=float(observed[i, 0]),
            rank=float(ranks[i]),
            mean_rank=float(((first[i] + last[i]) / 2).mean()),
            shares=tuple(float(share) for share in shares[:, i]),
        )
        for i, name in enumerate(names)
    ]
    return tuple(sorted(found, key=lambda each: each.rank))
