"""Cubic resampling of a CT against SciPy, scikit-image (what nnU-Net uses) and MONAI, as ratios in one run.

512x512x100 float32 at 0.8x0.8x2.5 mm to 1 mm: 410x410x250. Every round runs all candidates in random order,
so that what else the machine does hits them alike. The peers work on one thread, and so does a preparation
worker: that row is the yardstick. Candidates whose package is missing are left out and said so.
"""

import argparse
import importlib.util
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from timing import forget_peak, memory, write_rows

from edgewise.data.resample import resample

SHAPE, SPACING, TARGET = (512, 512, 100), (0.8, 0.8, 2.5), (410, 410, 250)
OURS, SKIMAGE = "edgewise resample, cubic, 1 thread", "scikit-image resize, order 3 (nnU-Net)"
Candidate = Callable[[np.ndarray], np.ndarray]


def scipy_zoom(volume):
    factors = [m / n for n, m in zip(SHAPE, TARGET, strict=True)]
    return ndimage.zoom(volume, factors, order=3, mode="nearest", grid_mode=True)


def skimage_resize(volume):
    from skimage.transform import resize

    return resize(volume, TARGET, order=3, mode="edge", clip=True, anti_aliasing=False)


def monai_spacing(volume):
    from monai.data import MetaTensor
    from monai.transforms import Spacing

    image = MetaTensor(torch.from_numpy(volume)[None], affine=torch.diag(torch.tensor([*SPACING, 1.0])))
    return Spacing((1.0, 1.0, 1.0), mode=3, padding_mode="nearest")(image).numpy()[0]


def ours_on_all_threads(volume):
    return resample(volume[None], TARGET, "cubic")[0]


def ours(volume):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return ours_on_all_threads(volume)
    finally:
        torch.set_num_threads(threads)


def candidates() -> dict[str, Candidate]:
    found: dict[str, Candidate] = {OURS: ours, "edgewise resample, cubic, all threads": ours_on_all_threads}
    found["SciPy zoom, order 3"] = scipy_zoom
    for package, name, candidate in (
        ("skimage", SKIMAGE, skimage_resize),
        ("monai", "MONAI Spacing, order 3 (another grid)", monai_spacing),
    ):
        if importlib.util.find_spec(package):
            found[name] = candidate
        else:
            print(f"{package} is not installed: left out")
    return found


def measure(candidate: Candidate, volume: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Seconds, peak memory above what was in use (MB), and the result."""
    before = forget_peak()
    start = time.perf_counter()
    result = candidate(volume)
    seconds = time.perf_counter() - start
    return seconds, memory("VmHWM") - before, result


def run(rounds: int) -> list[dict[str, object]]:
    volume = np.random.default_rng(0).uniform(-1000, 1000, SHAPE).astype(np.float32)
    small = np.random.default_rng(0).normal(size=(1, 20, 20, 20)).astype(np.float32)
    resample(small, (30, 30, 30))  # thread pools start here, not in the first row
    seconds: dict[str, list[float]] = {name: [] for name in candidates()}
    peaks: dict[str, list[float]] = {name: [] for name in seconds}
    difference: dict[str, float] = {}
    todo = candidates()
    expected = scipy_zoom(volume)
    order = random.Random(0)
    for turn in range(rounds):
        for name in order.sample(list(todo), len(todo)):
            took, peak, result = measure(todo[name], volume)
            seconds[name].append(took)
            peaks[name].append(peak)
            if result.shape == expected.shape:
                difference[name] = float(np.abs(result - expected).max())
            del result
            print(f"round {turn + 1}/{rounds}: {name}: {took:.2f} s", flush=True)
    own = statistics.median(seconds[OURS])
    return [
        {
            "name": name,
            "median_s": statistics.median(times),
            "min_s": min(times),
            "ratio": statistics.median(times) / own,
            "ratio_of_min": min(times) / min(seconds[OURS]),
            "peak_mb": statistics.median(peaks[name]),
            "difference_to_scipy": difference.get(name),
        }
        for name, times in seconds.items()
    ]


def table(rows: list[dict[str, object]]) -> str:
    lines = [
        "| case | median | min | ratio of medians | of minima | peak extra memory | difference to SciPy |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        apart = "" if row["difference_to_scipy"] is None else f"{row['difference_to_scipy']:.2g}"
        lines.append(
            f"| {row['name']} | {row['median_s']:.2f} s | {row['min_s']:.2f} s | {row['ratio']:.1f} "
            f"| {row['ratio_of_min']:.1f} | {row['peak_mb']:.0f} MB | {apart} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    rows = run(arguments.rounds)
    print(f"\n512x512x100 float32, uniform in +-1000; all threads: {torch.get_num_threads()}\n\n{table(rows)}")
    for row in rows:
        if row["name"] == SKIMAGE:
            verdict = "reached" if row["ratio"] >= 12 else "NOT reached"
            print(f"\nGoal: at least 12 times as fast as scikit-image: {row['ratio']:.1f}, {verdict}.")
    write_rows(arguments.json, rows)


if __name__ == "__main__":
    main()
