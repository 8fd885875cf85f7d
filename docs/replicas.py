"""Table and curves of docs/explanation/replicas.md, from run folders: `python docs/replicas.py RUN...`."""

import csv
import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt

from edgewise.compare.statistics import mean_interval

PICTURE = Path(__file__).parent / "images" / "replicas.png"
METRICS = ("dice", "hd95", "bdice")
GAP = 0.045
"""Between two names beside the curves, so that each can be read."""


def row(run: Path) -> str:
    """One line of the table: mean and 95 % interval over the cases, by metric and class."""
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        scores = list(csv.DictReader(file))
    cells = []
    for metric in METRICS:
        for label in sorted({score["class"] for score in scores}):
            found = mean_interval({s["case"]: float(s[metric]) for s in scores if s["class"] == label})
            low, high = found.interval
            places = 1 if metric == "hd95" else 3
            cells.append(f"{found.mean:.{places}f} [{low:.{places}f}, {high:.{places}f}]")
    return f"| `{run.name}` | " + " | ".join(cells) + " |"


def curve(run: Path) -> tuple[list[int], list[float]]:
    """Validation steps and mean Dice."""
    lines = (run / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    seen = {record["step"]: record["mean_dice"] for record in records if record["event"] == "validation"}
    return list(seen), list(seen.values())


def main(runs: list[Path]) -> None:
    print("\n".join(row(run) for run in runs))
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    heights: dict[plt.Axes, float] = {}
    for run in sorted(runs, key=lambda run: -curve(run)[1][-1]):
        side = axes[0] if run.name.startswith(("mnet", "lrnet")) else axes[1]
        steps, dice = curve(run)
        (line,) = side.plot(steps, dice, marker="o", label=run.name)
        height = min(dice[-1], heights.get(side, 1.0) - GAP)
        heights[side] = height
        side.text(820, height, run.name, va="center", color=line.get_color(), fontsize=8)
    for side, title in zip(axes, ("M-Net", "V-Net and RDD"), strict=True):
        side.set(title=title, xlabel="training step", ylim=(0, 1), xlim=(150, 1150), xticks=(200, 400, 600, 800))
        side.grid(alpha=0.3)
        side.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("mean Dice of the validation cases")
    figure.savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
