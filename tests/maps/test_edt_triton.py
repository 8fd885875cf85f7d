"""The Triton kernels: in Triton's interpreter, through Triton's compiler, and on a GPU where there is one."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

from edgewise.maps import edt_torch, edt_triton

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton has no wheel for this platform")

INTERPRET = """
import sys
from jaxtyping import install_import_hook
with install_import_hook("edgewise", "beartype.beartype"):  # as pytest runs every other test
    from edgewise.maps import edt_triton
import torch
for batch, spacing in (cases := torch.load(sys.argv[1])):
    batch["inside"] = edt_triton.inside_distance(batch["labels"], spacing)
torch.save([batch for batch, _ in cases], sys.argv[1])
"""

COMPILE = """
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from edgewise.maps.kernels import tiles
arguments = {"before": "*fp32", "after": "*fp32", "square": "fp32", "rows": "i32", "columns": "i32"}
for lonely in ({}, {"rows": 1}, {"columns": 1}):  # Triton compiles anew for a size of 1
    fixed = {"high": 32, "wide": 32, "offsets": 1} | lonely
    source = ASTSource(tiles.lowered, arguments | dict.fromkeys(fixed, "constexpr"), constexprs=fixed)
    code = compile(source, target=GPUTarget("cuda", 90, 32), options={"enable_fp_fusion": False})
    assert "ld.global" in code.asm["ptx"] and "st.global" in code.asm["ptx"], fixed
"""

UNUSED = """
import sys, torch
import edgewise.maps, edgewise.losses
from edgewise.maps import edt_triton
assert not edt_triton.runs_on(torch.device("cpu"))
edgewise.maps.rectified(torch.eye(4).long()[None], classes=2, spacing=(1.0, 1.0))
assert edgewise.maps.MAPS
print([name for name in sys.modules if name.partition(".")[0] == "triton"])
"""


def python(program, *arguments, **environment):
    """A fresh interpreter: what it imports and sets stays there."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRITON")}
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=kept | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def blobs(shape, labels, seed):
    """Random labels with blobs that are larger than a voxel."""
    generator = torch.Generator().manual_seed(seed)
    coarse = [1, shape[0], *(-(-size // 4) for size in shape[1:])]
    fine = torch.nn.functional.interpolate(torch.rand(coarse, generator=generator), size=shape[1:])
    return (fine[0] * labels).long()


def examples():
    """Several tiles along an axis, axes of one voxel, one voxel, one label, ties, thick slices, no voxel."""
    one = torch.zeros((2, 5, 4, 3), dtype=torch.int64)
    one[1, 4, 0, 2] = 1
    corners = torch.zeros((1, 6, 6), dtype=torch.int64)  # voxel (5, 0): 5 to either, the lower index in the last look
    corners[0, 0, 0] = corners[0, 5, 5] = 1
    yield blobs((2, 5, 4, 7), 3, 0), (20.0, 1.0, 1.0)
    yield blobs((2, 5, 4, 6), 4, 1).to(torch.uint8).transpose(1, 3), (1.0, 0.3, 0.7)
    yield blobs((1, 37, 35), 2, 2), (1.0, 1.0)
    yield blobs((2, 3, 1, 41), 2, 3), (5.0, 0.8, 0.8)
    yield blobs((1, 40, 1), 3, 4), (0.8, 2.5)
    yield torch.randint(0, 2, (2, 5, 6), generator=torch.Generator().manual_seed(5)), (1.0, 1.0)
    yield one, (2.0, 1.0, 3.0)
    yield corners, (1.0, 1.0)
    yield torch.ones((1, 1, 1, 1), dtype=torch.int64), (2.0, 1.0, 3.0)
    yield torch.zeros((0, 3, 4), dtype=torch.int64), (1.0, 1.0)


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory):
    """What the interpreter makes of every example."""
    path = tmp_path_factory.mktemp("interpreter") / "cases.pt"
    torch.save([({"labels": labels}, spacing) for labels, spacing in examples()], path)
    python(INTERPRET, path, TRITON_INTERPRET="1")
    return torch.load(path)


@needs_triton
@pytest.mark.parametrize("place", range(len(list(examples()))))
def test_the_interpreted_kernels_equal_plain_torch(interpreted, place):
    labels, spacing = list(examples())[place]
    expected = edt_torch.inside_distance(labels, spacing)
    torch.testing.assert_close(interpreted[place]["inside"], expected, rtol=1e-6, atol=0)


@needs_triton
def test_the_compiler_takes_the_kernels_without_a_gpu(tmp_path):
    python(COMPILE, TRITON_CACHE_DIR=str(tmp_path))


def test_triton_is_not_imported_for_tensors_on_the_cpu():
    assert python(UNUSED).strip() == "[]"


def test_nothing_here_leaves_the_interpreter_switched_on():
    assert "TRITON_INTERPRET" not in os.environ


@pytest.mark.skipif(not edt_triton.runs_on(torch.device("cuda")) or not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("shape", [(2, 128, 96, 80), (3, 130, 67, 41), (2, 512, 300), (1, 1, 64, 512)])
def test_a_gpu_equals_the_cpu_and_is_never_waited_for(shape):
    labels, spacing = blobs(shape, 4, 0), (2.5, 0.8, 0.8)[1 - len(shape) :]
    there = labels.cuda()
    edt_triton.inside_distance(there, spacing)  # compiles
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        inside = edt_triton.inside_distance(there, spacing)
        plain = edt_torch.inside_distance(there, spacing)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = edt_torch.inside_distance(labels, spacing)
    torch.testing.assert_close(inside.cpu(), expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(plain.cpu(), expected, rtol=1e-6, atol=0)
    assert torch.equal(edt_torch.components(there).cpu(), edt_torch.components(labels))
