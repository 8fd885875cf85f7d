"""How a device computes fastest, found by measuring at the start of a run instead of guessing."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

Precision = Literal["fp32", "bf16", "fp16"]
MemoryFormat = Literal["contiguous", "channels_last"]

CHOSEN = "set by the experiment"
"""The reason of an arithmetic that nobody measured."""
MARGIN = 0.9
"""A rival must need less than this share of the default's time: noise must not decide, so runs stay repeatable."""
HOPELESS = 3.0
"""An option whose first step takes this many times the default's first one, which pays for all that starts, is out."""


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """Precision, order of axes in memory, and CPU threads.

    Attributes:
        precision: `fp32`, or mixed precision with bfloat16 or float16.
        memory_format: `channels_last` keeps the channels of a voxel together.
        threads: threads of one torch operation on a CPU.
        reason: why, with the measurements.
    """

    precision: Precision = "fp32"
    memory_format: MemoryFormat = "channels_last"
    threads: int = 1
    reason: str = CHOSEN

    def layout(self, dims: int) -> torch.memory_format:
        """Torch's name for the memory format of `dims`-dimensional images."""
        if self.memory_format == "contiguous":
            return torch.contiguous_format
        return torch.channels_last_3d if dims == 3 else torch.channels_last

    def placed(self, network: nn.Module, device: torch.device, dims: int) -> nn.Module:
        """`network` on `device`, its weights in this memory format."""
        network.to(device)
        network.to(memory_format=self.layout(dims))  # type: ignore[call-overload]  # missing in torch's stubs
        return network

    def arrange(self, image: Tensor) -> Tensor:
        """`image` (B, K, *space) in this memory format."""
        return image.contiguous(memory_format=self.layout(image.ndim - 2))

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """The context in which a network runs."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(device.type, torch.bfloat16 if self.precision == "bf16" else torch.float16)

    @property
    def safer(self) -> str:
        """What else to try, in a sentence about numbers that are no longer finite; empty if there is nothing."""
        return "" if self.precision == "fp32" else ", or with plan.precision fp32"

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Set the threads for the duration of a block."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def choose(
    build: Callable[[], nn.Module], image: Tensor, options: Sequence[Arithmetic], *, rounds: int = 3
) -> Arithmetic:
    """The fastest of `options` for a training step on `image`; the first is the default and wins near ties.

    Rounds are interleaved and minima compared, because other work on the machine disturbs single timings. On a CPU it
    is processor time that counts, for the same reason, unless the options differ in their threads. A rival that is far
    behind in its untimed step is not stepped again: bfloat16 can take twelve times as long where a processor lacks it.

    Args:
        build: a network with fresh weights.
        image: (B, K, *space), as in training.
        options: what to try, the default first.
        rounds: timed steps of each option; one more goes before them, untimed.

    Returns:
        The winner; its reason lists the times, after the reason it came with. Of a rival that was left out it is the
        time of its only step.
    """
    if len(options) == 1:
        return options[0]
    clock = (
        time.process_time
        if len({o.threads for o in options}) == 1 and image.device.type == "cpu"
        else time.perf_counter
    )
    trials = [_Trial(build(), image, option) for option in options]
    times = [[trial.step(clock)] for trial in trials]
    racing = [i for i, (first,) in enumerate(times) if first <= HOPELESS * times[0][0]]
    for i in racing * rounds:
        times[i].append(trials[i].step(clock))
    best = [
        min(own[1:] or own) / (o.threads if clock is time.process_time else 1)
        for o, own in zip(options, times, strict=True)
    ]
    winner = 0
    for i in range(1, len(options)):
        if best[i] < MARGIN * best[winner]:
            winner = i
    table = ", ".join(
        f"{o.precision} {o.memory_format} {o.threads} threads {1000 * b:.0f} ms"
        for o, b in zip(options, best, strict=True)
    )
    before = f"{options[winner].reason}; then " if options[winner].reason != CHOSEN else ""
    return replace(options[winner], reason=f"{before}fastest training step on this machine: {table}")


class _Trial:
    """One network under one arithmetic, stepped on demand."""

    def __init__(self, network: nn.Module, image: Tensor, option: Arithmetic) -> None:
        self.option, self.device = option, image.device
        self.network = option.placed(network, image.device, image.ndim - 2).train()
        self.image = option.arrange(image)

    def step(self, clock: Callable[[], float]) -> float:
        """Seconds of one forward and backward pass."""
        start = clock()
        with self.option.applied():
            with self.option.autocast(self.device):
                logits = self.network(self.image)
            full = logits[0] if isinstance(logits, list) else logits
            full.float().logsumexp(1).mean().backward()
            if self.device.type == "cuda":
                torch.cuda.synchronize()
        return clock() - start
