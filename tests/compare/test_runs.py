"""Verdicts between runs: what is compared, what is refused, and that every reason is told."""

import math
from dataclasses import replace

import numpy as np
import pytest

from edgewise.compare.runs import Refusal, Results, compared, scores_of
from edgewise.compare.statistics import holm, paired
from edgewise.metrics.cases import Row
from edgewise.metrics.presets import named

FACTS = named("default", 2.0).facts()


def row(case, values, **changes):
    kept = {
        "class_index": 1, "class_name": "liver", "reference_ml": 9.0, "prediction_ml": 9.0, "reference_voxels": 100,
        "prediction_voxels": 100, "shared_voxels": 90, "empty": "", "diagonal_mm": 300.0,
    } | changes  # fmt: skip
    return Row(case=case, values=values, **kept)


def made(name, dice, hd95=None, facts=FACTS, **changes):
    """Results of one seed from Dice (and HD95) by case number."""
    hd95 = hd95 or [10.0 * (1 - value) for value in dice]
    rows = tuple(
        row(f"p{i:02}", {"dice": float(d), "hd95": float(h)}, **changes)
        for i, (d, h) in enumerate(zip(dice, hd95, strict=True))
    )
    return Results(name=name, rows={"0": rows}, definitions=facts, groups={each.case: each.case for each in rows})


@pytest.fixture
def three():
    rng = np.random.default_rng(0)
    base = rng.uniform(0.6, 0.9, 20)
    return [made(name, base + shift + rng.normal(0, 0.01, 20)) for name, shift in (("a", 0), ("b", 0.01), ("c", 0.05))]


def test_p_values_are_corrected_over_metrics_and_pairs_together(three):
    found = compared(three, ["dice", "hd95"]).verdicts
    assert [(v.first, v.second, v.metric) for v in found[:3]] == [
        ("a", "b", "dice"),
        ("a", "b", "hd95"),
        ("a", "c", "dice"),
    ]
    assert len(found) == 6
    assert [v.p for v in found] == list(holm([v.result.p for v in found]))
    assert {v.correction for v in found} == {"Holm"}
    assert compared(three[:2], ["dice"]).verdicts[0].correction == ""


def test_a_verdict_is_the_paired_comparison_of_the_cases(three):
    a, b = ({r.case: r.values["dice"] for r in each.rows["0"]} for each in three[:2])
    assert compared(three[:2], ["dice"]).verdicts[0].result == paired(a, b)


def test_runs_are_compared_on_the_cases_both_have_and_the_others_are_counted(three):
    fewer = replace(three[0], rows={"0": three[0].rows["0"][:15]})
    (found,) = compared([fewer, three[1]], ["dice"]).verdicts
    assert (found.result.cases, found.left_out) == (15, 5)


def test_a_case_needs_every_seed(three):
    rows = three[0].rows["0"]
    seeds = replace(three[0], rows={"0": rows, "1": rows[1:]})
    assert len(scores_of(seeds, 1, "dice")) == 19
    (found,) = compared([seeds, three[1]], ["dice"]).verdicts
    assert (found.result.cases, found.result.seeds, found.left_out) == (19, (2, 1), 1)


def test_cases_of_one_patient_count_once(three):
    groups = {case: f"patient {int(case[1:]) // 2}" for case in three[0].groups}
    found = compared([replace(each, groups=groups) for each in three[:2]], ["dice"]).verdicts
    assert found[0].result.groups == 10


def test_a_missed_structure_counts_the_diagonal():
    full = made("full", [0.9, 0.8], [2.0, 3.0])
    missed = replace(
        full,
        name="missed",
        rows={"0": (full.rows["0"][0], row("p01", {"dice": 0.0, "hd95": math.inf}, empty="prediction"))},
    )
    found = {v.metric: v.result for v in compared([full, missed], ["dice", "hd95"]).verdicts}
    assert found["hd95"].mean_b == (2.0 + 300.0) / 2
    assert found["dice"].mean_b == 0.45


