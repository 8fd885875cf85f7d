"""Every overlap, surface and band metric of two classes, against MONAI, DeepMind's surface-distance and MedPy.

A pair of uint8 label maps of the size of a CT: a liver (3 %) with tens of tumours (0.2 %), predicted with a moved
boundary, missed and false lesions, and a false island of liver far away. Ratios are medians over rounds in which all
candidates run in random order, but for MedPy, which runs once; memory is measured in a further call. The values
must agree, too. `make bench-metrics`.
"""

import argparse
import ctypes
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from masks import noise
from timing import forget_peak, interleaved, median, memory, write_rows

from edgewise.metrics import Definitions, evaluate, named
from edgewise.metrics.surface import HD95

SHAPE, SPACING, TOLERANCE = (512, 512, 100), (0.8, 0.8, 2.5), 2.0
COLUMNS = (
    "dice", "jaccard", "voe", "rvd", "volume", "volume_difference", "sensitivity", "precision", "specificity",
    "hd", "hd95", "assd", "masd", "msd", "rmsd", "nsd", "bdice", "boundary_iou",
)  # fmt: skip
LIVER, TUMOUR = 1, 2
LESIONS, MISSED, FALSE = 40, 6, 2
LIVER_CENTRE, LIVER_RADII, ISLAND = (150.0, 170.0, 125.0), (92.0, 62.0, 58.0), (296.0, 296.0, 125.0)

OURS, OURS_POOLED, OURS_BY_AREA = "Edgewise, all", "Edgewise, all, hd95 pooled", "Edgewise, all, by surface area"
DEEPMIND, MEDPY = "surface-distance, five", "MedPy, four"

Values = dict[tuple[int, str], float]
Row = dict[str, object]


@dataclass(frozen=True)
class Pair:
    """What every candidate is given."""

    prediction: np.ndarray
    reference: np.ndarray

    @staticmethod
    def drawn() -> "Pair":
        prediction, reference = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
        rough, moved = noise(SHAPE, 24, seed=0), noise(SHAPE, 20, seed=1)
        depth = (distance(LIVER_CENTRE, LIVER_RADII) - 1) * 60 + 5 * rough
        reference[depth < 0] = prediction[depth + 1.6 * moved < 0] = LIVER
        prediction[distance(ISLAND, (14.0,) * 3) < 1] = LIVER
        for number, (centre, radius) in enumerate(lesions()):
            depth = distance(centre, (1.0,) * 3) - radius + 0.8 * rough
            if number >= FALSE:
                reference[depth < 0] = TUMOUR
            if not FALSE <= number < FALSE + MISSED:
                prediction[depth + 0.8 * moved < 0] = TUMOUR
        return Pair(prediction, reference)


