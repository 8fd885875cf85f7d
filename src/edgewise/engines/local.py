"""Processes on this machine."""

import os
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from typing_extensions import override

from edgewise.engines.base import Engine, Outcome, Task
from edgewise.engines.process import TICK, begun, end, killed, stopped
from edgewise.errors import EngineError
from edgewise.machine import cores, free_memory, gpus

MEMORY = 3 * 10**9
"""Bytes that a training on a CPU takes, roughly: no more of them run at once than fit."""


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
    def threads(self, tasks: int) -> int:
        return max(cores() // self.room(tasks), 1)

    @override
    def outcomes(self, tasks: Sequence[Task], watch: Callable[[], None]) -> Iterator[Outcome]:
        waiting, running = deque(tasks), dict[int, tuple[Task, subprocess.Popen[bytes]]]()
        room = self.room(len(tasks))  # once: the memory that running tasks take is not missing for them
        try:
            while waiting or running:
                for slot in range(room):
                    if slot not in running and waiting:
                        task = waiting.popleft()
                        running[slot] = (task, begun(task, _own_gpu(slot)))
                time.sleep(TICK)
                watch()
                for slot, (task, process) in list(running.items()):
                    code = process.poll()
                    if code is not None:
                        del running[slot]
                        stopped(process)
                        yield Outcome(name=task.name, code=code, reason=killed(code))
        finally:
            for _, process in running.values():
                end(process)
            for _, process in running.values():
                stopped(process)


def _own_gpu(slot: int) -> Mapping[str, str]:
    """The environment that shows a process one GPU alone."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = shown.split(",") if shown else [str(number) for number in range(gpus())]
    return {"CUDA_VISIBLE_DEVICES": names[slot % len(names)]} if names else {}
