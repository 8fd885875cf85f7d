"""The table of lesions and its bins: by hand, back from CSV, and against the metrics."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import binomtest

from edgewise.errors import DataError
from edgewise.metrics import Comparison
from edgewise.metrics.components import Matching
from edgewise.metrics.lesion_table import LesionRow, by_size, lesion_rows, lesions_from_csv, lesions_to_csv
from edgewise.metrics.lesions import LesionDice, LesionPrecision, LesionRecall

shapes = hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=7)
pairs = shapes.flatmap(lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape)))
SPACING = (2.0, 1.0, 3.0)


def rows_of(prediction, reference, matching=None):
    comparison = Comparison.of(prediction, reference, SPACING[: reference.ndim])
    return lesion_rows("a", 2, "tumour", comparison, matching or Matching())


def row(mask, diameter, matched, dice=0.0):
    return LesionRow(
        case="a",
        class_index=1,
        class_name="tumour",
        mask=mask,
        number=1,
        volume_ml=1.0,
        diameter_mm=diameter,
        matched=matched,
        dice=dice,
    )


def example():
    """Reference lesions of 8 and 2 voxels, the first found by half; a false lesion of 3 voxels."""
    reference, prediction = np.zeros((6, 6, 6), bool), np.zeros((6, 6, 6), bool)
    reference[0:2, 0:2, 0:2] = reference[5, 5, 4:6] = True
    prediction[0:2, 0:2, 1:3] = prediction[0, 3:6, 5] = True
    return prediction, reference


def test_rows_say_what_each_lesion_is():
    first, second, third, fourth = rows_of(*example())
    assert [each.mask for each in (first, second, third, fourth)] == ["reference"] * 2 + ["prediction"] * 2
    assert (first.case, first.class_index, first.class_name) == ("a", 2, "tumour")
    assert [each.number for each in (first, second, third, fourth)] == [1, 2, 1, 2]
    assert [each.volume_ml for each in (first, second, third, fourth)] == pytest.approx([0.048, 0.012, 0.048, 0.018])
    assert [each.matched for each in (first, second, third, fourth)] == [True, False, True, False]
    assert [each.dice for each in (first, second, third, fourth)] == pytest.approx([0.5, 0, 0.5, 0])


def test_the_diameter_is_that_of_a_ball_or_a_disc():
    ball = rows_of(*example())[0]
    assert math.pi / 6 * ball.diameter_mm**3 == pytest.approx(8 * 6)
    flat = np.ones((3, 4), bool)
    disc = rows_of(flat, flat)[0]
    assert math.pi / 4 * disc.diameter_mm**2 == pytest.approx(12 * 2)
    assert disc.volume_ml == pytest.approx(0.024)


@given(pair=pairs, iou=st.sampled_from([0.0, 0.4]))
def test_rows_add_up_to_the_metrics(pair, iou):
    prediction, reference = pair
    rows = rows_of(*pair, Matching(iou=iou))
    volume = math.prod(SPACING[: reference.ndim]) / 1000
    for mask, name in ((reference, "reference"), (prediction, "prediction")):
        own = [each for each in rows if each.mask == name]
        assert sum(each.volume_ml for each in own) == pytest.approx(mask.sum() * volume)
        assert [each.volume_ml for each in own] == sorted([each.volume_ml for each in own], reverse=True)
        assert [each.number for each in own] == list(range(1, len(own) + 1))
    if prediction.any() and reference.any():
        comparison = Comparison.of(*pair, SPACING[: reference.ndim])
        (everything,) = by_size(rows, ())
        metrics = [metric(matching=Matching(iou=iou)) for metric in (LesionRecall, LesionPrecision, LesionDice)]
        values = (everything.recall, everything.precision, everything.dice)
        assert values == pytest.approx([metric(comparison) for metric in metrics])


def test_a_mask_without_a_voxel_has_no_rows():
    mask = np.ones((2, 2), bool)
    assert rows_of(~mask, ~mask) == ()
    assert [(each.mask, each.matched) for each in rows_of(~mask, mask)] == [("reference", False)]


@given(pair=pairs)
def test_a_table_comes_back_from_csv(pair):
    rows = rows_of(*pair)
    assert lesions_from_csv(lesions_to_csv(rows)) == rows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("diameter_mm", "diameter"), "columns \\['diameter_mm'\\] are missing"),
        (("yes", "maybe"), "line 2 .* matched is 'maybe', expected one of"),
        (("reference", "truth"), "line 2 .* mask is 'truth'"),
        (("2,tumour", "two,tumour"), "line 2 .* 'two'"),
    ],
)
def test_a_table_that_cannot_be_read_says_where_and_why(change, message):
    text = lesions_to_csv(rows_of(*example()))
    with pytest.raises(DataError, match=message):
        lesions_from_csv(text.replace(*change, 1))


def test_bins_count_each_lesion_by_its_own_size():
    rows = [
        row("reference", 3.0, matched=True, dice=0.8),
        row("reference", 4.9, matched=False),
        row("reference", 5.0, matched=True, dice=0.4),
        row("reference", 50.0, matched=True, dice=1.0),
        row("prediction", 4.0, matched=True, dice=0.5),
        row("prediction", 4.0, matched=False),
        row("prediction", 4.0, matched=False),
        row("prediction", 12.0, matched=True, dice=0.5),
    ]
    small, medium, large, huge = by_size(rows)
    assert [each.name for each in (small, medium, large, huge)] == ["< 5 mm", "5–10 mm", "10–20 mm", "≥ 20 mm"]
    assert (small.references, small.found, small.recall, small.dice) == (2, 1, 0.5, 0.4)
    assert (small.predictions, small.false_predictions, small.precision) == (3, 2, pytest.approx(1 / 3))
    assert (medium.references, medium.recall, medium.dice, medium.predictions) == (1, 1, 0.4, 0)
    assert math.isnan(medium.precision)
    assert (large.references, large.recall_low, large.recall_high, large.precision) == (0, 0, 1, 1)
    assert math.isnan(large.recall)
    assert math.isnan(large.dice)
    assert huge.dice == 1


@given(lesions=st.integers(1, 200), share=st.floats(0, 1))
def test_the_interval_of_the_recall_is_scipys_wilson_interval(lesions, share):
    found = round(share * lesions)
    (everything,) = by_size([row("reference", 1.0, matched=each < found) for each in range(lesions)], ())
    expected = binomtest(found, lesions).proportion_ci(method="wilson")
    assert (everything.recall_low, everything.recall_high) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize("edges", [(5.0, 5.0), (10.0, 5.0), (0.0, 5.0), (-1.0,)])
def test_edges_that_do_not_rise_are_refused(edges):
    with pytest.raises(ValueError, match="must be positive and rise"):
        by_size([], edges)


def test_bins_have_names_without_rows_and_with_one_edge():
    assert [each.name for each in by_size([], (7.5,))] == ["< 7.5 mm", "≥ 7.5 mm"]
    assert [each.name for each in by_size([], ())] == ["all"]
