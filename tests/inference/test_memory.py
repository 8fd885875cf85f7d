"""A whole CT must not need more memory than an ordinary machine has."""

import subprocess
import sys
import textwrap

import pytest

PREDICT = """
import resource, sys
from pathlib import Path
import nibabel, numpy as np, torch
from edgewise.data.case import CaseFiles
from edgewise.data.intensity import ClipZScore
from edgewise.experiment import Experiment
from edgewise.networks.residual_unet import ResidualUNet
from edgewise.plan import Plan
from edgewise.run.trained import Trained
from edgewise.training.arithmetic import Arithmetic

folder = Path(sys.argv[1])
rng = np.random.default_rng(0)
image = rng.integers(-200, 200, (512, 512, 400), np.int16)
nibabel.save(nibabel.Nifti1Image(image, np.diag([0.8, 0.8, 1.0, 1.0])), folder / "ct.nii")
del image
plan = Plan(
    dimensions=3, axes=(2, 1, 0), spacing=(1.0, {spacing}, {spacing}), patch=(32, 128, 128), batch=1,
    strides=((2, 2, 2), (2, 2, 2)), kernels=((3, 3, 3), (3, 3, 3)), widths=(4, 8), crop="none", reasons={{}},
    intensity=(ClipZScore(lower=-200.0, upper=200.0, mean=0.0, std=100.0),), arithmetic=Arithmetic(threads=2),
)
trained = Trained(
    experiment=Experiment(name="memory"), plan=plan, classes=("background", "liver", "tumour"), channels=("CT",),
    network=ResidualUNet().build(plan.topology(3)).eval(), device=torch.device("cpu"),
)
trained.predict_file(CaseFiles(id="ct", images=(folder / "ct.nii",)), folder / "mask.nii.gz")
assert nibabel.load(folder / "mask.nii.gz").shape == (512, 512, 400)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("spacing", [0.8, 1.0], ids=["on its own grid", "resampled to 1 mm"])
def test_a_ct_of_512x512x400_with_three_classes_stays_below_3_gb(tmp_path, spacing):
    code = textwrap.dedent(PREDICT).format(spacing=spacing)
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) * 1024 <= 3e9, f"{int(done.stdout) / 1e6:.2f} GB"
