import json
import math
from dataclasses import replace

import pytest
from structure import page

from edgewise.compare.runs import Refusal
from edgewise.report.cautions import conflicts
from edgewise.report.records import read_run
from edgewise.report.tables import rows
from edgewise.report.words import Metric, metrics

DICE = Metric(name="dice", title="Dice", unit="", better="higher")
HD95 = Metric(name="hd95", title="HD95", unit="mm", better="lower")


def test_aggregates_come_from_the_summary_and_else_from_settled_values(make_run):
    record = make_run()
    liver, tumour = rows([record], HD95)
    finite = [s.values["hd95"] for s in record.scores if s.label == 2 and math.isfinite(s.values["hd95"])]
    assert tumour.cases == len(finite) == 3, "the old table knows no diagonal that could stand for infinity"
    assert tumour.mean == pytest.approx(sum(finite) / 3)
    assert tumour.empty == "one empty: 1"
    assert liver.cases == 4
    summary = json.loads((record.folder / "summary.json").read_text())
    summary["classes"] = {"2": {"name": "tumour", "hd95": {"mean": 99.5, "median": 98.0, "std": None, "cases": 4}}}
    (record.folder / "summary.json").write_text(json.dumps(summary))
    again = rows([read_run(record.folder)], HD95)[1]
    assert (again.mean, again.median, again.cases) == (99.5, 98.0, 4)
    assert math.isnan(again.std)
    assert math.isnan(again.interval[0]), "an interval of other values than the mean's is none"


def test_every_mean_lies_in_its_interval_and_the_summary_agrees_with_the_table(make_study):
    records = make_study(cases=12)
    for metric in metrics(records):
        for row in rows(records, metric):
            assert row.interval[0] <= row.mean <= row.interval[1], (metric.name, row)
            assert row.cases == 12
    bare = [replace(record, summary={"policy": record.summary["policy"]}) for record in records]
    for metric in metrics(records):
        for said, own in zip(rows(records, metric), rows(bare, replace(metric)), strict=True):
            assert (said.mean, said.median, said.std) == pytest.approx((own.mean, own.median, own.std))


def test_a_method_with_seeds_has_a_row_and_only_methods_are_best(make_study):
    records = make_study(cases=8)
    found = rows(records, DICE)
    assert [row.name for row in found[:3]] == ["dice_ce, 2 seeds", "dice_ce_s0", "dice_ce_s1"]
    assert found[0].mean == pytest.approx((found[1].mean + found[2].mean) / 2)
    assert [row.name for row in found if row.best] == ["region_wise, 2 seeds"] * 2
    assert len({row.colour for row in found}) == 3


@pytest.mark.parametrize(("name", "best"), [("rvd", -0.1), ("dice", 0.4), ("hd95", -0.5), ("volume", None)])
def test_the_best_mean_follows_the_direction_of_the_metric(make_study, name, best):
    records = [
        replace(record, summary={}, scores=tuple(replace(score, values={name: value}) for score in record.scores))
        for record, value in zip(make_study(cases=2, seeds=1), (-0.5, -0.1, 0.4), strict=True)
    ]
    (measured,) = metrics(records)
    assert [row.mean for row in rows(records, measured) if row.best] == pytest.approx(
        [] if best is None else [best] * 2
    )


def test_metrics_that_runs_define_differently_are_flagged_and_have_no_best(make_study, tmp_path):
    records = make_study(cases=12, seeds=1)
    summary = json.loads(json.dumps(records[0].summary))
    summary["definitions"]["nsd"] |= {"definition": "share of both borders within 1 mm of the other.", "set": "kits"}
    records[0] = replace(records[0], summary=summary)
    assert list(conflicts(records)) == ["nsd"]
    (nsd,) = [metric for metric in metrics(records) if metric.name == "nsd"]
    assert not any(row.best for row in rows(records, nsd))
    assert any(row.best for row in rows(records, DICE))
    refused = Refusal(metric="nsd", class_name="", first="dice_ce_s0", second="boundary_s0", reason="they differ")
    structure = page(records, tmp_path / "report.html", [], [refused])
    assert (
        "NSD is defined differently by dice_ce_s0 (kits) and by region_wise_s0, boundary_s0 (default)."
        in structure.text
    )
    assert "NSD, dice_ce_s0 against boundary_s0: they differ." in structure.text
    assert "within 1 mm" in structure.text
    assert structure.text.count("NSDnsdin") == 2, "both definitions are in the table, each with its runs"


def test_a_set_of_another_name_with_the_same_definitions_is_no_conflict(make_study):
    records = make_study(cases=2, seeds=1)
    summary = json.loads(json.dumps(records[0].summary))
    for facts in summary["definitions"].values():
        facts["set"] = "mine"
    assert not conflicts([replace(records[0], summary=summary), *records[1:]])
