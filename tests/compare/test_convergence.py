"""Convergence: bands, the distribution of what runs reach, failures, fluctuation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from edgewise.compare.convergence import band, distribution, failure_rate, first_reaching, fluctuation
from edgewise.errors import DataError

SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=30)


def test_a_band_holds_its_curves_on_a_common_grid():
    curves = [[(0, 0.0), (100, 0.5), (200, 0.7)], [(0, 0.2), (50, 0.3), (200, 0.9)]]
    found = band(curves)
    assert found.steps == (0, 50, 100, 200)
    assert found.mean == pytest.approx([0.1, 0.275, 0.5, 0.8])
    assert (found.lowest[1], found.highest[1]) == (0.25, 0.3)
    assert found.curves == 2


def test_the_interval_of_a_band_is_that_of_the_t_test():
    found = band([[(0, 0.1)], [(0, 0.2)], [(0, 0.6)]])
    expected = stats.ttest_1samp([0.1, 0.2, 0.6], 0).confidence_interval()
    assert (found.interval[0][0], found.interval[1][0]) == pytest.approx((expected.low, expected.high))


def test_one_curve_is_its_own_band_without_an_interval():
    found = band([[(10, 0.5), (20, 0.6)]])
    assert found.mean == found.lowest == found.highest == (0.5, 0.6)
    assert all(math.isnan(value) for ends in found.interval for value in ends)


def test_a_curve_that_ends_early_does_not_make_the_mean_jump():
    found = band([[(0, 0.1), (10, 0.1)], [(0, 0.5), (10, 0.7), (20, 0.9)]])
    assert found.steps == (0, 10)


@pytest.mark.parametrize(
    ("curves", "message"),
    [
        ([], "at least one"),
        ([[]], "no validation"),
        ([[(0, 0.1), (0, 0.2)]], "rising"),
        ([[(0, math.nan)]], "finite"),
        ([[(0, 0.1), (5, 0.2)], [(10, 0.1)]], "no step in common"),
    ],
)
def test_curves_that_make_no_band_are_refused(curves, message):
    with pytest.raises(DataError, match=message):
        band(curves)


@given(SHARES)
def test_the_distribution_is_the_share_at_or_below_and_its_area_is_what_lies_under_it(values):
    found = distribution(values)
    for level in [*values, 0.0, 0.37, 1.0]:
        assert found.at(level) == pytest.approx(sum(value <= level for value in values) / len(values))
    jumps = [each for each in found.levels if 0 < each < 1]
    area = sum(
        found.at(low) * (high - low) for low, high in zip([0.0, *jumps], [*jumps, 1.0], strict=True)
    )  # constant between jumps
    assert found.area == pytest.approx(area, abs=1e-9)
    assert found.shares[-1] == 1.0


def test_the_area_under_the_distribution_by_quadrature():
    found = distribution([0.1, 0.75, 0.8])
    area = integrate.quad(found.at, 0, 1, points=[0.1, 0.75, 0.8])[0]
    assert found.area == pytest.approx(area)


@given(SHARES, st.floats(0, 1))
def test_failures_are_counted_and_their_share_is_in_its_interval(values, level):
    found = failure_rate(values, level)
    assert found.count == sum(value < level for value in values)
    assert 0 <= found.interval[0] <= found.share <= found.interval[1] <= 1


def test_the_wilson_interval_by_its_formula():
    z, n, p = 1.959964, 20, 3 / 20
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    found = failure_rate([0.0] * 3 + [0.9] * 17, 0.5)
    assert found.interval == pytest.approx((centre - half, centre + half), abs=1e-6)


def test_no_failure_in_few_runs_does_not_exclude_failures():
    found = failure_rate([0.9] * 5, 0.5)
    assert found.share == 0
    assert found.interval[0] == 0
    assert found.interval[1] > 0.4


@pytest.mark.parametrize("values", [[], [1.2], [math.nan]])
def test_shares_have_to_be_shares(values):
    with pytest.raises(DataError, match="between 0 and 1"):
        distribution(values)
    with pytest.raises(DataError, match="between 0 and 1"):
        failure_rate(values, 0.5)


def test_a_level_is_reached_at_the_first_validation_that_has_it_or_never():
    curve = [(10, 0.2), (20, 0.8), (30, 0.7)]
    assert first_reaching(curve, 0.75) == 20
    assert first_reaching(curve, 0.2) == 10
    assert first_reaching(curve, 0.9) == math.inf


@given(st.floats(-1, 1), st.floats(-0.01, 0.01))
def test_a_straight_curve_does_not_fluctuate(start, slope):
    found = fluctuation([(step, start + slope * step) for step in range(0, 100, 10)], 20)
    assert found.validations == 8
    assert found.peak_to_peak == pytest.approx(0, abs=1e-9)
    assert found.deviation == pytest.approx(0, abs=1e-9)


def test_fluctuation_is_the_rest_of_a_regression_and_ignores_the_warm_up():
    rng = np.random.default_rng(0)
    steps = np.arange(0, 300, 10)
    values = 0.5 + 0.001 * steps + rng.normal(0, 0.05, 30)
    wild = np.where(steps < 100, rng.uniform(0, 1, 30), values)
    found = fluctuation([*zip(steps.tolist(), wild.tolist(), strict=True)], 100)
    kept = steps >= 100
    line = stats.linregress(steps[kept], values[kept])
    rest = values[kept] - line.intercept - line.slope * steps[kept]
    assert found.peak_to_peak == pytest.approx(np.ptp(rest))
    assert found.deviation == pytest.approx(math.sqrt((rest**2).sum() / (kept.sum() - 2)))


def test_two_validations_do_not_show_a_fluctuation():
    found = fluctuation([(0, 0.1), (10, 0.5), (20, 0.4)], 10)
    assert math.isnan(found.peak_to_peak)
    assert found.validations == 2
