"""Runs that are killed at a place in the code, and what is left of them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import edgewise as package


def events(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def arguments(road, file, out):
    return "fit", file, "--data", road.data, "--out", out, "--cache", road.cache


def killed(road, file, out, name, count=1):
    """A run that was killed when the file `name` was about to appear for the `count`-th time."""
    source = str(Path(package.__file__).parents[1])
    path = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, Path(__file__).with_name("dying.py"), name, count, *arguments(road, file, out)]
    call = subprocess.run(
        [*map(str, command)], env={**os.environ, "PYTHONPATH": path}, capture_output=True, check=False
    )
    assert call.returncode == -signal.SIGKILL, call.stderr.decode()
    return out


def timeless(content):
    """A checkpoint without the clock, and python's generator, from which the type checker of the tests draws."""
    return {
        key: {k: v for k, v in value.items() if k not in {"seconds", "python"}} if isinstance(value, dict) else value
        for key, value in content.items()
    }
