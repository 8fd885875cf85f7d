"""Paired statistics: exact where it can be counted by hand, finite everywhere."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.compare.statistics import holm, paired
from edgewise.errors import DataError


def cases(values):
    return {f"case{i:03}": float(value) for i, value in enumerate(values)}


def sign_flips(differences):
    """The p-value by its definition: every sign flip, counted."""
    observed = abs(np.mean(differences))
    flips = [abs(np.mean(np.multiply(signs, differences))) for signs in product((1, -1), repeat=len(differences))]
    return np.mean([flip >= observed - 1e-12 for flip in flips])


def test_a_small_table_counted_by_hand():
    # Differences 1, 2, 3: of the 8 sign flips only +++ and --- reach |6 / 3|.
    result = paired(cases([2, 4, 6]), cases([1, 2, 3]))
    assert (result.mean_a, result.mean_b, result.difference) == (4.0, 2.0, 2.0)
    assert result.p == 2 / 8
    assert result.exact
    assert (result.wins, result.ties, result.losses, result.cases, result.groups) == (3, 0, 0, 3, 3)


@given(st.lists(st.integers(-20, 20), min_size=2, max_size=8))
@settings(deadline=None, max_examples=30)
def test_few_cases_are_counted_exactly(differences):
    result = paired(cases(differences), cases([0] * len(differences)))
    assert result.p == pytest.approx(sign_flips(differences))
    assert result.exact


def test_many_cases_are_sampled_and_never_certain():
    result = paired(cases(np.linspace(1, 2, 60)), cases(np.zeros(60)))
    assert not result.exact
    assert result.p == pytest.approx(1 / 10_001)


def test_sampling_agrees_with_counting():
    differences = np.random.default_rng(0).normal(0.4, 1, 15)
    result = paired(cases(differences), cases(np.zeros(15)))
    assert not result.exact
    assert result.p == pytest.approx(sign_flips(differences), abs=0.02)


def test_equal_input_gives_equal_output_and_sides_can_be_swapped():
    rng = np.random.default_rng(1)
    a, b = cases(rng.normal(0.1, 1, 20)), cases(rng.normal(0, 1, 20))
    one, same, other = paired(a, b), paired(a, b), paired(b, a)
    assert one == same
    assert other.difference == pytest.approx(-one.difference)
    assert other.p == pytest.approx(one.p)
    assert (other.wins, other.losses) == (one.losses, one.wins)


def test_the_interval_covers_the_true_difference_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(60):
        a = rng.normal(0.3, 1, 25)
        low, high = paired(cases(a), cases(np.zeros(25))).interval
        covered += low <= 0.3 <= high
    assert 50 <= covered <= 60


def test_the_interval_holds_the_difference():
    result = paired(cases([0.9, 0.8, 0.7, 0.95]), cases([0.85, 0.82, 0.6, 0.9]))
    assert result.interval[0] <= result.difference <= result.interval[1]


def test_lower_can_be_better():
    result = paired(cases([1, 2, 5]), cases([2, 2, 3]), better="lower")
    assert (result.wins, result.ties, result.losses) == (1, 1, 1)


def test_scans_of_one_patient_count_once():
    a, b = cases([1, 3, 5, 5]), cases([0, 0, 0, 0])
    groups = {"case000": "p1", "case001": "p1", "case002": "p2", "case003": "p3"}
    result = paired(a, b, groups)
    assert result.difference == pytest.approx((2 + 5 + 5) / 3)
    assert (result.cases, result.groups) == (4, 3)
    assert result.p == sign_flips([2, 5, 5])


@pytest.mark.parametrize("values", [[0.1], [0.1] * 5, [0.0] * 5, [0.1 + 1e-17, 0.1], [1e-300, 0.0]])
def test_degenerate_differences_stay_finite(values):
    result = paired(cases(values), cases([0] * len(values)))
    assert np.isfinite([*result.interval, result.p, result.difference]).all()
    assert 0 < result.p <= 1


def test_no_difference_at_all_is_no_evidence():
    result = paired(cases([0.5, 0.6, 0.7]), cases([0.5, 0.6, 0.7]))
    assert (result.p, result.interval, result.ties) == (1.0, (0.0, 0.0), 3)


@given(st.lists(st.sampled_from([0.0, 0.0, 0.0, 1e-9, 0.5, -2.0]), min_size=1, max_size=12))
@settings(deadline=None, max_examples=25)
def test_every_table_has_a_finite_interval(values):
    result = paired(cases(values), cases([0] * len(values)))
    assert np.isfinite(result.interval).all()
    assert result.interval[0] <= result.interval[1]


@pytest.mark.parametrize(
    ("a", "b", "groups", "message"),
    [
        ({}, {}, "independent", "same cases"),
        ({"x": 1.0}, {"y": 1.0}, "independent", r"2 occur on one side only \(\['x', 'y'\]\)"),
        ({"x": 1.0}, {"x": 1.0}, {}, "no group"),
        ({"x": float("inf")}, {"x": 1.0}, "independent", "not finite"),
        ({"x": 1.0}, {"x": float("nan")}, "independent", "not finite"),
    ],
)
def test_what_cannot_be_compared_is_refused(a, b, groups, message):
    with pytest.raises(DataError, match=message):
        paired(a, b, groups)


def test_holm_matches_the_worked_example_of_the_literature():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))


@given(st.lists(st.floats(0.0, 1.0), max_size=12))
def test_holm_keeps_order_and_never_lowers_a_p_value(p_values):
    corrected = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, corrected, strict=True))
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    assert [corrected[i] for i in order] == sorted(corrected)
