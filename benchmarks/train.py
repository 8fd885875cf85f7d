"""Edgewise against nnU-Net v2 on the same cases, patch and batch, on the CPU, as ratios from one run.

    python benchmarks/train.py --data FOLDER [--markdown FILE] [--json FILE]

FOLDER is a dataset in Medical Segmentation Decathlon layout. The two tools take turns, `--rounds` times, and
each number is the best of its rounds: other work on the machine only ever makes a tool slower.
A smaller network is faster without any merit of the tool, so training and prediction are compared twice: with
the network each tool chooses by itself, and with nnU-Net's network in both.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from edgewise.files import write_json, write_text

HERE = Path(__file__).parent


class Prepare(TypedDict):
    seconds_per_case: float
    """Read, normalise, resample, store one case, in a running process; median of three passes."""
    whole_seconds: float
    """From raw files to ready for training: fingerprint, plan, and preparation of all cases by one worker
    process, its start included."""


class Prediction(TypedDict):
    """Seconds a case, from image file to label file, tiles half overlapping; median of three passes."""

    mirrored: float
    """Mean of all eight mirror images."""
    plain: float
    """No mirroring."""


class Network(TypedDict):
    parameters: int
    multiply_adds: int
    """Of the convolutions, one forward pass of one patch, all supervised outputs included."""
    samples_per_second: float
    """Batch over the median duration of a training step (loading, augmentation, forward, backward, update),
    after two that are not counted."""
    loading_share: NotRequired[float]
    """Share of loading and augmentation in the training step."""
    arithmetic: NotRequired[str]
    """Precision and memory format, where the tool chooses them by measuring."""
    choosing_seconds: NotRequired[float]
    """That measurement, at the start of each training; in no other number."""
    predict_seconds_per_case: Prediction


class Timings(TypedDict):
    """What one tool needed in one round. `networks`: "own", the tool's default here; "same", nnU-Net's."""

    tool: str
    patch: list[int]
    batch: int
    widths: list[int]
    prepare: Prepare
    networks: dict[str, Network]


def edgewise_side(cases: Path, theirs: Timings, options: argparse.Namespace) -> Timings:
    """Time Edgewise on the cases, with nnU-Net's patch and batch, and with nnU-Net's levels for "same"."""
    command = [sys.executable, HERE / "edgewise_side.py", "--cases", cases, "--threads", options.threads]
    command += ["--iterations", options.iterations, "--predictions", options.predictions]
    command += ["--patch", *theirs["patch"], "--batch", theirs["batch"], "--widths", *theirs["widths"]]
    return timed("Edgewise", command)


def nnunet_side(cases: Path, options: argparse.Namespace) -> Timings:
    """Time nnU-Net on the cases, in its own environment."""
    command = [options.peer, HERE / "nnunet_peer.py", "--raw", cases.parent, "--threads", options.threads]
    command += ["--iterations", options.iterations, "--predictions", options.predictions]
    command += ["--patch", *options.patch] if options.patch else []
    command += ["--batch", options.batch] if options.batch else []
    return timed("nnU-Net", command)


def timed(tool: str, command: list[Any]) -> Timings:
    """What the tool's process prints."""
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"{tool} stopped with exit code {result.returncode}:\n{result.stderr[-3000:]}")
    timings: Timings = json.loads(result.stdout)
    return timings


