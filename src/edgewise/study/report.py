"""The page of a study, while it is at work and after it; and what its command prints at its end."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from edgewise.errors import EdgewiseError
from edgewise.experiment import dump
from edgewise.report import standing
from edgewise.report.claims import claims, elsewhere, otherwise, published
from edgewise.report.records import RunRecord
from edgewise.run.compare import Wanted, compare
from edgewise.run.report import page, read
from edgewise.study.file import Part, Row, Study, load
from edgewise.study.folder import StudyFolder, complaint
from edgewise.study.watch import standing as standing_of


def is_study(path: Path) -> bool:
    """Whether a folder is that of a study, rather than one that holds a study file."""
    folder = StudyFolder(path=path)
    return folder.study.is_file() and folder.place.is_file()


def report(path: Path, out: Path | Literal["run"]) -> Path:
    """Write the page of a study, of whose parts none need be done; return its path.

    Args:
        path: study folder.
        out: HTML file; `run` is `report.html` in the study folder.

    Raises:
        EdgewiseError: the study file or a run cannot be read.
    """
    folder = StudyFolder(path=path)
    target = folder.report if out == "run" else out
    _written(load(folder.study), folder, target)
    return target


def concluded(study: Study, folder: StudyFolder) -> dict[str, str]:
    """Write the page, then print the comparison and what was published, as far as there are results.

    Returns:
        Why there is no page or no comparison, as `comparison`; the runs are there all the same.
    """
    done = [part for part in study.parts if folder.state(part) == "done"]
    if not done:
        return {}
    failures, lines = {}, list[str]()
    try:
        told, records = _written(study, folder, folder.report)
        lines = _claimed(told, records)
        rows = {part.row for part in done}
        if len(rows) > 1:
            wanted = Wanted(output="brief" if len(rows) > 2 else "table")
            compare([folder.run(part).path for part in done], wanted)
    except EdgewiseError as error:
        failures["comparison"] = str(error)
    print("".join(f"{line}\n" for line in lines), end="")  # noqa: T201 - a result
    return failures


def _written(study: Study, folder: StudyFolder, target: Path) -> tuple[standing.Study, list[RunRecord]]:
    told = standing.Study(name=study.name, rows=tuple(_row(row, study, folder) for row in study.rows))
    done = [part.folder for row in told.rows for part in row.parts if part.state == "done"]
    records = read(done)
    page(records, target, told)
    return told, records


def _row(row: Row, study: Study, folder: StudyFolder) -> standing.StudyRow:
    parts = tuple(_part(part, folder) for part in study.parts if part.row == row.name)
    return standing.StudyRow(name=row.name, published=published(dump(row.experiment)), parts=parts)


def _part(part: Part, folder: StudyFolder) -> standing.Part:
    state, told = _state(part, folder)
    return standing.Part(
        name=part.experiment.name,
        seed=part.seed,
        fold=getattr(part.experiment.split, "fold", 0),
        folder=folder.run(part).path,
        state=state,
        told=told,
    )


def _state(part: Part, folder: StudyFolder) -> tuple[standing.State, str]:
    """What became of a part, and what there is to say of that."""
    state = folder.state(part)
    if state == "done":
        return "done", ""
    come = standing_of(folder, part)
    far = f"step {come.step} of {come.steps}" if come.step else ""
    if folder.at_work(part):
        return "at work", far
    wrong = complaint(folder.log(part))
    if wrong:
        return "failed", wrong
    return ("stopped", far) if state == "begun" else ("not run", "")


def _claimed(told: standing.Study, records: Sequence[RunRecord]) -> list[str]:
    """Plain lines on what was published."""
    found = claims(records, told.entries(records))
    here, there = elsewhere(records, found)
    caution = "; on other data a number is neither confirmed nor refuted" if otherwise(records, found) else ""
    data = [f"claims: measured on {here}; published on {there}{caution}"] if found else []
    return ["", *(claim.line for claim in found), *data] if found else []
