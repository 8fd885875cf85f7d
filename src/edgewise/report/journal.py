"""What a journal says about a training, read into plain records."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgewise.errors import RunError


@dataclass(frozen=True, kw_only=True)
class Validation:
    """One validation during training: Dice of each foreground class, and their mean."""

    step: int
    dice: Mapping[int, float]
    mean: float


@dataclass(frozen=True, kw_only=True)
class Journal:
    """What happened during training.

    Attributes:
        loss: (step, loss).
        validations: in order.
        notes: remarks of the run, in order.
        failures: cases that failed, in words.
        ending: why training ended; empty while it has not.
        best_step: step of the best checkpoint; -1 where none is known.
        steps: steps done.
        seconds: wall time so far.
    """

    loss: tuple[tuple[int, float], ...] = ()
    validations: tuple[Validation, ...] = ()
    notes: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    ending: str = ""
    best_step: int = -1
    steps: int = 0
    seconds: float = 0.0


def _events(path: Path) -> Iterator[dict[str, Any]]:
    """Events of a journal; a last line that was cut off in the middle is left out."""
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            event = json.loads(line)
        except ValueError as error:
            if number == len(lines):
                return
            raise RunError(f"{path} line {number} is no JSON: {error}. Restore it, or repeat the run.") from error
        if isinstance(event, dict):
            yield event


def read_journal(path: Path) -> Journal:
    """Read `journal.jsonl`; an absent file is an empty journal, and a last line that was cut off is left out.

    Raises:
        RunError: a line is no JSON, or an event cannot be understood.
    """
    events: dict[str, list[dict[str, Any]]] = {}
    steps, seconds = 0, 0.0
    try:
        for event in _events(path):
            events.setdefault(str(event.get("event")), []).append(event)
            if event.get("event") != "units":
                steps = max(steps, int(event.get("step", 0)))
                seconds = max(seconds, float(event.get("seconds", 0)))
        end = (events.get("end") or [{}])[-1]
        return Journal(
            loss=tuple((int(event["step"]), number(event["loss"])) for event in events.get("train", ())),
            validations=tuple(_validation(event) for event in events.get("validation", ())),
            notes=tuple(str(event.get("text", "")) for event in events.get("note", ())),
            failures=tuple(_failure(event) for event in events.get("failure", ())),
            ending=str(end.get("reason", "ended")) if end else "",
            best_step=int(end.get("best_step", -1)),
            steps=steps,
            seconds=seconds,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path} has an event that cannot be understood ({error!r}). Restore it.") from error


def _validation(event: Mapping[str, Any]) -> Validation:
    dice = {int(label): number(value) for label, value in event.get("dice", {}).items()}
    finite = [value for value in dice.values() if math.isfinite(value)]
    mean = event.get("mean_dice", sum(finite) / len(finite) if finite else math.nan)
    return Validation(step=int(event["step"]), dice=dice, mean=number(mean))


def _failure(event: Mapping[str, Any]) -> str:
    case = str(event.get("case", ""))
    return f"{case}: {event.get('text', '')}" if case else str(event.get("text", ""))


def number(value: Any) -> float:
    """A number of a file; `nan` where it has none."""
    return math.nan if value is None or value == "" else float(value)
