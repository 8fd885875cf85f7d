"""Paired statistics: exact where it can be counted by hand, finite everywhere."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.compare.statistics import holm, mean_interval, paired
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
@settings(max_examples=30)
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
@settings(max_examples=25)
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


# --- signed errors, effect sizes, means


def test_signed_errors_are_compared_by_their_size():
    over, under = cases([0.2, 0.1, 0.3]), cases([-0.1, -0.2, -0.1])
    result = paired(over, under, better="zero")
    assert result.of_sizes
    assert (result.mean_a, result.mean_b) == pytest.approx((0.2, 4 / 30))
    assert (result.wins, result.losses) == (1, 2)
    mirrored = paired({case: -value for case, value in over.items()}, under, better="zero")
    assert mirrored == result


def test_the_median_difference_is_that_of_the_patients():
    groups = {"case000": "p1", "case001": "p1", "case002": "p2", "case003": "p3"}
    assert paired(cases([0, 2, 5, 6]), cases([0, 0, 0, 0]), groups).median_difference == 5.0


def test_rounding_does_not_break_a_tie():
    third = (0.1 + 0.2 + 0.3) / 3
    result = paired({"x": [0.1, 0.2, 0.3], "y": [0.5, 0.5, 0.5]}, {"x": [0.3, 0.2, 0.1], "y": [0.5, 0.5, 0.5]})
    assert third == pytest.approx(0.2)
    assert (result.ties, result.p) == (2, 1.0)


def test_the_mean_of_one_run_has_an_interval_around_it():
    rng = np.random.default_rng(5)
    found = mean_interval(cases(rng.beta(8, 2, 40)))
    assert found.interval[0] < found.mean < found.interval[1]
    assert (found.cases, found.groups, found.seeds) == (40, 40, 1)


def test_seeds_that_disagree_widen_the_interval():
    rng = np.random.default_rng(6)
    values = rng.normal(0.8, 0.05, 30)
    alike = {f"{i}": [value, value, value] for i, value in enumerate(values)}
    apart = {f"{i}": [value - 0.05, value, value + 0.05] for i, value in enumerate(values)}
    narrow, wide = mean_interval(alike), mean_interval(apart)
    assert narrow.mean == pytest.approx(wide.mean)
    assert np.ptp(wide.interval) > 2 * np.ptp(narrow.interval)
    nothing = {case: [0.8] * 3 for case in alike}
    assert paired(apart, nothing).seeds == (3, 3)


def test_seeds_that_agree_change_nothing_but_the_draws():
    rng = np.random.default_rng(7)
    a, b = rng.normal(0.1, 1, 30), rng.normal(0, 1, 30)
    once = paired(cases(a), cases(b))
    thrice = paired(*({c: [v] * 3 for c, v in cases(values).items()} for values in (a, b)))
    assert thrice.difference == pytest.approx(once.difference)
    assert thrice.interval == pytest.approx(once.interval)
    assert thrice.p == pytest.approx(once.p, abs=0.02)
    assert not thrice.exact


def test_every_case_needs_every_seed():
    with pytest.raises(DataError, match="one value for each seed"):
        paired({"x": [1.0, 2.0], "y": [1.0]}, {"x": 1.0, "y": 1.0})


# --- laws

NUMBERS = st.integers(-1000, 1000).map(lambda number: number / 128)  # sums of these are exact
TABLES = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=20)
LAW = settings(max_examples=25)


@given(TABLES)
@LAW
def test_swapping_the_sides_turns_the_signs_and_keeps_the_p_values(pairs):
    a, b = (cases(column) for column in zip(*pairs, strict=True))
    one, other = paired(a, b), paired(b, a)
    assert (other.p, other.wilcoxon_p) == (one.p, one.wilcoxon_p)
    assert (other.wins, other.ties, other.losses) == (one.losses, one.ties, one.wins)
    turned = [-other.difference, -other.median_difference, -other.standardised, -other.rank_biserial]
    assert turned == pytest.approx(
        [one.difference, one.median_difference, one.standardised, one.rank_biserial], nan_ok=True
    )
    assert (-other.interval[1], -other.interval[0]) == pytest.approx(one.interval, abs=1e-12)


@given(TABLES, st.integers(-50, 50))
@LAW
def test_adding_a_constant_to_both_changes_nothing_but_the_means(pairs, constant):
    a, b = zip(*pairs, strict=True)
    plain = paired(cases(a), cases(b))
    moved = paired(cases([value + constant for value in a]), cases([value + constant for value in b]))
    assert (moved.p, moved.interval, moved.difference) == (plain.p, plain.interval, plain.difference)
    assert moved.mean_a == pytest.approx(plain.mean_a + constant)


@given(TABLES, st.randoms(use_true_random=False))
@LAW
def test_the_order_of_the_cases_does_not_matter(pairs, random):
    a, b = (cases(column) for column in zip(*pairs, strict=True))
    order = list(a)
    random.shuffle(order)
    assert repr(paired({case: a[case] for case in order}, b)) == repr(paired(a, b))


@given(TABLES)
@LAW
def test_p_values_are_above_0_and_at_most_1(pairs):
    a, b = (cases(column) for column in zip(*pairs, strict=True))
    result = paired(a, b)
    assert 0 < result.p <= 1
    assert 0 < result.wilcoxon_p <= 1
    assert -1 <= result.rank_biserial <= 1
    assert result.wins + result.ties + result.losses == result.groups


@given(TABLES, st.integers(2, 4))
@LAW
def test_copies_of_a_patient_add_no_evidence(pairs, copies):
    a, b = (cases(column) for column in zip(*pairs, strict=True))
    often = [{f"{case}/{i}": value for case, value in side.items() for i in range(copies)} for side in (a, b)]
    groups = {case: case.split("/")[0] for case in often[0]}
    once, many = paired(a, b), paired(*often, groups)
    assert (many.p, many.wins, many.ties, many.losses) == (once.p, once.wins, once.ties, once.losses)
    assert many.interval == pytest.approx(once.interval)
    assert many.cases == copies * once.cases
    assert many.groups == once.groups
