"""Distance maps against the recipes of the papers' public code, as ratios in one run.

The recipes are what a reader of the papers would write with SciPy: one Euclidean distance transform a class on
one-hot masks. Every round runs all candidates of a row in random order. `make bench-maps`.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from masks import kidneys, lesions, organs
from scipy import ndimage
from timing import interleaved, median, write_rows

from edgewise.maps import DistanceMap, boundary, normalized_inverse, rectified

SPACING = (2.5, 0.8, 0.8)


def rectified_recipe(labels: np.ndarray, classes: int) -> np.ndarray:
    """Region-wise paper: for each class minus its distance over its largest one, +1 elsewhere; no spacing."""
    maps = np.ones((classes, *labels.shape), np.float32)
    for each in range(classes):
        mask = labels == each
        if mask.any():
            depth = ndimage.distance_transform_edt(mask)
            maps[each] = np.where(mask, -depth / depth.max(), 1)
    return maps


def inverse_recipe(labels: np.ndarray, classes: int) -> np.ndarray:
    """LR-Net paper: for each component of a class (largest + 1 - distance) / largest, 0 elsewhere."""
    maps = np.zeros((classes - 1, *labels.shape), np.float32)
    for each in range(1, classes):
        mask = labels == each
        depth = ndimage.distance_transform_edt(mask)
        components, count = ndimage.label(mask, np.ones((3, 3, 3)))
        for component in range(1, count + 1):
            inside = components == component
            deepest = depth[inside].max()
            maps[each - 1][inside] = (deepest + 1 - depth[inside]) / deepest
    return maps


def boundary_recipe(labels: np.ndarray, classes: int) -> np.ndarray:
    """Boundary loss: for each class the distance outside minus the distance inside; two transforms a class."""
    maps = np.zeros((classes, *labels.shape), np.float32)
    for each in range(classes):
        mask = labels == each
        if mask.any() and not mask.all():
            maps[each] = ndimage.distance_transform_edt(~mask, sampling=SPACING)
            maps[each] -= ndimage.distance_transform_edt(mask, sampling=SPACING)
    return maps


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: our map against a recipe, and how many times as fast it should be."""

    name: str
    each: DistanceMap
    recipe: Callable[[np.ndarray, int], np.ndarray]
    labels: np.ndarray
    classes: int
    goal: float
    channels: Literal["fewest", "all"] = "fewest"
    most_rounds: int = 5

    def candidates(self) -> dict[str, Callable[[], object]]:
        return {
            "ours": lambda: self.each(self.labels, classes=self.classes, spacing=SPACING, channels=self.channels),
            "recipe": lambda: self.recipe(self.labels, self.classes),
        }


def rows() -> list[Row]:
    """Everything to measure; SciPy takes most of a minute for the 14 classes, so they get two rounds."""
    rrw = partial(Row, each=rectified, recipe=rectified_recipe)
    inverse = partial(Row, each=normalized_inverse, recipe=inverse_recipe)
    three, fourteen = organs((128, 256, 256), 3), organs((64, 512, 512), 14)
    few, many = kidneys(), lesions((128, 256, 256), 110)
    return [
        rrw(name="rectified, 256x256x128, 3 large classes", labels=three, classes=3, goal=12),
        rrw(name="the same, all channels", labels=three, classes=3, goal=12, channels="all"),
        rrw(name="rectified, 512x512x64, 14 classes", labels=fourteen, classes=14, goal=50, most_rounds=2),
        rrw(name="rectified, kidneys (2 %), 512x512x100", labels=few, classes=3, goal=40),
        inverse(name="NI-DM, kidneys (2 %), 512x512x100", labels=few, classes=3, goal=40),
        inverse(name="NI-DM, 256x256x128, ~100 components", labels=many, classes=2, goal=13),
        Row(
            name="boundary, 256x256x128, 3 classes", each=boundary, recipe=boundary_recipe, labels=three, classes=3,
            goal=9,
        ),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="only rows whose name holds this")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    lines, results = [], []
    for row in rows():
        if arguments.only not in row.name:
            continue
        candidates = row.candidates()
        candidates["ours"]()  # compiles, and starts thread pools
        seconds = interleaved(candidates, min(arguments.rounds, row.most_rounds))
        ours, recipe = median(seconds["ours"]), median(seconds["recipe"])
        ratio = recipe / ours
        verdict = "reached" if ratio >= row.goal else "NOT reached"
        results.append({"name": row.name, "ours_s": ours, "recipe_s": recipe, "ratio": ratio, "goal": row.goal})
        lines.append(f"| {row.name} | {recipe:.2f} s | {ours:.3f} s | {ratio:.0f}x | {row.goal:g}x, {verdict} |")
        print(lines[-1], flush=True)
    print(f"\n{torch.get_num_threads()} threads\n\n| map | recipe | Edgewise | faster by | goal |")
    print("\n".join(["|---|---:|---:|---:|---|", *lines]))
    write_rows(arguments.json, results)


if __name__ == "__main__":
    main()
