"""Sign flips and bootstrap: against SciPy, against formulas, and laws of seeds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from edgewise.compare import resampling
from edgewise.compare.resampling import bca, interval, intervals, p_value, p_values, seed_effects, trust_in_skewness


def alone(vectors):
    """No seeds."""
    return seed_effects([np.atleast_2d(vectors)[:, None]])


def test_counted_p_values_are_those_of_scipy():
    differences = np.random.default_rng(0).normal(0.5, 1, 10)
    expected = stats.permutation_test(
        (differences, np.zeros(10)), lambda x, y: abs(np.mean(x - y)), permutation_type="samples",
        alternative="greater", n_resamples=np.inf,
    ).pvalue  # fmt: skip
    assert p_value(differences, alone(differences)) == pytest.approx(expected)


def test_drawn_p_values_are_those_of_scipy():
    differences = np.random.default_rng(1).normal(0.25, 1, 60)
    expected = stats.permutation_test(
        (differences, np.zeros(60)), lambda x, y, axis: abs(np.mean(x - y, axis=axis)), permutation_type="samples",
        alternative="greater", n_resamples=50_000, vectorized=True, batch=1000, rng=np.random.default_rng(3),
    ).pvalue  # fmt: skip
    assert p_value(differences, alone(differences)) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_intervals_without_our_corrections_are_the_bca_intervals_of_scipy(seed):
    values = np.random.default_rng(seed).lognormal(0, 0.8, 40)
    deviations = values - values.mean()
    acceleration = (deviations**3).sum() / (6 * (deviations**2).sum() ** 1.5)
    draws = resampling.resampled_means(deviations[None])
    low, high = bca(draws, np.array([acceleration]), np.ones(1), np.array([stats.norm.ppf(0.975)]))
    expected = stats.bootstrap((values,), np.mean, method="BCa", n_resamples=50_000, batch=1000,
                               rng=np.random.default_rng(9)).confidence_interval  # fmt: skip
    width = expected.high - expected.low
    assert values.mean() + low[0] == pytest.approx(expected.low, abs=0.04 * width)
    assert values.mean() + high[0] == pytest.approx(expected.high, abs=0.04 * width)


def test_our_corrections_vanish_for_many_groups():
    values = np.random.default_rng(2).normal(0.3, 1, 2000)
    expected = stats.bootstrap((values,), np.mean, method="BCa", batch=500, rng=np.random.default_rng(4))
    assert interval(values, alone(values), 1.0) == pytest.approx(tuple(expected.confidence_interval), abs=0.003)


def test_few_normal_groups_get_the_interval_of_the_t_test():
    # The t interval is right for normal data; the mean of many samples compares without the noise of one.
    samples = np.random.default_rng(3).normal(0, 1, (400, 12))
    low, high = intervals(samples, alone(samples), trust_in_skewness(samples))
    expected = 2 * stats.t.ppf(0.975, 11) * samples.std(axis=1, ddof=1) / np.sqrt(12)
    assert (high - low).mean() == pytest.approx(expected.mean(), rel=0.06)


@given(st.floats(0.01, 100), st.floats(-100, 100))
@settings(max_examples=20)
def test_intervals_move_and_stretch_with_the_values(scale, shift):
    values = np.random.default_rng(4).lognormal(0, 1, 15)
    low, high = interval(values, alone(values), 1.0)
    moved = interval(scale * values + shift, alone(values), 1.0)
    assert moved == pytest.approx((scale * low + shift, scale * high + shift), rel=1e-6, abs=1e-6)


def test_skewness_made_by_one_case_is_not_trusted_and_that_of_many_is():
    one, many = np.zeros(50), np.random.default_rng(5).exponential(1, 400)
    one[0] = 10
    found = trust_in_skewness(np.array([one]))[0], trust_in_skewness(many[None])[0]
    assert found[0] < 0.05
    assert found[1] > 0.7
    assert trust_in_skewness(np.array([[-2.0, -1.0, 0.0, 1.0, 2.0]]))[0] == 0.0


# --- seeds


def test_without_several_seeds_there_is_no_seed_effect():
    assert not seed_effects([np.ones((1, 5)), np.zeros((1, 5))]).present


def test_what_a_seed_shifts_everywhere_is_its_effect():
    rng = np.random.default_rng(6)
    shifts = rng.normal(0, 0.3, (4000, 4, 1))
    tables = rng.normal(0, 1, (4000, 1, 10)) + shifts + rng.normal(0, 0.2, (4000, 4, 10))
    found = seed_effects([tables])
    assert found.variance.mean() == pytest.approx(0.3**2 / 4, rel=0.05)
    draws = resampling.shifts(seed_effects([tables[:50]]), 0)[0]
    assert draws.var(axis=1).mean() == pytest.approx(found.variance[:50].mean(), rel=0.05)


def test_noise_of_single_cases_is_no_seed_effect():
    rng = np.random.default_rng(7)
    tables = rng.normal(0, 1, (4000, 3, 20))
    between = tables.mean(axis=2).var(axis=1, ddof=1) / 3
    assert seed_effects([tables]).variance.mean() < 0.4 * between.mean()


def test_a_method_with_one_seed_borrows_the_effects_of_the_other():
    rng = np.random.default_rng(8)
    several = rng.normal(0, 1, 20) + rng.normal(0, 1, (3, 1)) + 0.01 * rng.normal(0, 1, (3, 20))
    found = seed_effects([several, several[:1]])
    assert found.counts == (3, 1)
    assert found.variance[0] == pytest.approx(several.mean(axis=1).var(ddof=1) * (1 / 3 + 1), rel=0.01)
    assert found.freedom[0] == 2


def test_a_difference_that_the_seeds_explain_is_not_significant():
    rng = np.random.default_rng(9)
    patients = rng.normal(0, 1, 40)
    a, b = (patients + shift + 0.01 * rng.normal(0, 1, (3, 40)) for shift in
            ([[0.0], [0.1], [0.2]], [[-0.1], [0.0], [0.1]]))  # fmt: skip
    difference = a.mean(axis=0) - b.mean(axis=0)
    noise = seed_effects([a, b])
    assert p_value(difference, alone(difference)) < 0.001
    assert p_value(difference, noise) > 0.1
    low, high = interval(difference, noise, 1.0)
    assert low < 0 < high


def test_many_vectors_at_once_give_what_each_gives_alone():
    rng = np.random.default_rng(10)
    sides = [rng.normal(0, 1, (5, 3, 20)) for _ in range(2)]
    differences = sides[0].mean(axis=1) - sides[1].mean(axis=1)
    together = p_values(differences, seed_effects(sides))
    single = [p_value(differences[i], seed_effects([side[i] for side in sides])) for i in range(5)]
    assert together == pytest.approx(single)


def test_swapping_methods_with_seeds_keeps_p_but_for_the_draws():
    rng = np.random.default_rng(11)
    a, b = (rng.normal(0, 1, 30) + rng.normal(0, 0.1, (3, 1)) + rng.normal(0, 0.3, (3, 30)) for _ in range(2))
    difference = a.mean(axis=0) - b.mean(axis=0)
    one, other = p_value(difference, seed_effects([a, b])), p_value(-difference, seed_effects([b, a]))
    assert one == pytest.approx(other, abs=0.02)
    assert seed_effects([a, b]).variance == pytest.approx(seed_effects([b, a]).variance)
