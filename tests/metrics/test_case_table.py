"""The table of cases and its summary: every empty mask is counted, nothing is dropped silently."""

import json
import math

import numpy as np
import pytest

from edgewise.errors import DataError
from edgewise.metrics import Row, evaluate, from_csv, named, rows_of, summarise, to_csv
from edgewise.metrics.cases import settled

DEFAULT = named("default")

NAMES = ("background", "liver", "tumour")
SPACING = (2.0, 1.0, 1.0)


def table():
    """Three cases: as usual, tumour missed, no tumour at all."""
    rng = np.random.default_rng(0)
    reference = np.zeros((8, 10, 10), np.uint8)
    reference[2:6, 2:7, 2:7] = 1
    reference[3:5, 3:5, 3:5] = 2
    prediction = np.where(rng.random(reference.shape) < 0.05, 0, reference).astype(np.uint8)
    missed = np.where(prediction == 2, 1, prediction)
    healthy = np.minimum(reference, 1)
    pairs = {"a": (prediction, reference), "b": (missed, reference), "c": (healthy, healthy)}
    return [row for case, pair in pairs.items() for row in rows_of(case, *pair, SPACING, NAMES, DEFAULT)]


def test_a_row_says_what_was_compared():
    first, second, *_ = table()
    assert (first.case, first.class_index, first.class_name, first.empty) == ("a", 1, "liver", "")
    assert second.reference_ml == pytest.approx(8 * 2.0 / 1000)
    assert first.diagonal_mm == pytest.approx(math.hypot(16, 10, 10))


def test_values_are_those_of_evaluate():
    reference = np.zeros((5, 6), np.uint8)
    reference[1:3, 1:3] = 1
    prediction = np.roll(reference, 1, axis=1)
    (row,) = rows_of("a", prediction, reference, (1.0, 2.0), NAMES[:2], DEFAULT)
    assert row.values == evaluate(prediction, reference, (1.0, 2.0))[1]


def test_empty_masks_are_named():
    assert [row.empty for row in table() if row.class_name == "tumour"] == ["", "prediction", "both"]
    a = np.ones((3, 3), np.uint8)
    assert rows_of("x", a, 0 * a, (1.0, 1.0), NAMES[:2], DEFAULT)[0].empty == "reference"


@pytest.mark.parametrize("policy", ["worst", "skip", "nan"])
def test_a_summary_counts_the_empty_masks_whatever_the_policy(policy):
    rows = table()
    tumour = summarise(rows, DEFAULT, policy)["classes"]["2"]
    counts = {"cases": 3, "both_empty": 1, "one_empty": 1, "prediction_empty": 1, "reference_empty": 0}
    for kind in DEFAULT.metrics:
        assert {key: tumour[kind][key] for key in counts} == counts
        assert tumour[kind]["not_finite"] == (DEFAULT.facts()[kind]["prediction_empty"] == "inf")
    assert tumour["dice"]["used"] == 3
    found = next(row for row in rows if row.case == "a" and row.class_index == 2).values["hd95"]
    used = {"worst": [found, rows[0].diagonal_mm, 0], "skip": [found, 0], "nan": None}[policy]
    assert tumour["hd95"]["mean"] == (None if used is None else pytest.approx(np.mean(used)))
    assert tumour["hd95"]["median"] == (None if used is None else pytest.approx(np.median(used)))
    assert tumour["hd95"]["used"] == (2 if policy != "worst" else 3)


def test_a_summary_is_valid_json_with_definitions_and_the_mean_dice():
    summary = summarise(table(), DEFAULT)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert set(summary["definitions"]) == set(DEFAULT.metrics)
    assert summary["set"]["name"] == "default"
    assert summary["definitions"]["hd95"]["prediction_empty"] == "inf"
    assert summary["policy"].startswith("worst: ")
    dice = [summary["classes"][key]["dice"]["mean"] for key in ("1", "2")]
    assert summary["mean_dice"] == pytest.approx(np.mean(dice))
    assert summary["classes"]["1"]["name"] == "liver"


