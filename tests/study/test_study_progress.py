"""The progress of a study is read from journals as they are: cut off, with notes at their ends, or not there yet."""

import json

import pytest

from edgewise.experiment import Experiment, Training
from edgewise.study import watch
from edgewise.study.file import Row, Study
from edgewise.study.folder import StudyFolder
from edgewise.study.watch import standing, watched

TRAINED = {"event": "train", "step": 50, "seconds": 1.0, "loss": 0.5, "rate": 0.1}
NOTE = {"event": "note", "text": "resumed at step 40"}


@pytest.fixture
def study():
    rows = [Experiment(name=name, training=Training(steps=100, clip=clip)) for name, clip in (("a", 1.0), ("b", 2.0))]
    return Study(name="s", rows=tuple(Row(name=each.name, experiment=each) for each in rows))


@pytest.fixture
def folder(tmp_path):
    return StudyFolder(path=tmp_path / "out")


def write(folder, part, *lines, end="\n"):
    journal = folder.run(part).journal
    journal.parent.mkdir(parents=True, exist_ok=True)
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    journal.write_text("\n".join(texts) + end, encoding="utf-8")


@pytest.mark.parametrize(
    ("lines", "step"),
    [
        ([], 0),
        ([{"event": "units", "units": {}}], 0),
        ([TRAINED], 50),
        ([{**TRAINED, "step": 40}, TRAINED], 50),
        ([TRAINED, NOTE, NOTE], 50),
        ([TRAINED, {"event": "failure", "case": "c", "text": "t"}], 50),
        ([TRAINED, '{"event": "train", "step": 6'], 50),
        ([TRAINED, '{"event": "train", "step": 60, "seconds": 2.0'], 50),
        ([TRAINED, "", "\x00\x00\x00"], 50),
        ([TRAINED, "[1, 2]", "3", '{"step": null}', '{"step": "x"}'], 50),
        ([TRAINED, *[{**NOTE, "text": "n" * 40}] * 3], 50),
    ],
)
@pytest.mark.parametrize("end", ["\n", ""])
def test_a_part_stands_at_the_last_step_that_its_journal_tells_whole(study, folder, lines, step, end):
    part = study.parts[0]
    write(folder, part, *lines, end=end)
    found = standing(folder, part)
    assert (found.step, found.steps, found.done) == (step, 100, False)


def test_notes_longer_than_the_tail_that_is_read_hide_no_step_for_good(study, folder):
    part = study.parts[0]
    write(folder, part, TRAINED, *[{**NOTE, "text": "n" * 100}] * 200)
    assert standing(folder, part).step == 50


def test_a_part_without_a_journal_has_not_begun(study, folder):
    assert standing(folder, study.parts[0]).step == 0


def test_bytes_that_are_no_text_hide_nothing(study, folder):
    part = study.parts[0]
    write(folder, part, TRAINED)
    with folder.run(part).journal.open("ab") as file:
        file.write(b'\xff\xfe{"event"')
    assert standing(folder, part).step == 50


def test_a_part_is_done_when_its_curves_are_there_however_early_it_ended(study, folder):
    part = study.parts[0]
    write(folder, part, TRAINED, {"event": "end", "step": 50})
    folder.run(part).curves.write_bytes(b"")
    found = standing(folder, part)
    assert (found.step, found.done) == (100, True)


@pytest.fixture
def clock(monkeypatch):
    """The time, which passes when told to."""
    now = [1000.0]
    monkeypatch.setattr(watch.time, "monotonic", lambda: now[0])

    def passes(seconds):
        now[0] += seconds

    return passes


def test_progress_tells_parts_steps_and_the_time_left_by_what_was_gained_since_the_start(study, folder, clock, capsys):
    first, second = study.parts
    write(folder, first, {**TRAINED, "step": 40})
    with watched(study, folder) as look:
        clock(60)
        write(folder, first, {**TRAINED, "step": 60})
        look()
        clock(60)
        write(folder, second, {**TRAINED, "step": 20})
        look()
        clock(60)
        write(folder, first, {**TRAINED, "step": 100})
        write(folder, second, {**TRAINED, "step": 90})
        look()
    lines = capsys.readouterr().err.splitlines()
    assert lines[:3] == [
        "study 60/200 after 60 s: 0 of 2 parts done; a 60/100; about 7 min left",
        "study 80/200 after 120 s: 0 of 2 parts done; a 60/100, b 20/100; about 6 min left",
        "study 190/200 after 180 s: 0 of 2 parts done; a evaluating, b 90/100; about 12 s left",
    ]


def test_a_study_whose_parts_are_all_done_says_so_once(study, folder, clock, capsys):
    for part in study.parts:
        write(folder, part, TRAINED)
        folder.run(part).curves.write_bytes(b"")
    with watched(study, folder) as look:
        clock(60)
        look()
    assert capsys.readouterr().err.splitlines()[-1] == "study 200/200 after 60 s: 2 of 2 parts done"


def test_a_study_with_parts_that_failed_does_not_say_that_it_came_to_its_end(study, folder, clock, capsys):
    write(folder, study.parts[0], TRAINED)
    with watched(study, folder) as look:
        clock(60)
        look()
        clock(60)
    assert [line.split()[:2] for line in capsys.readouterr().err.splitlines()] == [
        ["study", "50/200"],
        ["study", "50/200"],
    ]


def test_looks_that_follow_fast_cost_nothing(study, folder, monkeypatch):
    looked = []

    def stands(folder, part):
        looked.append(folder)
        return watch.Standing(part=part, step=0, done=False)

    monkeypatch.setattr(watch, "standing", stands)
    with watched(study, folder) as look:
        for _ in range(100):
            look()
    assert len(looked) <= 3 * len(study.parts)
