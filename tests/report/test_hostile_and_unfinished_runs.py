import csv
import json
import re

import pytest
from made_up_verdicts import verdict
from structure import page, parsed

from edgewise.errors import DataError, RunError
from edgewise.report.records import read_run
from edgewise.report.words import Metric
from edgewise.run.report import report

HD95 = Metric(name="hd95", title="HD95", unit="mm", better="lower")
EVIL = "<img src=x onerror=alert(1)>"


def test_what_a_user_wrote_is_shown_as_text(make_run, tmp_path):
    record = make_run(EVIL.replace("/", ""), case_name=EVIL + "{}", load=fail)
    structure = page([record], tmp_path / "report.html", [verdict(first=EVIL, class_name=EVIL)])
    assert not [tag for tag, given in structure.tags if tag == "img" or "onerror" in given]
    assert EVIL in structure.text


def test_an_unfinished_run_says_so(make_run, tmp_path):
    record = make_run("early")
    for name in ("metrics.csv", "summary.json", "plan.yaml", "environment.json"):
        (record.folder / name).unlink()
    journal = record.folder / "journal.jsonl"
    journal.write_text("\n".join(journal.read_text().splitlines()[:20]) + '\n{"event": "tra')
    structure = page([read_run(record.folder)], tmp_path / "report.html")
    assert "early is unfinished: its journal has no end; missing: plan.yaml, environment.json" in structure.text
    assert "There are no metrics yet." in structure.text
    assert "curves" in structure.ids


def test_a_run_that_has_only_begun_has_a_page(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "experiment.yaml").write_text("seed: 1\n")
    structure = page([read_run(tmp_path / "run")], tmp_path / "report.html")
    assert "run is unfinished" in structure.text


def test_a_finished_run_is_not_called_unfinished(make_run, tmp_path):
    record = make_run()
    assert record.finished
    assert "is unfinished" not in page([record], tmp_path / "report.html").text


def test_cases_without_metrics_are_failures(make_run, tmp_path):
    record = make_run()
    table = record.folder / "metrics.csv"
    table.write_text("".join(line for line in table.read_text().splitlines(True) if not line.startswith("phantom_003")))
    assert "phantom_003: no metrics" in page([read_run(record.folder)], tmp_path / "report.html").text


def test_no_absolute_path_reaches_the_page(make_study, tmp_path):
    records = make_study(cases=3, seeds=1)
    text = report([record.folder for record in records], tmp_path / "report.html").read_text()
    for private in ("anna", "Hospital", "/scratch", str(tmp_path)):
        assert private not in text


def test_everything_a_user_can_name_is_shown_as_text(make_study, tmp_path):
    records = make_study(cases=12, seeds=1, methods=("dice_ce", "boundary"))
    evil = [f"{EVIL}{{{{ 7*7 }}}}</script><svg onload=alert(2)>\"'{number}" for number in range(2)]
    for record, name in zip(records, evil, strict=True):
        rename(record.folder, name)
    path = report([record.folder for record in records], tmp_path / "report.html")
    structure = parsed(path)
    for tag, given in structure.tags:
        assert tag != "img"
        assert not [key for key in given if key.startswith("on")]
    assert structure.text.count(EVIL) > 20
    assert "49" not in re.findall(r"alert\(1\)>(\d+)", structure.text)
    assert [tag for tag, _ in structure.tags].count("script") == path.read_text().count("<script")
    labels = [given["aria-label"] for _, given in structure.tags if EVIL in (given.get("aria-label") or "")]
    assert labels, "names in labels are whole, too"


