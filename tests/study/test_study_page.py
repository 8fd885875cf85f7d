"""The page of a study: while it is at work, and after it; and what its command prints at the end."""

from made_up_study import begin, finish, write

from edgewise.study.report import concluded, is_study, report


def parts_of(study, row):
    return [part for part in study.parts if part.row == row]


def test_a_study_of_which_nothing_has_begun_has_a_page(tmp_path, edgewise):
    _, folder = write(tmp_path / "study")
    call = edgewise("report", folder.path)
    assert (call.code, call.out.strip()) == (0, str(folder.report))
    text = folder.report.read_text()
    assert "Which loss" in text
    assert "4 not run" in text
    assert "none of its 4 runs is done" in text


def test_the_page_says_what_became_of_every_part(tmp_path):
    study, folder = write(tmp_path / "study")
    one, two, three, four = parts_of(study, "dice")
    finish(folder, one)
    begin(folder, two)
    begin(folder, three)
    folder.logs.mkdir()
    folder.log(three).write_text("training 1/9\nedgewise: there is no memory left.\nBuy some.\n")
    with folder.held_part(four.folder):
        text = report(folder.path, tmp_path / "page.html").read_text()
    assert "1 stopped, 1 failed, 1 at work" in text or "1 failed, 1 stopped, 1 at work" in text
    assert "stopped: step 7 of" in text
    assert "failed: there is no memory left. Buy some." in text
    assert "1 of 4 runs are done" in text
    assert not folder.report.exists()


def test_an_interruption_is_no_failure_and_a_traceback_is_one(tmp_path):
    study, folder = write(tmp_path / "study")
    one, two = parts_of(study, "dice")[:2]
    folder.logs.mkdir()
    for part, last in ((one, "edgewise: interrupted.\n"), (two, "Traceback (most recent call last):\nKeyError: 3\n")):
        begin(folder, part)
        folder.log(part).write_text(last)
    text = report(folder.path, "run").read_text()
    assert "1 stopped" in text
    assert "failed: KeyError: 3" in text
    assert str(tmp_path) not in text


def test_the_end_prints_the_comparison_and_then_what_was_published(tmp_path, capsys):
    study, folder = write(tmp_path / "study")
    for part in study.parts:
        finish(folder, part, 0.7 if part.row == "dice" else 0.8)
    assert concluded(study, folder) == {}
    out = capsys.readouterr().out
    assert out.startswith("dice_ce beats dice on Dice (tumour)")
    assert "10 cases, seeds 2 and 2" in out
    lines = [line for line in out.splitlines() if line.startswith("claim")]
    assert lines[0].startswith("claim: dice Dice: published 0.700, ours 0.7")
    assert lines[0].endswith(": reproduced")
    assert ": not reproduced (0." in lines[1]
    assert lines[2].startswith("claims: measured on Phantoms; published on ACDC; on other data")
    text = folder.report.read_text()
    assert "4 of 4" in text
    assert "Other data." in text


def test_one_row_alone_has_claims_and_no_comparison(tmp_path, capsys):
    study, folder = write(tmp_path / "study")
    for part in parts_of(study, "dice"):
        finish(folder, part)
    assert concluded(study, folder) == {}
    out = capsys.readouterr().out.strip().splitlines()
    assert [line.split(":")[0] for line in out] == ["claim", "claim", "claims"]


def test_a_broken_table_is_a_failure_and_no_traceback(tmp_path, capsys):
    study, folder = write(tmp_path / "study")
    for part in study.parts:
        finish(folder, part)
    folder.run(parts_of(study, "dice")[0]).metrics.write_text("a,b\n1,2\n")
    failures = concluded(study, folder)
    assert set(failures) == {"comparison"}
    assert "Traceback" not in capsys.readouterr().out


def test_nothing_done_is_nothing_to_conclude(tmp_path, capsys):
    study, folder = write(tmp_path / "study")
    begin(folder, study.parts[0])
    assert concluded(study, folder) == {}
    assert capsys.readouterr().out == ""


def test_runs_of_a_study_are_compared_by_its_folder_too(tmp_path, edgewise):
    study, folder = write(tmp_path / "study")
    for part in study.parts:
        finish(folder, part, 0.7 if part.row == "dice" else 0.8)
    assert is_study(folder.path)
    assert not is_study(folder.runs)
    (folder.runs / "study.yaml").write_text("rows: {}")
    assert not is_study(folder.runs), "somebody keeps a study file beside runs"
    call = edgewise("compare", folder.path)
    assert call.code == 0
    assert call.out == edgewise("compare", folder.runs).out
    assert "dice_ce beats dice on Dice (tumour)" in call.out
