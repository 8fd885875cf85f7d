"""On what a run ran: versions, hardware, commit. And the machine as the plan sees it."""

import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from edgewise.machine import cores, free_memory, processes
from edgewise.plan import Machine

PACKAGES = (
    "edgewise",
    "torch",
    "numpy",
    "scipy",
    "monai",
    "nibabel",
    "SimpleITK",
    "numba",
    "connected-components-3d",
)
SHARE = 0.5
"""Share of the free memory that a plan may use: activations are estimated, and other processes need some too."""


def device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def machine() -> Machine:
    """The hardware as the plan sees it."""
    gpu = torch.cuda.is_available()
    free = torch.cuda.mem_get_info()[0] if gpu else free_memory()
    return Machine(gpu=gpu, cores=cores(), memory_gb=round(SHARE * free / 1e9, 1))


def describe(command: str, seed: int) -> dict[str, Any]:
    """The content of `environment.json`."""
    return {
        "packages": {name: _version(name) for name in PACKAGES},
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": cores(),
        "processes": processes(),
        "memory_gb": round(free_memory() / 1e9, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        "commit": _commit(),
        "command": command,
        "seed": seed,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _commit() -> str:
    """The commit of a source checkout, marked where it has uncommitted changes; empty for an installed package."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
        dirty = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit.strip() + (" with uncommitted changes" if dirty.strip() else "")
