"""Calibration by simulation: under the null the test rejects as often as it says, and the interval covers as it says.

Every simulated comparison is of two copies of one method: what differs is drawn again from one distribution. The limits
are those of the promise and hold the Monte-Carlo error too: its standard error is below 0.4 %. The numbers measured are
in docs/explanation/statistics.md; `python tests/compare/test_calibration.py` prints its tables.
"""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import special

from edgewise.compare.resampling import intervals, p_values, seed_effects, trust_in_skewness

SIMULATIONS, AT_ONCE = 4000, 500
ALPHA = 0.05
Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def normal(rng, shape):
    return rng.normal(0, 1, shape)


def dice(rng, shape):
    """Hard patients lower the Dice of both copies; skewed to the left, at most 1."""
    return special.expit(2.2 + patients(rng, shape, 0.8) + rng.normal(0, 0.4, shape))


def dice_with_failures(rng, shape):
    """The same, and in one case in twenty nothing is found."""
    return dice(rng, shape) * (rng.random(shape) > 0.05)


def distance(rng, shape):
    """HD95 in mm: skewed to the right, and hard patients are far in both copies."""
    return np.exp(1.0 + patients(rng, shape, 0.6) + rng.normal(0, 0.3, shape))


def far_distance(rng, shape):
    """HD95 with heavier tails."""
    return np.exp(1.0 + patients(rng, shape, 0.8) + rng.normal(0, 0.5, shape))


def patients(rng, shape, spread):
    """What the copies have in common: (simulations, copies, patients, images of a patient)."""
    return rng.normal(0, spread, (shape[0], 1, *shape[2:-1], 1))


KINDS = {each.__name__: each for each in (normal, dice, dice_with_failures, distance, far_distance)}


def rates(draw: Draw, groups: int, simulations: int = SIMULATIONS) -> tuple[float, float]:
    """Share of rejections and of intervals that hold 0; every patient has one, two or three images."""
    rng = np.random.default_rng(groups)
    rejected, covered = [], []
    for _ in range(simulations // AT_ONCE):
        images = draw(rng, (AT_ONCE, 2, groups, 3))
        counts = rng.integers(1, 4, (AT_ONCE, 1, groups, 1))
        used = np.arange(3) < counts
        sides = (images * used).sum(axis=-1) / used.sum(axis=-1)
        judge(sides[:, 0, None], sides[:, 1, None], rejected, covered)
    return float(np.mean(rejected)), float(np.mean(covered))


def rates_with_seeds(groups: int, seeds: int, sizes: tuple[float, float, float], simulations: int = SIMULATIONS):
    """The same where several trainings of each copy shift all patients, and every one patient by itself.

    Args:
        groups: patients.
        seeds: of each copy.
        sizes: standard deviation of a seed's shift, of a copy's own differences by patient, and of the rest.
    """
    rng = np.random.default_rng([groups, seeds])
    of_seed, of_copy, of_rest = sizes
    rejected, covered = [], []
    for _ in range(simulations // AT_ONCE):
        hardness = rng.normal(0, 1, (AT_ONCE, 1, groups))
        sides = [
            hardness
            + of_seed * rng.normal(0, 1, (AT_ONCE, seeds, 1))
            + of_copy * rng.normal(0, 1, (AT_ONCE, 1, groups))
            + of_rest * rng.normal(0, 1, (AT_ONCE, seeds, groups))
            for _ in range(2)
        ]
        judge(*sides, rejected, covered)
    return float(np.mean(rejected)), float(np.mean(covered))


def judge(a, b, rejected, covered):
    differences, noise = a.mean(axis=1) - b.mean(axis=1), seed_effects([a, b])
    rejected.append(p_values(differences, noise) <= ALPHA)
    low, high = intervals(differences, noise, trust_in_skewness(differences))
    covered.append((low <= 0) & (high >= 0))


def means_covered(draw: Draw, groups: int, simulations: int = SIMULATIONS) -> float:
    """Share of the intervals of one run's mean that hold the true mean."""
    truth = np.mean([draw(np.random.default_rng([1, i]), (100_000, 1, 1, 1)).mean() for i in range(20)])
    rng = np.random.default_rng(groups)
    covered = []
    for _ in range(simulations // AT_ONCE):
        values = draw(rng, (AT_ONCE, 1, groups, 1))[:, 0, :, 0]
        low, high = intervals(values, seed_effects([values[:, None]]), np.ones(AT_ONCE))
        covered.append((low <= truth) & (truth <= high))
    return float(np.mean(covered))


@pytest.mark.slow
@pytest.mark.parametrize("groups", [10, 20, 40])
@pytest.mark.parametrize("kind", KINDS)
def test_the_test_rejects_one_true_null_in_twenty(kind, groups):
    assert rates(KINDS[kind], groups, 8000)[0] == pytest.approx(ALPHA, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("groups", [10, 20, 40, 100])
@pytest.mark.parametrize("kind", ["normal", "dice", "distance"])
def test_the_interval_covers_no_difference_nineteen_times_in_twenty(kind, groups):
    assert rates(KINDS[kind], groups)[1] == pytest.approx(0.95, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("groups", [15, 40])
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("sizes", [(0.1, 0.0, 1.0), (0.0, 1.0, 0.5), (0.1, 0.5, 0.5)])
def test_seeds_do_not_break_the_calibration(sizes, seeds, groups):
    rejected, covered = rates_with_seeds(groups, seeds, sizes)
    assert rejected == pytest.approx(ALPHA, abs=0.015)
    assert covered == pytest.approx(0.95, abs=0.02)


@pytest.mark.slow
def test_to_ignore_seeds_would_break_it():
    groups, seeds = 40, 3
    rng = np.random.default_rng(0)
    hardness = rng.normal(0, 1, (AT_ONCE, 1, groups))
    sides = [
        hardness + 0.3 * rng.normal(0, 1, (AT_ONCE, seeds, 1)) + 0.5 * rng.normal(0, 1, (AT_ONCE, seeds, groups))
        for _ in range(2)
    ]
    differences = sides[0].mean(axis=1) - sides[1].mean(axis=1)
    assert (p_values(differences, seed_effects([differences[:, None]])) <= ALPHA).mean() > 0.2
    assert (p_values(differences, seed_effects(sides)) <= ALPHA).mean() < 0.08


if __name__ == "__main__":
    for kind, draw in KINDS.items():
        for groups in (10, 20, 40, 100):
            rejected, covered = rates(draw, groups)
            mean = means_covered(draw, groups)
            print(f"{kind:20} {groups:4} rejects {rejected:.1%} covers {covered:.1%}; one run's mean {mean:.1%}")  # noqa: T201
    for sizes in ((0.0, 0.0, 1.0), (0.1, 0.0, 1.0), (0.0, 1.0, 0.5), (0.1, 0.5, 0.5), (0.3, 0.5, 0.5)):
        for groups in (10, 20, 40):
            for seeds in (2, 3, 5):
                rejected, covered = rates_with_seeds(groups, seeds, sizes, 2000)
                print(f"seeds {seeds} {sizes} {groups:4} rejects {rejected:.1%} covers {covered:.1%}")  # noqa: T201
