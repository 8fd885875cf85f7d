"""Commands that take a moment, and what a test sees of them."""

import sys
from pathlib import Path

from edgewise.engines.base import Task


def task(folder: Path, name: str, code: str) -> Task:
    return Task(name=name, command=(sys.executable, "-c", code), log=folder / "logs" / f"{name}.log")


def begins_and_waits(folder: Path, name: str = "waits") -> Task:
    """Writes its own process id and that of who began it; ends when its input does. Begun again it ends at once."""
    code = f"""
import os, pathlib, sys
place = pathlib.Path({str(folder)!r}) / {name!r}
print("began", flush=True)
if not place.exists():
    place.with_suffix(".new").write_text(f"{{os.getpid()}} {{os.getppid()}}")
    place.with_suffix(".new").rename(place)
    os.read(0, 1)
    sys.exit(1)
"""
    return task(folder, name, code)


def processes(folder: Path, name: str = "waits") -> tuple[int, int] | None:
    """Its process and the one that began it; nothing before it is there."""
    place = folder / name
    if not place.exists():
        return None
    own, above = place.read_text(encoding="utf-8").split()
    return int(own), int(above)


def lives(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