def test_a_class_that_is_always_missed_has_no_mean_distance_when_infinities_are_skipped():
    mask = np.ones((3, 3), np.uint8)
    entry = summarise(rows_of("a", 0 * mask, mask, (1.0, 1.0), NAMES[:2], DEFAULT), DEFAULT, "skip")["classes"]["1"]
    assert entry["dice"]["mean"] == 0
    assert (entry["assd"]["mean"], entry["assd"]["used"], entry["assd"]["one_empty"]) == (None, 0, 1)


def test_a_value_that_is_not_finite_counts_as_the_worst_there_is():
    inf, nan = math.inf, math.nan
    assert settled(inf, 9.0, "mm") == settled(nan, 9.0, "mm") == 9
    assert settled(nan, 9.0, "1", "worst", "higher") == 0
    assert settled(inf, 9.0, "1", "worst", "zero") == inf
    assert all(math.isnan(settled(value, 9.0, "mm", policy)) for value in (inf, nan) for policy in ("skip", "nan"))
    assert all(settled(2.5, 9.0, unit, policy) == 2.5 for unit in ("mm", "1") for policy in ("worst", "skip", "nan"))


def test_two_empty_masks_without_a_value_are_never_the_worst():
    """MONAI has no Dice for an empty reference: a false structure counts 0, but a healthy case has no value at all."""
    monai = named("monai")
    mask, nothing = np.ones((3, 3), np.uint8), np.zeros((3, 3), np.uint8)
    pairs = {"right": (mask, mask), "false": (mask, nothing), "healthy": (nothing, nothing)}
    rows = [row for case, pair in pairs.items() for row in rows_of(case, *pair, (1.0, 1.0), NAMES[:2], monai)]
    found = {policy: summarise(rows, monai, policy)["classes"]["1"]["dice"] for policy in ("worst", "skip", "nan")}
    assert [entry["mean"] for entry in found.values()] == [None, 1, None]
    assert [entry["used"] for entry in found.values()] == [2, 1, 1]
    assert all(entry["not_finite"] == 2 for entry in found.values())
    assert summarise(rows[:2], monai)["classes"]["1"]["dice"]["mean"] == 0.5


def test_regions_with_metrics_of_their_own_have_columns_of_their_own():
    lits = named("lits")
    reference = np.zeros((6, 8, 8), np.uint8)
    reference[1:5, 1:7, 1:7] = 1
    reference[2:4, 2:5, 2:5] = 2
    rows = rows_of("a", np.roll(reference, 1, axis=2), reference, SPACING, NAMES, lits)
    assert [row.class_name for row in rows] == ["liver", "lesion"]
    assert [row.class_index for row in rows] == [1, 2]
    assert "assd" in rows[0].values
    assert "assd" not in rows[1].values
    assert from_csv(to_csv(rows)) == rows
    summary = summarise(rows, lits)
    assert set(summary["classes"]["2"]) == {"name", "dice_global", *rows[1].values}


def test_no_rows_have_no_mean():
    assert summarise([], DEFAULT)["mean_dice"] is None


def test_a_table_that_is_written_reads_back_the_same():
    rows = table()
    text = to_csv(rows)
    assert from_csv(text) == tuple(rows)
    assert text.splitlines()[0].startswith("case,class,class_name,dice,")
    assert ",inf," in text


def test_names_with_commas_survive():
    values = {"dice": 0.5}
    row = Row(
        case='a,"b"', class_index=1, class_name="liver, left", values=values, reference_ml=1.0,
        prediction_ml=2.0, reference_voxels=3, prediction_voxels=2, shared_voxels=1, empty="", diagonal_mm=3.0,
    )  # fmt: skip
    assert from_csv(to_csv([row])) == (row,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("diagonal_mm", "size"), "diagonal_mm"),
        (lambda text: text.replace("a,1,", "a,one,", 1), "line 2"),
        (lambda text: text.replace("prediction,", "perhaps,"), "empty is 'perhaps'"),
        (lambda _: "", "missing"),
    ],
)
def test_a_table_that_is_not_ours_is_refused(change, message):
    text = to_csv(table())
    header, body = text.split("\n", 1)
    changed = change(text) if "perhaps" not in message else header + "\n" + change(body)
    with pytest.raises(DataError, match=message):
        from_csv(changed)
