"""Processes on this machine."""

import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar, Literal

from typing_extensions import override

from edgewise.engines.base import Engine, Outcome, Task
from edgewise.errors import EngineError
from edgewise.machine import cores, free_memory, gpus

MEMORY = 3 * 10**9
"""Bytes that a training on a CPU takes, roughly: no more of them run at once than fit."""
TICK = 0.5


@dataclass(frozen=True, kw_only=True)
class Local(Engine):
    """Processes on this machine: one on each GPU, or as many as there are cores and memory for.

    Attributes:
        slots: processes at a time; `auto` is the number of GPUs, or without one the number of cores, as far as the
            free memory allows 3 GB for each. Slots beyond the number of GPUs share them in turn.
    """

    kind: Literal["local"] = "local"
    slots: int | Literal["auto"] = "auto"
    source: ClassVar = "Edgewise"

    def __post_init__(self) -> None:
        if self.slots != "auto" and self.slots < 1:
            raise EngineError(f"local: slots is {self.slots}, but must be at least 1, or auto.")

    @override
    def require(self) -> None:
        pass

    @override
    def room(self, tasks: int) -> int:
        if self.slots != "auto":
            return max(min(self.slots, tasks), 1)
        return max(min(tasks, gpus() or min(cores(), free_memory() // MEMORY)), 1)

    @override
    def outcomes(self, tasks: Sequence[Task], watch: Callable[[], None]) -> Iterator[Outcome]:
        waiting, running = deque(tasks), dict[int, tuple[Task, subprocess.Popen[bytes]]]()
        slots = self.room(len(tasks))  # once: what runs here takes of the free memory itself
        try:
            while waiting or running:
                for slot in range(slots):
                    if slot not in running and waiting:
                        task = waiting.popleft()
                        running[slot] = (task, _begun(task, slot))
                time.sleep(TICK)
                watch()
                for slot, (task, process) in list(running.items()):
                    code = process.poll()
                    if code is not None:
                        _close(running.pop(slot)[1])
                        yield Outcome(name=task.name, code=code, reason=_killed(code))
        finally:
            for _, process in running.values():
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)  # with the processes that it has started
            for _, process in running.values():
                process.wait()
                _close(process)


def _begun(task: Task, slot: int) -> subprocess.Popen[bytes]:
    """Start a task. It ends with this process, even if that is killed: then the pipe to its input is closed."""
    try:
        task.log.parent.mkdir(parents=True, exist_ok=True)
        with task.log.open("ab") as log:
            # A session of its own: a Ctrl-C on the terminal is for the study, which then stops its parts in good order.
            return subprocess.Popen(
                task.command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **_own_gpu(slot)},
                start_new_session=True,
            )
    except OSError as error:
        raise EngineError(
            f"cannot start a part that writes to {task.log}: {error.strerror or error}. Make space, or stop other "
            "programs; the same command then goes on."
        ) from error


def _close(process: subprocess.Popen[bytes]) -> None:
    """Close the pipe to a process that has ended."""
    if process.stdin is not None:
        process.stdin.close()


def _own_gpu(slot: int) -> Mapping[str, str]:
    """The environment that shows a process one GPU alone."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = shown.split(",") if shown else [str(number) for number in range(gpus())]
    return {"CUDA_VISIBLE_DEVICES": names[slot % len(names)]} if names else {}


def _killed(code: int) -> str:
    if code >= 0:
        return ""
    cause = ", most likely for lack of memory" if code == -9 else ""
    return f"its process was killed by signal {-code}{cause}"
