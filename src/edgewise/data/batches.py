"""Batches for training: patches collated, made by workers while the network computes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from edgewise.data.patches import Patch, Patches


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one training step sees.

    Attributes:
        image: (B, K, *patch) float32.
        labels: (B, *patch) int64.
        cases: ids, in batch order.
    """

    image: Tensor
    labels: Tensor
    cases: tuple[str, ...]

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        return Batch(
            image=self.image.to(device, non_blocking=True),
            labels=self.labels.to(device, non_blocking=True),
            cases=self.cases,
        )


def batches(
    patches: Patches, *, size: int, start: int, stop: int, workers: int, places: range | Literal["all"] = "all"
) -> Iterator[Batch]:
    """The batches of steps `start` to `stop` (exclusive): step s holds patches s·size … s·size + size − 1.

    Args:
        patches: the endless row of patches.
        size: patches in a batch.
        start: first step; a resumed run passes the step it stopped at.
        stop: the step before which to end.
        workers: processes that make patches; 0 makes them in this process.
        places: the places in every batch to be filled; others are left to other processes that train with this one.

    Yields:
        One batch a step.
    """
    steps = range(start, stop)
    own = range(size) if places == "all" else places
    loader = DataLoader(
        patches,
        batch_sampler=[[s * size + place for place in own] for s in steps],
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=_one_thread,
        # Its own generator: otherwise the loader draws from torch's global one, and a resumed run would differ.
        generator=torch.Generator(),
        # fork keeps the parent's imports: spawning costs seconds of importing torch for each worker.
        multiprocessing_context="fork" if workers else None,
    )
    yield from loader


def collate(patches: Sequence[Patch]) -> Batch:
    """Stack patches into a batch."""
    return Batch(
        image=torch.from_numpy(np.stack([p.image for p in patches])),
        labels=torch.from_numpy(np.stack([p.labels for p in patches]).astype(np.int64)),
        cases=tuple(p.case for p in patches),
    )


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
