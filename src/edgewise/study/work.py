"""`edgewise study`: every part of a study, as far as it is not done yet; then the comparison and the report."""

import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgewise import __version__
from edgewise.console import say
from edgewise.data import layouts
from edgewise.engines.base import Outcome, Task
from edgewise.errors import StudyError
from edgewise.exits import SOME_FAILED
from edgewise.files import finite
from edgewise.run.fit import inspection_of, plan_of, prepared_for, split_of
from edgewise.study import settle
from edgewise.study.budget import Shortening, fitting
from edgewise.study.cost import Cost, Seconds, measured
from edgewise.study.file import Part, Study
from edgewise.study.folder import StudyFolder, last_words
from edgewise.study.forecast import show
from edgewise.study.report import concluded
from edgewise.study.settle import Ground
from edgewise.study.watch import watched


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """Where a study happens.

    Attributes:
        data: dataset folder.
        out: study folder.
        cache: prepared volumes, shared by all parts.
        command: how the study was started, for the record.
    """

    data: Path
    out: Path
    cache: Path
    command: str


def study(found: Study, place: Workplace) -> Mapping[str, str]:
    """Work on every part that is not done; then compare and report.

    Args:
        found: what to do.
        place: where.

    Returns:
        What failed, by part, or by part and case; the rest is done.

    Raises:
        EdgewiseError: the data, the folder or the engine cannot be used.
    """
    found.engine.require()
    folder = StudyFolder(path=place.out)
    with folder.held():
        begun = _Begun(found, folder, place)
        begun.settle()
        begun.prepare()
        failures = begun.work()
    return {**failures, **concluded(begun.study, begun.folder)}


def forecast(found: Study, place: Workplace) -> None:
    """Say which parts there are, how long they take and how much disk; nothing is trained, and `out` is left alone."""
    found.engine.require()
    begun = _Begun(found, StudyFolder(path=place.out), place)
    costs = begun.settle(measure=True)
    show(begun.study, begun.folder, costs, begun.slots)


class _Begun:
    """A study at work: its file, settled bit by bit, its folder and what it stands on."""

    def __init__(self, study: Study, folder: StudyFolder, place: Workplace) -> None:
        self.study, self.folder, self.place = study, folder, place
        self._started = time.monotonic()
        self._known = folder.read_place()
        dataset = layouts.detect(place.data)
        for warning in settle.required_splits(study, dataset):
            say(f"warning: {warning}")
        for row in study.rows:
            row.experiment.postprocessing.kept(dataset.classes)
        inspection = inspection_of(dataset)
        self._reading: Seconds = time.monotonic() - self._started
        self._require_data(inspection.fingerprint.digest)
        self.slots = study.engine.room(len(study.parts))
        threads = study.engine.threads(len(study.parts))
        self.ground = Ground(dataset=dataset, inspection=inspection, threads=threads)

    def settle(self, *, measure: bool = False) -> dict[str, Cost]:
        """Decide what is left to decide, once for all parts, and write it down.

        Args:
            measure: only say what it costs, by row, and write nothing.

        Returns:
            What a part of each row costs, where that was measured.
        """
        self.study, pins = settle.pinned(self.study, self.ground, self._known.get("pins", {}))
        cut, costs = self._shortening(measure=measure)
        self.study = settle.shortened(self.study, cut.factor, cut.validations)
        if not measure:
            self._write(pins, cut)
            self.folder.adopt(self.study.parts)
        return {
            row.name: replace(costs[row.name], steps=row.experiment.training.steps)
            for row in self.study.rows
            if row.name in costs
        }

    def prepare(self) -> None:
        """Prepare the cases once for all parts."""
        different = {settle.preparing(part): part for part in self.study.parts if self._open(part)}
        for part in different.values():
            plan = plan_of(part.experiment, self.ground.dataset, self.ground.inspection)
            split = split_of(part.experiment, self.ground.dataset)
            prepared_for(self.ground.dataset, self.ground.inspection, plan, split, self.place.cache)

    def work(self) -> dict[str, str]:
        """Run every part that is not done; what failed, by part."""
        tasks = [self._task(part) for part in self.study.parts if self._open(part)]
        done = len(self.study.parts) - len(tasks)
        if done:
            say(f"{done} of {len(self.study.parts)} parts are done already")
        parts = {part.folder: part for part in self.study.parts}
        failures: dict[str, str] = {}
        with watched(self.study, self.folder) as watch:
            for outcome in self.study.engine.outcomes(tasks, watch):
                part = parts[outcome.name]
                reason = self._failure(part, outcome)
                if reason:
                    failures[part.experiment.name] = reason
                    say(f"failed: {part.experiment.name}: {reason}")
        return failures

    def _open(self, part: Part) -> bool:
        return self.folder.state(part) != "done"

    def _require_data(self, digest: str) -> None:
        if self._known.get("digest", digest) != digest:
            raise StudyError(
                f"{self.place.data} is not the dataset that {self.folder.path} began with: files were added, removed "
                "or changed. Restore them, or choose another --out."
            )
        self._digest = digest

    def _shortening(self, *, measure: bool) -> tuple[Shortening, dict[str, Cost]]:
        known, minutes = self._known.get("shortened", {}), self.study.minutes
        if known.get("minutes") == finite(minutes) and known and not measure:
            return Shortening(factor=known["factor"], validations=known["validations"]), {}
        if minutes == float("inf") and not measure:
            return Shortening(), {}
        costs = {}
        for row in self.study.rows:
            say(f"trying out {row.name}")
            part = next(part for part in self.study.parts if part.row == row.name)
            costs[row.name] = measured(part, self.ground, self.place.cache, self._reading)
        every = [costs[part.row] for part in self.study.parts]
        cut = fitting(every, self.slots, minutes, time.monotonic() - self._started)
        if cut.validations:
            cuts = settle.shortened(self.study, cut.factor, cut.validations).rows[0].experiment.training
            say(
                f"{minutes:g} minutes: trainings of {cuts.steps} steps instead of "
                f"{self.study.rows[0].experiment.training.steps}, validated every {cuts.validate_every}, "
                f"{self.slots} at a time"
            )
        return cut, costs

    def _write(self, pins: Mapping[str, Any], cut: Shortening) -> None:
        self.folder.write(
            self.study,
            {
                "data": str(self.place.data.resolve()),
                "digest": self._digest,
                "cache": str(self.place.cache.resolve()),
                "command": self.place.command,
                "version": __version__,
                "pins": pins,
                "shortened": {"minutes": finite(self.study.minutes), **asdict(cut)},
            },
        )

    def _task(self, part: Part) -> Task:
        command = (sys.executable, "-m", "edgewise.study.part", str(self.folder.path.resolve()), part.folder)
        return Task(name=part.folder, command=command, log=self.folder.log(part).resolve())

    def _failure(self, part: Part, outcome: Outcome) -> str:
        """What went wrong with a part; empty if nothing did."""
        if outcome.code == 0:
            return ""
        if outcome.code == SOME_FAILED and self.folder.state(part) == "done":
            return f"some of its cases failed; {self.folder.log(part)} names them"
        return outcome.reason or last_words(self.folder.log(part))
