import csv
import json
import math

import numpy as np
import pytest
import yaml

from edgewise.data.phantoms import draw, render
from edgewise.metrics.cases import Row, summarise, to_csv
from edgewise.metrics.lesion_table import LesionRow, lesions_to_csv
from edgewise.metrics.presets import named
from edgewise.report.records import PanelCase, read_run

CLASSES = ("background", "liver", "tumour")
DEFINITIONS = {
    "dice": {
        "definition": "2|P∩R| / (|P| + |R|)",
        "unit": "1",
        "direction": "higher",
        "both_empty": "1",
        "one_empty": "0",
    },
    "hd95": {
        "definition": "maximum of the two directed 95th percentiles of surface distances",
        "unit": "mm",
        "direction": "lower",
        "surface": "voxels removed by erosion with face connectivity",
        "both_empty": "0",
        "one_empty": "inf, counted",
    },
    "assd": {
        "definition": "(Σd_PR + Σd_RP) / (n_P + n_R)",
        "unit": "mm",
        "direction": "lower",
        "both_empty": "0",
        "one_empty": "inf, counted",
    },
}


def scores(rng, cases, skill):
    for number, case in enumerate(cases):
        hardness = np.random.default_rng(number).uniform(0, 1)
        for label, name in enumerate(CLASSES[1:], start=1):
            base = (0.93 if label == 1 else 0.72) + skill - 0.12 * label * hardness
            dice = float(np.clip(base + rng.normal(0, 0.02 * label), 0, 1))
            row = {"dice": dice, "hd95": 4 + 30 * (1 - dice), "assd": 0.5 + 6 * (1 - dice), "empty": ""}
            if label == 2 and number == 1:
                row = {"dice": 0.0, "hd95": math.inf, "assd": math.inf, "empty": "reference"}
                if skill > 0:
                    row = {"dice": 1.0, "hd95": 0.0, "assd": 0.0, "empty": "both"}
            yield {
                "case": case,
                "class": label,
                "class_name": name,
                "reference_ml": 9,
                "prediction_ml": 9,
                **row,
            }


