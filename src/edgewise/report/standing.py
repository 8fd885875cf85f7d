"""How far a study has come, for its page: rows, and what became of their trainings."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from edgewise.report.claims import Entry, Published
from edgewise.report.records import RunRecord
from edgewise.report.words import shortened

State: TypeAlias = Literal["done", "at work", "failed", "stopped", "not run"]


@dataclass(frozen=True, kw_only=True)
class Part:
    """One training of a study.

    Attributes:
        name: of it.
        seed: it is trained with.
        fold: that validates; the same for all where there is but one.
        folder: of its run, which need not be there.
        state: what became of it.
        told: how far it has come, or why it failed; empty for nothing.
    """

    name: str
    seed: int
    fold: int
    folder: Path
    state: State
    told: str


@dataclass(frozen=True, kw_only=True)
class StudyRow:
    """A row of a study.

    Attributes:
        name: of it.
        published: what a paper has for it.
        parts: one for each seed and fold.
    """

    name: str
    published: tuple[Published, ...]
    parts: tuple[Part, ...]

    @property
    def done(self) -> int:
        """Trainings that are done."""
        return sum(part.state == "done" for part in self.parts)

    @property
    def seeds(self) -> tuple[int, int]:
        """Seeds of which every fold is done, and all."""
        return self._whole([part.seed for part in self.parts])

    @property
    def folds(self) -> tuple[int, int]:
        """Folds that are done with every seed, and all."""
        return self._whole([part.fold for part in self.parts])

    @property
    def rest(self) -> str:
        """What became of the others, in words."""
        counts = Counter(part.state for part in self.parts if part.state != "done")
        return ", ".join(f"{count} {state}" if len(self.parts) > 1 else state for state, count in counts.items())

    def _whole(self, numbers: Sequence[int]) -> tuple[int, int]:
        open_ = {number for number, part in zip(numbers, self.parts, strict=True) if part.state != "done"}
        return len({*numbers} - open_), len({*numbers})


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study as its page shows it."""

    name: str
    rows: tuple[StudyRow, ...]

    def entries(self, records: Sequence[RunRecord]) -> tuple[Entry, ...]:
        """The rows that a paper has numbers for, with their runs."""
        numbers = {record.folder: number for number, record in enumerate(records)}
        return tuple(
            Entry(
                name=row.name,
                published=row.published,
                runs=tuple(numbers[part.folder] for part in row.parts if part.folder in numbers),
                planned=len(row.parts),
            )
            for row in self.rows
            if row.published
        )

    def told(self) -> Iterator[tuple[str, str, str]]:
        """(name, state, remark) of the parts of which there is something to say; without absolute paths."""
        for row in self.rows:
            for part in row.parts:
                if part.told:
                    yield part.name, part.state, shortened(part.told)
