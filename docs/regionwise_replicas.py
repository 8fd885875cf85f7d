"""Tables and pictures of the region-wise replicas in docs/explanation/replicas.md.

`python docs/regionwise_replicas.py LOSSES CONVERGENCE`: the folders of the studies `replicas/regionwise/losses` and
`replicas/regionwise/convergence`.
"""

import math
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
from scipy import stats

from edgewise.compare.convergence import Curve, band, distribution, failure_rate, first_reaching, fluctuation
from edgewise.compare.runs import Results, classes_of, compared, scores_of
from edgewise.compare.statistics import mean_interval
from edgewise.report.converging import FAILED, NEAR
from edgewise.report.journal import read_journal
from edgewise.report.records import read_run
from edgewise.run.report import grouped
from edgewise.study.file import Part, load
from edgewise.study.folder import StudyFolder

PICTURES = Path(__file__).parent / "images"
METRICS = ("dice", "hd")
COLOURS = {"rectified": "#0072b2", "boundary": "#d55e00"}


def parts_of(study: StudyFolder) -> dict[str, list[Part]]:
    """The finished parts of every row."""
    rows: dict[str, list[Part]] = {}
    for part in load(study.study).parts:
        if study.state(part) == "done":
            rows.setdefault(part.row, []).append(part)
    return rows


def results(study: StudyFolder) -> list[Results]:
    found, _ = grouped([read_run(study.run(part).path) for parts in parts_of(study).values() for part in parts])
    return found


def losses(study: StudyFolder) -> Iterator[str]:
    """A row each: mean over patients and seeds with its interval, by metric and class; then the paired tests."""
    rows = results(study)
    classes = classes_of(rows)
    heads = [f"{'Dice' if metric == 'dice' else 'HD, mm'} {name}" for metric in METRICS for _, name in classes]
    yield f"| row | seeds | {' | '.join(heads)} |"
    yield f"|{'---|' * (len(heads) + 2)}"
    for each in rows:
        cells = []
        for metric in METRICS:
            for index, _ in classes:
                found = mean_interval(scores_of(each, index, metric), each.groups)
                places = 3 if metric == "dice" else 1
                low, high = (f"{end:.{places}f}" for end in found.interval)
                cells.append(f"{found.mean:.{places}f} [{low}, {high}]")
        yield f"| `{each.name}` | {len(each.rows)} | {' | '.join(cells)} |"
    yield ""
    for verdict in compared(rows, METRICS).verdicts:
        if "rectified" in {verdict.first, verdict.second}:
            low, high = verdict.result.interval
            yield (
                f"- {verdict.metric} {verdict.class_name}: {verdict.first} less {verdict.second} "
                f"{verdict.result.difference:+.3f} [{low:+.3f}, {high:+.3f}], p = {verdict.p:.4f} (Holm)"
            )


def curves_of(study: StudyFolder, parts: Sequence[Part]) -> list[Curve]:
    journals = [read_journal(study.run(part).journal) for part in parts]
    return [[(each.step, each.mean) for each in journal.validations] for journal in journals]


def convergence(study: StudyFolder) -> Iterator[str]:
    """A row each: what its trainings reached, how many failed, how they swing; then the tests between the rows."""
    rows = {row: curves_of(study, parts) for row, parts in parts_of(study).items()}
    reached = {row: [max(value for _, value in curve) for curve in curves] for row, curves in rows.items()}
    best = max(statistics.fmean(values) for values in reached.values())
    yield (
        f"| row | trainings | mean Dice reached | lowest, median, highest | below {FAILED * best:.2f} (95 %) | "
        f"median first step at {NEAR * best:.2f} | swing |"
    )
    yield f"|{'---|' * 7}"
    swings = {}
    for row, curves in rows.items():
        values = sorted(reached[row])
        failed = failure_rate(values, FAILED * best)
        first = statistics.median_high([first_reaching(curve, NEAR * best) for curve in curves])
        swings[row] = [fluctuation(curve, curve[-1][0] // 2).deviation for curve in curves]
        half = float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
        mean = statistics.fmean(values)
        yield (
            f"| `{row}` | {len(values)} | {mean:.3f} [{mean - half:.3f}, {mean + half:.3f}] | {values[0]:.3f}, "
            f"{statistics.median(values):.3f}, {values[-1]:.3f} | {failed.count} of {failed.total} "
            f"[{failed.interval[0]:.2f}, {failed.interval[1]:.2f}] | {first:g} | {statistics.fmean(swings[row]):.4f} |"
        )
    yield ""
    first, second = rows
    for what, pair in (("Dice reached", reached), ("swing", swings)):
        test = stats.mannwhitneyu(pair[first], pair[second])
        yield f"- {what}: {first} against {second}, Mann-Whitney p = {test.pvalue:.2g}"
    _draw(rows, reached)


def _draw(rows: dict[str, list[Curve]], reached: dict[str, list[float]]) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for row, curves in rows.items():
        colour, found = COLOURS[row], band(curves)
        for curve in curves:
            left.plot(*zip(*curve, strict=True), color=colour, lw=0.7, alpha=0.5)
        left.plot(found.steps, found.mean, color=colour, lw=2.5, label=row)
        shares = distribution(reached[row])
        right.step([0.0, *shares.levels, 1.0], [0.0, *shares.shares, 1.0], where="post", color=colour, label=row)
    left.set(
        title="Validation Dice: every training, and the mean", xlabel="training step", ylabel="mean foreground Dice"
    )
    right.set(title="F(d): share of trainings with at most this Dice", xlabel="mean foreground Dice d", xlim=(0, 1))
    for side in (left, right):
        side.grid(alpha=0.3)
        side.spines[["top", "right"]].set_visible(False)
        side.legend(frameon=False)
    figure.savefig(PICTURES / "replicas_convergence.png", dpi=110)


if __name__ == "__main__":
    print("\n".join(losses(StudyFolder(path=Path(sys.argv[1])))))
    print()
    print("\n".join(convergence(StudyFolder(path=Path(sys.argv[2])))))
