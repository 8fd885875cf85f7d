"""The table of convergence: every number from its definition, on journals made up for it."""

import math
from dataclasses import replace

import pytest
from structure import page

from edgewise.report.converging import converged
from edgewise.report.journal import Journal, Validation


def record(template, name, seed, curve):
    """A run with no evaluation: what it reached is its best validation."""
    validations = tuple(Validation(step=step, dice={1: dice}, mean=dice) for step, dice in curve)
    experiment = {"name": name, "loss": name, "seed": seed}
    return replace(
        template, name=f"{name}_{seed}", experiment=experiment, summary={}, scores=(),
        journal=Journal(validations=validations, ending="all steps are done"),
    )  # fmt: skip


@pytest.fixture
def records(make_run):
    template = make_run()
    good = [(100, 0.5), (200, 0.8), (300, 0.8), (400, 0.8)]
    bad = [(100, 0.1), (200, 0.2), (300, 0.1), (400, 0.2)]
    runs = [record(template, "steady", seed, good) for seed in range(3)]
    return [*runs, *(record(template, "shaky", seed, curve) for seed, curve in enumerate((good, bad, bad)))]


def test_the_numbers_are_those_of_their_definitions(records):
    level, (steady, shaky) = converged(records)
    assert (level.near, level.failed) == (pytest.approx(0.72), pytest.approx(0.4))
    assert (steady.runs, steady.mean, steady.area) == (3, pytest.approx(0.8), pytest.approx(0.2))
    assert (steady.first, steady.failures.count, steady.fluctuation) == (200, 0, pytest.approx(0, abs=1e-9))
    assert shaky.mean == pytest.approx((0.8 + 0.2 + 0.2) / 3)
    assert math.isinf(shaky.first), "two of three never came near"
    assert (shaky.failures.count, shaky.failures.total) == (2, 3)
    # About the line through 0.2, 0.1, 0.2, which is flat, the squares sum to 0.02 / 3, with one degree of freedom.
    assert shaky.fluctuation == pytest.approx(2 / 3 * math.sqrt(0.02 / 3))


def test_a_run_without_any_dice_is_left_out(records):
    silent = replace(records[0], journal=Journal(), name="silent", experiment={"name": "silent"})
    assert [row.name for row in converged([silent])[1]] == []
    assert len(converged([*records, silent])[1]) == 2


def test_the_page_has_the_table(records, tmp_path):
    page(records, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Convergence in numbers" in text
    assert "2 of 3" in text
    assert ">never<" in text