def rename(folder, name):
    """Put a hostile text wherever a user's text can stand in a run."""
    for file in ("metrics.csv", "lesions.csv"):
        with (folder / file).open(newline="") as table:
            lines = list(csv.DictReader(table))
        for line in lines:
            line["case"], line["class_name"] = f"{EVIL}{line['case']}", f"{EVIL}{line['class_name']}"
        with (folder / file).open("w", newline="") as table:
            writer = csv.DictWriter(table, list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)
    edits = {
        "experiment.yaml": {"name": name, "loss": {"kind": name, name: name}},
        "dataset.json": {"name": name, "classes": ["background", EVIL, name], "channels": [name], "digest": name},
        "environment.json": {"command": name, "cpu": name, "packages": {name: name}, name: name},
        "plan.yaml": {name: {"value": name, "reason": name}},
    }
    for file, changes in edits.items():
        tree = json.loads((folder / file).read_text()) | changes
        (folder / file).write_text(json.dumps(tree))
    summary = json.loads((folder / "summary.json").read_text())
    summary["policy"] = f"worst: {name}"
    summary["definitions"]["dice"] |= {"definition": EVIL, "set": EVIL, EVIL: EVIL}
    (folder / "summary.json").write_text(json.dumps(summary))
    with (folder / "journal.jsonl").open("a") as journal:
        for event in ({"event": "failure", "case": name, "text": name}, {"event": "note", "text": name}):
            journal.write(json.dumps(event) + "\n")


@pytest.mark.parametrize("gone", ["definitions", "summary.json", "dice", "everything but the journal"])
def test_a_run_that_lacks_what_newer_ones_write_has_a_page(make_study, tmp_path, gone):
    folder = make_study(cases=4, seeds=1, methods=("dice_ce",))[0].folder
    if gone == "definitions":
        summary = json.loads((folder / "summary.json").read_text())
        del summary["definitions"], summary["classes"], summary["mean_dice"]
        (folder / "summary.json").write_text(json.dumps(summary))
    elif gone == "summary.json":
        (folder / "summary.json").unlink()
    elif gone == "dice":
        with (folder / "metrics.csv").open(newline="") as table:
            lines = list(csv.DictReader(table))
        kept = ("case", "class", "masd", "voe")
        text = [",".join(kept), *(",".join(line[name] for name in kept) for line in lines)]
        (folder / "metrics.csv").write_text("\n".join(text))
    else:
        for file in folder.iterdir():
            if file.name != "journal.jsonl":
                file.unlink()
    structure = page([read_run(folder)], tmp_path / "report.html")
    assert "Learning curves" in structure.text
    assert ("There are no metrics yet" in structure.text) == (gone in {"dice", "everything but the journal"})


def test_an_older_run_is_shown_beside_newer_ones_and_not_compared(make_study, make_run, tmp_path):
    newer = [record.folder for record in make_study(cases=4, seeds=1, methods=("dice_ce", "boundary"))]
    old = make_run("old").folder
    structure = parsed(report([*newer, old], tmp_path / "report.html"))
    assert "Every metric, old against the other runs: not a table of metrics" in structure.text
    assert "dice_ce_s0" in structure.text
    assert "boundary_s0 and dice_ce_s0" in structure.text or "dice_ce_s0 and boundary_s0" in structure.text
    assert "Not compared" not in parsed(report([old], tmp_path / "alone.html")).text


def test_a_broken_table_of_lesions_is_named(make_study):
    folder = make_study(cases=2, seeds=1, methods=("dice_ce",))[0].folder
    (folder / "lesions.csv").write_text("case,class\na,1\n")
    with pytest.raises(RunError, match=r"lesions\.csv"):
        read_run(folder)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="is no run folder"):
        read_run(tmp_path)
    with pytest.raises(RunError, match="is no run folder"):
        read_run(tmp_path / "absent")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("summary.json", "{"),
        ("plan.yaml", "- a\n- b\n"),
        ("experiment.yaml", "a: [1"),
        ("metrics.csv", "case,class,dice\na,liver,0.5\n"),
        ("journal.jsonl", '{"event": "train"\n{"event": "end"}\n'),
        ("journal.jsonl", '{"event": "train", "step": 3}\n'),
    ],
)
def test_a_broken_file_is_named(make_run, name, text):
    record = make_run()
    (record.folder / name).write_text(text)
    with pytest.raises(RunError, match=name):
        read_run(record.folder)


def fail(case):
    raise DataError(f"{case} cannot be read")
