"""The processes that train one network together, and what they tell each other."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from edgewise.errors import EdgewiseError, ExperimentError, RunError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Group:
    """The processes of a training, and which of them this one is. All of them must ask it for the same, in turn.

    Gradients are averaged after the backward pass, in one piece. Unlike torch's `DistributedDataParallel`, which
    averages while the pass goes on, this knows the weights that a turn moves, and wraps no module; on several GPUs
    the time for it is not hidden behind computation.

    Attributes:
        rank: number of this process; the first one, 0, writes all files.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the first process."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is no other."""
        return self.size == 1

    def share(self, batch: int, name: str) -> range:
        """The places in a batch whose patches this process makes: as many as every other.

        So the mean of the processes' means is the mean of the batch, and nothing has to be weighted.

        Args:
            batch: patches in a batch of all processes together.
            name: of the setting that says so.

        Raises:
            ExperimentError: they cannot be shared out equally.
        """
        each, left = divmod(batch, self.size)
        if left or not each:
            fitting = sorted({max(each, 1) * self.size, (each + 1) * self.size})
            raise ExperimentError(
                f"{name} is {batch}, the batch of all {self.size} processes together, which cannot be shared out "
                f"equally among them. Set it to {' or '.join(map(str, fitting))}, or start another number of processes."
            )
        return range(self.rank * each, (self.rank + 1) * each)

    def told(self, value: T) -> T:
        """The `value` of the first process, in all of them; tensors of others come to lie in main memory."""
        return self._said(value, 0)

    def gathered(self, value: T) -> list[T]:
        """The `value` of every process, in their order."""
        return [self._said(value, rank) for rank in range(self.size)]

    def led(self, work: Callable[[], T]) -> T:
        """What `work` returns in the first process, the only one that does it; the others wait.

        Raises:
            EdgewiseError: what `work` has raised, in all processes.
        """
        if self.alone:
            return work()
        answer: list[T] = []
        failure: EdgewiseError | None = None
        if self.leads:
            try:
                answer = [work()]
            except EdgewiseError as error:
                failure = error
        answer, failure = self.told((answer, failure))
        if failure is not None:
            raise failure
        return answer[0]

    def spread(self, module: nn.Module) -> None:
        """Give a module the weights and buffers of the first process."""
        if self.alone:
            return
        with torch.no_grad():
            for each in (*module.parameters(), *module.buffers()):
                whole = each.detach().contiguous()
                with _connected():
                    distributed.broadcast(whole, 0)
                each.copy_(whole)

    def average_gradient(self, loss: Tensor, weights: Sequence[nn.Parameter]) -> tuple[Tensor, bool]:
        """Average the gradient of `weights`, in place, over the processes that have one.

        A process has none if its share of the batch has nothing to learn from. A weight keeps `None` that no process
        has a gradient for, so that the optimiser leaves it alone, as it would in one process.

        Args:
            loss: of this process's share of the batch, after its backward pass.
            weights: what moves.

        Returns:
            The loss, averaged alike; and whether any process has a gradient.
        """
        loss, learns = loss.detach().float(), loss.requires_grad
        if self.alone:
            return loss, learns
        have = torch.tensor([learns, *(each.grad is not None for each in weights)], dtype=torch.int32)
        with _connected():
            distributed.all_reduce(have)  # in main memory: nothing waits for a GPU
        learners, *counts = have.tolist()
        moved = [each for each, count in zip(weights, counts, strict=True) if count]
        for each in moved:
            if each.grad is None:
                each.grad = torch.zeros_like(each)
        loss = loss.clone()
        self._average([loss, *(each.grad for each in moved if each.grad is not None)], learners or self.size)
        return loss, learners > 0

    def average_statistics(self, module: nn.Module) -> None:
        """Average the running statistics of batch normalisation, of which each process has seen its own share."""
        if not self.alone:
            own = [each for part in module.modules() if part.training for each in _statistics(part)]
            self._average(own, self.size)

    @torch.no_grad()
    def _average(self, tensors: Sequence[Tensor], count: int) -> None:
        if not tensors:
            return
        flat, sizes = torch.cat([each.flatten() for each in tensors]), [each.numel() for each in tensors]
        with _connected():
            distributed.all_reduce(flat)
        flat /= count
        for each, part in zip(tensors, torch.split(flat, sizes), strict=True):
            each.copy_(part.view(each.shape))

    def _said(self, value: T, rank: int) -> T:
        """The `value` of process `rank`. It goes through main memory, where waiting has no limit and costs nothing."""
        if self.alone:
            return value
        size, content = torch.zeros(1, dtype=torch.int64), torch.zeros(0, dtype=torch.uint8)
        if rank == self.rank:
            file = io.BytesIO()
            torch.save(value, file)
            content = torch.frombuffer(file.getbuffer(), dtype=torch.uint8)
            size[0] = content.numel()
        with _connected():
            distributed.broadcast(size, rank)
            if rank != self.rank:
                content = torch.zeros(int(size), dtype=torch.uint8)
            distributed.broadcast(content, rank)
        if rank == self.rank:
            return value
        # Not from a file of unknown origin: it comes from a process of the same training.
        said: Any = torch.load(io.BytesIO(content.numpy().tobytes()), map_location="cpu", weights_only=False)
        answer: T = said
        return answer


ALONE = Group()
"""One process, as ever."""


def current() -> Group:
    """The group that this process has joined."""
    if distributed.is_available() and distributed.is_initialized():
        return Group(rank=distributed.get_rank(), size=distributed.get_world_size())
    return ALONE


def _statistics(module: nn.Module) -> Iterator[Tensor]:
    for name in ("running_mean", "running_var"):
        each = getattr(module, name, None)
        if isinstance(each, Tensor):
            yield each


@contextmanager
def _connected() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # what torch raises where another process is gone
        raise RunError(
            "the connection to the other processes of this training is lost: one of them has ended. Start them all "
            "again, with --resume."
        ) from error
