"""A task as a process of this machine that does not outlive the one that began it."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress

from edgewise.engines.base import Task
from edgewise.errors import EngineError

TICK = 0.5
"""Seconds between two looks."""
PATIENCE = 20.0
"""Seconds that a process has to end by itself once it is told to."""


def begun(task: Task, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a task, with these variables beside those of this process.

    Its input is a pipe that closes when this process ends, even if that is killed: by this a part knows that it must
    end, too.

    Raises:
        EngineError: its log cannot be written, or no process be started.
    """
    try:
        task.log.parent.mkdir(parents=True, exist_ok=True)
        with task.log.open("ab") as log:
            # A session of its own: a Ctrl-C on the terminal is for the study, which then stops its parts in good order.
            return subprocess.Popen(
                task.command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
            )
    except OSError as error:
        raise EngineError(
            f"cannot start a part that writes to {task.log}: {error.strerror or error}. Make space, or stop other "
            "programs; the same command then goes on."
        ) from error


def end(process: subprocess.Popen[bytes]) -> None:
    """Tell a task to end, with the processes that it has started; do not wait."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)


def stopped(process: subprocess.Popen[bytes]) -> int:
    """Its exit code; one that still runs is told to end, and killed if it does not."""
    if process.poll() is None:
        end(process)
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        process.kill()
    if process.stdin is not None:
        process.stdin.close()
    return process.wait()


def work(task: Task) -> int:
    """Run a task to its end; its exit code. An exception, such as that of a signal, stops it."""
    process = begun(task, {})
    try:
        while process.poll() is None:
            time.sleep(TICK)
    finally:
        code = stopped(process)
    return code


def killed(code: int) -> str:
    """What to say of a process that a signal ended; nothing of another."""
    if code >= 0:
        return ""
    cause = ", most likely for lack of memory" if code == -9 else ""
    return f"its process was killed by signal {-code}{cause}"
