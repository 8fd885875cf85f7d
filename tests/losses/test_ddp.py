"""Two processes with half a batch each: what DistributedDataParallel makes of the losses.

Processes are started, which import torch again: all cases share one start.
"""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from edgewise.losses import CrossEntropy, Dice, Loss, RegionWise, Sum, Term
from edgewise.truth import Truth

SPACING = (2.0, 1.0)
LOSSES: dict[str, Loss] = {
    "region_wise": RegionWise(),
    "sum": Sum(terms=(Term(loss=RegionWise()), Term(loss=Dice()), Term(loss=CrossEntropy()))),
    "pooled": Dice(batch="pooled"),
}


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    layers = (torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(4, 3, 3, padding=1))
    return torch.nn.Sequential(*layers).double()


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (4, 9, 10), generator=generator)
    labels[:2, :, :6] = 0  # the two halves are unlike
    return torch.randn(4, 1, 9, 10, generator=generator, dtype=torch.float64), labels


def gradients(net: torch.nn.Module, loss: Loss, part: slice = slice(None)) -> list[torch.Tensor]:
    images, labels = batch()
    truth = Truth.of(labels[part], classes=3, spacing=SPACING, needs=loss.needs)
    net.zero_grad()
    loss(net(images[part]), truth).backward()
    return [parameter.grad.clone() for parameter in net.parameters()]


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    net = DistributedDataParallel(network())
    part = slice(2 * rank, 2 * rank + 2)
    torch.save({name: gradients(net, loss, part) for name, loss in LOSSES.items()}, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@cache
def distributed() -> dict[str, list[torch.Tensor]]:
    with TemporaryDirectory() as folder:
        spawn(work, args=(folder,), nprocs=2)
        first, second = (torch.load(Path(folder) / f"{rank}.pt") for rank in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    return first


@pytest.mark.parametrize("name", ["region_wise", "sum"])
def test_a_loss_that_is_a_mean_over_images_has_the_gradient_of_the_joint_batch(name):
    torch.testing.assert_close(distributed()[name], gradients(network(), LOSSES[name]))


def test_pooled_dice_pools_the_images_of_each_process():
    halves = [gradients(network(), LOSSES["pooled"], part) for part in (slice(0, 2), slice(2, 4))]
    mean = [(first + second) / 2 for first, second in zip(*halves, strict=True)]
    torch.testing.assert_close(distributed()["pooled"], mean)
    joint = gradients(network(), LOSSES["pooled"])
    assert max(float((one - other).abs().max()) for one, other in zip(joint, mean, strict=True)) > 1e-4
