"""What LR-Net costs: training steps of a network alone, and with the frozen LR-Net behind it.

Patch, batch, loss (MapDice, its map built in the step) and optimiser are the same; a step is everything from the batch
to the averaged weights. Each network is timed in the arithmetic in which its plain step is fastest on this machine, and
in the fastest one of single precision. Rounds are interleaved in random order. On a CPU it is processor time that
counts unless `--clock wall` is given, and the goal is judged by the minima: what else a machine does only ever adds.
`make bench-methods`.
"""

import argparse
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from masks import organs
from timing import median, write_rows

from edgewise.data.batches import Batch
from edgewise.losses import MapDice
from edgewise.methods.base import Method
from edgewise.methods.lrnet import LRNet
from edgewise.methods.supervised import Supervised
from edgewise.networks.base import Network, Topology
from edgewise.networks.mnet import MNet
from edgewise.networks.rdd import RDD
from edgewise.networks.residual_unet import ResidualUNet
from edgewise.networks.vnet import VNet
from edgewise.training.arithmetic import Arithmetic, MemoryFormat, Precision, choose
from edgewise.training.learner import Setting
from edgewise.training.optimise import Adam, Plateau

PATCH, BATCH, CLASSES, GOAL = (48, 64, 48), 2, 3, 1.25
NETWORKS: dict[str, Network] = {"mnet": MNet(), "residual_unet": ResidualUNet(), "rdd": RDD(), "vnet": VNet()}
TOPOLOGY = Topology(
    channels=1,
    classes=CLASSES,
    strides=((1, 1, 1), *((2, 2, 2),) * 4),
    kernels=((3, 3, 3),) * 5,
    widths=(8, 16, 32, 64, 128),
)
"""The paper's M-Net; the others get the same widths."""


@dataclass(frozen=True)
class Bench:
    """One machine's measurements."""

    device: torch.device
    threads: int
    rounds: int
    clock: Callable[[], float]

    def batch(self) -> Batch:
        labels = torch.stack([torch.from_numpy(organs(PATCH, CLASSES, seed=seed)).long() for seed in range(BATCH)])
        noise = torch.randn(BATCH, 1, *PATCH, generator=torch.Generator().manual_seed(0))
        return Batch(image=labels[:, None] + noise, labels=labels, cases=("a", "b")).to(self.device)

    def fastest(self, network: Network, precisions: tuple[Precision, ...]) -> Arithmetic:
        """The arithmetic in which the plain step is fastest."""
        formats: tuple[MemoryFormat, ...] = ("channels_last", "contiguous")
        options = [Arithmetic(precision=p, memory_format=f, threads=self.threads) for p in precisions for f in formats]
        image = torch.zeros(BATCH, 1, *PATCH, device=self.device)
        return choose(lambda: network.build(TOPOLOGY), image, options, rounds=2)

    def step(self, network: Network, method: Method, arithmetic: Arithmetic) -> Callable[[], float]:
        """A training step; the first two, which warm up, are behind it."""
        setting = Setting(
            network=network,
            topology=TOPOLOGY,
            loss=MapDice(),
            spacing=(1.0, 1.0, 1.0),
            optimiser=Adam(),
            schedule=Plateau(),
            seed=0,
            steps=1000,
            epoch=250,
            clip=12.0,
            average=0.999,
            arithmetic=arithmetic,
            device=self.device,
        )
        laid = {work.name: work.learner.predictor.state_dict() for work in method.groundwork(setting)}
        learner, batch = method.learner(setting, laid), self.batch()

        def step() -> float:
            with arithmetic.applied():
                return learner.step(batch, 5)  # it waits for the loss, so for a GPU too

        step()
        step()
        return step

    def interleaved(self, candidates: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
        order, seconds = random.Random(0), {name: list[float]() for name in candidates}
        for _ in range(self.rounds):
            for name in order.sample(list(candidates), len(candidates)):
                start = self.clock()
                candidates[name]()
                seconds[name].append(self.clock() - start)
        return seconds

    def row(self, name: str, arithmetic: Arithmetic) -> dict[str, Any]:
        network = NETWORKS[name]
        candidates = {
            "plain": self.step(network, Supervised(), arithmetic),
            "with": self.step(network, LRNet(), arithmetic),
        }
        seconds = self.interleaved(candidates)
        plain, both = seconds["plain"], seconds["with"]
        least, middle = min(both) / min(plain), median(both) / median(plain)
        how = f"{arithmetic.precision} {arithmetic.memory_format}"
        times = [1e3 * each for each in (min(plain), min(both), median(plain), median(both))]
        print(
            f"| {name} | {how} | {times[0]:.0f} ms | {times[1]:.0f} ms | {least:.2f} "
            f"| {times[2]:.0f} ms | {times[3]:.0f} ms | {middle:.2f} |",
            flush=True,
        )
        return {"network": name, "arithmetic": how, "plain_s": plain, "with_s": both, "least": least, "median": middle}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=["processor", "wall"], default="processor")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    wall = arguments.clock == "wall" or device.type == "cuda"
    bench = Bench(device, arguments.threads, arguments.rounds, time.perf_counter if wall else time.process_time)
    clock = "wall clock" if wall else "processor time"
    print(f"patch {PATCH}, batch {BATCH}, {CLASSES} classes, {device}, {arguments.threads} threads, {clock}\n")
    print("| network | arithmetic | alone, least | with LR-Net | ratio | alone, median | with LR-Net | ratio |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    rows = []
    for name in arguments.networks:
        first = bench.fastest(NETWORKS[name], ("fp32", "bf16"))
        single = first if first.precision == "fp32" else bench.fastest(NETWORKS[name], ("fp32",))
        chosen = dict.fromkeys(replace(each, reason="") for each in (first, single))
        rows += [bench.row(name, arithmetic) for arithmetic in chosen]
    paper = [row["least"] for row in rows if row["network"] == "mnet"]
    if paper:
        verdict = "met" if paper[0] <= GOAL else "MISSED"
        print(f"\nM-Net with the frozen LR-Net / alone: {paper[0]:.2f}, goal at most {GOAL}: {verdict}")
    write_rows(arguments.json, rows)


if __name__ == "__main__":
    main()
