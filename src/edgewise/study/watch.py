"""The progress of a study over its parts, read from their journals."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgewise.console import on_terminal, progress
from edgewise.study.file import Part, Study
from edgewise.study.folder import StudyFolder

EVERY = 2.0
"""Seconds between two looks."""
TAIL = 4096
"""Bytes at the end of a journal that hold its last records, unless many notes follow."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How far a part has come."""

    part: Part
    step: int
    done: bool

    @property
    def steps(self) -> int:
        """Training steps in all."""
        return self.part.experiment.training.steps


@contextmanager
def watched(study: Study, folder: StudyFolder) -> Iterator[Callable[[], None]]:
    """Show the progress of a study; the block calls what it is given, as often as it likes."""
    with progress("study") as report:
        looked, before = [0.0], [standing(folder, part) for part in study.parts]
        begun, gone = time.monotonic(), sum(each.step for each in before)

        def watch() -> None:
            if time.monotonic() - looked[0] < EVERY:
                return
            looked[0] = time.monotonic()
            now = [standing(folder, part) for part in study.parts]
            done, whole = sum(each.step for each in now), sum(each.steps for each in now)
            left = _left(time.monotonic() - begun, done - gone, whole - done)
            # The last step is not the end: parts are evaluated after it.
            report(min(done, whole - 1), whole, _told(now) if on_terminal() else f"{_told(now)}{left}")

        yield watch
        now = [standing(folder, part) for part in study.parts]
        report(sum(each.step for each in now), sum(each.steps for each in now), _told(now))


def standing(folder: StudyFolder, part: Part) -> Standing:
    """How far a part has come, by the last line of its journal."""
    run = folder.run(part)
    if run.curves.exists():
        return Standing(part=part, step=part.experiment.training.steps, done=True)
    return Standing(part=part, step=_step(run.journal), done=False)


def _step(journal: Path) -> int:
    """The last step that a journal speaks of."""
    try:
        with journal.open("rb") as file:
            size, tail = file.seek(0, os.SEEK_END), TAIL
            while True:
                file.seek(max(size - tail, 0))
                found = _last_step(file.read())
                if found or tail >= size:
                    return found
                tail *= 8  # an evaluation has left many notes
    except OSError:
        return 0


def _last_step(lines: bytes) -> int:
    for line in reversed(lines.splitlines()):
        try:
            return int(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError):  # a note, or a line that is cut off
            continue
    return 0


def _told(now: list[Standing]) -> str:
    done = sum(each.done for each in now)
    at_work = [_place(each) for each in now if not each.done and each.step]
    named = f"; {', '.join(at_work[:3])}{', ...' if len(at_work) > 3 else ''}" if at_work else ""
    return f"{done} of {len(now)} parts done{named}"


def _place(each: Standing) -> str:
    return f"{each.part.experiment.name} {f'{each.step}/{each.steps}' if each.step < each.steps else 'evaluating'}"


def _left(seconds: float, gained: int, missing: int) -> str:
    if not gained or not missing:
        return ""
    left = seconds * missing / gained
    if left < 90:
        return f"; about {left:.0f} s left"
    return f"; about {left / 60:.0f} min left" if left < 5400 else f"; about {left / 3600:.1f} h left"
