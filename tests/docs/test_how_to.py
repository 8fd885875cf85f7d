"""The code of the how-to guides for library users runs as it is printed.

A block marked `python` runs, after those before it in its guide; one marked `python fragment` is only compiled.
"""

import ast
import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

GUIDES = Path(__file__).parents[2] / "docs" / "how-to"

# In a process of its own, where the run-time checks of shapes break no graph. Warnings are errors, except
# those that pyproject.toml excuses.
# Graphs are captured whole, but not translated, which needs a C++ compiler. What `exec` defines lives in this process
# alone, so that data workers have to be forked.
PROGRAM = """
import json, multiprocessing, sys, warnings
from functools import partial
import torch

multiprocessing.set_start_method("fork")
torch.set_num_threads(1)
torch.compile = partial(torch.compile, backend="eager")
warnings.simplefilter("error")
for category in (DeprecationWarning, FutureWarning, UserWarning):
    warnings.filterwarnings("ignore", category=category, module="monai.*")
warnings.filterwarnings("ignore", category=DeprecationWarning, module="torch.*")
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
namespace = {"__name__": "guide"}
for source in json.load(sys.stdin):
    exec(compile(source, sys.argv[1], "exec"), namespace)
"""


def blocks(guide: str, *marks: str) -> list[str]:
    """The Python blocks of a guide that carry one of `marks`, with line numbers as in the guide."""
    text = (GUIDES / guide).read_text(encoding="utf-8")
    found = re.finditer(r"^```(python[^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return ["\n" * text[: each.start(2)].count("\n") + each[2] for each in found if each[1] in marks]


def run(guide: str, folder: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, guide]
    sources = json.dumps(blocks(guide, "python"))
    done = subprocess.run(command, input=sources, capture_output=True, text=True, check=False, timeout=200, cwd=folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("guide", ["lesions.md", "losses_in_pytorch.md", "losses_in_monai.md"])
def test_the_blocks_of_a_guide_run_one_after_the_other(guide, tmp_path):
    assert len(blocks(guide, "python")) >= 4
    run(guide, tmp_path)


@pytest.mark.parametrize("guide", sorted(path.name for path in GUIDES.glob("losses_in_*.md")))
def test_every_block_is_python_and_carries_a_known_mark(guide):
    sources = blocks(guide, "python", "python fragment")
    for source in sources:
        ast.parse(source, guide)
    assert len(sources) == (GUIDES / guide).read_text(encoding="utf-8").count("```py")


def test_the_trainers_of_the_nnunet_guide_can_be_defined(tmp_path):
    if find_spec("nnunetv2") is None:
        pytest.skip("nnU-Net is not installed here: its environment is .venv-bench (make .venv-bench/.installed)")
    run("losses_in_nnunet.md", tmp_path)
