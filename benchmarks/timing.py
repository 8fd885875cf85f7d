"""Time and memory of candidates that do the same work, measured so that what else the machine does hits all alike."""

import gc
import json
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

Candidates = Mapping[str, Callable[[], object]]
median = statistics.median


def interleaved(
    candidates: Candidates, rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of every round of each candidate; a round runs all of them in random order."""
    order, seconds = random.Random(0), {name: list[float]() for name in candidates}
    for _ in range(rounds):
        for name in order.sample(list(candidates), len(candidates)):
            gc.collect()
            start = clock()
            candidates[name]()
            seconds[name].append(clock() - start)
    return seconds


def memory(field: str) -> float:
    """A line of /proc/self/status in MB; NaN where there is none."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return float("nan")
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def forget_peak() -> float:
    """Start a new peak (`memory("VmHWM")`); return the memory in use in MB, NaN where that cannot be done."""
    gc.collect()
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    except OSError:
        return float("nan")
    return memory("VmRSS")


def peak_of_tensors(candidate: Callable[[], object]) -> float:
    """Peak memory of the CPU tensors that the candidate makes, in MB, from what torch's allocator reports.

    Unlike the memory of the process, it does not depend on what the C library keeps for later.
    """
    from torch.profiler import ProfilerActivity, profile

    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        candidate()
    events = profiler.profiler.kineto_results.events()
    changes = sorted((each.start_ns(), each.nbytes()) for each in events if each.name() == "[memory]")
    return max(accumulate((size for _, size in changes), initial=0)) / 2**20


def write_rows(path: Path | None, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows as JSON, if a path is given."""
    if path:
        path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
