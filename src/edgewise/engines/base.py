"""What an engine is: it runs commands, several at a time, and says how each ended."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from edgewise.catalog import Component


@dataclass(frozen=True, kw_only=True)
class Task:
    """One command.

    Attributes:
        name: unique among the tasks.
        command: program and arguments. Run again after a kill it goes on where it was, and run twice at once the second
            waits for the first.
        log: file that takes all it prints, appended.
    """

    name: str
    command: tuple[str, ...]
    log: Path


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a task ended.

    Attributes:
        name: of the task.
        code: exit code of its command, negative for the signal that killed it.
        reason: what the engine knows of an end that the command did not choose; empty where it chose it.
    """

    name: str
    code: int
    reason: str = ""


class Engine(Component):
    """Where the parts of a study are worked on: this machine, or a cluster that shares its files."""

    package: ClassVar = "edgewise.engines"

    @abstractmethod
    def require(self) -> None:
        """Refuse to begin where the engine cannot work.

        Raises:
            EngineError: what it needs is not installed, or not there; says which extra to install.
        """

    @abstractmethod
    def room(self, tasks: int) -> int:
        """How many of so many tasks it works on at a time, at least 1; for estimates."""

    @abstractmethod
    def threads(self, tasks: int) -> int:
        """How many CPU cores each of so many tasks has, at least 1."""

    @abstractmethod
    def outcomes(self, tasks: Sequence[Task], watch: Callable[[], None]) -> Iterator[Outcome]:
        """Run every task; a task that fails does not stop the others.

        Args:
            tasks: in the order in which they should begin.
            watch: called about once a second while tasks run.

        Yields:
            The outcome of each task, as they end. Closing the generator early stops what runs here; tasks on a
            cluster go on.

        Raises:
            EngineError: the cluster cannot be reached.
        """
