"""Is the difference between two sets of results real? Paired statistics over the same cases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from edgewise.compare import effects, resampling
from edgewise.errors import DataError

Scores: TypeAlias = Mapping[str, float | Sequence[float]]
"""The value of each case; where a method was trained with several seeds, that of each seed, seeds in one order."""
Groups: TypeAlias = Mapping[str, str] | Literal["independent"]
"""The patient of each case, or that each case is a patient of its own."""
TIED = 1e-13
"""Two values whose difference is a smaller part of them are equal: averaging over seeds rounds."""


@dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """Results `a` against results `b` on the same cases.

    Everything that has a direction is `a` minus `b`: swapping the two turns the sign.

    Attributes:
        mean_a: mean of `a` over the groups (and seeds).
        mean_b: mean of `b` over the groups (and seeds).
        difference: `mean_a - mean_b`.
        interval: 95 % confidence interval of the difference (BCa bootstrap over the groups and the seeds).
        median_difference: median of the differences of the groups.
        p: two-sided p-value of the paired permutation test on |mean difference|; never 0.
        wilcoxon_p: two-sided p-value of the signed-rank test, never 0.
        standardised: Cohen's d_z of the groups with Hedges' correction; `nan` where the differences have no spread.
        rank_biserial: matched-pairs rank-biserial correlation, -1 to 1.
        wins: groups in which `a` is better.
        ties: groups in which both are equal.
        losses: groups in which `b` is better.
        cases: number of cases.
        groups: number of independent groups (patients) that the cases form.
        seeds: number of seeds of `a` and of `b`.
        exact: whether all sign flips were counted, instead of 10,000 drawn ones.
        of_sizes: signed errors were compared by their absolute value; the means are those of absolute values.
    """

    mean_a: float
    mean_b: float
    difference: float
    interval: tuple[float, float]
    median_difference: float
    p: float
    wilcoxon_p: float
    standardised: float
    rank_biserial: float
    wins: int
    ties: int
    losses: int
    cases: int
    groups: int
    seeds: tuple[int, int]
    exact: bool
    of_sizes: bool


@dataclass(frozen=True, kw_only=True)
class MeanInterval:
    """The mean of one set of results.

    Attributes:
        mean: over the groups (and seeds).
        interval: 95 % confidence interval of the mean.
        cases: number of cases.
        groups: number of independent groups (patients) that the cases form.
        seeds: number of seeds.
    """

    mean: float
    interval: tuple[float, float]
    cases: int
    groups: int
    seeds: int


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    r"""P-values corrected for their number: $\tilde p_{(i)} = \max_{j \le i} \min(1, (m - j + 1) p_{(j)})$.

    Rejecting where the corrected value is below 0.05 makes any false rejection at most 5 % likely, however the
    comparisons depend on each other.

    Args:
        p_values: of the m comparisons, in any order.

    Returns:
        The corrected values in the same order, each in [p, 1].

    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        (0.03, 0.06, 0.06)
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[i]))
        corrected[i] = largest
    return tuple(corrected)


def paired(
    a: Scores,
    b: Scores,
    groups: Groups = "independent",
    *,
    better: Literal["higher", "lower", "zero"] = "higher",
) -> PairedComparison:
    """Compare two sets of results case by case.

    Cases of one group (two scans of a patient) are averaged first, because they are not independent; so are the
    seeds of a method. The p-value is the share of sign flips of the group differences whose |mean| is at least the
    observed one: all of them where they are at most 10,000 (13 groups), else (k + 1) / (10,000 + 1) of random ones.
    With several seeds, every flip is shifted by what the seeds alone would shift the mean (`resampling.SeedEffects`),
    and the interval holds that too; with one seed on both sides, p and interval speak of these two trained networks
    and say nothing about how another training of them would end. The generator is seeded: equal input gives equal
    output.

    Degenerate input stays finite: one group, or equal differences in all groups, has an interval of zero
    width at the difference (there is no spread to learn from: look at `groups`), and one group has p = 1.

    Args:
        a: finite result of each case, or of each seed in each case.
        b: finite result of the same cases; the number of seeds may differ from that of `a`.
        groups: the group of each case, or `"independent"` when each case is its own.
        better: which results win; `zero` compares signed errors by their absolute value.

    Returns:
        The comparison.

    Raises:
        DataError: the cases differ, there are none, one has no group, the number of seeds differs between cases, or
            a value is not finite.

    Example:
        >>> result = paired({"p1": 0.9, "p2": 0.8, "p3": 0.8}, {"p1": 0.8, "p2": 0.7, "p3": 0.6})
        >>> round(result.difference, 3), result.p, result.wins
        (0.133, 0.25, 3)

    Sources: permutation test Fisher 1935, The Design of Experiments §21, and Phipson & Smyth 2010,
    doi:10.2202/1544-6115.1585 (p never 0); interval Efron 1987, doi:10.1080/01621459.1987.10478410, and Hesterberg
    2015, doi:10.1080/00031305.2015.1089789 (small samples); effect sizes in `effects`.
    """
    _require_same_cases(a, b)
    sides = [_by_group(scores, groups, of_sizes=better == "zero") for scores in (a, b)]
    mean_a, mean_b = (side.mean(axis=0) for side in sides)
    differences = np.where(np.abs(mean_a - mean_b) > TIED * np.maximum(abs(mean_a), abs(mean_b)), mean_a - mean_b, 0.0)
    noise = resampling.seed_effects(sides)
    ahead = differences if better == "higher" else -differences
    return PairedComparison(
        mean_a=float(mean_a.mean()),
        mean_b=float(mean_b.mean()),
        difference=float(differences.mean()),
        interval=resampling.interval(differences, noise, float(resampling.trust_in_skewness(differences[None])[0])),
        median_difference=float(np.median(differences)),
        p=resampling.p_value(differences, noise),
        wilcoxon_p=effects.signed_rank_p(differences),
        standardised=effects.standardised(differences),
        rank_biserial=effects.rank_biserial(differences),
        wins=int((ahead > 0).sum()),
        ties=int((ahead == 0).sum()),
        losses=int((ahead < 0).sum()),
        cases=len(a),
        groups=len(differences),
        seeds=(len(sides[0]), len(sides[1])),
        exact=resampling.countable(len(differences)) and not noise.present,
        of_sizes=better == "zero",
    )


