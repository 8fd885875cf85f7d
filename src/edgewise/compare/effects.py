"""How large is a paired difference, and does its rank test agree? Numbers of one vector of differences."""

import math

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import stats

Vector = Float[ndarray, " n"]


def standardised(differences: Vector) -> float:
    r"""Cohen's d_z with Hedges' correction: $J(n-1)\,\bar d / s_d$.

    $J(\nu) = \Gamma(\nu/2) / (\sqrt{\nu/2}\,\Gamma((\nu-1)/2))$ takes away the bias of small samples.

    Args:
        differences: one a group.

    Returns:
        The mean difference in standard deviations of the differences; 0 where all differences are 0, `nan` where they
        are equal but not 0, where there is one, or where there are two (J is not defined).

    Source: Cohen 1988, Statistical Power Analysis, §2.3.5; Hedges 1981, doi:10.3102/10769986006002107; Lakens 2013,
    doi:10.3389/fpsyg.2013.00863.

    Example:
        >>> round(standardised(np.array([1.0, 2.0, 3.0, 4.0])), 3)
        1.401
    """
    if not differences.any():
        return 0.0
    spread = float(np.std(differences, ddof=1)) if len(differences) > 2 else 0.0
    if spread <= 1e-12 * float(np.abs(differences).max()):
        return math.nan
    half = (len(differences) - 1) / 2
    correction = math.exp(math.lgamma(half) - math.lgamma(half - 0.5)) / math.sqrt(half)
    return correction * float(differences.mean()) / spread


def rank_biserial(differences: Vector) -> float:
    r"""Matched-pairs rank-biserial correlation: $(R_+ - R_-) / \tfrac{n(n+1)}{2}$.

    |differences| are ranked, ties averaged; $R_+$ and $R_-$ are the rank sums of the positive and the negative ones.
    Zeros keep their ranks and speak for neither side (Pratt), so that one win among 39 ties is not a perfect score.

    Args:
        differences: one a group.

    Returns:
        -1 (all negative) to 1 (all positive).

    Source: Kerby 2014, doi:10.2466/11.IT.3.1; King & Minium 2008, Statistical Reasoning, p. 403; Pratt 1959,
    doi:10.1080/01621459.1959.10501526.

    Example:
        >>> rank_biserial(np.array([3.0, 2.0, -1.0]))
        0.6666666666666666
    """
    ranks = stats.rankdata(np.abs(differences))
    return float((np.sign(differences) * ranks).sum() / ranks.sum())


def signed_rank_p(differences: Vector) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test, zeros after Pratt.

    Exact up to 50 differences without ties and zeros, and by counting all sign flips up to 13 with them; else the
    normal approximation.

    Args:
        differences: one a group.

    Returns:
        In (0, 1]; 1 for one difference, and where all are 0.

    Source: Wilcoxon 1945, doi:10.2307/3001968; Pratt 1959, doi:10.1080/01621459.1959.10501526.

    Example:
        >>> signed_rank_p(np.array([1.0, 2.0, 3.0]))
        0.25
    """
    if len(differences) < 2 or not differences.any():
        return 1.0
    p = float(stats.wilcoxon(differences, zero_method="pratt").pvalue)
    return min(1.0, max(p, math.ulp(0.0)))
