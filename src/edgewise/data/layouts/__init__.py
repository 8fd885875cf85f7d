"""Dataset layouts, recognised by what lies in a folder, never configured.

A further layout is one more `Layout` in `LAYOUTS`. What cannot become a labelled case is not swallowed: every
scan lists it as a `Defect`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgewise.data.case import Dataset
from edgewise.data.folders import Defect, Folder, case_id, content, entries, find_images
from edgewise.data.layouts.base import Layout, Scan
from edgewise.data.layouts.brats18 import BRATS18
from edgewise.data.layouts.challenges import CHALLENGES
from edgewise.data.layouts.described import DECATHLON, NNUNET
from edgewise.data.layouts.kits19 import KITS19
from edgewise.data.layouts.pancreas_ct import PANCREAS_CT
from edgewise.data.layouts.plain import FOLDERS, OAIZIB_CM
from edgewise.errors import DataError

__all__ = ["LAYOUTS", "Defect", "Layout", "Scan", "case_id", "detect", "find_images", "scan"]

_DIRECT = (DECATHLON, NNUNET, FOLDERS, OAIZIB_CM)
"""Layouts told by what lies directly in the folder; they go first, as a look further down costs time."""

_DEEP = (*CHALLENGES, PANCREAS_CT, BRATS18, KITS19)

LAYOUTS = (*_DIRECT, *_DEEP)


def detect(root: Path) -> Dataset:
    """The dataset in `root`, its labelled pairs sorted by id; `scan` also tells what is no labelled pair.

    Raises:
        DataError: no layout fits (the message says what was looked for and what was found), several do, or
            `dataset.json` contradicts itself.
    """
    return scan(root).dataset


def scan(root: Path) -> Scan:
    """As `detect`, with the defects: images without label, labels without image, missing files."""
    if not root.is_dir():
        raise DataError(f"{root}: there is no such folder. Pass the folder that holds the dataset.")
    folder = Folder(root=root, description=_description(root))
    for layout in _DIRECT:
        if layout.fits(folder):
            return layout.scan(folder)
    inside = [p.name for p in entries(root) if p.is_dir() and _fits_directly(p)]
    fitting = [] if inside else [layout for layout in _DEEP if layout.fits(folder)]
    if len(fitting) > 1:
        found = " and ".join(layout.name for layout in fitting)
        raise DataError(f"{root} holds several datasets ({found}). Pass the folder of one of them.")
    if fitting:
        return fitting[0].scan(folder)
    looked = "".join(f"\n  ({i}) {layout.describe}" for i, layout in enumerate(LAYOUTS, 1))
    mend = f"Did you mean {root / inside[0]}?" if inside else "Arrange the files in one of these ways."
    raise DataError(f"{root} is no dataset we know. Looked for{looked}\nFound {content(root)}. {mend}")


def _description(root: Path) -> Mapping[str, Any]:
    path = root / "dataset.json"
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}). Correct it.") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: holds a {type(value).__name__}, expected one JSON object {{...}}. Correct it.")
    return value


def _fits_directly(root: Path) -> bool:
    try:
        folder = Folder(root=root, description=_description(root))
        return any(layout.fits(folder) for layout in _DIRECT)
    except DataError:
        return False
