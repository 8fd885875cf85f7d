"""The reference pages that are made from the catalogues are those that lie in the repository."""

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def generated():
    specification = importlib.util.spec_from_file_location("components", DOCS / "components.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.pages()


@pytest.mark.parametrize(("path", "content"), generated().items(), ids=lambda each: getattr(each, "name", ""))
def test_a_reference_page_is_up_to_date(path, content):
    assert path.read_text(encoding="utf-8") == content, "run `make reference`"


def test_the_gallery_shows_every_map():
    from edgewise.maps import MAPS

    page = (DOCS / "explanation" / "maps.md").read_text(encoding="utf-8")
    pictures = {path.stem for path in (DOCS / "images" / "maps").glob("*.png")}
    expected = set(MAPS) | {f"{kind}_component" for kind, cls in MAPS.items() if hasattr(cls(), "per")}
    assert pictures == expected, "run `make gallery`"
    for kind in MAPS:
        assert f"## `{kind}`" in page, "run `make gallery`"
