"""The hardware that this process may use."""

import os
from pathlib import Path


def cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def own_cores() -> int:
    """CPU cores for each of the processes that train together on this machine."""
    return max(cores() // number("LOCAL_WORLD_SIZE", 1), 1)


def processes() -> int:
    """How many processes were started to train together, on all machines."""
    return max(number("WORLD_SIZE", 1), 1)


def number(name: str, otherwise: int) -> int:
    """A whole number from the environment."""
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else otherwise


def free_memory() -> int:
    """Bytes of memory that are free, or could be; 8 GB where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        table = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
        return table["MemAvailable"]
    except (OSError, KeyError, ValueError):
        return 8 * 10**9


def gpus() -> int:
    """Number of GPUs that torch can use."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