def only_refusal(found):
    assert not found.verdicts
    (refusal,) = found.refusals
    return refusal


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (named("default", 1.0).facts(), "define it differently"),
        ({**FACTS, "nsd": {**FACTS["nsd"], "reference_empty": "inf"}}, "reference_empty: a: 0.0 b: inf"),
        ({key: value for key, value in FACTS.items() if key != "nsd"}, "b has no such metric"),
    ],
)
def test_what_is_defined_differently_is_not_compared(facts, reason):
    sides = [replace(made(name, [0.9, 0.8]), definitions=each) for name, each in (("a", FACTS), ("b", facts))]
    sides = [replace(s, rows={"0": tuple(replace(r, values={"nsd": 0.5}) for r in s.rows["0"])}) for s in sides]
    refusal = only_refusal(compared(sides, ["nsd"]))
    assert reason in refusal.reason


def test_the_name_of_a_preset_alone_is_no_difference():
    medpy = {column: {**facts, "set": "medpy"} for column, facts in FACTS.items()}
    assert len(compared([made("a", [0.9, 0.8]), made("b", [0.8, 0.7], facts=medpy)], ["dice"]).verdicts) == 1


def test_medpy_is_not_compared_with_the_default_where_they_differ():
    sides = [made("a", [0.9, 0.8]), made("b", [0.8, 0.7], facts=named("medpy").facts())]
    found = compared(sides, ["dice", "hd95"])
    assert "differently" in {each.metric: each.reason for each in found.refusals}["hd95"]


def test_what_only_describes_is_not_compared():
    sides = [made(name, [0.9, 0.8]) for name in "ab"]
    assert only_refusal(compared(sides, ["volume"])).reason == "it has no better side"


def test_undefined_cases_are_told_and_not_dropped():
    rows = (row("p00", {"rvd": 0.1}), row("p01", {"rvd": math.inf}, empty="reference"))
    sides = [replace(made(name, [0.9, 0.8]), rows={"0": rows}) for name in "ab"]
    refusal = only_refusal(compared(sides, ["rvd"]))
    assert refusal == Refusal(
        metric="rvd", class_name="liver", first="a", second="b",
        reason="it is undefined in 1 of 2 cases (p01), and leaving them out would flatter whoever caused them",
    )  # fmt: skip


def test_without_a_shared_case_nothing_is_compared():
    a, b = made("a", [0.9]), made("b", [0.8])
    b = replace(b, rows={"0": (row("other", {"dice": 0.8}),)}, groups={"other": "other"})
    assert "no case of this class in common" in only_refusal(compared([a, b], ["dice"])).reason


def test_other_references_are_not_compared():
    a, b = made("a", [0.9, 0.8]), made("b", [0.8, 0.7], reference_voxels=101)
    assert "references differ in 2 of 2 cases (p00, p01)" in only_refusal(compared([a, b], ["dice"])).reason


def test_other_classes_of_one_number_are_not_compared():
    a, b = made("a", [0.9, 0.8]), made("b", [0.8, 0.7], class_name="spleen")
    assert "class 1 is 'liver' in a and 'spleen' in b" in only_refusal(compared([a, b], ["dice"])).reason
    unnamed = made("c", [0.8, 0.7], class_name="class 1")
    assert len(compared([a, unnamed], ["dice"]).verdicts) == 1


def test_a_class_without_the_metric_on_both_sides_is_no_matter():
    lesion = row("p00", {"lesion_f1": 1.0}, class_index=2, class_name="tumour")
    sides = [replace(s, rows={"0": (*s.rows["0"], lesion)}) for s in (made("a", [0.9, 0.8]), made("b", [0.8, 0.7]))]
    found = compared(sides, ["dice"])
    assert [v.class_name for v in found.verdicts] == ["liver"]
    assert not found.refusals
