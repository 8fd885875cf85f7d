"""Tables of the L-SNet replicas in docs/explanation/replicas.md: `python docs/two_stage_replicas.py DATA RUN...`.

The runs are of one dataset. Prediction is timed on this machine, in processor time of one thread.
"""

import csv
import json
import sys
import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from edgewise.compare.statistics import mean_interval, paired
from edgewise.data import layouts
from edgewise.data.batches import Batch
from edgewise.data.images import read_case
from edgewise.data.splits import group_of
from edgewise.data.transform import transform
from edgewise.inference.apply import applied
from edgewise.inference.sliding import Window
from edgewise.inference.two_stage import TwoStage
from edgewise.run.folder import RunFolder
from edgewise.run.trained import Trained, load
from edgewise.run.trainer import setting

METRICS = ("dice_slices", "dice", "precision", "sensitivity")
TIMED = 4
"""Cases on which prediction is timed."""


def scores(run: Path, metric: str) -> dict[str, float]:
    """A metric by case, the mean over the classes."""
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    cases = sorted({row["case"] for row in rows})
    found = {case: [float(row[metric]) for row in rows if row["case"] == case] for case in cases}
    return {case: sum(values) / len(values) for case, values in found.items()}


def groups(cases: dict[str, float]) -> dict[str, str]:
    return {case: group_of(case, "auto") for case in cases}


def cell(run: Path, metric: str) -> str:
    values = scores(run, metric)
    found = mean_interval(values, groups(values))
    return f"{found.mean:.3f} [{found.interval[0]:.3f}, {found.interval[1]:.3f}]"


def quality(run: Path) -> str:
    """One line: metrics with intervals over patients, and how well objects were located."""
    located = json.loads((run / "summary.json").read_text(encoding="utf-8")).get("localisation", {})
    boxes = [located.get(key) for key in ("mean_iou", "recall", "contained")]
    cells = [cell(run, metric) for metric in METRICS]
    cells += ["–" if value is None else f"{value:.3f}" for value in boxes]
    return f"| `{run.name}` | " + " | ".join(cells) + " |"


def against(run: Path, other: Path) -> str:
    """The difference of two runs in one line."""
    first, second = (scores(each, "dice_slices") for each in (run, other))
    found = paired(first, second, better="higher", groups=groups(first))
    low, high = found.interval
    return f"{run.name} - {other.name}: {found.difference:+.3f} [{low:+.3f}, {high:+.3f}], p = {found.p:.3f}"


def multiply_adds(module: torch.nn.Module, image: torch.Tensor) -> float:
    """In 1e9."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(image)
    return counter.get_total_flops() / 2e9


def cost(run: Path, data: Path) -> str:
    """One line: weights, multiply-adds of a patch and of a region, seconds of a training step and of a prediction."""
    trained = load(RunFolder(path=run))
    patch = trained.plan.patch
    image = torch.zeros(1, len(trained.channels), *patch)
    weights = sum(each.numel() for each in trained.network.parameters()) / 1e6
    if isinstance(trained.network, TwoStage):
        first = multiply_adds(trained.network.locate.network, image)
        second = multiply_adds(trained.network.segment, image)
        sums = f"{first:.2f} + {second:.2f} a region of that size"
    else:
        sums = f"{multiply_adds(trained.network, image):.2f}"
    took = seconds(trained, RunFolder(path=run), data)
    return f"| `{run.name}` | {weights:.2f} | {sums} | {step(trained):.2f} | {took:.2f} |"


def step(trained: Trained) -> float:
    """Processor time of a training step on noise with a cube of each class: the least of some."""
    plan, experiment = trained.plan, trained.experiment
    chosen = setting(experiment, plan, len(trained.classes), torch.device("cpu"))
    labels = torch.zeros(plan.batch, *plan.patch, dtype=torch.long)
    for label in range(1, len(trained.classes)):
        labels[(slice(None), *(slice(9 * label, 9 * label + 8) for _ in plan.patch))] = label
    image = torch.randn(plan.batch, len(trained.channels), *plan.patch)
    batch = Batch(image=image, labels=labels, cases=("noise",) * plan.batch)
    learner = experiment.method.learner(chosen, {})
    took = []
    for number in range(6):
        start = time.process_time()
        learner.step(batch, number)
        took.append(time.process_time() - start)
    return min(took[1:])


def seconds(trained: Trained, folder: RunFolder, data: Path) -> float:
    """Processor time of predicting a prepared case, the mean over some."""
    chosen = set(folder.mapping(folder.dataset)["validation"])
    files = [case for case in layouts.detect(data).cases if case.id in chosen][:TIMED]
    images = [transform(read_case(each), trained.plan.preparation()).image for each in files]
    window = Window(
        patch=trained.plan.patch,
        classes=len(trained.classes),
        arithmetic=trained.plan.arithmetic,
        device=trained.device,
        mirrored=(),
    )
    took = []
    for image in (images[0], *images):
        start = time.process_time()
        applied(trained.network, image, window, trained.experiment.inference)
        took.append(time.process_time() - start)
    return sum(took[1:]) / len(images)


def main(data: Path, runs: list[Path]) -> None:
    print("\n".join(quality(run) for run in runs), end="\n\n")
    print("\n".join(cost(run, data) for run in runs), end="\n\n")
    print("\n".join(against(run, runs[0]) for run in runs[1:]))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
