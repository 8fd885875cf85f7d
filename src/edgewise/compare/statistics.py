"""Is the difference between two sets of results real? Paired statistics over the same cases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import stats

from edgewise.errors import DataError

RESAMPLES = 10_000
Vector = Float[ndarray, " n"]


@dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """Results `a` against results `b` on the same cases.

    Attributes:
        mean_a: mean of `a` over the groups.
        mean_b: mean of `b` over the groups.
        difference: `mean_a - mean_b`.
        interval: 95 % confidence interval of the difference (BCa bootstrap over the groups).
        p: two-sided p-value of the paired permutation test on |mean difference|; never 0.
        wins: groups in which `a` is better.
        ties: groups in which both are equal.
        losses: groups in which `b` is better.
        cases: number of cases.
        groups: number of independent groups (patients) that the cases form.
        exact: whether all sign flips were counted, instead of 10,000 drawn ones.
    """

    mean_a: float
    mean_b: float
    difference: float
    interval: tuple[float, float]
    p: float
    wins: int
    ties: int
    losses: int
    cases: int
    groups: int
    exact: bool


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
    a: Mapping[str, float],
    b: Mapping[str, float],
    groups: Mapping[str, str] | Literal["independent"] = "independent",
    *,
    better: Literal["higher", "lower"] = "higher",
) -> PairedComparison:
    """Compare two sets of results case by case.

    Cases of one group (two scans of a patient) are averaged first, because they are not independent. The
    p-value is the share of sign flips of the group differences whose |mean| is at least the observed one: all
    of them where they are at most 10,000 (13 groups), else (k + 1) / (10,000 + 1) of random ones. The
    generator is seeded: equal input gives equal output.

    Degenerate input stays finite: one group, or equal differences in all groups, has an interval of zero
    width at the difference (there is no spread to learn from: look at `groups`), and one group has p = 1.

    Args:
        a: finite result of each case.
        b: finite result of the same cases.
        groups: the group of each case, or `"independent"` when each case is its own.
        better: which results win.

    Returns:
        The comparison.

    Raises:
        DataError: the cases differ, there are none, one has no group, or a value is not finite.
    """
    _check(a, b, groups)
    cases = sorted(a)
    names = np.array(cases if groups == "independent" else [groups[case] for case in cases])
    members, index, sizes = np.unique(names, return_inverse=True, return_counts=True)
    mean_a, mean_b = (np.bincount(index, [results[case] for case in cases]) / sizes for results in (a, b))
    differences = mean_a - mean_b
    ahead = differences if better == "higher" else -differences
    return PairedComparison(
        mean_a=float(mean_a.mean()),
        mean_b=float(mean_b.mean()),
        difference=float(differences.mean()),
        interval=_interval(differences),
        p=_p_value(differences),
        wins=int((ahead > 0).sum()),
        ties=int((ahead == 0).sum()),
        losses=int((ahead < 0).sum()),
        cases=len(cases),
        groups=len(members),
        exact=_exact(len(members)),
    )


def _exact(groups: int) -> bool:
    return 1 << groups <= RESAMPLES


def _p_value(differences: Vector) -> float:
    if len(differences) < 2:
        return 1.0
    result = stats.permutation_test(
        (differences, np.zeros_like(differences)),
        lambda x, y, axis: np.abs(np.mean(x - y, axis=axis)),
        permutation_type="samples",
        alternative="greater",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=1000,
        rng=np.random.default_rng(0),
    )
    return float(result.pvalue)


def _interval(differences: Vector) -> tuple[float, float]:
    centre, spread = float(differences.mean()), float(np.ptp(differences))
    if spread <= 1e-12 * np.abs(differences).max():
        return centre, centre
    low, high = stats.bootstrap(
        ((differences - centre) / spread,),  # of order one: tiny numbers would underflow inside
        np.mean,
        method="BCa",
        n_resamples=RESAMPLES,
        batch=1000,
        rng=np.random.default_rng(0),
    ).confidence_interval
    return centre + spread * float(low), centre + spread * float(high)


def _check(a: Mapping[str, float], b: Mapping[str, float], groups: Mapping[str, str] | Literal["independent"]) -> None:
    if not a or set(a) != set(b):
        only = sorted(set(a) ^ set(b))
        raise DataError(
            f"{len(a)} and {len(b)} cases, of which {len(only)} occur on one side only ({only[:5]}): a "
            "paired comparison needs the same cases on both sides. Evaluate both on the same cases."
        )
    ungrouped = [] if groups == "independent" else sorted(set(a) - set(groups))
    if ungrouped:
        raise DataError(f"{len(ungrouped)} cases have no group ({ungrouped[:5]}): name the patient of every case.")
    bad = sorted(case for case in a if not np.isfinite([a[case], b[case]]).all())
    if bad:
        raise DataError(
            f"{len(bad)} cases have a value that is not finite ({bad[:5]}): settle empty masks by a policy "
            "first, such as the image diagonal for a distance."
        )
