"""Losses against MONAI's, forward and backward, as ratios in one run.

Logits [2, 3, 96, 96, 96] of a network that is half-way, labels with three large classes, isotropic. "Prepared": the
data workers have built the distance maps. Ratios are medians over rounds in which all candidates of a table run in
random order; memory is measured afterwards. `make bench-losses`.
"""

import argparse
import math
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # before torch: its profiler, which measures memory, is chatty

import torch
from masks import organs
from timing import interleaved, median, peak_of_tensors, write_rows
from torch import Tensor

from edgewise.losses import LOSSES, HausdorffDT, Loss, RegionWise
from edgewise.truth import Truth

SHAPE, CLASSES = (2, 3, 96, 96, 96), 3
Candidate = Callable[[], Tensor]


@dataclass(frozen=True)
class Batch:
    """What every candidate is given."""

    logits: Tensor
    labels: Tensor

    @staticmethod
    def drawn() -> "Batch":
        images = [torch.from_numpy(organs(SHAPE[2:], CLASSES, seed=10 * seed)) for seed in range(SHAPE[0])]
        labels = torch.stack(images).long()
        right = torch.nn.functional.one_hot(labels, CLASSES).movedim(-1, 1).float()
        blurred = torch.nn.functional.avg_pool3d(right, 9, stride=1, padding=4)
        logits = 6 * blurred + torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
        return Batch(logits.contiguous().requires_grad_(), labels)

    def prepared(self, loss: Loss) -> Candidate:
        truth = Truth.of(self.labels, classes=CLASSES, needs=loss.needs)
        return lambda: loss(self.logits, truth)

    def monai(self, name: str, **options: Any) -> Candidate:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import monai.losses

            loss = getattr(monai.losses, name)(softmax=True, to_onehot_y=True, **options)
        return lambda: loss(self.logits, self.labels[:, None])

    def step(self, candidate: Candidate) -> float:
        """Forward and backward; the value."""
        value = candidate()
        torch.autograd.grad(value, self.logits)
        return value.item()

    def steps(self, candidates: dict[str, Candidate]) -> dict[str, Callable[[], float]]:
        found = {name: partial(self.step, candidate) for name, candidate in candidates.items()}
        for each in found.values():
            each()  # starts thread pools, compiles the distance transform
        return found


def verdict(label: str, ratio: float, goal: float, *, least: bool) -> dict[str, object]:
    reached = ratio >= goal if least else ratio <= goal
    sign = "at least" if least else "at most"
    print(f"- {label}: {ratio:.2f}; goal {sign} {goal}: {'reached' if reached else 'NOT reached'}", flush=True)
    return {"name": label, "ratio": ratio, "goal": goal, "reached": reached}


def against_dice(batch: Batch, rounds: int) -> list[dict[str, object]]:
    """Every loss of the catalogue, its maps prepared, beside MONAI's Dice."""
    ours = {kind: batch.prepared(cls()) for kind, cls in LOSSES.items()}
    steps = batch.steps({"MONAI DiceLoss": batch.monai("DiceLoss"), **ours})
    slow = {kind for kind, step in steps.items() if median(interleaved({kind: step}, 1)[kind]) > 1}
    quick = {kind: step for kind, step in steps.items() if kind not in slow}
    seconds = interleaved(quick, rounds) | interleaved({kind: steps[kind] for kind in slow}, 2)
    memory = {name: peak_of_tensors(step) for name, step in steps.items()}
    base, room = median(seconds["MONAI DiceLoss"]), memory["MONAI DiceLoss"]
    print("\n| loss, maps prepared | median | time / MONAI Dice | peak memory | memory / MONAI Dice |")
    print("|---|---:|---:|---:|---:|")
    rows = []
    for kind in sorted(steps, key=lambda each: median(seconds[each])):
        took = median(seconds[kind])
        print(
            f"| {kind} | {took * 1e3:.0f} ms | {took / base:.2f} | {memory[kind]:.0f} MB | {memory[kind] / room:.2f} |"
        )
        rows.append({"name": kind, "median_s": took, "time": took / base, "memory": memory[kind] / room})
    return rows


def goals(batch: Batch, rounds: int, slow_rounds: int) -> list[dict[str, object]]:
    """The issue's table."""
    region, two_sided = RegionWise(), HausdorffDT()
    fast = batch.steps({"ours": batch.prepared(region), "monai": batch.monai("DiceLoss")})
    slow = batch.steps({
        "on the fly": lambda: region(batch.logits, batch.labels),
        "two-sided": lambda: two_sided(batch.logits, batch.labels),
        "monai": batch.monai("HausdorffDTLoss"),
    })  # fmt: skip
    values = {name: step() for name, step in slow.items()}
    seconds, slow_seconds = interleaved(fast, rounds), interleaved(slow, slow_rounds)
    memory = {name: peak_of_tensors(step) for name, step in fast.items()}
    fly, two, monai = (median(slow_seconds[name]) for name in ("on the fly", "two-sided", "monai"))
    apart = abs(values["two-sided"] / values["monai"] - 1)
    for name, times in (seconds | {f"{name} (Hausdorff)": each for name, each in slow_seconds.items()}).items():
        print(f"  {name}: median {median(times) * 1e3:.0f} ms, least {min(times) * 1e3:.0f} ms")
    return [
        verdict(
            "RegionWise prepared / MONAI DiceLoss, time", median(seconds["ours"]) / median(seconds["monai"]), 0.7,
            least=False,
        ),
        verdict("the same, peak memory", memory["ours"] / memory["monai"], 0.7, least=False),
        verdict("MONAI HausdorffDTLoss / RegionWise with its map on the fly, time", monai / fly, 8, least=True),
        verdict("MONAI HausdorffDTLoss / HausdorffDT two-sided, its map on the fly, time", monai / two, 6, least=True),
        verdict("the two values, apart relatively", apart if math.isfinite(apart) else 1.0, 1e-4, least=False),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--slow-rounds", type=int, default=3, help="rounds of what takes seconds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--goals-only", action="store_true", help="leave out the table of all losses")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    batch = Batch.drawn()
    print(f"logits {SHAPE} float32, {arguments.threads} threads, forward and backward")
    rows = goals(batch, arguments.rounds, arguments.slow_rounds)
    if not arguments.goals_only:
        rows += against_dice(batch, arguments.rounds)
    write_rows(arguments.json, rows)


if __name__ == "__main__":
    main()
