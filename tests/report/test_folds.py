"""Runs that differ in fold and seed are one method, whose cases are those of all its folds."""

from dataclasses import replace

import pytest
from folded_runs import read, write_folds
from structure import page, parsed

from edgewise.compare.runs import compared, scores_of
from edgewise.report.methods import extent, gaps, methods
from edgewise.report.tables import ranked, rows
from edgewise.report.words import Metric
from edgewise.run.report import grouped, report

DICE = Metric(name="dice", title="Dice", unit="", better="higher")


@pytest.fixture
def whole(make_study):
    """Two methods with two seeds each."""
    return make_study(cases=9, methods=("dice_ce", "region_wise"))


@pytest.fixture
def folded(whole, tmp_path):
    """The same in two folds."""
    return read(folder for run in whole for folder in write_folds(tmp_path / "folds", run.folder))


def renamed(record, name, **split):
    experiment = record.experiment | {"name": name, "split": record.experiment.get("split", {}) | split}
    return replace(record, name=name, experiment=experiment)


def test_folds_and_seeds_are_one_method_called_by_its_row(folded):
    assert [(method.name, len(method.runs)) for method in methods(folded)] == [("dice_ce", 4), ("region_wise", 4)]
    assert extent(folded, methods(folded)[0]) == "2 folds, 2 seeds"


def test_pooled_folds_give_the_numbers_of_the_whole_run(whole, folded):
    ours, theirs = grouped(folded)[0], grouped(whole)[0]
    for one, other in zip(ours, theirs, strict=True):
        for column in ("dice", "hd95"):
            assert scores_of(one, 2, column) == scores_of(other, 2, column)
    for one, other in zip(compared(ours).verdicts, compared(theirs).verdicts, strict=True):
        assert one.result == other.result
        assert one.left_out == 0
    pooled = [row for row in rows(folded, DICE) if not row.seed]
    known = [row for row in rows(whole, DICE) if not row.seed]
    assert [row.name for row in pooled[:2]] == ["dice_ce, 2 folds, 2 seeds", "region_wise, 2 folds, 2 seeds"]
    for one, other in zip(pooled, known, strict=True):
        assert (one.cases, one.mean, one.interval, one.median) == (
            other.cases,
            other.mean,
            other.interval,
            other.median,
        )


def test_every_case_of_every_fold_may_be_shown(folded):
    assert len(ranked(folded)) == 9


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("dice fold 0", "dice fold 1"), "dice"),
        (("dice ce fold 0", "dice ce fold 1"), "dice ce"),
        (("dice_f1 fold 0", "dice_f1 fold 1"), "dice_f1"),
        (("net_fold0", "net_fold1"), "net"),
        (("same", "same"), "same"),
        (("left", "right"), "left"),
    ],
)
def test_a_method_is_called_by_what_its_runs_share(folded, names, expected):
    records = [renamed(record, name) for record, name in zip(folded[:2], names, strict=True)]
    assert [method.name for method in methods(records)] == [expected]


def test_a_number_in_a_rows_name_is_no_seed(folded):
    names = ("net 1 fold 0", "net 1 fold 1", "net 1 fold 0", "net 1 fold 1")
    seeds = [f"{name} seed {run.experiment['seed']}" for name, run in zip(names, folded, strict=False)]
    for told in (names, seeds):
        records = [renamed(record, name) for record, name in zip(folded, told, strict=False)]
        assert [method.name for method in methods(records)] == ["net 1"]


def test_methods_of_one_name_are_told_apart(folded):
    records = [renamed(record, "run") for record in folded]
    names = [method.name for method in methods(records)]
    assert len(set(names)) == 2


def test_a_fold_that_is_there_twice_is_another_method(folded):
    three = [folded[0], folded[1], folded[0], folded[0]]
    assert [method.runs for method in methods(three)] == [(0, 1), (2,), (3,)]


def test_folds_of_other_data_are_another_method(folded):
    other = replace(folded[1], dataset=folded[1].dataset | {"digest": "other"})
    assert [method.runs for method in methods([folded[0], other])] == [(0,), (1,)]


def test_fixed_splits_are_told_by_their_seeds_alone(whole):
    fixed = [
        replace(run, experiment=run.experiment | {"split": {"kind": "fixed", "validation": ["case_001"]}})
        for run in whole
    ]
    assert [method.name for method in methods(fixed)] == ["dice_ce", "region_wise"]
    assert list(gaps(fixed)) == []


def test_a_fold_that_one_seed_lacks_is_said_and_left_out_everywhere(folded, tmp_path):
    runs = [record for number, record in enumerate(folded) if number != 3]
    assert list(gaps(runs)) == ["dice_ce: fold 1 of seed 1 is not there; only the cases that all its seeds have count"]
    verdict = compared(grouped(runs)[0]).verdicts[0]
    assert (verdict.result.cases, verdict.left_out) == (5, 4)
    path = report([run.folder for run in runs], tmp_path / "report.html")
    assert "dice_ce: fold 1 of seed 1 is not there" in parsed(path).text


def test_the_command_compares_pooled_folds(folded, edgewise):
    call = edgewise("compare", folded[0].folder.parent)
    assert call.code == 0
    assert "region_wise against dice_ce" in call.out or "dice_ce against region_wise" in call.out
    assert "9 cases, seeds 2 and 2" in call.out
    alone = edgewise("compare", *(run.folder for run in folded[:4]))
    assert alone.code == 2
    assert "all 4 runs are one method, dice_ce: their experiments differ in name, seed and fold only" in alone.err


def test_the_page_names_methods_and_their_extent(folded, tmp_path):
    structure = page(folded, tmp_path / "report.html")
    assert "dice_ce against region_wise" in structure.text
    assert "dice_ce, 2 folds, 2 seeds" in structure.text
