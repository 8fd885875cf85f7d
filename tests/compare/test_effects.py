"""Effect sizes and the rank test: by hand, by brute force, by SciPy."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from edgewise.compare.effects import rank_biserial, signed_rank_p, standardised


def test_the_standardised_difference_by_hand():
    # Mean 2, standard deviation 1, and Hedges' J for two degrees of freedom is 1 / sqrt(pi).
    assert standardised(np.array([1.0, 2.0, 3.0])) == pytest.approx(2 * math.gamma(1) / (math.gamma(0.5)))


def test_the_standardised_difference_has_no_bias():
    n, d = 6, 0.8
    rng = np.random.default_rng(0)
    found = np.mean([standardised(rng.normal(d, 1.0, n)) for _ in range(20_000)])
    # Without the correction the expectation is that of a non-central t over the root of n.
    biased = integrate.quad(lambda t: t * stats.nct.pdf(t, n - 1, d * math.sqrt(n)), -20, 60)[0] / math.sqrt(n)
    assert found == pytest.approx(d, abs=0.015)
    assert biased > d + 0.1


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.7], [0.5, 0.5, 0.5]])
def test_without_spread_there_is_no_standardised_difference(values):
    assert math.isnan(standardised(np.array(values)))


def test_no_difference_is_no_effect():
    assert standardised(np.zeros(4)) == 0.0
    assert rank_biserial(np.zeros(4)) == 0.0
    assert signed_rank_p(np.zeros(4)) == 1.0


def test_one_win_among_ties_is_a_small_effect():
    assert rank_biserial(np.array([0.0] * 9 + [1.0])) == pytest.approx(10 / 55)
    assert rank_biserial(np.array([1.0, 2.0, 3.0])) == 1.0


@given(st.lists(st.integers(-5, 5), min_size=2, max_size=9))
@settings(max_examples=50)
def test_the_rank_test_counts_every_sign_flip_of_the_ranks(values):
    differences = np.array(values, dtype=float)
    ranks = np.where(differences != 0, stats.rankdata(abs(differences)), 0)
    observed = abs((np.sign(differences) * ranks).sum())
    sums = [abs(np.dot(signs, ranks)) for signs in product((1, -1), repeat=len(ranks))]
    assert signed_rank_p(differences) == pytest.approx(np.mean([each >= observed - 1e-9 for each in sums]))


def test_the_rank_test_of_many_differences_is_that_of_scipy():
    differences = np.random.default_rng(1).normal(0.3, 1, 80)
    assert signed_rank_p(differences) == stats.wilcoxon(differences).pvalue


@pytest.mark.parametrize("size", [2, 3, 20, 60, 1000])
def test_the_rank_test_takes_zeros_and_ties_of_any_number_without_a_warning(size):
    differences = np.random.default_rng(size).integers(-1, 2, size).astype(float)
    assert 0 < signed_rank_p(differences) <= 1


def test_overwhelming_evidence_is_not_certainty():
    assert signed_rank_p(np.arange(1.0, 20_001.0)) > 0
