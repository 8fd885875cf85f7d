"""Edgewise on a handful of cases on the CPU: how long its preparation, training and prediction take.

Is called by `train.py`, in a process of its own as nnU-Net is, and prints one JSON object in the form of
`train.Timings`. Clock, passes and counting are those of `nnunet_peer.py`. Two networks are timed:

- "own": what Edgewise's plan chooses for a CPU, trained as `edgewise fit` does by default, with the fastest
  arithmetic measured here (`choosing_seconds` in the result).
- "same": the graph of nnU-Net's PlainConvUNet, in 32-bit floats, with Dice and cross entropy at every decoder
  level and SGD with Nesterov momentum. What still differs: the convolutions before a norm have no bias (the norm
  would take it away again); the levels weigh 4, 2, 1 instead of 2, 1, 0; each framework has its own
  augmentation, loop and, where it was measured to be faster, order of axes in memory.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median

import torch
from nnunet_peer import seconds_per_case, size
from train import Network, Prediction, Prepare, Timings

from edgewise import plan as planning
from edgewise.console import silent
from edgewise.data import checks, layouts
from edgewise.data.batches import batches
from edgewise.data.case import Dataset
from edgewise.data.patches import Patches
from edgewise.data.prepare import PreparedSet, prepare
from edgewise.experiment import Experiment, Training
from edgewise.inference.sliding import Inference
from edgewise.losses.compound import Sum, Term
from edgewise.losses.cross_entropy import CrossEntropy
from edgewise.losses.dice import Dice
from edgewise.networks.unet import UNet
from edgewise.plan import Plan, PlanSettings
from edgewise.run import environment
from edgewise.run.trained import Trained, predict_all
from edgewise.run.trainer import setting
from edgewise.training import checkpoint
from edgewise.training.arithmetic import Arithmetic, Precision, choose
from edgewise.training.learner import Learner
from edgewise.training.optimise import SGD


@dataclass(frozen=True, kw_only=True)
class Ready:
    """Everything that training starts from; both networks share it."""

    dataset: Dataset
    plan: Plan
    digests: Mapping[str, str]
    prepared: PreparedSet


def main() -> None:
    options = arguments()
    report = os.dup(1)
    os.dup2(2, 1)  # standard output is kept for the result
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the comparison is one of CPUs
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        os.write(report, (json.dumps(timings(options, Path(scratch))) + "\n").encode())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time Edgewise on the cases of a dataset; prints JSON.")
    parser.add_argument("--cases", type=Path, required=True, help="dataset in any layout that Edgewise reads")
    parser.add_argument("--patch", type=int, nargs=3, required=True, help="voxels, slice axis first (z, y, x)")
    parser.add_argument("--batch", type=int, required=True, help="samples a step")
    parser.add_argument("--widths", type=int, nargs="+", required=True, help="channels of nnU-Net's levels")
    parser.add_argument("--iterations", type=int, default=6, help="timed training steps")
    parser.add_argument("--warm-up", type=int, default=2, help="training steps before the clock starts")
    parser.add_argument("--predictions", type=int, default=3, help="cases to predict")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def timings(options: argparse.Namespace, scratch: Path) -> Timings:
    start = time.perf_counter()
    ready = make_ready(options, scratch / "prepared")
    whole = time.perf_counter() - start
    alike = replace(ready, plan=as_nnunet(ready.plan, tuple(options.widths)))
    own = time_network(Experiment(name="own"), ready, ("fp32", "bf16"), options)
    same = time_network(nnunet_experiment(len(options.widths)), alike, ("fp32",), options)
    return Timings(
        tool=f"Edgewise {version('edgewise')}",
        patch=list(ready.plan.patch),
        batch=ready.plan.batch,
        widths=list(ready.plan.widths),
        prepare=Prepare(seconds_per_case=time_preparation(ready, scratch), whole_seconds=whole),
        networks={"own": own, "same": same},
    )


def make_ready(options: argparse.Namespace, folder: Path) -> Ready:
    """Fingerprint, plan and prepare as `edgewise fit` does; so few cases take it no worker process."""
    dataset = layouts.detect(options.cases)
    inspection = checks.inspect(dataset, workers=1, progress=silent)
    checks.require_usable(inspection)
    settings = PlanSettings(dimensions=3, patch=tuple(options.patch), batch=options.batch)
    plan = planning.make(inspection.fingerprint, dataset.channels, settings, environment.machine())
    digests = {case.id: case.digest for case in inspection.fingerprint.cases}
    prepared = prepare(dataset.cases, plan.preparation(), folder, workers=1, digests=digests, progress=silent)
    return Ready(dataset=dataset, plan=plan, digests=digests, prepared=prepared)


def as_nnunet(plan: Plan, widths: tuple[int, ...]) -> Plan:
    """The plan with the levels that nnU-Net gives isotropic data."""
    halves = ((2, 2, 2),) * (len(widths) - 1)
    return replace(plan, widths=widths, strides=((1, 1, 1), *halves), kernels=((3, 3, 3),) * len(widths))


def nnunet_experiment(levels: int) -> Experiment:
    """What nnU-Net's trainer does by default, as an experiment of Edgewise."""
    return Experiment(
        name="same",
        network=UNet(convolutions=2, supervised=levels - 1),
        loss=Sum(terms=(Term(loss=Dice(background=False)), Term(loss=CrossEntropy()))),
        training=Training(optimiser=SGD(rate=0.01, momentum=0.99, weight_decay=3e-5), clip=12.0, average=0.0),
    )


