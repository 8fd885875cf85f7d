"""The verb `compare`: run folders, seeds and tables in; the verdict in words, numbers and JSON out."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import yaml

from edgewise.metrics.cases import Row, summarise, to_csv
from edgewise.metrics.presets import named

DEFAULT = named("default").only("dice", "hd95", "nsd", "rvd", "volume")


def rows_of(dice):
    """A table of one class from its Dice values."""
    return [
        Row(
            case=f"patient{i:03}_frame01", class_index=1, class_name="tumour", reference_ml=9.0, prediction_ml=9.0,
            reference_voxels=100, prediction_voxels=100, shared_voxels=90, empty="", diagonal_mm=300.0,
            values={"dice": value, "hd95": 20 * (1 - value), "nsd": value, "rvd": 0.1 - value / 9, "volume": 9.0},
        )
        for i, value in enumerate(map(float, dice))
    ]  # fmt: skip


def write_run(folder, rows, loss, seed=0, definitions=DEFAULT):
    folder.mkdir(parents=True)
    experiment = {
        "name": folder.name,
        "seed": seed,
        "loss": {"kind": loss},
        "split": {"kind": "folds", "group": "auto"},
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    (folder / "journal.jsonl").write_text('{"event": "end", "reason": "all steps done", "best_step": 1}\n')
    write_table(folder / "metrics.csv", rows, definitions)
    (folder / "metrics.json").rename(folder / "summary.json")
    return folder


def write_table(path, rows, definitions=DEFAULT):
    path.write_text(to_csv(rows))
    path.with_suffix(".json").write_text(json.dumps(summarise(rows, definitions) | {"failures": {}}))
    return path


@pytest.fixture
def values():
    """Dice of 40 patients: hard to the same degree for every method."""
    return np.random.default_rng(0).uniform(0.5, 0.8, 40)


def noisy(values, shift, seed, spread=0.02):
    return np.clip(values + shift + np.random.default_rng(seed).normal(0, spread, len(values)), 0, 1)


@pytest.fixture
def two(tmp_path, values):
    return [
        write_run(tmp_path / "dice_ce", rows_of(values), "dice"),
        write_run(tmp_path / "region_wise", rows_of(noisy(values, 0.05, 1)), "region_wise"),
    ]


# --- what it says


def test_the_verdict_comes_first_and_in_words(two, edgewise):
    call = edgewise("compare", *two)
    assert call.code == 0
    assert call.err == ""
    first = call.out.splitlines()[0]
    assert first.startswith("region_wise beats dice_ce on Dice (tumour) by 0.0")
    assert "p < 0.001, 40 cases" in first
    assert "dice_ce against region_wise" in call.out
    assert "0 ties" in call.out
    assert "corrected for 3 comparisons (Holm)" in call.out


def test_alike_runs_are_not_told_apart(tmp_path, values, edgewise):
    runs = [write_run(tmp_path / name, rows_of(noisy(values, 0, i)), name) for i, name in enumerate(("one", "other"))]
    assert edgewise("compare", *runs).out.startswith("No difference between the runs was found in 3 comparisons.")


def test_json_holds_everything_and_only_finite_numbers(two, edgewise):
    def refuse(name):
        raise AssertionError(name)

    found = json.loads(edgewise("compare", *two, "--json").out, parse_constant=refuse)
    assert [run["name"] for run in found["runs"]] == ["dice_ce", "region_wise"]
    dice = found["verdicts"][0]
    assert (dice["metric"], dice["winner"], dice["cases"], dice["better"]) == ("dice", "region_wise", 40, "higher")
    assert dice["interval"][0] < dice["difference"] < dice["interval"][1] < 0
    assert dice["p"] >= dice["uncorrected_p"] > 0
    assert (
        dice["sentence"] in edgewise("compare", *two, "--metrics", "dice,volume_difference,hd95").out
        or dice["sentence"]
    )
    assert {each["run"] for each in found["means"]} == {"dice_ce", "region_wise"}


def test_metrics_are_chosen_and_signed_errors_compared_by_size(two, edgewise):
    found = json.loads(edgewise("compare", *two, "--metrics", "rvd, dice", "--json").out)["verdicts"]
    assert [each["metric"] for each in found] == ["rvd", "dice"]
    assert found[0]["of_sizes"]


def test_tables_are_compared_by_their_file_names(tmp_path, values, edgewise):
    tables = [write_table(tmp_path / f"{name}.csv", rows_of(values + shift)) for name, shift in (("a", 0), ("b", 0.1))]
    call = edgewise("compare", *tables)
    assert call.code == 0
    assert call.out.startswith("b beats a on Dice (tumour) by 0.100")


def test_a_run_and_a_table_are_compared_too(two, tmp_path, edgewise):
    (tmp_path / "elsewhere.csv").write_text((two[0] / "metrics.csv").read_text())
    call = edgewise("compare", two[1], tmp_path / "elsewhere.csv")
    assert "region_wise beats elsewhere on Dice (tumour)" in call.out
    assert "no summary lies beside the table (elsewhere.json): default definitions are assumed" in call.out


def test_a_folder_of_runs_stands_for_its_runs(two, edgewise):
    assert edgewise("compare", two[0].parent).out == edgewise("compare", *two).out


# --- seeds, patients, ranks


def test_runs_that_differ_in_name_and_seed_are_one_method(tmp_path, values, edgewise):
    for seed in range(3):
        for loss, shift in (("dice", 0.0), ("region_wise", 0.05)):
            write_run(tmp_path / f"{loss}_seed{seed}", rows_of(noisy(values, shift, seed)), loss, seed)
    found = json.loads(edgewise("compare", tmp_path, "--json").out)
    assert [(run["name"], run["seeds"]) for run in found["runs"]] == [
        ("dice", ["0", "1", "2"]),
        ("region_wise", ["0", "1", "2"]),
    ]
    assert found["verdicts"][0]["seeds"] == [3, 3]
    assert not any("one seed" in note for note in found["notes"])


def test_seeds_of_one_method_alone_are_not_compared(tmp_path, values, edgewise):
    runs = [write_run(tmp_path / f"dice_seed{seed}", rows_of(noisy(values, 0, seed)), "dice", seed) for seed in (0, 1)]
    call = edgewise("compare", *runs)
    assert call.code == 2
    assert "all 2 runs are one method, dice" in call.err
    apart = edgewise("compare", *(run / "metrics.csv" for run in runs))
    assert apart.code == 0
    assert "dice_seed0 against dice_seed1" in apart.out
    assert "default definitions are assumed" not in apart.out


def test_the_patients_of_a_table_are_found_by_a_pattern(tmp_path, values, edgewise):
    rows = [rows_of(values + shift) for shift in (0, 0.1)]
    tables = [write_table(tmp_path / f"{n}.csv", r) for n, r in zip("ab", rows, strict=True)]
    groups = {
        pattern: json.loads(edgewise("compare", *tables, "--group", pattern, "--json").out)["verdicts"][0]["groups"]
        for pattern in ("auto", "none", r"patient(\d\d)")
    }
    assert groups == {"auto": 40, "none": 40, r"patient(\d\d)": 4}


def test_three_methods_are_ranked(two, tmp_path, values, edgewise):
    third = write_run(tmp_path / "boundary", rows_of(values - 0.1), "boundary")
    call = edgewise("compare", *two, third)
    assert "Ranks by mean dice of class 1 over 40 cases" in call.out
    assert "1. region_wise: mean rank 1.00; share of samples at rank 1: 100%" in call.out
    ranks = json.loads(edgewise("compare", *two, third, "--json").out)["ranks"]
    assert [run["name"] for run in ranks[0]["runs"]] == ["region_wise", "dice_ce", "boundary"]


# --- what a reader must know


def test_unequal_cases_missed_structures_and_failures_are_told(two, tmp_path, values, edgewise):
    rows = rows_of(values[:30])
    missed = {"dice": 0.0, "hd95": math.inf, "nsd": 0.0, "rvd": -1.0, "volume": 0.0}
    rows[3] = replace(rows[3], values=missed, prediction_voxels=0, empty="prediction")
    third = write_run(tmp_path / "third", rows, "third")
    summary = json.loads((third / "summary.json").read_text())
    (third / "summary.json").write_text(json.dumps(summary | {"failures": {"patient003_frame01": "no prediction"}}))
    out = edgewise("compare", two[0], third).out
    assert "share 30 cases; 10 were left out" in out
    assert "third: tumour was missed altogether in 1 of 30 cases" in out
    assert "third: patient003_frame01: no prediction" in out
    assert "diagonal of its image" in out


def test_other_definitions_are_refused_and_the_rest_is_compared(two, tmp_path, values, edgewise):
    strict = named("default", 1.0).only("dice", "hd95", "nsd", "rvd", "volume")
    third = write_run(tmp_path / "third", rows_of(values - 0.1), "third", definitions=strict)
    call = edgewise("compare", two[0], third)
    assert call.code == 0
    assert "not compared: nsd, dice_ce and third: the runs define it differently" in call.out
    assert "corrected for 2 comparisons" in call.out


# --- bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda two: two[:1], "one run alone cannot be compared"),
        (lambda two: [two[0], two[0].parent / "absent"], "absent: there is no such folder"),
        (lambda two: [two[0], two[0].parent / "absent.csv"], "absent.csv cannot be read"),
        (lambda two: [two[0], two[1] / "experiment.yaml"], "neither a run folder nor a table"),
        (lambda two: [*two, "--metrics", "hd59"], "none of the runs has a metric 'hd59'. Did you mean hd95?"),
        (lambda two: [*two, "--metrics", "volume"], "it has no better side"),
    ],
)
def test_wrong_arguments_are_one_clear_message(two, edgewise, change, message):
    call = edgewise("compare", *change(two))
    assert (call.code, call.out) == (2, "")
    assert message in call.err
    assert call.err.count("\n") == 1


def empty_folder(folder):
    (folder / "nothing").mkdir()
    return folder / "nothing"


def unfinished(folder):
    (folder / "region_wise" / "metrics.csv").unlink()
    return folder / "region_wise"


def without_columns(folder):
    (folder / "bad.csv").write_text("a,b\n1,2\n")
    return folder / "bad.csv"


def without_rows(folder):
    return write_table(folder / "bad.csv", [])


def without_metrics(folder):
    rows = [replace(each, values={}) for each in rows_of([0.5, 0.6])]
    (folder / "bad.csv").write_text(to_csv(rows))
    return folder / "bad.csv"


def with_nan(folder):
    rows = rows_of([0.5, 0.6])
    rows[1] = replace(rows[1], values={**rows[1].values, "dice": math.nan})
    return write_table(folder / "bad.csv", rows)


def with_a_case_twice(folder):
    return write_table(folder / "bad.csv", rows_of([0.5, 0.6]) + rows_of([0.5]))


def of_other_cases(folder):
    return write_table(folder / "bad.csv", [replace(each, case=f"x{each.case}") for each in rows_of([0.5, 0.6])])


def not_text(folder):
    (folder / "bad.csv").write_bytes(b"\xff\xfe\x00\x80")
    return folder / "bad.csv"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (empty_folder, "it is no run folder and holds none"),
        (unfinished, "has not finished: it has no metrics.csv"),
        (without_columns, "not a table of metrics"),
        (without_rows, "holds no cases"),
        (without_metrics, "holds no metrics"),
        (with_nan, "dice of case patient001_frame01, tumour is NaN though neither mask is empty"),
        (with_a_case_twice, "patient000_frame01, class 1 more than once"),
        (of_other_cases, "no case of this class in common"),
        (not_text, "cannot be read"),
    ],
)
def test_bad_input_is_one_clear_message(two, tmp_path, edgewise, bad, message):
    call = edgewise("compare", two[0], bad(tmp_path))
    assert (call.code, call.out) == (2, "")
    assert message in call.err
    assert call.err.count("\n") == 1


def test_a_pattern_that_finds_no_patient_is_wrong_input(tmp_path, edgewise):
    tables = [write_table(tmp_path / f"{name}.csv", rows_of([0.5, 0.6])) for name in "ab"]
    call = edgewise("compare", *tables, "--group", "(x+)")
    assert call.code == 2
    assert "finds no patient in case id" in call.err
