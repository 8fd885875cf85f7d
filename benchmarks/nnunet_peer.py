"""nnU-Net v2 on a handful of cases on the CPU: how long its own preparation, training and prediction take.

Runs in an environment of its own (`constraints-nnunet.txt`), is called by `train.py`, and prints one JSON
object in the form of `train.Timings`. Each of nnU-Net's own steps is timed in this process after a warm-up:
starting its worker processes would cost more than the work on such small cases. Loading without workers costs
it little: on two cores augmentation took 1 to 5 % of a training step (`loading_share` in the result).
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

CONFIGURATION = "3d_fullres"
DATASET = 4


def main() -> None:
    options = arguments()
    report = os.dup(1)
    os.dup2(2, 1)  # nnU-Net and its child processes print freely: standard output is kept for the result
    with tempfile.TemporaryDirectory() as scratch:
        environment(options, Path(scratch))
        os.write(report, (json.dumps(timings(options, Path(scratch))) + "\n").encode())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--raw", type=Path, required=True, help="folder that holds Dataset004_*, nnU-Net raw layout")
    parser.add_argument("--patch", type=int, nargs=3, help="voxels, in nnU-Net's axis order; its plan's by default")
    parser.add_argument("--batch", type=int, help="samples a step; its plan's by default")
    parser.add_argument("--iterations", type=int, default=6, help="timed training steps")
    parser.add_argument("--warm-up", type=int, default=2, help="training steps before the clock starts")
    parser.add_argument("--predictions", type=int, default=3, help="cases to predict")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def environment(options: argparse.Namespace, scratch: Path) -> None:
    """Set what nnU-Net reads from the environment: folders, and the threads of its planner and predictor."""
    os.environ |= {
        "nnUNet_raw": str(options.raw),
        "nnUNet_preprocessed": str(scratch / "preprocessed"),
        "nnUNet_results": str(scratch / "results"),
        "nnUNet_compile": "0",
        "nnUNet_n_proc_DA": str(options.threads),
        "nnUNet_def_n_proc": str(options.threads),
        "OMP_NUM_THREADS": str(options.threads),
    }
    import torch

    torch.set_num_threads(options.threads)


def timings(options: argparse.Namespace, scratch: Path) -> dict[str, object]:
    from importlib.metadata import version

    plans, whole = plan(options)
    dataset = scratch / "preprocessed" / plans["dataset_name"]
    trainer, steps = train(plans, dataset, options)
    settings = plans["configurations"][CONFIGURATION]
    network = {
        **size(trainer.network, settings["patch_size"]),
        "loading_share": sum(steps["loading"]) / sum(steps["step"]),
        "samples_per_second": settings["batch_size"] / median(steps["step"]),
        "predict_seconds_per_case": predict(trainer, options, scratch),
    }
    return {
        "tool": f"nnU-Net {version('nnunetv2')}",
        "patch": settings["patch_size"],
        "batch": settings["batch_size"],
        "widths": settings["architecture"]["arch_kwargs"]["features_per_stage"],
        "prepare": {"seconds_per_case": prepare(plans, dataset, options), "whole_seconds": whole},
        "networks": {"own": network},
    }


def seconds_per_case(work: Callable[[], object], cases: int) -> float:
    """Median of three passes over the cases, after one that is not counted."""
    passes = []
    for _ in range(4):
        start = time.perf_counter()
        work()
        passes.append((time.perf_counter() - start) / cases)
    return median(passes[1:])


def plan(options: argparse.Namespace) -> tuple[dict, float]:
    """Fingerprint, plan and prepare as `nnUNetv2_plan_and_preprocess` does, with one worker process."""
    from nnunetv2.experiment_planning import plan_and_preprocess_api as api

    start = time.perf_counter()
    api.extract_fingerprint_dataset(DATASET, num_processes=1, verbose=False, show_progress_bar=False)
    plans, identifier = api.plan_experiment_dataset(DATASET)
    api.preprocess_dataset(DATASET, identifier, (CONFIGURATION,), (1,), show_progress_bar=False)
    seconds = time.perf_counter() - start
    settings = plans["configurations"][CONFIGURATION]
    settings["patch_size"] = list(options.patch or settings["patch_size"])
    settings["batch_size"] = options.batch or settings["batch_size"]
    return json.loads(json.dumps(plans, default=lambda number: number.item())), seconds


def prepare(plans: dict, dataset: Path, options: argparse.Namespace) -> float:
    """Seconds to read, normalise, resample and store one case, image and label."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
    from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

    description = json.loads((dataset / "dataset.json").read_text())
    files = get_filenames_of_train_images_and_targets(str(options.raw / dataset.name), description)
    manager = PlansManager(plans)
    settings = manager.get_configuration(CONFIGURATION)
    preprocessor = settings.preprocessor_class(verbose=False)

    def store() -> None:
        with tempfile.TemporaryDirectory(dir=dataset) as out:
            for case, pair in files.items():
                path = str(Path(out) / case)
                preprocessor.run_case_save(path, pair["images"], pair["label"], manager, settings, description)

    return seconds_per_case(store, len(files))