def time_preparation(ready: Ready, scratch: Path) -> float:
    """Seconds to read, normalise, resample and store one case, image and label."""
    cases = ready.dataset.cases

    def store() -> None:
        with tempfile.TemporaryDirectory(dir=scratch) as out:
            prepare(cases, ready.plan.preparation(), Path(out), workers=1, digests=ready.digests, progress=silent)

    return seconds_per_case(store, len(cases))


def time_network(
    experiment: Experiment, ready: Ready, precisions: tuple[Precision, ...], options: argparse.Namespace
) -> Network:
    start = time.perf_counter()
    arithmetic = fastest(experiment, ready, precisions, options.threads)
    choosing = time.perf_counter() - start
    ready = replace(ready, plan=replace(ready.plan, arithmetic=arithmetic))
    learner, steps = train(experiment, ready, options)
    fresh = experiment.network.build(ready.plan.topology(len(ready.dataset.classes))).train()
    counted = size(fresh, options.patch)
    return Network(
        parameters=int(counted["parameters"]),
        multiply_adds=int(counted["multiply_adds"]),
        arithmetic=f"{arithmetic.precision} {arithmetic.memory_format}",
        choosing_seconds=choosing,
        loading_share=sum(steps["loading"]) / sum(steps["step"]),
        samples_per_second=ready.plan.batch / median(steps["step"]),
        predict_seconds_per_case=Prediction(
            mirrored=time_prediction(learner, experiment, ready, Inference(mirror=True), options.predictions),
            plain=time_prediction(learner, experiment, ready, Inference(mirror=False), options.predictions),
        ),
    )


def fastest(experiment: Experiment, ready: Ready, precisions: tuple[Precision, ...], threads: int) -> Arithmetic:
    """The arithmetic that `edgewise fit` would choose among these precisions."""
    plan, classes = ready.plan, len(ready.dataset.classes)
    choices = [
        Arithmetic(precision=precision, memory_format=order, threads=threads)
        for precision in precisions
        for order in ("channels_last", "contiguous")
    ]
    image = torch.zeros((plan.batch, len(plan.intensity), *plan.patch))
    return choose(lambda: experiment.network.build(plan.topology(classes)), image, choices)


def train(experiment: Experiment, ready: Ready, options: argparse.Namespace) -> tuple[Learner, dict[str, list[float]]]:
    """Seconds of each whole training step, and of its loading and augmentation in this process."""
    plan = ready.plan
    checkpoint.seed_everything(experiment.seed)
    learner = experiment.method.learner(setting(experiment, plan, len(ready.dataset.classes), environment.device()))
    patches = Patches(
        cases=ready.prepared,
        ids=tuple(case.id for case in ready.dataset.cases),
        patch=plan.patch,
        spacing=plan.patch_spacing,
        foreground=experiment.training.foreground,
        augmentation=experiment.augmentation,
        seed=experiment.seed,
    )
    count = options.warm_up + options.iterations
    row = batches(patches, size=plan.batch, start=0, stop=count, workers=0)
    seconds: dict[str, list[float]] = {"step": [], "loading": []}
    with plan.arithmetic.applied():
        for step in range(count):
            start = time.perf_counter()
            batch = next(row)
            loaded = time.perf_counter()
            learner.step(batch, step)
            seconds["step"].append(time.perf_counter() - start)
            seconds["loading"].append(loaded - start)
    return learner, {name: times[options.warm_up :] for name, times in seconds.items()}


def time_prediction(learner: Learner, experiment: Experiment, ready: Ready, inference: Inference, count: int) -> float:
    """Seconds from an image file to a label file, the model loaded before."""
    trained = Trained(
        experiment=replace(experiment, inference=replace(inference, overlap=0.5)),
        plan=ready.plan,
        classes=ready.dataset.classes,
        channels=ready.dataset.channels,
        network=learner.predictor,
        device=environment.device(),
    )
    cases = ready.dataset.cases[:count]
    with tempfile.TemporaryDirectory() as out:
        seconds = seconds_per_case(partial(predict_all, trained, cases, Path(out)), len(cases))
        if len(list(Path(out).glob("*.nii.gz"))) != len(cases):
            raise SystemExit(f"Edgewise wrote fewer predictions than the {len(cases)} cases it was given.")
    return seconds


if __name__ == "__main__":
    main()
