"""Checkpoints: whole or absent, complete enough for a bit-exact resume, loaded without executing pickled code."""

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgewise.errors import RunError
from edgewise.files import atomic


def random_state() -> dict[str, Any]:
    """States of the generators of python, numpy and torch, as tensors and plain numbers (`weights_only` loads them)."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 - libraries may use the global one
    return {
        "python": (version, torch.tensor(words, dtype=torch.int64), float("nan") if gauss is None else gauss),
        "numpy": (
            str(name),
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            position,
            has_gauss,
            cached,
        ),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Put every generator back into a state that `random_state` returned."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words.tolist()), None if math.isnan(gauss) else gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    # A checkpoint may have been loaded to a GPU, but states lie in main memory.
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([each.cpu() for each in state["cuda"]])


def seed_everything(seed: int, rank: int = 0) -> None:
    """Seed python, numpy and torch, each process of a training (`rank`) in its own way."""
    if rank:
        seed = int(np.random.SeedSequence((seed, rank)).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries may use the global generator
    torch.manual_seed(seed)


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint atomically: a kill at any moment leaves the old file or the new one.

    Raises:
        OutputError: it cannot be written; the old file is still there.
    """
    with atomic(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # torch's own error after the one of the file, which says why
            raise _cause(error) from error


def _cause(error: BaseException) -> BaseException:
    """The error of the file system behind an error of torch."""
    behind = error.__context__
    return behind if isinstance(behind, OSError) else error


def load(path: Path, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint; only tensors and plain values are accepted, no pickled code is run.

    Raises:
        RunError: the file is missing, truncated or not a checkpoint.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError as error:
        raise RunError(
            f"no checkpoint {path}: its run has not come to a validation, or diverged before one, as its journal says. "
            "Train it with `edgewise fit`."
        ) from error
    except Exception as error:
        raise RunError(
            f"cannot read checkpoint {path} ({type(error).__name__}). Take the run's other checkpoint, or train again."
        ) from error
    return content
