"""What a person sees while work goes on: progress bars on a terminal, plain lines in a log file."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Advance: TypeAlias = Callable[[int, int], None]
"""Told (done, total) while work goes on."""
Report: TypeAlias = Callable[[int, int, str], None]
"""Told (done, total, what is worth knowing) while work goes on."""

EVERY = 15.0
"""Seconds between two lines of one task in a log file."""


def say(text: str) -> None:
    """One line on standard error; standard output is kept for results."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - this is the one place that prints


def on_terminal() -> bool:
    """Whether progress is a bar, which shows the time left by itself."""
    return sys.stderr.isatty()


@contextmanager
def progress(title: str) -> Iterator[Report]:
    """Show the progress of one task; the block calls what it is given.

    Args:
        title: what is going on, such as `preparing`.

    Yields:
        A function to tell (done, total, remark).
    """
    if on_terminal():
        with _bar(title) as report:
            yield report
    else:
        yield _lines(title)


def silent(done: int, total: int) -> None:
    """An `Advance` that shows nothing."""


@contextmanager
def _bar(title: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[remark]}", style="dim"),
    )
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=4) as bars:
        task = bars.add_task(title, total=None, remark="")
        yield lambda done, total, remark: bars.update(task, completed=done, total=total, remark=remark)


def _lines(title: str) -> Report:
    begun = time.monotonic()
    last = [begun - EVERY]
    told = [0]

    def report(done: int, total: int, remark: str) -> None:
        now, told[0] = time.monotonic(), told[0] + 1
        if done < total and now - last[0] < EVERY:
            return
        if done >= total and told[0] == 1 and now - begun < 1:  # there was nothing to do
            return
        last[0] = now
        say(f"{title} {done}/{total} after {now - begun:.0f} s{f': {remark}' if remark else ''}")

    return report


def advancing(report: Report) -> Advance:
    """The same display without remarks."""
    return lambda done, total: report(done, total, "")