def distance(centre: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
    """From a centre in mm, in units of the radii."""
    axes = [np.arange(count, dtype=np.float32) * size for count, size in zip(SHAPE, SPACING, strict=True)]
    grid = np.meshgrid(*axes, indexing="ij", sparse=True)
    return np.sqrt(sum(((x - c) / r) ** 2 for x, c, r in zip(grid, centre, radii, strict=True)))


def lesions() -> list[tuple[tuple[float, ...], float]]:
    """Centres in mm and radii of lesions inside the liver that do not touch, the smallest first."""
    rng, found = np.random.default_rng(0), list[tuple[tuple[float, ...], float]]()
    while len(found) < LESIONS:
        centre = tuple(rng.uniform(np.subtract(LIVER_CENTRE, LIVER_RADII), np.add(LIVER_CENTRE, LIVER_RADII)))
        radius = float(rng.uniform(3, 11))
        inside = np.linalg.norm(np.subtract(centre, LIVER_CENTRE) / LIVER_RADII) < 0.8
        if inside and all(np.linalg.norm(np.subtract(centre, c)) > radius + r + 4 for c, r in found):
            found.append((centre, radius))
    return sorted(found, key=lambda lesion: lesion[1])


def ours(pair: Pair, definitions: Definitions) -> Values:
    values = evaluate(pair.prediction, pair.reference, SPACING, definitions=definitions)
    return {(int(label), column): value for label, each in values.items() for column, value in each.items()}


def monai(pair: Pair) -> Callable[[], Values]:
    """Its five metrics of ready-made one-hot tensors, which are neither timed nor counted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai import metrics

    one_hot = (torch.from_numpy(image).long() for image in (pair.prediction, pair.reference))
    a, b = (torch.nn.functional.one_hot(image, 3).movedim(-1, 0)[None].float().contiguous() for image in one_hot)

    def run() -> Values:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = {
                "dice": metrics.compute_dice(a, b, include_background=False),
                "hd": metrics.compute_hausdorff_distance(a, b, spacing=SPACING),
                "hd95": metrics.compute_hausdorff_distance(a, b, percentile=95, spacing=SPACING),
                "assd": metrics.compute_average_surface_distance(a, b, symmetric=True, spacing=SPACING),
                "nsd": metrics.compute_surface_dice(a, b, [TOLERANCE] * 2, spacing=SPACING),
            }
        return {(label, key): float(found[key][0, label - 1]) for key in found for label in (LIVER, TUMOUR)}

    return run


def surface_distance(pair: Pair) -> Values:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import surface_distance as library

        values: Values = {}
        for label in (LIVER, TUMOUR):
            reference, prediction = pair.reference == label, pair.prediction == label
            distances = library.compute_surface_distances(reference, prediction, SPACING)
            values[label, "masd"] = float(np.mean(library.compute_average_surface_distance(distances)))
            values[label, "hd"] = float(library.compute_robust_hausdorff(distances, 100))
            values[label, "hd95"] = float(library.compute_robust_hausdorff(distances, 95))
            values[label, "nsd"] = float(library.compute_surface_dice_at_tolerance(distances, TOLERANCE))
            values[label, "dice"] = float(library.compute_dice_coefficient(reference, prediction))
    return values


def medpy(pair: Pair) -> Values:
    from medpy.metric import binary

    values: Values = {}
    for label in (LIVER, TUMOUR):
        masks = pair.prediction == label, pair.reference == label
        values[label, "dice"] = float(binary.dc(*masks))
        for key in ("hd", "hd95", "assd"):
            values[label, key] = float(getattr(binary, key)(*masks, voxelspacing=SPACING))
    return values


def peak(candidate: Callable[[], object]) -> float:
    """Memory that a call needs beyond what is in use before it, in MB."""
    with suppress(OSError, AttributeError):  # what earlier candidates left to the C library would hide some
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = forget_peak()
    candidate()
    return memory("VmHWM") - before


def apart(one: Values, other: Values) -> float:
    """The largest relative difference of the values that both have."""
    return max(abs(one[key] / other[key] - 1) for key in other)


def verdict(label: str, ratio: float, goal: float, *, least: bool) -> Row:
    reached = ratio >= goal if least else ratio <= goal
    sign = "at least" if least else "at most"
    print(f"- {label}: {ratio:.3g}; goal {sign} {goal:g}: {'reached' if reached else 'NOT reached'}", flush=True)
    return {"name": label, "ratio": ratio, "goal": goal, "reached": reached}


def choices() -> dict[str, Definitions]:
    """Our default, and the choices of the peers whose values differ from it."""
    default = named("default", TOLERANCE).only(*COLUMNS)
    pooled = {**default.metrics, "hd95": HD95(pooling="pooled")}
    by_area = {**default.metrics, "hd95": HD95(rule="cumulative")}
    return {
        OURS: default,
        OURS_POOLED: replace(default, metrics=pooled),
        OURS_BY_AREA: replace(default, metrics=by_area, border="surfels"),
    }


def table(seconds: Mapping[str, list[float]], extra: Mapping[str, float]) -> list[Row]:
    """Print times and memory; the rows."""
    base = median(seconds[OURS])
    print("\n| metrics of both classes | median | least | times as long as ours | peak extra memory |")
    print("|---|---:|---:|---:|---:|")
    for name, each in seconds.items():
        took = median(each)
        print(f"| {name} | {took:.3f} s | {min(each):.3f} s | {took / base:.1f} | {extra[name]:.0f} MB |")
    return [
        {"name": name, "median_s": median(each), "min_s": min(each), "memory_mb": extra[name]}
        for name, each in seconds.items()
    ]


def goals(seconds: Mapping[str, list[float]], extra: Mapping[str, float], values: Mapping[str, Values]) -> list[Row]:
    """The issue's: all our metrics against a few of each peer, and equal values under the peer's choices."""
    rows, base = [verdict("our peak extra memory in MB", extra[OURS], 250, least=False)], median(seconds[OURS])
    for name, own, goal in (("MONAI, five", OURS, 10), (DEEPMIND, OURS_BY_AREA, 3), (MEDPY, OURS_POOLED, 100)):
        if name in values:
            rows.append(verdict(f"time of {name} / ours", median(seconds[name]) / base, goal, least=True))
            difference = apart(values[own], values[name])
            rows.append(verdict(f"values of {name} and ours, apart relatively", difference, 1e-5, least=False))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2, help="of torch; ours uses one")
    parser.add_argument("--without-medpy", action="store_true", help="which takes minutes")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    pair = Pair.drawn()
    shares = [f"{(pair.reference == label).mean():.2%}" for label in (LIVER, TUMOUR)]
    print(f"labels {SHAPE} uint8 at {SPACING} mm: liver {shares[0]}, tumour {shares[1]} in {LESIONS - FALSE} lesions")
    candidates: dict[str, Callable[[], Values]] = {
        name: partial(ours, pair, definitions) for name, definitions in choices().items()
    }
    candidates |= {"MONAI, five": monai(pair), DEEPMIND: partial(surface_distance, pair)}
    values = {name: candidate() for name, candidate in candidates.items()}  # compiles, imports
    seconds = interleaved(candidates, arguments.rounds)
    extra = {name: peak(candidate) for name, candidate in candidates.items()}
    if not arguments.without_medpy:
        once = {MEDPY: lambda: values.update({MEDPY: medpy(pair)})}
        extra[MEDPY] = peak(lambda: seconds.update(interleaved(once, 1)))
    rows = table(seconds, extra)
    print()
    rows += goals(seconds, extra, values)
    print("\n| | " + " | ".join(COLUMNS) + " |\n|---|" + "---:|" * len(COLUMNS))
    for label, name in ((LIVER, "liver"), (TUMOUR, "tumour")):
        print(f"| {name} | " + " | ".join(f"{values[OURS][label, column]:.4g}" for column in COLUMNS) + " |")
    write_rows(arguments.json, rows)


if __name__ == "__main__":
    main()
