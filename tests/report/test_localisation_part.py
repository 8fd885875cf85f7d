"""What the report says of how well objects were located."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from located_runs import false_row, located_run, row

from edgewise.errors import RunError
from edgewise.metrics.located_table import located_summary, located_to_csv
from edgewise.report import explained
from edgewise.report.journal import Journal
from edgewise.report.localisation import ALL, MOST, chosen, contradictions, lines, lists, percent, place
from edgewise.report.records import RunRecord, read_run


def test_every_run_and_kind_has_a_line_and_several_kinds_one_for_all():
    rows = (row(), row(kind="tumour", iou=0.3, contained=0.5), row(kind="tumour", iou=0.0), false_row())
    runs = [record_of(*rows), record_of(), record_of(row(iou=0.6))]
    found = lines(runs)
    assert [(line.kind, line.run) for line in found] == [(ALL, 0), (ALL, 2), ("liver", 0), ("liver", 2), ("tumour", 0)]
    first = found[0]
    assert (first.objects, first.missed, first.false_regions) == (3, 1, 1)
    assert first.mean_iou == pytest.approx((0.8 + 0.3 + 0.0) / 3)
    assert first.recall == pytest.approx(1 / 3)
    assert [line.kind for line in lines(runs[2:])] == ["liver"]


def test_only_false_regions_have_numbers_too():
    (line,) = lines([record_of(false_row())])
    assert (line.objects, line.false_regions) == (0, 1)
    assert math.isnan(line.mean_iou)


def test_what_was_missed_cut_or_made_up_is_listed_the_worst_first():
    rows = (
        row(case="small", iou=0.0, contained=0.0, size=2.0),
        row(case="large", iou=0.0, contained=0.25, size=6.0),
        row(case="half", iou=0.6, contained=0.5),
        row(case="third", iou=0.6, contained=1 / 3),
        row(case="whole", iou=0.6, contained=0.95),
        false_row(case="doubt", score=0.1),
        false_row(case="sure", score=0.99),
    )
    missed, cut, false = lists(record_of(*rows))
    assert missed.title == "Missed"
    assert missed.entries == (
        "large, sagittal slice 10, liver, 6 × 6 voxels: 25 % of it in other regions",
        "small, sagittal slice 10, liver, 2 × 2 voxels",
    )
    assert [text.split(",")[0] for text in cut.entries] == ["third", "half"]
    assert "33 % inside" in cut.entries[0]
    assert [text.split(",")[0] for text in false.entries] == ["sure", "doubt"]


@given(st.integers(1, 3 * MOST))
def test_a_long_list_is_cut_and_says_how_much_is_left(count):
    record = record_of(*(row(case=f"c{number}", iou=0.0) for number in range(count)))
    (missed,) = lists(record)
    assert len(missed.entries) == min(count, MOST)
    assert missed.count == count


def record_of(*rows):
    """A record of which only the located rows matter."""
    return RunRecord(
        name="run",
        folder=Path("run"),
        experiment={},
        experiment_text="",
        plan=(),
        dataset={},
        environment={},
        journal=Journal(),
        scores=(),
        summary={},
        missing=(),
        located=rows,
    )


@given(st.floats(0, 1 - 1e-5))
def test_only_all_of_an_object_is_100_percent(share):
    assert percent(1.0) == "100 %"
    assert 100 * share - 1 < int(percent(share).removesuffix(" %")) < 100


def test_a_slice_is_named_by_the_plan_and_else_by_the_flat_side_of_the_box(make_run):
    box = (3.5, 7.5, 11.5, 4.5, 12.5, 12.5)
    flat = replace(row(), object=box)
    assert place(record_of(flat), flat) == "sagittal slice 4"
    assert place(located_run(make_run), flat) == "axial slice 12"
    volume = replace(flat, slice=-1)
    assert place(record_of(volume), volume) == "voxel 4, 10, 12"


@given(st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.9]), min_size=3, max_size=9))
def test_the_worst_the_median_and_the_best_are_shown(shares):
    rows = [row(case=str(number), iou=share) for number, share in enumerate(shares)]
    found = chosen(rows)
    assert [title for title, _ in found] == ["Worst", "Median", "Best"]
    ordered = sorted(shares)
    assert [each.iou for _, each in found] == [ordered[0], ordered[(len(shares) - 1) // 2], ordered[-1]]
    assert len({each.case for _, each in found}) == 3


def test_few_objects_are_shown_once_each():
    assert chosen([]) == []
    assert [title for title, _ in chosen([row()])] == ["The only object"]
    assert [title for title, _ in chosen([row(iou=0.9), row(iou=0.1)])] == ["Worst", "Best"]
    (title, shown), *others = chosen([false_row(score=0.2), false_row(score=0.8)])
    assert (title, shown.score, others) == ("False region", 0.8, [])


def test_of_two_missed_objects_the_larger_one_is_the_worst():
    rows = [row(case="small", iou=0.0, size=2.0), row(case="large", iou=0.0, size=9.0), row(iou=0.5)]
    assert chosen(rows)[0][1].case == "large"


def test_runs_that_count_other_objects_are_told():
    slices = replace(record_of(row(index=3), row(index=4), row(case="own", index=1)), name="slices")
    volumes = replace(record_of(row(index=-1)), name="volumes")
    again = replace(record_of(row(index=3, iou=0.1), row(index=4, iou=0.0), false_row()), name="again")
    assert contradictions([slices, volumes, again]) == ["slices and volumes", "volumes and again"]


def test_every_number_of_the_table_is_defined():
    names = {each.metric.name for each in explained.located([record_of(row())])}
    assert names == set(located_summary([row()])) - {"objects"}
    assert explained.located([record_of()]) == ()


def test_the_table_is_read_with_the_run_and_an_older_run_has_none(make_run):
    assert located_run(make_run).located
    assert make_run("old").located == ()


@pytest.mark.parametrize(
    "text",
    [
        "case,kind\na,liver\n",
        located_to_csv([row()]).replace("8.0", "nan", 1),
        located_to_csv([row()]).replace("8.0", "", 1),
        located_to_csv([row()]).replace("0.8", "much", 1),
        "\udc80",
    ],
    ids=["columns", "no number", "half a box", "a word", "no text"],
)
def test_a_broken_table_is_named_with_how_to_mend_it(make_run, text):
    folder = located_run(make_run).folder
    (folder / "localisation.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(RunError, match=re.escape("localisation.csv cannot be understood")) as error:
        read_run(folder)
    assert "--resume" in str(error.value)
