"""LR-Net's own training on real masks: what the paper calls a rigorous mapping, from the command line."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml

DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def folder(name):
    path = DATA / name
    if not path.is_dir():
        pytest.skip(f"the real masks are not there: {path}")
    return path


def kidneys(out):
    """A dataset of the KiTS masks: cut to the kidneys, every second pixel; its images say nothing, and nobody asks."""
    for name in ("imagesTr", "labelsTr"):
        (out / name).mkdir(parents=True)
    cases = sorted(folder("masks_kits19").glob("*_segmentation.nii.gz"))
    for number, path in enumerate(cases):
        volume = nib.load(path)
        mask = np.asarray(volume.dataobj).astype(np.uint8)
        box = []
        for axis in range(3):
            inside = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
            margin = 0 if axis == 0 else 16  # the first axis goes through the slices
            box.append(slice(max(inside[0] - margin, 0), inside[-1] + 1 + margin))
        cut = mask[tuple(box)][:, ::2, ::2].transpose(2, 1, 0)
        thick, *pixel = (float(size) for size in volume.header.get_zooms())
        affine = np.diag([2 * pixel[1], 2 * pixel[0], thick, 1.0])
        nib.save(nib.Nifti1Image(cut, affine), out / "labelsTr" / f"kidney_{number:03}.nii.gz")
        image = cut.astype(np.float32) + np.linspace(0, 1, cut.shape[0], dtype=np.float32)[:, None, None]
        nib.save(nib.Nifti1Image(image, affine), out / "imagesTr" / f"kidney_{number:03}_0000.nii.gz")
    table = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "kidney": 1, "tumour": 2},
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
    }
    (out / "dataset.json").write_text(json.dumps(table), encoding="utf-8")
    return out


def reached(edgewise, root, data, plan, method):
    """The validation Dice of (LR-Net's map > 0) with the mask, after its own training."""
    experiment = {
        "name": "masks",
        "plan": {"workers": 1, "widths": [8] * 3, **plan},
        "network": {"kind": "residual_unet"},
        "method": {"kind": "lrnet", **method},
        "training": {"steps": 1, "validate_every": 1, "report_every": 1},
        "augmentation": {"flip": "all"},
    }
    path = root / "masks.yaml"
    path.write_text(yaml.safe_dump(experiment), encoding="utf-8")
    done = edgewise("fit", path, "--data", data, "--out", root / "run", "--cache", root / "cache")
    assert done.code == 0
    return torch.load(root / "run" / "checkpoints" / "lrnet.pt", weights_only=True)["score"]


def test_it_learns_the_map_of_hippocampi(edgewise, tmp_path):
    data = folder("hippocampus")
    assert reached(edgewise, tmp_path, data, {"patch": [40, 56, 40], "stem": 2}, {}) >= 0.98


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_it_learns_the_map_of_kidneys_and_tumours_slice_by_slice(edgewise, tmp_path, activation):
    data = kidneys(tmp_path / "kidneys")
    plan = {"dimensions": 2, "patch": [96, 96], "stem": 2, "intensity": [{"kind": "percentile_zscore"}]}
    assert reached(edgewise, tmp_path, data, plan, {"activation": activation}) >= 0.98