def subset(data: Path, count: int, raw: Path) -> Path:
    """Copy the first `count` cases of a Decathlon dataset in nnU-Net's raw layout, which both tools read."""
    description = json.loads((data / "dataset.json").read_text())
    pairs = sorted(description["training"], key=lambda pair: str(pair["label"]))[:count]
    if len(pairs) < count:
        raise SystemExit(f"{data}: {len(pairs)} labelled cases, {count} wanted. Pass a smaller `--cases`.")
    cases = raw / f"Dataset004_{description['name']}"
    for folder in ("imagesTr", "labelsTr"):
        (cases / folder).mkdir(parents=True)
    for pair in pairs:
        name = Path(pair["label"]).name
        shutil.copyfile(data / pair["image"], cases / "imagesTr" / name.replace(".nii.gz", "_0000.nii.gz"))
        shutil.copyfile(data / pair["label"], cases / "labelsTr" / name)
    layout = {
        "channel_names": description["modality"],
        "labels": {name: int(value) for value, name in description["labels"].items()},
        "numTraining": count,
        "file_ending": ".nii.gz",
    }
    (cases / "dataset.json").write_text(json.dumps(layout, indent=1))
    return cases


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: how to read its number, and which of two numbers is the better one."""

    what: str
    unit: str
    read: Callable[[Timings], float]
    better: Callable[[list[float]], float] = min

    def best(self, rounds: list[Timings]) -> float:
        return self.better([self.read(timings) for timings in rounds])

    def lead(self, ours: float, theirs: float) -> float:
        """How many times faster `ours` is; above 1, Edgewise is ahead."""
        return theirs / ours if self.better is min else ours / theirs


def network(timings: Timings, which: str) -> Network:
    return timings["networks"].get(which, timings["networks"]["own"])  # nnU-Net's own is the same one


def network_rows(which: str, words: str) -> list[Row]:
    def predict(setting: str) -> Callable[[Timings], float]:
        return lambda timings: network(timings, which)["predict_seconds_per_case"][setting]  # type: ignore[literal-required]

    return [
        Row(
            what=f"training, {words}",
            unit="samples/s",
            read=lambda timings: network(timings, which)["samples_per_second"],
            better=max,
        ),
        Row(what=f"prediction, {words}, mirrored", unit="s/case", read=predict("mirrored")),
        Row(what=f"prediction, {words}, not mirrored", unit="s/case", read=predict("plain")),
    ]


ROWS = [
    Row(what="preparation", unit="s/case", read=lambda timings: timings["prepare"]["seconds_per_case"]),
    Row(
        what="fingerprint, plan and preparation of all cases, one worker",
        unit="s",
        read=lambda timings: timings["prepare"]["whole_seconds"],
    ),
    *network_rows("own", "each tool's own network"),
    *network_rows("same", "the same network"),
]


def table(ours: list[Timings], theirs: list[Timings], options: argparse.Namespace, load: float) -> str:
    """The comparison as Markdown; `load` tells whether other work disturbed it."""
    one, other = ours[0], theirs[0]
    lines = [
        f"| | unit | {other['tool']} | {one['tool']} | Edgewise is faster by |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for row in ROWS:
        mine, its = row.best(ours), row.best(theirs)
        lines.append(f"| {row.what} | {row.unit} | {its:.3g} | {mine:.3g} | {row.lead(mine, its):.2f}× |")
    lines += [
        "",
        f"{options.cases} cases of {options.data.name}; patch {'×'.join(map(str, other['patch']))}, batch "
        f"{other['batch']}; {options.threads} threads of {processor()}; best of {options.rounds} round(s); "
        f"load average before the first {load:.1f}.",
        "",
        "| network | levels' widths | parameters | multiply-adds a patch |",
        "| --- | --- | ---: | ---: |",
        sizes("nnU-Net", other, "own"),
        sizes("Edgewise, own", one, "own"),
        sizes("Edgewise, same", one, "same"),
        "",
        *remarks(one, other),
    ]
    return "\n".join(lines) + "\n"


def remarks(one: Timings, other: Timings) -> list[str]:
    """What a reader has to know to judge the comparison."""
    own, same = network(one, "own"), network(one, "same")
    lines = [
        "The same network: nnU-Net's levels, 32-bit floats, deep supervision, Dice and cross entropy, SGD with "
        "Nesterov momentum in both. Edgewise's convolutions before a norm have no bias; its levels weigh 4, 2, 1 "
        "(nnU-Net's: 2, 1, 0); augmentation is each tool's own.",
        f"Edgewise's arithmetic: {own.get('arithmetic')} for its own network, {same.get('arithmetic')} for the same "
        f"one. Choosing it took {own.get('choosing_seconds', 0):.1f} s and {same.get('choosing_seconds', 0):.1f} s, "
        "once a training, which is in no number above.",
    ]
    if same["multiply_adds"] != network(other, "own")["multiply_adds"]:
        lines.append("**Not the same network:** the multiply-adds differ; only isotropic data give equal levels.")
    return lines


def sizes(name: str, timings: Timings, which: str) -> str:
    widths = timings["widths"] if which == "own" else "as nnU-Net"
    it = network(timings, which)
    return f"| {name} | {widths} | {it['parameters'] / 1e6:.2f} M | {it['multiply_adds'] / 1e9:.2f} G |"


def processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="dataset in Decathlon layout")
    parser.add_argument("--peer", default=".venv-bench/bin/python", help="Python that has nnU-Net")
    parser.add_argument("--cases", type=int, default=16)
    parser.add_argument("--patch", type=int, nargs=3, help="voxels (z, y, x); nnU-Net's plan by default")
    parser.add_argument("--batch", type=int, help="samples a step; nnU-Net's plan by default")
    parser.add_argument("--iterations", type=int, default=6, help="timed training steps a round")
    parser.add_argument("--predictions", type=int, default=3, help="cases to predict")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--markdown", type=Path, help="also write the table here")
    parser.add_argument("--json", type=Path, help="write all rounds here")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    load = os.getloadavg()[0]
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    ours: list[Timings] = []
    theirs: list[Timings] = []
    with tempfile.TemporaryDirectory() as scratch:
        cases = subset(options.data, options.cases, Path(scratch))
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}: nnU-Net", file=sys.stderr, flush=True)
            theirs.append(nnunet_side(cases, options))
            print(f"round {number + 1} of {options.rounds}: Edgewise", file=sys.stderr, flush=True)
            ours.append(edgewise_side(cases, theirs[0], options))
    text = table(ours, theirs, options, load)
    print(text)
    if options.markdown:
        write_text(options.markdown, text)
    if options.json:
        everything: dict[str, Any] = {"edgewise": ours, "nnunet": theirs}
        write_json(options.json, everything)


if __name__ == "__main__":
    main()
