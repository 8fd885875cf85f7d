"""Rank stability: laws of the shares, and Kendall's tau against SciPy."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from edgewise.compare.ranks import kendall, rank_stability
from edgewise.compare.runs import Results
from edgewise.errors import DataError
from edgewise.metrics.cases import Row
from edgewise.metrics.presets import named

FACTS = named("default").facts()


def made(name, *seeds, metric="dice"):
    rows = {
        str(number): tuple(
            Row(
                case=f"p{i:02}", class_index=1, class_name="liver", values={metric: float(value)}, reference_ml=1.0,
                prediction_ml=1.0, reference_voxels=1, prediction_voxels=1, shared_voxels=1, empty="", diagonal_mm=9.0,
            )
            for i, value in enumerate(values)
        )
        for number, values in enumerate(seeds)
    }  # fmt: skip
    groups = {f"p{i:02}": f"p{i:02}" for i in range(len(seeds[0]))}
    return Results(name=name, rows=rows, definitions=FACTS, groups=groups)


def test_a_run_that_is_best_in_every_case_is_always_first():
    base = np.random.default_rng(0).uniform(0.5, 0.8, 12)
    found = rank_stability([made("low", base), made("top", base + 0.1), made("mid", base + 0.05)], "dice", 1)
    assert [(run.name, run.rank, run.mean_rank) for run in found.runs] == [("top", 1, 1), ("mid", 2, 2), ("low", 3, 3)]
    assert found.runs[0].shares == (1.0, 0.0, 0.0)
    assert (found.tau, found.interval, found.cases, found.groups) == (1.0, (1.0, 1.0), 12, 12)


def test_lower_distances_and_smaller_errors_rank_first():
    near, far = made("near", [1.0, 2.0], metric="hd95"), made("far", [3.0, 4.0], metric="hd95")
    assert rank_stability([far, near], "hd95", 1).runs[0].name == "near"
    small, large = made("small", [0.1, -0.1], metric="rvd"), made("large", [-0.5, -0.6], metric="rvd")
    assert rank_stability([large, small], "rvd", 1).runs[0].name == "small"


def test_equal_runs_share_their_ranks():
    values = np.random.default_rng(1).uniform(0.5, 0.8, 8)
    found = rank_stability([made("a", values), made("b", values)], "dice", 1)
    assert [(run.rank, run.mean_rank, run.shares) for run in found.runs] == [(1.5, 1.5, (0.5, 0.5))] * 2
    assert math.isnan(found.tau)


@given(st.integers(0, 1000), st.integers(2, 5))
@settings(max_examples=15)
def test_the_shares_of_a_run_and_of_a_rank_are_all_of_it(seed, count):
    values = np.random.default_rng(seed).integers(0, 4, (count, 7)) / 4
    found = rank_stability([made(f"run {i}", row) for i, row in enumerate(values)], "dice", 1)
    shares = np.array([run.shares for run in found.runs])
    assert shares.sum(axis=0) == pytest.approx(1)
    assert shares.sum(axis=1) == pytest.approx(1)
    places = np.arange(1, count + 1)
    assert [run.mean_rank for run in found.runs] == pytest.approx(list(shares @ places))


def test_close_runs_change_places_and_far_ones_do_not():
    rng = np.random.default_rng(2)
    base = rng.uniform(0.5, 0.8, 15)
    runs = [made(name, base + shift + rng.normal(0, 0.05, 15)) for name, shift in (("a", 0), ("b", 0), ("far", -0.4))]
    found = {run.name: run for run in rank_stability(runs, "dice", 1).runs}
    assert found["far"].shares[2] == 1.0
    assert 0.02 < found["a"].shares[0] < 0.98


def test_seeds_that_disagree_make_ranks_less_certain():
    rng = np.random.default_rng(3)
    base = rng.uniform(0.5, 0.8, 15)
    steady = [made("a", *[base + 0.02] * 3), made("b", *[base] * 3)]
    shaky = [made("a", base - 0.04, base + 0.02, base + 0.08), made("b", base - 0.06, base, base + 0.06)]
    assert rank_stability(steady, "dice", 1).runs[0].shares[0] == 1.0
    assert 0.5 < rank_stability(shaky, "dice", 1).runs[0].shares[0] < 0.95


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=7))
@settings(max_examples=60)
def test_tau_is_that_of_scipy(pairs):
    observed, sampled = (np.array(column, dtype=float)[:, None] for column in zip(*pairs, strict=True))
    if len(np.unique(observed)) == 1:
        assert math.isnan(kendall(observed, sampled)[0])
    elif len(np.unique(sampled)) == 1:
        assert kendall(observed, sampled)[0] == 0
    else:
        assert kendall(observed, sampled)[0] == pytest.approx(stats.kendalltau(observed[:, 0], sampled[:, 0]).statistic)


@pytest.mark.parametrize(
    ("change", "metric", "message"),
    [
        (lambda runs: runs[:1], "dice", "at least two"),
        (lambda runs: runs, "volume", "no better side"),
        (lambda runs: runs, "unknown", "no better side"),
        (lambda runs: [runs[0], replace(runs[1], rows={"0": ()})], "dice", "share no case"),
    ],
)
def test_what_cannot_be_ranked_is_refused(change, metric, message):
    with pytest.raises(DataError, match=message):
        rank_stability(change([made("a", [0.5, 0.6]), made("b", [0.6, 0.7])]), metric, 1)
