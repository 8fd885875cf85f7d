"""Is a network that LR-Net or a second decoder trained as fast as the plain one, and as small?

Three runs of one network on the same phantoms, trained for two steps each (the weights do not matter here): plainly,
with LR-Net, and with a second decoder. Each is loaded from its run, as `edgewise predict` does it, and exported. What
is compared: names and shapes of the weights, sizes of the exported files, and seconds to predict a small volume, from
the image in memory to the labels. Times are processor seconds of one thread, minima over many rounds in which all
candidates run in random order; the plain run is loaded twice, and the ratio of these two is what the machine cannot
tell apart. `make bench-prediction`.
"""

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from timing import interleaved, median, write_rows

from edgewise.data.case import Case, CaseFiles
from edgewise.data.images import read_case
from edgewise.data.phantoms import write_dataset
from edgewise.experiment import Experiment, Folds, Training
from edgewise.methods.base import Method
from edgewise.methods.lrnet import LRNet, Pretraining
from edgewise.methods.regression import MultiBranch
from edgewise.methods.supervised import Supervised
from edgewise.networks.mnet import MNet
from edgewise.plan import PlanSettings
from edgewise.run.export import export
from edgewise.run.fit import Workplace
from edgewise.run.fit import run as fit
from edgewise.run.folder import RunFolder
from edgewise.run.trained import Trained, load

PLAIN, AGAIN = "supervised", "supervised, loaded again"
METHODS: dict[str, Method] = {
    PLAIN: Supervised(),
    "lrnet": LRNet(pretraining=Pretraining(steps=2, batch=1)),
    "multi_branch": MultiBranch(),
}
SHAPE, SPACING, PATCH = (32, 32, 24), (8.0, 8.0, 8.0), (16, 32, 32)


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data = root / "phantoms"
        write_dataset(data, cases=4, seed=0, shape=SHAPE, spacing=SPACING)
        runs = {name: trained_run(name, root, data) for name in METHODS}
        networks = {name: load(RunFolder(path=run)) for name, run in runs.items()}
        networks[AGAIN] = load(RunFolder(path=runs[PLAIN]))
        sizes = {name: export(run, root / f"{name}.pt2").stat().st_size for name, run in runs.items()}
        image = next((data / "imagesTr").iterdir())
        case = read_case(CaseFiles(id="case", images=(image,)))
        rows = measured(networks, sizes | {AGAIN: sizes[PLAIN]}, case, options.rounds)
    write_rows(options.json, rows)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def trained_run(name: str, root: Path, data: Path) -> Path:
    """A run of two steps; everything that a machine would decide is fixed, so that only the method differs."""
    experiment = Experiment(
        name=name,
        split=Folds(folds=4),
        plan=PlanSettings(patch=PATCH, batch=1, precision="fp32", memory_format="contiguous", threads=1, workers=0),
        network=MNet(),
        method=METHODS[name],
        training=Training(steps=2, validate_every=2),
    )
    place = Workplace(data=data, out=root / name, cache=root / "cache", command="make bench-prediction")
    failures = fit(experiment, place)
    if failures:
        raise SystemExit(f"{name}: {failures}")
    return place.out


def measured(
    networks: dict[str, Trained], sizes: dict[str, int], case: Case, rounds: int
) -> list[dict[str, float | str | bool]]:
    plain = networks[PLAIN].network
    shapes = {key: tuple(value.shape) for key, value in plain.state_dict().items()}
    candidates = {name: partial(predicted, trained, case) for name, trained in networks.items()}
    interleaved(candidates, 2)  # what is allocated and compiled once
    seconds = interleaved(candidates, rounds, time.process_time)
    rows: list[dict[str, float | str | bool]] = []
    print(f"{'run':26}{'parameters':>12}{'same weights':>14}{'file, bytes':>13}", end="")
    print(f"{'min, s':>9}{'ratio':>8}{'median, s':>11}{'ratio':>8}")
    for name, trained in networks.items():
        found = {key: tuple(value.shape) for key, value in trained.network.state_dict().items()}
        row = {
            "run": name,
            "parameters": sum(parameter.numel() for parameter in trained.network.parameters()),
            "same_weights": found == shapes and str(trained.network) == str(plain),
            "bytes": sizes[name],
            "bytes_ratio": sizes[name] / sizes[PLAIN],
            "seconds": min(seconds[name]),
            "median": median(seconds[name]),
            "ratio": min(seconds[name]) / min(seconds[PLAIN]),
            "median_ratio": median(seconds[name]) / median(seconds[PLAIN]),
        }
        rows.append(row)
        print(
            f"{name:26}{row['parameters']:12,}{row['same_weights']!s:>14}{row['bytes']:13,}{row['seconds']:9.4f}"
            f"{row['ratio']:8.4f}{row['median']:11.4f}{row['median_ratio']:8.4f}"
        )
    return rows


def predicted(trained: Trained, case: Case) -> torch.Size:
    """One volume, from the image in memory to the labels."""
    with trained.plan.arithmetic.applied():
        return torch.Size(trained.predict(case).labels.shape)


if __name__ == "__main__":
    main()
