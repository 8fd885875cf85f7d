"""Published numbers beside ours: what counts as reproduced, and what is said where there is no number."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from folded_runs import read, write_folds
from located_runs import located_run
from structure import page, parsed

from edgewise.metrics.cases import from_csv
from edgewise.report.claims import Entry, claims, entries, otherwise, published
from edgewise.report.records import read_run
from edgewise.report.standing import Part, Study, StudyRow
from edgewise.run.report import report

EVIL = "<img src=x onerror=alert(1)>"


def claim(of="all", data="Study", source="Nobody et al. 2020, Table 1", deviations=None, **values):
    return {"source": source, "data": data, "of": of, "values": values, "deviations": deviations or {}}


def judged(records, *given):
    """What becomes of claims about all runs, which are one method."""
    numbers = published({"claim": list(given)})
    entry = Entry(name="row", published=numbers, runs=tuple(range(len(records))), planned=len(records))
    return claims(records, [entry])


@pytest.fixture
def runs(make_study):
    """One method with two seeds."""
    return make_study(cases=12, methods=("boundary",))


@pytest.fixture
def folds(runs, tmp_path):
    return read(folder for run in runs for folder in write_folds(tmp_path / "folds", run.folder))


# --- verdicts


@pytest.mark.parametrize("column", ["dice", "hd95", "nsd", "rvd", "dice_global"])
@pytest.mark.parametrize("of", ["all", "liver", "tumour"])
def test_our_own_mean_is_reproduced_and_what_lies_outside_the_interval_is_not(runs, column, of):
    (first,) = judged(runs, claim(of, **{column: 0.0}))
    assert math.isfinite(first.ours)
    low, high = first.interval
    assert low < first.ours < high
    for value in (first.ours, low, high):
        (same,) = judged(runs, claim(of, **{column: value}))
        assert (same.outcome, same.remark) == ("reproduced", "")
    for value, side in ((low - 0.01, "higher"), (high + 0.01, "lower")):
        (other,) = judged(runs, claim(of, **{column: value}))
        assert other.outcome == "not reproduced"
        assert other.remark.endswith(side)


def test_our_mean_is_that_of_the_cases_and_seeds(runs):
    rows = [row for run in runs for row in from_csv((run.folder / "metrics.csv").read_text())]
    tumour, every = judged(runs, claim("tumour", dice=0.5), claim(dice=0.5))
    assert tumour.ours == pytest.approx(np.mean([row.values["dice"] for row in rows if row.class_index == 2]))
    assert every.ours == pytest.approx(np.mean([row.values["dice"] for row in rows]))


def test_the_dice_of_all_voxels_is_that_of_the_summary(runs):
    (found,) = judged(runs, claim("tumour", dice_global=0.5))
    said = [run.summary["classes"]["2"]["dice_global"] for run in runs]
    assert found.ours == pytest.approx(np.mean(said))
    assert found.interval[1] - found.interval[0] > 0


def test_the_dice_of_all_voxels_has_the_interval_of_a_bootstrap_of_the_patients(make_study):
    (run,) = make_study(cases=40, seeds=1, methods=("boundary",))
    (found,) = judged([run], claim("tumour", dice_global=0.5))
    rows = [row for row in from_csv((run.folder / "metrics.csv").read_text()) if row.class_index == 2]
    table = np.array([(2 * row.shared_voxels, row.reference_voxels + row.prediction_voxels) for row in rows])
    chosen = np.random.default_rng(1).integers(0, 40, (4000, 40))
    ratios = table[chosen].sum(axis=1)
    low, high = np.quantile(ratios[:, 0] / ratios[:, 1], (0.025, 0.975))
    width = high - low
    assert found.interval == pytest.approx((low, high), abs=0.15 * width)


def test_the_folds_of_a_method_are_one_mean(runs, folds):
    for column in ("dice", "dice_global"):
        (whole,), (dealt,) = judged(runs, claim(**{column: 0.5})), judged(folds, claim(**{column: 0.5}))
        assert dealt.ours == pytest.approx(whole.ours)
        assert dealt.interval == pytest.approx(whole.interval)


def test_a_fold_that_a_seed_lacks_is_told(folds):
    (found,) = judged(folds[:3], claim(dice=0.5))
    assert "over 6 of 12 cases" in found.remark
    assert "fold 1 of seed 1 is not there" in found.remark


def test_boxes_have_their_own_mean(make_run):
    run = located_run(make_run)
    (found,) = judged([run], claim("liver", mean_iou=0.5))
    rows = [row for row in run.located if row.object and row.kind == "liver"]
    assert found.ours == pytest.approx(np.mean([row.iou for row in rows]))


# --- no number


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (claim("ventricle", dice=0.9), "no class is called ventricle: there are liver, tumour"),
        (claim(pq=0.9), "metrics.csv has no column pq"),
        (claim(mean_iou=0.9), "the run does not locate objects first"),
    ],
)
def test_what_was_not_measured_says_why(runs, given, why):
    without = [
        replace(
            run, scores=tuple(replace(s, values={k: v for k, v in s.values.items() if k != "pq"}) for s in run.scores)
        )
        for run in runs
    ]
    (found,) = judged(without, given)
    assert found.outcome == "not measured"
    assert why in found.remark
    assert math.isnan(found.ours)


def test_class_names_are_found_whatever_their_case(runs):
    (found,) = judged(runs, claim("LIVER", dice=0.5))
    assert math.isfinite(found.ours)


def test_a_row_that_has_not_run_is_there_all_the_same(runs):
    numbers = published({"claim": claim(dice=0.5, hd95=3.0)})
    found = claims(runs, [Entry(name="later", published=numbers, runs=(), planned=4)])
    assert [(each.outcome, each.remark) for each in found] == [("not run", "none of its 4 runs is done")] * 2


def test_an_experiment_may_have_no_claim_one_or_several():
    assert published({}) == published({"claim": None}) == ()
    assert [each.of for each in published({"claim": claim(dice=0.5)})] == ["all"]
    several = published({"claim": [claim("liver", dice=0.9, deviations={"dice": 0.1}), claim("tumour", dice=0.5)]})
    assert [(each.of, each.value) for each in several] == [("liver", 0.9), ("tumour", 0.5)]
    assert several[0].deviation == 0.1
    assert math.isnan(several[1].deviation)


@pytest.mark.parametrize(("data", "other"), [("Study", False), ("study, 100 patients", False), ("ACDC", True)])
def test_other_data_are_told_by_their_names(runs, data, other):
    assert otherwise(runs, judged(runs, claim(data=data, dice=0.5))) is other


# --- the page


def with_claim(record, given):
    experiment = json.loads((record.folder / "experiment.yaml").read_text())
    (record.folder / "experiment.yaml").write_text(json.dumps(experiment | {"claim": given}))
    return read_run(record.folder)


def test_runs_with_a_claim_have_the_table(runs, tmp_path):
    records = [with_claim(run, claim(data="ACDC", dice=0.1234, deviations={"dice": 0.05})) for run in runs]
    (entry,) = entries(records)
    assert (entry.name, entry.runs) == ("boundary", (0, 1))
    structure = parsed(report([run.folder for run in records], tmp_path / "report.html"))
    assert "claims" in structure.ids
    assert "0.1234 ± 0.050" in structure.text
    assert "Measured on Study; published on ACDC." in structure.text
    assert "neither confirms nor refutes" in structure.text
    assert "not reproduced" in structure.text


def test_runs_without_a_claim_have_none(runs, tmp_path):
    assert "claims" not in page(runs, tmp_path / "report.html").ids


def part(name, state, told="", seed=0, fold=0, folder=Path("nowhere")):
    return Part(name=name, seed=seed, fold=fold, folder=folder, state=state, told=told)


def test_a_study_with_nothing_done_has_a_page(tmp_path):
    rows = (
        StudyRow(
            name="dice",
            published=published({"claim": claim(data="ACDC", dice=0.9)}),
            parts=(part("dice seed 0", "at work", "step 3 of 9"), part("dice seed 1", "not run", seed=1)),
        ),
        StudyRow(name="other", published=(), parts=(part("other", "failed", "no memory"),)),
    )
    structure = page([], tmp_path / "report.html", (), (), (), Study(name="Which one", rows=rows))
    assert "Which one" in structure.text
    assert "0 of 2" in structure.text
    assert "1 at work, 1 not run" in structure.text
    assert "dice seed 0 at work: step 3 of 9" in structure.text
    assert "other failed: no memory" in structure.text
    assert "none of its 2 runs is done" in structure.text
    assert "Nothing is measured yet. Published on ACDC." in structure.text
    assert {link[1:] for link in structure.links if link.startswith("#")} <= set(structure.ids)


def test_rows_of_a_study_count_whole_seeds_and_folds():
    states = {(0, 0): "done", (0, 1): "done", (1, 0): "done", (1, 1): "stopped"}
    parts = tuple(part(f"{seed} {fold}", state, seed=seed, fold=fold) for (seed, fold), state in states.items())
    row = StudyRow(name="dice", published=(), parts=parts)
    assert (row.done, row.seeds, row.folds, row.rest) == (3, (1, 2), (1, 2), "1 stopped")


def test_what_a_claim_and_a_study_say_is_shown_as_text(runs, tmp_path):
    given = claim(EVIL, data=EVIL, source=EVIL, dice=0.5)
    rows = (
        StudyRow(name=EVIL, published=published({"claim": given}), parts=(part(EVIL, "failed", EVIL),)),
        StudyRow(
            name="here",
            published=published({"claim": given}),
            parts=tuple(part("x", "done", folder=run.folder) for run in runs),
        ),
    )
    structure = page(runs, tmp_path / "report.html", (), (), (), Study(name=EVIL, rows=rows))
    assert not [tag for tag, attributes in structure.tags if tag == "img" or "onerror" in attributes]
    assert structure.text.count(EVIL) > 8
    assert f"no class is called {EVIL}" in structure.text


def test_the_line_for_a_terminal_says_all_of_it(runs):
    (found,) = judged(runs, claim("tumour", dice=0.1234, deviations={"dice": 0.05}))
    low, high = found.interval
    assert found.line == (
        f"claim: row Dice tumour: published 0.1234 ± 0.050, ours {found.ours:.3f} [{low:.3f}, {high:.3f}]: "
        f"not reproduced ({found.ours - 0.1234:.3f} higher)"
    )
