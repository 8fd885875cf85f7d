"""The tables of definitions in the explanation are what the code says."""

import importlib.util
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def generator():
    specification = importlib.util.spec_from_file_location("definitions", DOCS / "definitions.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["drawn", "real"])
def test_a_table_of_definitions_is_up_to_date(name):
    definitions = generator()
    if name not in definitions.available():
        pytest.skip(f"the real masks are not here: {definitions.REAL}")
    page = definitions.PAGE.read_text(encoding="utf-8")
    assert definitions.with_table(page, name) == page, "run `make reference`"


def test_the_explanation_has_a_paragraph_for_every_preset():
    from edgewise.metrics import PRESETS

    page = (DOCS / "explanation" / "correctness.md").read_text(encoding="utf-8")
    assert [name for name in PRESETS if f"**`{name}`**" not in page] == []


def test_the_python_of_the_guide_to_scoring_runs():
    guide = (DOCS / "how-to" / "score_masks.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "score_masks.md", "exec"), {})