def train(plans: dict, dataset: Path, options: argparse.Namespace) -> tuple[object, dict[str, list[float]]]:
    """Steps of nnU-Net's own trainer: seconds of each whole step, and of its loading and augmentation."""
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    description = json.loads((dataset / "dataset.json").read_text())
    settings = plans | {"continue_training": False}
    os.environ |= {"nnUNet_n_proc_DA": "0"}  # load and augment in this process
    trainer = nnUNetTrainer(settings, CONFIGURATION, "all", description, torch.device("cpu"))
    trainer.on_train_start()
    trainer.on_train_epoch_start()
    seconds: dict[str, list[float]] = {"step": [], "loading": []}
    for _ in range(options.warm_up + options.iterations):
        start = time.perf_counter()
        batch = next(trainer.dataloader_train)
        loaded = time.perf_counter()
        trainer.train_step(batch)
        seconds["step"].append(time.perf_counter() - start)
        seconds["loading"].append(loaded - start)
    trainer.save_checkpoint(str(Path(trainer.output_folder) / "checkpoint_final.pth"))
    return trainer, {name: times[options.warm_up :] for name, times in seconds.items()}


def size(network: object, patch: list[int]) -> dict[str, float]:
    """Parameters, and multiply-adds of the convolutions of one forward pass of one patch."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(torch.zeros(1, 1, *patch))
    weights = sum(parameter.numel() for parameter in network.parameters())
    return {"parameters": weights, "multiply_adds": counter.get_total_flops() // 2}


def predict(trainer: object, options: argparse.Namespace, scratch: Path) -> dict[str, float]:
    """Seconds from an image file to a label file, with and without mirroring, the model loaded before."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    without_torchvision_kernels()
    folder = options.raw / trainer.plans_manager.dataset_name / "imagesTr"
    images = [[str(path)] for path in sorted(folder.iterdir())[: options.predictions]]
    seconds = {}
    for name, mirroring in {"mirrored": True, "plain": False}.items():
        predictor = nnUNetPredictor(use_mirroring=mirroring, device=torch.device("cpu"), allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(trainer.output_folder_base, ("all",))
        out = scratch / name
        out.mkdir()
        work = partial(predictor.predict_from_files_sequential, images, str(out))
        seconds[name] = seconds_per_case(work, len(images))
        if len(list(out.glob("*.nii.gz"))) != len(images):
            sys.exit(f"nnU-Net wrote fewer predictions than the {len(images)} cases it was given.")
    return seconds


def without_torchvision_kernels() -> None:
    """Declare the two operators that torchvision, which nnU-Net imports but does not use, wants at import.

    Its compiled kernels may not load beside a CPU-only torch ("operator torchvision::nms does not exist").
    """
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    without_torchvision_kernels.library = library  # the operators vanish with it


if __name__ == "__main__":
    main()
