"""Locate and segment, against segmenting everywhere: an organ of 0.5 % of a CT, found by the same network S both ways.

S is trained twice, for as many steps on the same phantoms (`abdomen.py`): on patches, to slide over volumes, and as the
second half of an L-SNet. Then both predict whole volumes that they have not seen. Times are processor seconds of one
thread, minima over the rounds (sliding has one): other work on a machine only ever adds.

The first table compares the two ways. The second grows the image around the same organ, then the organ, then the
number of organs, and says what each part costs, for regions recalibrated to one size and for regions cut out as they
are. There S is told the boxes of the reference (after L-Net has looked), so that no miss makes it faster. The third is
the whole prediction of a CT, with what lies before and behind the networks; S is told one box. `make bench-regions`;
the weights are kept in the folder `--cache`.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import abdomen
import numpy as np
import torch
from abdomen import RADII, Scene
from regions_training import ARITHMETICS, CPU, FULL, MARGIN, PATCH, WAYS, fastest, networks
from timing import forget_peak, interleaved, memory, write_rows
from torch import Tensor, nn
from typing_extensions import override

from edgewise.data.case import Case, Grid
from edgewise.data.intensity import ClipZScore
from edgewise.data.transform import Preparation, restore, transform
from edgewise.detection.boxes import objects
from edgewise.inference.apply import applied
from edgewise.inference.prediction import Prediction
from edgewise.inference.roi import AnyTransfer, Crop
from edgewise.inference.sliding import Inference, Window, averaged
from edgewise.inference.two_stage import Candidate, Locator, TwoStage
from edgewise.training.arithmetic import Arithmetic, Precision

EIGHTH = (150, 256, 256)
SPEED, LOSS = 5.0, 0.01
"""The goals: at least so many times as fast, and at most so much Dice lost."""
HU = 300.0
"""Of one unit of a phantom's intensity."""
Found = list[list[Candidate]]
Told = Callable[[Found], Found]


@dataclass
class Watch:
    """Processor seconds spent in some calls."""

    seconds: float = 0.0

    def timed(self, call: Callable[[Tensor], Any], image: Tensor) -> Any:
        start = time.process_time()
        answer = call(image)
        self.seconds += time.process_time() - start
        return answer


class Watched(nn.Module):
    def __init__(self, network: nn.Module, watch: Watch) -> None:
        super().__init__()
        self.network, self.watch = network, watch

    @override
    def forward(self, image: Tensor) -> Any:
        return self.watch.timed(self.network, image)


