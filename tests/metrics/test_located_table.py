"""The table of located objects: pairs, shares, and the way to a file and back."""

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgewise.detection.boxes import Object, iou
from edgewise.errors import DataError
from edgewise.metrics.located_table import (
    LocatedRow,
    located_from_csv,
    located_summary,
    located_to_csv,
    matched,
)

SIDES = st.tuples(*(st.integers(0, 6),) * 4)


def boxes(drawn):
    """Objects of drawn corners; made in the test, as the type checker of the tests draws random numbers."""
    made = []
    for (a, b, c, d), kind in drawn:
        low, high = (min(a, b), min(c, d)), (max(a, b) + 1, max(c, d) + 1)
        made.append(Object(box=tuple(float(side) for side in (*low, *high)), kind=kind))
    return made


def agreement(a, b):
    first, second = (torch.tensor(each.box, dtype=torch.float64) for each in (a, b))
    return float(iou(first, second)) if a.kind == b.kind else 0.0


DRAWN = st.lists(st.tuples(SIDES, st.integers(0, 1)), max_size=4)


@given(DRAWN, DRAWN)
def test_pairs_are_of_one_kind_touch_and_leave_nothing_that_could_be_paired(first, second):
    real, found = boxes(first), boxes(second)
    pairs = matched(real, found)
    assert len({a for a, _, _ in pairs}) == len({b for _, b, _ in pairs}) == len(pairs)
    for a, b, share in pairs:
        assert share > 0
        assert share == pytest.approx(agreement(real[a], found[b]))
    left = [
        (a, b)
        for a in range(len(real))
        for b in range(len(found))
        if a not in {p[0] for p in pairs} and b not in {p[1] for p in pairs}
    ]
    assert all(agreement(real[a], found[b]) == 0 for a, b in left)


@given(DRAWN, DRAWN)
def test_the_best_pair_of_all_is_a_pair(first, second):
    real, found = boxes(first), boxes(second)
    table = {(a, b): agreement(x, y) for a, x in enumerate(real) for b, y in enumerate(found)}
    best = max(table.values(), default=0.0)
    pairs = {(a, b): share for a, b, share in matched(real, found)}
    assert max(pairs.values(), default=0.0) == pytest.approx(best)


@given(DRAWN)
def test_equal_boxes_find_each_other_in_any_order(drawn):
    real = boxes(dict(drawn).items())
    for order in list(permutations(range(len(real))))[:6]:
        pairs = matched(real, [real[n] for n in order])
        assert all(share == pytest.approx(1) for _, _, share in pairs)
        assert len(pairs) == len(real)


def row(**changes):
    values = {
        "case": "a",
        "kind": "tumour",
        "slice": 3,
        "score": 0.9,
        "iou": 0.7,
        "contained": 1.0,
        "object": (0.5, 1.5, 2.5, 4.5, 5.5, 6.5),
        "box": (0.0, 1.0, 2.5, 4.0, 5.25, 6.5),
        "roi": (-15.0, -14.0, 2.5, 19.0, 20.25, 6.5),
    }
    return LocatedRow(**values | changes)


ROWS = (
    row(),
    row(case="b, the second", iou=0.5, contained=0.25),
    row(case="c", slice=-1, score=math.nan, iou=0.0, contained=0.0, box=(), roi=()),
    row(case="c", iou=0.0, contained=math.nan, object=()),
)


def test_the_table_comes_back_from_its_file():
    found = located_from_csv(located_to_csv(ROWS))
    assert [repr(each) for each in found] == [repr(each) for each in ROWS]
    assert [(each.missed, each.false) for each in found] == [(False, False)] * 2 + [(True, False), (False, True)]


def test_a_missed_object_counts_and_a_false_region_does_not_count_as_one():
    assert located_summary(ROWS) == {
        "objects": 3,
        "missed": 1,
        "mean_iou": pytest.approx(0.4),
        "recall": pytest.approx(2 / 3),
        "contained": pytest.approx(1.25 / 3),
        "false_regions": 1,
    }


def test_without_objects_shares_are_undefined():
    summary = located_summary([ROWS[3]])
    assert (summary["objects"], summary["missed"], summary["false_regions"]) == (0, 0, 1)
    assert all(math.isnan(summary[key]) for key in ("mean_iou", "recall", "contained"))


@pytest.mark.parametrize("change", [("iou", "IoU"), ("0.7", "seven")])
def test_a_table_of_something_else_is_refused(change):
    with pytest.raises(DataError, match="localisation"):
        located_from_csv(located_to_csv(ROWS).replace(*change))


def test_numbers_of_numpy_are_plain_in_the_file():
    assert "np." not in located_to_csv([row(iou=float(np.float64(0.5)))])