def mean_interval(values: Scores, groups: Groups = "independent") -> MeanInterval:
    """The mean of one set of results with its 95 % confidence interval.

    Cases of one group are averaged first. The interval holds what other patients would change and, where there are
    several seeds, what other seeds would.

    Args:
        values: finite result of each case, or of each seed in each case.
        groups: the group of each case, or `"independent"` when each case is its own.

    Returns:
        The mean over the groups; for one group, and for equal values, an interval of zero width.

    Raises:
        DataError: there are no cases, one has no group, the number of seeds differs, or a value is not finite.
    """
    side = _by_group(values, groups, of_sizes=False)
    means = side.mean(axis=0)
    return MeanInterval(
        mean=float(means.mean()),
        interval=resampling.interval(means, resampling.seed_effects([side]), 1.0),
        cases=len(values),
        groups=len(means),
        seeds=len(side),
    )


def matrix(scores: Scores) -> Float[ndarray, "seeds cases"]:
    """Results as an array, the cases sorted by name.

    Raises:
        DataError: there are no cases, the number of seeds differs between them, or a value is not finite.
    """
    rows = {case: _seeds(scores[case]) for case in sorted(scores)}
    sizes = {len(values) for values in rows.values()}
    if len(sizes) != 1 or not max(sizes):
        raise DataError(f"{len(rows)} cases with {sorted(sizes)} values: every case needs one value for each seed.")
    table = np.array([*rows.values()], dtype=np.float64).T
    bad = [case for case, finite in zip(rows, np.all(np.isfinite(table), axis=0).tolist(), strict=True) if not finite]
    if bad:
        raise DataError(
            f"{len(bad)} cases have a value that is not finite ({bad[:5]}): settle empty masks by a policy "
            "first, such as the image diagonal for a distance."
        )
    return table


def members(cases: Sequence[str], groups: Groups) -> Int[ndarray, " cases"]:
    """The number of the group of each case, groups numbered in the order of their names.

    Raises:
        DataError: a case has no group.
    """
    if groups == "independent":
        return np.unique(np.array(cases), return_inverse=True)[1]
    ungrouped = sorted(set(cases) - set(groups))
    if ungrouped:
        raise DataError(f"{len(ungrouped)} cases have no group ({ungrouped[:5]}): name the patient of every case.")
    return np.unique(np.array([groups[case] for case in cases]), return_inverse=True)[1]


def averaged(table: Float[ndarray, "seeds cases"], index: Int[ndarray, " cases"]) -> Float[ndarray, "seeds groups"]:
    """The mean of each group of cases."""
    sizes = np.bincount(index)
    return np.array([np.bincount(index, row) / sizes for row in table])


def _seeds(value: float | Sequence[float]) -> list[float]:
    return list(value) if isinstance(value, Sequence) else [value]


def _by_group(scores: Scores, groups: Groups, *, of_sizes: bool) -> Float[ndarray, "seeds groups"]:
    table = matrix(scores)
    return averaged(np.abs(table) if of_sizes else table, members(sorted(scores), groups))


def _require_same_cases(a: Scores, b: Scores) -> None:
    if not a or set(a) != set(b):
        only = sorted(set(a) ^ set(b))
        raise DataError(
            f"{len(a)} and {len(b)} cases, of which {len(only)} occur on one side only ({only[:5]}): a "
            "paired comparison needs the same cases on both sides. Evaluate both on the same cases."
        )
