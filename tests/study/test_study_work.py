"""What a study leaves behind, and what the same command does a second time."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
import yaml

from study.small_studies import ROWS, events, run, runs, settle_in, write_study, written

pytestmark = pytest.mark.timeout(1200)  # a dozen processes that each import torch, on whatever machine

DIVERGING = {"training": {"optimiser": {"kind": "sgd", "rate": 1e12}}}


def test_a_study_trains_every_row_with_every_seed_and_compares_the_rows(finished):
    place, call = finished.place, finished.call
    assert (call.code, call.complaints) == (0, [])
    assert {*runs(place)} == {(row, seed) for row in ROWS for seed in (0, 1)}
    for folder in runs(place).values():
        assert (folder / "curves.png").exists()
        assert [event["step"] for event in events(folder, "end")] == [20]
    assert "entropy" in (place.out / "report.html").read_text("utf-8")


def test_parts_whose_cases_are_loaded_by_a_process_of_their_own_come_to_their_end(finished):
    """A lock on `sys.stdin` would be copied, held, into that process, which would wait for it for ever."""
    for seed in (0, 1):
        plan = yaml.safe_load((runs(finished.place)["entropy", seed] / "experiment.yaml").read_text("utf-8"))["plan"]
        assert plan["workers"] == 1
        assert events(runs(finished.place)["entropy", seed], "end")


def test_its_folder_is_the_last_line_that_it_prints_after_the_comparison(finished):
    *comparison, folder = finished.call.out.splitlines()
    assert folder == str(finished.place.out)
    assert any("dice" in line and "entropy" in line for line in comparison)


def test_it_writes_down_all_that_was_decided(finished):
    out = finished.place.out
    study, place = yaml.safe_load((out / "study.yaml").read_text("utf-8")), json.loads((out / "place.json").read_text())
    assert list(study["rows"]) == list(ROWS)
    for row in study["rows"].values():
        assert row["plan"]["patch"] == [8, 16, 16]
        assert row["plan"]["stem"] in {1, 2}
    assert place["shortened"] == {"minutes": None, "factor": 1.0, "validations": 0}
    assert place["data"] == str(finished.place.data)


def test_cases_are_prepared_once_for_all_parts_before_the_first_begins(finished):
    prepared = [path for path in (finished.place.cache / "prepared").rglob("*") if path.is_file()]
    began = [path.stat().st_mtime_ns for path in (finished.place.out / "runs").glob(".*.lock")]
    assert len({path.parent for path in prepared}) == 6
    assert len(began) == 4
    assert max(path.stat().st_mtime_ns for path in prepared) < min(began)


def test_nothing_is_trained_a_second_time(place):
    before = written(place.out / "runs"), written(place.out / "logs")
    call = run(place)
    assert (call.code, call.complaints) == (0, ["4 of 4 parts are done already"])
    assert (written(place.out / "runs"), written(place.out / "logs")) == before
    assert call.out.splitlines()[-1] == str(place.out)


def test_only_what_is_new_is_trained_though_rows_have_new_names_and_parts_that_fail_are_named(place):
    """A row has another name, one more comes, and there is one seed instead of two; the new row diverges."""
    dice = runs(place)["dice", 0]
    before = written(dice)
    write_study(place, {"soft_dice": ROWS["dice"], "entropy": ROWS["entropy"], "wild": DIVERGING}, seeds=[0])
    call = run(place)
    assert call.code == 1
    assert call.complaints[0] == "2 of 3 parts are done already"
    said = [line for line in call.complaints if line.startswith("failed: wild: ")]
    assert said
    assert all("became" in line and "training.optimiser.rate" in line for line in said)
    assert len(call.complaints) == 1 + len(said)
    after = written(runs(place)["soft_dice", 0])
    assert {key: value for key, value in after.items() if key != "experiment.yaml"} == {
        key: value for key, value in before.items() if key != "experiment.yaml"
    }
    assert "soft_dice" in call.out


def test_data_that_changed_are_refused_and_nothing_is_lost(place, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(place.data, data)
    place.data = data
    label = data / "labelsTr" / "phantom_001.nii.gz"
    mask = nib.load(label)
    nib.save(nib.Nifti1Image(np.roll(np.asanyarray(mask.dataobj), 1, axis=0), mask.affine, mask.header), label)
    before = written(place.out)
    call = run(place)
    assert call.code == 2
    assert call.complaints == [
        f"edgewise: {data} is not the dataset that {place.out} began with: files were added, removed or changed. "
        "Restore them, or choose another --out."
    ]
    assert written(place.out) == before


def test_a_row_that_cannot_be_planned_is_refused_before_anything_is_trained(tmp_path):
    place = settle_in(tmp_path)
    write_study(place, {"good": {}, "bad": {"plan": {"patch": [8, 16, 15]}}})
    call = run(place)
    assert call.code == 2
    (line,) = call.complaints
    assert "plan.patch [8, 16, 15] is not divisible by the strides" in line
    assert not (place.out / "runs").exists()


def test_two_studies_do_not_work_in_one_folder_at_once(place):
    from edgewise.study.folder import StudyFolder

    with StudyFolder(path=place.out).held():
        call = run(place)
    assert call.code == 2
    assert call.complaints == [
        f"edgewise: another `edgewise study` works in {place.out}. Wait for it, or choose another --out."
    ]


def test_an_interruption_is_said_with_the_way_to_go_on(tmp_path, monkeypatch):
    from edgewise.study import work

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(work, "study", interrupted)
    place = settle_in(tmp_path)
    write_study(place, ROWS)
    call = run(place)
    assert call.code == 130
    (line,) = call.complaints
    assert line.startswith("edgewise: interrupted. Nothing is lost: a study goes on with the same command")


# --- --dry-run and minutes


def test_a_dry_run_lists_the_parts_and_their_sum_and_writes_nothing(place):
    write_study(place, {**ROWS, "sgd": {"training": {"optimiser": {"kind": "sgd"}}}}, seeds=[1])
    before = written(place.out)
    call = run(place, "--dry-run")
    assert call.code == 0
    assert written(place.out) == before
    lines = call.out.splitlines()
    assert [line.split()[:3] for line in lines[1:4]] == [
        ["dice", "done", "20"], ["entropy", "done", "20"], ["sgd", "waiting", "20"],
    ]  # fmt: skip
    assert lines[-1].startswith("3 parts, 2 done, 2 at a time: about ")
    assert "that are free" in lines[-1]


def test_a_dry_run_of_a_new_study_makes_no_folder(tmp_path):
    place = settle_in(tmp_path)
    write_study(place, ROWS, folds="all")
    call = run(place, "--dry-run")
    assert (call.code, place.out.exists()) == (0, False)
    assert call.out.splitlines()[-1].startswith("6 parts, 0 done, 2 at a time: about ")


def test_minutes_that_are_too_few_are_refused_with_how_many_suffice(tmp_path):
    place = settle_in(tmp_path)
    write_study(place, ROWS, minutes=0.1)
    call = run(place)
    assert call.code == 2
    assert "0.1 minutes are too few" in call.complaints[-1]
    assert not (place.out / "runs").exists()


@pytest.mark.slow
def test_a_study_of_a_few_minutes_cuts_all_parts_alike_and_keeps_that(tmp_path):
    place = settle_in(tmp_path)
    long = {"training": {"steps": 200_000, "validate_every": 5000, "report_every": 100}}
    write_study(place, {name: {**row, **long} for name, row in ROWS.items()}, minutes=3, seeds=[0])
    call = run(place)
    assert call.code == 0
    steps = {name: events(folder, "end")[0]["step"] for (name, _), folder in runs(place).items()}
    assert len({*steps.values()}) == 1
    cut = json.loads((place.out / "place.json").read_text("utf-8"))["shortened"]
    assert cut["minutes"] == 3
    assert steps["dice"] == int(200_000 * cut["factor"])
    before = written(place.out / "runs")
    assert run(place).code == 0
    assert written(place.out / "runs") == before
    assert json.loads((place.out / "place.json").read_text("utf-8"))["shortened"] == cut
