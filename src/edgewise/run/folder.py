"""The files of a run folder."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from edgewise.errors import OutputError, RunError
from edgewise.files import finite, output_folder, write_text
from edgewise.training.records import UNITS, Record

SNAPSHOT = "step_"


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """Where the files of one run lie."""

    path: Path

    @property
    def experiment(self) -> Path:
        """The complete experiment, defaults filled in."""
        return self.path / "experiment.yaml"

    @property
    def plan(self) -> Path:
        """Every automatic decision with its reason."""
        return self.path / "plan.yaml"

    @property
    def dataset(self) -> Path:
        """Classes, channels, split, content digest."""
        return self.path / "dataset.json"

    @property
    def environment(self) -> Path:
        """Versions and hardware."""
        return self.path / "environment.json"

    @property
    def journal(self) -> Path:
        """Records of the training, one JSON object a line."""
        return self.path / "journal.jsonl"

    @property
    def best(self) -> Path:
        """Checkpoint of the best validation."""
        return self.path / "checkpoints" / "best.pt"

    @property
    def last(self) -> Path:
        """Checkpoint to resume from."""
        return self.path / "checkpoints" / "last.pt"

    def snapshot(self, step: int) -> Path:
        """Checkpoint of the weights that predicted after a step of the training."""
        return self.path / "checkpoints" / f"{SNAPSHOT}{step}.pt"

    def snapshots(self) -> dict[int, Path]:
        """The snapshots there are, by their step, in its order."""
        found = {path.stem.removeprefix(SNAPSHOT): path for path in self.best.parent.glob(f"{SNAPSHOT}*.pt")}
        return dict(sorted((int(step), path) for step, path in found.items() if step.isdecimal()))

    def groundwork(self, name: str) -> Path:
        """Weights of a network that was trained before the main training."""
        return self.path / "checkpoints" / f"{name}.pt"

    def groundwork_last(self, name: str) -> Path:
        """Checkpoint to resume its training from; gone when that is done."""
        return self.path / "checkpoints" / f"{name}.last.pt"

    def groundwork_journal(self, name: str) -> Path:
        """Records of its training."""
        return self.path / f"{name}.jsonl"

    @property
    def predictions(self) -> Path:
        """Predicted masks of the validation cases."""
        return self.path / "predictions"

    @property
    def metrics(self) -> Path:
        """Metrics of every case and class."""
        return self.path / "metrics.csv"

    @property
    def lesions(self) -> Path:
        """Every lesion of every case and class, found, missed or false."""
        return self.path / "lesions.csv"

    @property
    def located(self) -> Path:
        """Objects and the regions that a two-stage network found for them."""
        return self.path / "localisation.csv"

    @property
    def heat(self) -> Path:
        """Heatmaps of the locator of a two-stage network, in per cent."""
        return self.path / "localisation"

    @property
    def summary(self) -> Path:
        """Aggregated metrics with their definitions."""
        return self.path / "summary.json"

    @property
    def curves(self) -> Path:
        """Learning curves; the last file of a run, so its presence says that all others are there."""
        return self.path / "curves.png"

    def open_new(self) -> None:
        """Create the folder for a new run.

        Raises:
            OutputError: it already holds a run, or cannot be written.
        """
        output_folder(self.path)
        if any(each.exists() for each in (self.journal, self.experiment, self.best.parent)):
            raise OutputError(f"{self.path} already holds a run. Go on with it (--resume), or choose another --out.")

    def open_again(self) -> None:
        """Open the folder of a run that is to go on, and clear away what a kill left half-written.

        Raises:
            RunError: there is none.
        """
        if not self.experiment.exists():
            raise RunError(f"{self.path} holds no run to resume. Leave out --resume to start one.")
        output_folder(self.path)
        for half in self.path.rglob(".*.partial.*"):  # what `files.atomic` was writing when the run was killed
            half.unlink(missing_ok=True)

    def ended(self) -> bool:
        """Whether training has come to its end."""
        return self.journal.exists() and any(event["event"] == "end" for _, event in _events(self.journal))

    def require_data(self, digest: str, root: Path) -> None:
        """Refuse to go on with other data than the run began with.

        Raises:
            RunError: the content of the dataset in `root` is not what the run saw.
        """
        if self.mapping(self.dataset).get("digest") != digest:
            raise RunError(
                f"{root} is not the dataset that {self.path} began with: files were added, removed or changed. "
                "Restore them, or start a new run."
            )

    def mapping(self, path: Path) -> dict[str, Any]:
        """A JSON or YAML file of this folder.

        Raises:
            RunError: it is missing or unreadable.
        """
        try:
            text = path.read_text(encoding="utf-8")
            value = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise RunError(f"{path} cannot be read ({error}). Pass a folder made by `edgewise fit`.") from error
        if not isinstance(value, dict):
            raise RunError(f"{path} holds no mapping. Pass a folder made by `edgewise fit`.")
        return value


def runs_in(path: Path) -> list[Path]:
    """`path` itself if it is a run folder, else the run folders that lie in it, or in `runs` there, as in a study.

    Raises:
        RunError: there are none.
    """
    if RunFolder(path=path).experiment.exists():
        return [path]
    found = path.glob("*/experiment.yaml"), path.glob("runs/*/experiment.yaml")
    below = next(filter(None, (sorted(experiment.parent for experiment in each) for each in found)), [])
    if not below:
        problem = "it is no run folder and holds none" if path.is_dir() else "there is no such folder"
        raise RunError(f"{path}: {problem}. Pass a folder made by `edgewise fit`.")
    return below


def write_yaml(path: Path, value: Mapping[str, Any]) -> None:
    """Write a mapping as YAML, in its own order; short lists stay on one line."""
    write_text(
        path, yaml.safe_dump(dict(value), sort_keys=False, width=110, default_flow_style=None, allow_unicode=True)
    )


class Journal:
    """Appends records to a journal, one flushed line each, so that a kill loses at most the line being written.

    Every method raises `OutputError` where the journal cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            self._append({"event": "units", "units": UNITS})

    def record(self, record: Record) -> None:
        """Append a training record."""
        self._append({"event": record.event, **asdict(record)})

    def note(self, text: str) -> None:
        """Append a remark."""
        self._append({"event": "note", "text": text})

    def note_once(self, text: str) -> None:
        """Append a remark that is not there yet."""
        if all(event.get("text") != text for _, event in _events(self._path)):
            self.note(text)

    def failure(self, case: str, text: str) -> None:
        """Append a case that failed."""
        self._append({"event": "failure", "case": case, "text": text})

    def back_to(self, step: int) -> None:
        """Forget what came after `step`: a resumed run repeats it."""
        kept = [line for line, event in _events(self._path) if _belongs(event, step)]
        if not kept or json.loads(kept[0])["event"] != "units":  # killed while writing the first line
            kept.insert(0, _line({"event": "units", "units": UNITS}))
        write_text(self._path, "".join(f"{line}\n" for line in kept))

    def _append(self, event: Mapping[str, Any]) -> None:
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(_line(event) + "\n")
        except OSError as error:
            raise OutputError(
                f"cannot write {self._path}: {error.strerror or error}. Make space, or make it writable; the run then "
                "goes on."
            ) from error


class Unwritten:
    """The journal of a process that leaves writing to another one."""

    def record(self, record: Record) -> None:
        """Write nothing."""

    def note(self, text: str) -> None:
        """Write nothing."""

    def back_to(self, step: int) -> None:
        """Write nothing."""


def _line(event: Mapping[str, Any]) -> str:
    return json.dumps(finite(event))


def _events(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            yield line, json.loads(line)
        except ValueError:  # the line being written when the run was killed
            continue


def _belongs(event: Mapping[str, Any], step: int) -> bool:
    if event["event"] == "snapshot" and step == 0:  # a training that starts over takes that of step 0 again
        return False
    return event["event"] not in {"end", "failure"} and int(event.get("step", 0)) <= step
