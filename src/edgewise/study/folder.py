"""The files of a study's folder."""

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from edgewise import experiment_file
from edgewise.errors import OutputError, RunError, StudyError
from edgewise.experiment import Experiment
from edgewise.experiment import dump as dump_experiment
from edgewise.files import finite, output_folder, write_json
from edgewise.run.folder import RunFolder, write_yaml
from edgewise.study.file import Part, Study, dump

State: TypeAlias = Literal["done", "begun", "waiting"]


@dataclass(frozen=True, kw_only=True)
class StudyFolder:
    """Where the files of one study lie."""

    path: Path

    @property
    def study(self) -> Path:
        """The complete study file: every row's experiment with its defaults and with what was decided for all rows."""
        return self.path / "study.yaml"

    @property
    def place(self) -> Path:
        """Where the study happens, the digest of its data, and what was decided."""
        return self.path / "place.json"

    @property
    def runs(self) -> Path:
        """Run folders, one a part."""
        return self.path / "runs"

    @property
    def logs(self) -> Path:
        """What each part printed."""
        return self.path / "logs"

    @property
    def report(self) -> Path:
        """The page."""
        return self.path / "report.html"

    def run(self, part: Part) -> RunFolder:
        """Of one part."""
        return RunFolder(path=self.runs / part.folder)

    def log(self, part: Part) -> Path:
        """Of one part."""
        return self.logs / f"{part.folder}.log"

    def state(self, part: Part) -> State:
        """How far a part has come.

        Raises:
            StudyError: its folder holds a run of other settings, as an older version with other defaults leaves.
        """
        folder = self._there(part)
        if not folder.experiment.exists():
            return "waiting"
        if _settings(experiment_file.load(folder.experiment)) != _settings(part.experiment):
            raise StudyError(
                f"{folder.path} holds a run with other settings than the study's row {part.row!r}; another version of "
                "Edgewise made it. Move it away, or choose another --out."
            )
        return "done" if folder.curves.exists() and folder.summary.exists() else "begun"

    def adopt(self, parts: Sequence[Part]) -> None:
        """Give runs that were begun under another name, as of a row that is renamed since, the name of their part.

        One that is at work now is left alone.
        """
        for part in parts:
            old, new = self._there(part).path, self.run(part).path
            if old != new:
                with suppress(StudyError), _lock(self.runs / f".{old.name}.lock", wait=False):
                    old.rename(new)
                    self._rename(part)

    def _there(self, part: Part) -> RunFolder:
        """The run of a part, under whatever name: what decides its numbers is at the end of the folder's name."""
        own = self.run(part)
        others = [] if own.path.exists() else sorted(self.runs.glob(f"*-{part.digest}"))
        return RunFolder(path=others[0]) if others else own

    def _rename(self, part: Part) -> None:
        """Write the part's name into its run; one that goes on keeps its own, by which it knows its checkpoints."""
        folder = self.run(part)
        if folder.curves.exists():
            own = experiment_file.load(folder.experiment)
            write_yaml(folder.experiment, dump_experiment(replace(own, name=part.experiment.name)))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else works on the study meanwhile.

        Raises:
            StudyError: somebody does.
            OutputError: the folder cannot be written.
        """
        with _lock(output_folder(self.path) / ".lock", wait=False):
            yield

    @contextmanager
    def held_part(self, name: str) -> Iterator[None]:
        """Nobody else works on a part meanwhile: who comes second waits."""
        with _lock(output_folder(self.runs) / f".{name}.lock", wait=True):
            yield

    def at_work(self, part: Part) -> bool:
        """Whether somebody works on a part right now."""
        try:
            with (self.runs / f".{part.folder}.lock").open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # nobody has begun it
            return False
        return False

    def write(self, study: Study, place: Mapping[str, Any]) -> None:
        """Write what is settled: `study.yaml`, and where the study happens."""
        write_yaml(self.study, dump(study))
        write_json(self.place, finite(dict(place)))

    def read_place(self) -> dict[str, Any]:
        """The content of `place.json`; empty where there is none.

        Raises:
            RunError: it cannot be read.
        """
        if not self.place.exists():
            return {}
        try:
            content: dict[str, Any] = json.loads(self.place.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{self.place} cannot be read ({error}). Restore it, or choose another --out.") from error
        return content


FULL = 2**18
"""Bytes of free space below which a disk is full."""


def last_words(log: Path) -> str:
    """What a part that failed said last: its message, or the last line of an error that should not be."""
    try:
        lines = _lines(log)
    except OSError:
        return "it left no log"
    if shutil.disk_usage(log.parent).free < FULL:  # then it could not say it itself
        return f"there is no space left for {log.parent.parent}. Make some, and start the same command again."
    return _message(lines) or f"{lines[-1] if lines else 'it said nothing'} ({log})"


def complaint(log: Path) -> str:
    """What a part that did not end well complained of; empty where it only stopped."""
    try:
        lines = _lines(log)
    except OSError:
        return ""
    said = _message(lines)
    if said.startswith("interrupted"):
        return ""
    traced = any(line.startswith("Traceback (most recent call last)") for line in lines)
    return said or (last_words(log) if traced else "")


def _lines(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8", errors="replace").splitlines()


def _message(lines: list[str]) -> str:
    """The last message, which may have several lines; empty without one."""
    said = [i for i, line in enumerate(lines) if line.startswith("edgewise: ")]
    return " ".join(line.strip() for line in lines[said[-1] :])[len("edgewise: ") :] if said else ""


def _settings(experiment: Experiment) -> tuple[Any, ...]:
    return tuple(value for name, value in vars(experiment).items() if name not in {"name", "claim"})


@contextmanager
def _lock(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold a file's lock; the system takes it back from a process that is killed, so it is never left behind."""
    try:
        file = path.open("a", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}. Choose another folder.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise StudyError(
                f"another `edgewise study` works in {path.parent}. Wait for it, or choose another --out."
            ) from error
        yield
