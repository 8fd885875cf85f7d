"""A training over several processes: how they meet, how they part, and that none is left behind.

Who starts them says in the environment who is who, as `torchrun` does: WORLD_SIZE, RANK, LOCAL_RANK, LOCAL_WORLD_SIZE,
MASTER_ADDR, MASTER_PORT.
"""

import contextlib
import itertools
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import distributed

from edgewise.errors import RunError
from edgewise.machine import number, processes
from edgewise.training.group import ALONE, Group, current

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

FAILED = "failed"
"""The key under which the processes count failures: the first one to count tells the user."""
MEETING = timedelta(minutes=10)
"""How long a process waits for the others to start."""
WAITING = timedelta(days=30)
"""How long one waits for the others at work: the first may validate for hours."""
EVERY, GRACE = 1.0, 10.0
"""Seconds between two looks for a failure elsewhere; and until a process that does not end by itself is ended."""

_meetings = itertools.count()


def leads() -> bool:
    """Whether this is the first of them, which speaks for all."""
    return processes() == 1 or number("RANK", 0) == 0


@contextmanager
def together() -> Iterator[Group]:
    """Meet the other processes that train with this one, and part at the end of the block; alone, do nothing.

    All but the first show nothing. A failure of one ends all: the first to fail raises its error as usual, and the
    others end silently, with exit code 2 (130 if interrupted), within `GRACE` seconds whatever they wait for.

    Raises:
        RunError: the processes cannot meet.
    """
    if processes() == 1:
        yield ALONE
        return
    store = _met()
    over = threading.Event()
    threading.Thread(target=_watch, args=(store, over), daemon=True).start()
    try:
        with ExitStack() as stack:
            if not leads():
                stack.enter_context(redirect_stderr(stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))))
            yield current()
            current().told(None)  # wait for all
    except (Exception, KeyboardInterrupt) as error:
        if not _first(store):
            raise SystemExit(130 if isinstance(error, KeyboardInterrupt) else 2) from error
        raise
    else:
        distributed.destroy_process_group()
    finally:
        over.set()


def _met() -> "Store":
    # Here, because torch can be built without them.
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(_device())
        backend = "cpu:gloo,cuda:nccl"
    try:
        store, rank, count = next(rendezvous("env://", timeout=MEETING))
        own = PrefixStore(f"edgewise/{next(_meetings)}", store)
        distributed.init_process_group(backend, store=own, rank=rank, world_size=count, timeout=WAITING)
    except (RuntimeError, ValueError) as error:
        raise RunError(
            f"the {processes()} processes of this training cannot meet ({str(error).splitlines()[0]}). Start them with "
            "`torchrun --nproc-per-node N -m edgewise fit ...`, or unset WORLD_SIZE to train in one process."
        ) from error
    return own


def _device() -> int:
    """The GPU of this process: the one of its number on the machine, or the only one it can see."""
    count, own = torch.cuda.device_count(), number("LOCAL_RANK", number("SLURM_LOCALID", 0))
    here = number("LOCAL_WORLD_SIZE", 1)
    if here > count:
        raise RunError(
            f"{here} processes were started on a machine with {count} GPUs. Start one for each GPU: --nproc-per-node "
            f"{count}."
        )
    return own if count > 1 else 0


def _first(store: "Store") -> bool:
    """Count a failure of this process; whether none was counted before, anywhere."""
    try:
        return bool(store.add(FAILED, 1) == 1)
    except RuntimeError:  # the process that kept the count is gone
        return False


def _watch(store: "Store", over: threading.Event) -> None:
    """End this process if another one has failed, and it does not notice: it may wait for an answer for ever."""
    while not over.wait(EVERY):
        failed = True
        with contextlib.suppress(RuntimeError):  # the process that kept the count is gone
            failed = store.check([FAILED])
        if failed and not over.wait(GRACE):
            os._exit(2)
