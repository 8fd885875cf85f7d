"""Several processes that call the command line together, as a launcher would start them.

They are forked, because everything is imported already.
"""

import multiprocessing
import os
import socket
import sys
from dataclasses import dataclass

import torch

from edgewise.cli import main


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code (minus the signal), and what it said."""

    code: int
    out: str
    err: str


def together(folder, arguments, size=2, hooks=()):
    """Call the command line in `size` processes.

    Args:
        folder: for what they say.
        arguments: of each.
        size: how many.
        hooks: functions called first, one a process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    context = multiprocessing.get_context("fork")
    hooks = [*hooks, *[lambda: None] * (size - len(hooks))]
    all_ = [
        context.Process(target=_call, args=(folder, list(map(str, arguments)), (rank, size, port), hooks[rank]))
        for rank in range(size)
    ]
    for each in all_:
        each.start()
    for each in all_:
        each.join(120)
    for each in all_:
        each.kill()  # a process that has ended does not mind
        each.join()
    said = [
        [(folder / f"{rank}.{name}").read_text(encoding="utf-8") for name in ("out", "err")] for rank in range(size)
    ]
    return [Ended(each.exitcode, *texts) for each, texts in zip(all_, said, strict=True)]


def _call(folder, arguments, place, hook):
    rank, size, port = place
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(folder / f"{rank}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8", buffering=1) for number in (1, 2))
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    # GNU's OpenMP hangs in a forked process whose parent has used several threads.
    torch.set_num_threads(1)
    hook()
    main(arguments)


def _free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