class WatchedLocator(Locator):
    """A locator that is told afterwards what it should have found."""

    def __init__(self, locator: Locator, watch: Watch, told: Told) -> None:
        super().__init__()
        self.locator, self.watch, self.told = locator, watch, told

    @property
    @override
    def step(self) -> tuple[int, ...]:
        return self.locator.step

    @override
    def find(self, image: Tensor) -> tuple[Found, Tensor]:
        found, heat = self.watch.timed(self.locator.find, image)
        return self.told(found), heat


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Processor seconds of a prediction, its wall seconds, and MB beyond what the process had before."""

    locating: float
    segmenting: float
    rest: float
    wall: float
    peak: float

    @property
    def whole(self) -> float:
        return self.locating + self.segmenting + self.rest


@dataclass(frozen=True, kw_only=True)
class Way:
    """A trained module, and how it is applied.

    Attributes:
        network: S, or L-Net and S.
        patch: that it was trained on.
        arithmetic: fastest for S.
        windows: in a batch, fastest for S.
        rounds: of which the least counts.
    """

    network: nn.Module
    patch: tuple[int, ...]
    arithmetic: Arithmetic
    windows: int
    rounds: int = 1

    def predicted(self, image: np.ndarray, told: Told = lambda found: found) -> tuple[Prediction, Cost]:
        window = Window(patch=self.patch, classes=2, arithmetic=self.arithmetic, device=CPU)
        costs = []
        for _ in range(self.rounds):
            locate, segment = Watch(), Watch()
            network = watched(self.network, locate, segment, told)
            before, wall, start = forget_peak(), time.perf_counter(), time.process_time()
            found = applied(network, image, window, Inference(windows=self.windows))
            spent, wall = time.process_time() - start, time.perf_counter() - wall
            rest = spent - locate.seconds - segment.seconds
            costs.append((locate.seconds, segment.seconds, rest, wall, memory("VmHWM") - before))
        locating, segmenting, rest, wall, peak = (min(column) for column in zip(*costs, strict=True))
        return found, Cost(locating=locating, segmenting=segmenting, rest=rest, wall=wall, peak=peak)


def watched(network: nn.Module, locate: Watch, segment: Watch, told: Told) -> nn.Module:
    if not isinstance(network, TwoStage):
        return Watched(network, segment)
    locator = WatchedLocator(network.locate, locate, told)
    return with_parts(network, locator, Watched(network.segment, segment), network.transfer)


def with_parts(network: TwoStage, locate: Locator, segment: nn.Module, transfer: AnyTransfer) -> TwoStage:
    return TwoStage(
        locate,
        segment,
        transfer,
        classes=network.classes,
        grouping=network.grouping,
        multiple=network.multiple,
    )


def telling(boxes: list[Candidate], found: Found) -> Found:
    """The same boxes for every image."""
    return [boxes for _ in found]


def way_of(network: nn.Module, patch: tuple[int, ...], rounds: int, precision: Precision) -> Way:
    """A way in the order of axes, and with as many windows in a batch, in which S takes least time for a window."""
    two = isinstance(network, TwoStage)
    segment = network.segment if isinstance(network, TwoStage) else network
    options = list(product([each for each in ARITHMETICS if each.precision == precision], (1, 2, 4)))
    calls = {str(each): partial(window_by, segment, *each) for each in options}
    seconds = interleaved(calls, 3, time.process_time)
    arithmetic, windows = min(options, key=lambda each: min(seconds[str(each)]) / each[1])
    name = f"{arithmetic.precision}, {arithmetic.memory_format}"
    print(f"S of {type(network).__name__}: {name}, {windows} windows in a batch", flush=True)
    placed = arithmetic.placed(network, CPU, 3)
    return Way(network=placed, patch=patch, arithmetic=arithmetic, windows=windows, rounds=rounds if two else 1)


def window_by(network: nn.Module, arithmetic: Arithmetic, windows: int) -> Tensor:
    """What a network says of a batch of windows."""
    window = Window(patch=PATCH, classes=2, arithmetic=arithmetic, device=CPU)
    with torch.inference_mode(), arithmetic.applied():
        placed = arithmetic.placed(network, CPU, 3)
        return averaged(placed, torch.zeros(windows, 1, *PATCH), window, Inference())


def compared(ways: dict[str, Way], volumes: int) -> list[dict[str, Any]]:
    """Both ways on the same CTs."""
    rows: list[dict[str, Any]] = []
    print(f"\n{' × '.join(map(str, FULL))} voxels, one organ\n")
    print("| CT | organ | way | processor time | wall time | peak memory | Dice | regions |")
    print("|---|---:|---|---:|---:|---:|---:|---:|")
    for seed in range(volumes):
        scene = abdomen.whole(FULL, seed=seed)
        for name, way in ways.items():
            found, cost = way.predicted(scene.image)
            row = {"table": "compared", "seed": seed, "way": name, "dice": dice(found, scene), "whole": cost.whole}
            rows.append({**row, **vars(cost)})
            print(
                f"| {seed} | {100 * scene.labels.mean():.2f} % | {name} | {cost.whole:.2f} s | {cost.wall:.2f} s "
                f"| {cost.peak:.0f} MB | {row['dice']:.4f} | {len(found.regions)} |",
                flush=True,
            )
    everywhere, regions = ([row for row in rows if row["way"] == name] for name in ways)
    ratio = min(a["whole"] / b["whole"] for a, b in zip(everywhere, regions, strict=True))
    lost = sum(a["dice"] - b["dice"] for a, b in zip(everywhere, regions, strict=True)) / volumes
    for what, value, goal, met in (
        ("times as fast, the least of the CTs", f"{ratio:.0f}", f"at least {SPEED:g}", ratio >= SPEED),
        ("Dice gained, mean of the CTs", f"{-lost:+.4f}", f"at least {-LOSS:+g}", lost <= LOSS),
    ):
        print(f"\n{what}: {value}; goal {goal}: {'met' if met else 'MISSED'}", flush=True)
    return rows


def dice(found: Prediction, scene: Scene) -> float:
    mask, truth = found.probabilities[1] > found.probabilities[0], scene.labels == 1
    return float(2 * np.count_nonzero(mask & truth) / (np.count_nonzero(mask) + np.count_nonzero(truth)))


def growth(ways: dict[str, Way]) -> list[dict[str, Any]]:
    """What the parts of a prediction cost, by image, organ, and number of organs."""
    rows: list[dict[str, Any]] = []
    print("\n| image | organs | transfer | locating | segmenting | all else | together | peak memory |")
    print("|---|---|---|---:|---:|---:|---:|---:|")
    for shape, organs, volume in ((EIGHTH, 1, 1), (FULL, 1, 1), (FULL, 1, 2), (FULL, 1, 4), (FULL, 2, 1), (FULL, 4, 1)):
        scene = abdomen.whole(shape, organs, volume, seed=1)
        boxes = [Candidate(box=each.box, kind=each.kind, score=1.0) for each in objects(scene.labels, 2, "component")]
        if len(boxes) != organs:
            raise SystemExit(f"{len(boxes)} organs where {organs} should be")
        for name, way in ways.items():
            if name == "sliding" and shape == FULL:
                continue  # nothing that it does depends on what is in the image: the first table has it
            _, cost = way.predicted(scene.image, partial(telling, boxes))
            size = "×".join(map(str, shape))
            rows.append(
                {"table": "growth", "image": size, "organs": organs, "volume": volume, "way": name, **vars(cost)}
            )
            print(
                f"| {size} | {organs} of {volume}x | {name} | {cost.locating:.2f} s | {cost.segmenting:.2f} s "
                f"| {cost.rest:.2f} s | {cost.whole:.2f} s | {cost.peak:.0f} MB |",
                flush=True,
            )
    return rows


def whole_prediction(way: Way) -> list[dict[str, Any]]:
    """Everything that happens to a CT in memory before there is a mask, by its voxel size in the slice."""
    scene, rows = abdomen.whole(FULL), []
    intensity = ClipZScore(lower=-1024.0, upper=3071.0, mean=0.0, std=HU)
    preparation = Preparation(axes=(2, 1, 0), spacing=(1.0, 1.0, 1.0), intensity=(intensity,))
    print(
        "\n| voxels of the CT | preparing | L-Net and S | all else of predicting | restoring | outside of L-Net and S |"
    )
    print("|---|---:|---:|---:|---:|---:|")
    for plane in (1.0, 0.8):
        case = ct(scene, plane)
        start = time.process_time()
        prepared = transform(case, preparation)
        preparing = time.process_time() - start
        middle = [n / 2 for n in prepared.image.shape[1:]]
        box = (
            *(m - r for m, r in zip(middle, RADII, strict=True)),
            *(m + r for m, r in zip(middle, RADII, strict=True)),
        )
        told = [Candidate(box=box, kind=0, score=1.0)]
        found, cost = way.predicted(prepared.image, partial(telling, told))
        start = time.process_time()
        restore(found.probabilities, prepared.undo)
        restoring = time.process_time() - start
        inside = cost.locating + cost.segmenting
        outside = preparing + cost.rest + restoring
        share = outside / (inside + outside)
        size = "×".join(map(str, prepared.image.shape[1:]))
        rows.append({"table": "whole", "plane": plane, "preparing": preparing, "restoring": restoring, **vars(cost)})
        print(
            f"| {plane:g} × {plane:g} × 1 mm, prepared {size} | {preparing:.2f} s | {inside:.2f} s | {cost.rest:.2f} s "
            f"| {restoring:.2f} s | {100 * share:.0f} % |",
            flush=True,
        )
    return rows


def ct(scene: Scene, plane: float) -> Case:
    """A phantom as a CT: Hounsfield units, the canonical order of the axes."""
    image = HU * scene.image.transpose(0, 3, 2, 1)
    affine = np.diag([plane, plane, 1.0, 1.0])
    grid = Grid(path=Path("phantom.nii.gz"), shape=image.shape[1:], affine=affine)
    return Case(id="phantom", image=image, labels=None, spacing=(plane, plane, 1.0), affine=affine, grid=grid)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300, help="of each training")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--volumes", type=int, default=2, help="CTs of the comparison")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "edgewise-bench-regions")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    arithmetic = fastest()
    print(f"training in {arithmetic.precision}, {arithmetic.memory_format}", flush=True)
    ways = {
        name: way_of(network, WAYS[name][1], arguments.rounds, arithmetic.precision)
        for name, network in networks(arguments.steps, arguments.cache, arithmetic).items()
    }
    recalibrated = ways["two stages"]
    both = recalibrated.network
    assert isinstance(both, TwoStage)
    cropped = replace(recalibrated, network=with_parts(both, both.locate, both.segment, Crop(border=round(MARGIN))))
    rows = compared(ways, arguments.volumes)
    rows += growth({"sliding": ways["sliding"], "recalibration": recalibrated, "crop": cropped})
    rows += whole_prediction(recalibrated)
    write_rows(arguments.json, rows)


if __name__ == "__main__":
    main()