def write_run(folder, name="dice_ce", cases=4, skill=0.0, seed=0, case_name="phantom_{:03d}"):
    """A finished run folder with made-up numbers."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    ids = [case_name.format(number) for number in range(1, cases + 1)]
    experiment = {
        "name": name,
        "seed": seed,
        "network": {"kind": "residual_unet", "widths": [16, 32, 64]},
        "loss": {"kind": name},
        "training": {"steps": 600, "optimiser": {"kind": "adamw", "rate": 0.003}},
    }
    plan = {
        "spacing": {"value": [5.0, 3.0, 3.0], "reason": "median of the training cases"},
        "dims": {"value": 2, "reason": "slices are 1.7 times as far apart as pixels, and 40 of them are few"},
        "precision": {"value": "bf16", "reason": "measured: 41 ms a step against 180 ms in fp32"},
    }
    dataset = {
        "name": "Phantoms", "root": "/data/phantoms", "layout": "nnunet", "classes": list(CLASSES),
        "channels": ["CT"], "train": [f"train_{number}" for number in range(16)], "validation": ids,
        "digest": "9f2c4e1b",
    }  # fmt: skip
    environment = {
        "packages": {"torch": "2.13.0", "numpy": "2.4.6", "monai": "1.6.1"}, "python": "3.11.9",
        "platform": "Linux-6.1-x86_64", "cpu": "Xeon Platinum 8370C", "cores": 2, "memory_gb": 15.6,
        "gpu": None,
        "commit": "a1b2c3d", "command": f"edgewise fit {name}.yaml --data /data/phantoms --out runs/{name}",
        "started": "2026-11-21T09:30:00",
    }  # fmt: skip
    events = [{"event": "units", "units": {"seconds": "s", "loss": "1", "rate": "1", "dice": "1"}}]
    for step in range(10, 601, 10):
        loss = float(0.25 + 1.4 * math.exp(-step / 120) * (1 - skill) + rng.normal(0, 0.03))
        events.append({"event": "train", "step": step, "seconds": step * 0.11, "loss": loss, "rate": 0.003})
        if step % 60 == 0:
            liver, tumour = (float(top * (1 - math.exp(-step / 130))) for top in (0.94, 0.7 + skill))
            dice = {"1": liver, "2": tumour}
            mean = (liver + tumour) / 2
            events.append(
                {"event": "validation", "step": step, "seconds": step * 0.11, "dice": dice, "mean_dice": mean}
            )
    events.append({"event": "note", "text": "2 threads were fastest"})
    events.append({"event": "end", "reason": "all steps done", "best_step": 600, "best_mean_dice": 0.82})
    rows = list(scores(rng, ids, skill))
    summary = {
        "definitions": DEFINITIONS,
        "policy": "inf is kept and counted, left out of the mean",
        "classes": {},
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(experiment, sort_keys=False))
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    for file, value in (("dataset", dataset), ("environment", environment), ("summary", summary)):
        (folder / f"{file}.json").write_text(json.dumps(value))
    (folder / "journal.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


METHODS = {"dice_ce": 0.0, "region_wise": 0.03, "boundary": 0.012}
ORGANS = ("background", "liver", "tumour", "vessel", "kidney")


def write_study(folder, cases=30, classes=2, seeds=2, methods=tuple(METHODS)):
    """Run folders as `edgewise fit` leaves them, with every metric: some methods with some seeds each.

    The first run has missed a tumour and lost a case to a failure. Numbers are made up but hang together.
    """
    return [
        write_full_run(folder / f"{name}_s{seed}", name, seed, cases, classes)
        for name in methods
        for seed in range(seeds)
    ]


def write_full_run(folder, method, seed, cases, classes):
    folder.mkdir(parents=True)
    rng = np.random.default_rng([sorted(METHODS).index(method), seed])
    ids = [f"case_{number:03d}" for number in range(1, cases + 1)]
    names = ORGANS[: classes + 1]
    definitions = named("default")
    broken = method == "dice_ce" and seed == 0
    rows, lesions = [], []
    for number, case in enumerate(ids):
        hardness = np.random.default_rng(number).uniform(0, 1)
        for label in range(1, len(names)):
            quality = 0.95 - 0.1 * (label - 1) - 0.15 * label * hardness + METHODS[method] * label
            quality = float(np.clip(quality + rng.normal(0, 0.015 * label), 0.02, 0.99))
            rows.append(made_up_row(case, label, names[label], quality, missed=broken and (number, label) == (3, 2)))
            lesions += made_up_lesions(case, label, names[label], quality, np.random.default_rng([number, label]))
    (folder / "metrics.csv").write_text(to_csv(rows))
    (folder / "lesions.csv").write_text(lesions_to_csv(lesions))
    summary = summarise(rows, definitions) | {"failures": {}}
    experiment = {
        "name": f"{method}_s{seed}",
        "seed": seed,
        "split": {"kind": "folds", "group": "auto"},
        "network": {"kind": "residual_unet", "widths": [16, 32, 64]},
        "loss": {"kind": method},
        "training": {"steps": 600, "weights": f"/scratch/anna/{method}.pt"},
        "description": "on /home/anna/Hospital Data/study",
    }
    dataset = {
        "name": "Study", "root": "/home/anna/Hospital Data/study", "classes": list(names), "channels": ["CT"],
        "train": [f"train_{number}" for number in range(80)], "validation": ids, "digest": "9f2c4e1b",
    }  # fmt: skip
    command = f"edgewise fit {method}.yaml --data '/home/anna/Hospital Data/study' --out /scratch/anna/{method}_s{seed}"
    environment = {
        "packages": {"torch": "2.13.0", "numpy": "2.4.6"}, "python": "3.11.9", "cpu": "Xeon", "cores": 16,
        "gpu": "H200", "memory_gb": 100.0 + seed, "command": command, "seed": seed, "started": "2026-11-21T09:30:00",
    }  # fmt: skip
    plan = {"spacing": {"value": [2.5, 0.8, 0.8], "reason": "median of the training cases"}}
    files = {"experiment.yaml": experiment, "plan.yaml": plan, "dataset.json": dataset, "environment.json": environment}
    for name, value in (files | {"summary.json": summary}).items():
        (folder / name).write_text(json.dumps(value))
    (folder / "journal.jsonl").write_text(
        "".join(json.dumps(event) + "\n" for event in study_events(rng, method, broken))
    )
    return folder


def made_up_row(case, label, name, quality, missed=False):
    """One row with every metric of the default definitions, all following from one quality between 0 and 1."""
    error = 1 - quality
    reference, volume = 20000 // label**3, 0.0 if missed else 20 / label**3 * (1 + 0.3 * error)
    values = {}
    for column, metric in named("default").metrics.items():
        wrong = {"1": error * 0.9, "mm": 30 * error, "ml": volume}[metric.unit]
        values[column] = quality if metric.better == "higher" else wrong if metric.better != "zero" else wrong - 0.06
        if missed:
            values[column] = 0.0 if metric.better == "higher" else math.inf if metric.unit == "mm" else 1.0
    return Row(
        case=case,
        class_index=label,
        class_name=name,
        values=values,
        reference_ml=reference / 1000,
        prediction_ml=volume,
        reference_voxels=reference,
        prediction_voxels=int(1000 * volume),
        shared_voxels=0 if missed else int(reference * quality),
        empty="prediction" if missed else "",
        diagonal_mm=420.0,
    )


def made_up_lesions(case, label, name, quality, rng):
    rows = []
    for number, diameter in enumerate(sorted(rng.lognormal(2.3, 0.6, 3), reverse=True), start=1):
        found = bool(rng.uniform() < quality * min(1.0, diameter / 9))
        fields = {"case": case, "class_index": label, "class_name": name, "number": number, "matched": found}
        fields |= {"volume_ml": float(diameter**3 / 2000), "diameter_mm": float(diameter)}
        rows.append(LesionRow(mask="reference", dice=quality if found else 0.0, **fields))
        if found or number == 3:
            rows.append(LesionRow(mask="prediction", dice=quality if found else 0.0, **fields))
    return rows


def study_events(rng, method, broken):
    skill, last = METHODS[method], 600
    for step in range(10, last + 1, 10):
        yield {
            "event": "train",
            "step": step,
            "seconds": step * 0.1,
            "loss": float(1.5 * math.exp(-step / 150) + 0.25 - 2 * skill + rng.normal(0, 0.02)),
        }
        if step % 60 == 0:
            tumour = float(np.clip((0.75 + 2 * skill) * (1 - math.exp(-step / 150)) + rng.normal(0, 0.02), 0, 1))
            dice = {"1": 0.94 * (1 - math.exp(-step / 60)), "2": tumour}
            yield {"event": "validation", "step": step, "seconds": step * 0.1, "dice": dice}
    if broken:
        text = "the image /home/anna/Hospital Data/study/imagesTr/case_009_0000.nii.gz cannot be read"
        yield {"event": "failure", "case": "case_009", "text": text}
    yield {"event": "end", "reason": "all steps done", "best_step": last}


def phantom_loader(skill=0.0, shape=(96, 96, 40), spacing=(3.0, 3.0, 5.0)):
    """Phantoms with a prediction that is the reference, moved."""

    def load(case):
        seed = int("".join(filter(str.isdigit, case)) or 0)
        phantom = render(draw(np.random.default_rng(seed), range(1, 4)), shape, spacing)
        prediction = np.roll(phantom.labels, (1, 0 if skill > 0 else 2, 0), (0, 1, 2))
        return PanelCase(
            image=phantom.image[0], reference=phantom.labels, prediction=prediction, spacing=phantom.spacing
        )

    return load


@pytest.fixture
def make_run(tmp_path):
    """Write a run folder and read it."""

    def make(name="dice_ce", load=None, **settings):
        return read_run(write_run(tmp_path / name, name=name, **settings), load)

    return make


@pytest.fixture
def make_study(tmp_path):
    """Write the runs of a study and read them."""

    def make(**settings):
        return [read_run(folder) for folder in write_study(tmp_path / "study", **settings)]

    return make


@pytest.fixture
def loader():
    return phantom_loader
