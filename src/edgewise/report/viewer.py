"""Pages that show a case in 3D, where the extra `viewer` is installed.

The viewer is NiiVue, in WebGL 2. The package `ipyniivue` carries it: a notebook widget with a whole copy of NiiVue in
it, as text, from which it saves pages. That text is what we put into ours; the widget itself is not used.
"""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import nibabel
import numpy as np
from markupsafe import Markup
from numpy import ndarray

from edgewise.errors import EdgewiseError
from edgewise.files import write_text
from edgewise.report.panels import window
from edgewise.report.records import PanelCase
from edgewise.types import Spacing

nib: Any = nibabel

PACKAGE = "ipyniivue"
WIDGET = "ipyniivue/static/widget.js"
SOURCE = re.compile(r'"([\w.!~*\'()%-]{500000,})"')
"""A text within the widget that is longer than anything else there, percent-encoded: the source of NiiVue."""
MOST_VOXELS = 12_000_000
MARGIN = 20.0
"""What is kept around the foreground of an image that is too large, in mm."""
LEVELS = 1023
REFERENCE = ((20, 200, 171), (134, 204, 255), (182, 242, 160), (79, 141, 255))
PREDICTION = ((255, 138, 31), (255, 225, 77), (255, 111, 111), (255, 159, 214))
"""Colours of the classes, those of the outlines in the report."""


@dataclass(frozen=True, kw_only=True)
class Library:
    """NiiVue as it is installed.

    Attributes:
        source: an ES module with `Niivue` and `NVImage` at its top level.
        licence: the terms under which it may be passed on.
    """

    source: str
    licence: str


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One case, as a page shows it.

    Attributes:
        case: its id.
        classes: names; the index is the label, 0 the background.
        runs: (name, arrays) of every run; image and reference are those of the first.
    """

    case: str
    classes: tuple[str, ...]
    runs: tuple[tuple[str, PanelCase], ...]


def installed() -> bool:
    """Whether the extra `viewer` is there."""
    try:
        distribution(PACKAGE)
    except PackageNotFoundError:
        return False
    return True


def library() -> Library:
    """Read NiiVue from the installed package.

    Raises:
        EdgewiseError: the package is not there, or does not carry NiiVue as the versions we know do.
    """
    try:
        package = distribution(PACKAGE)
    except PackageNotFoundError as error:
        raise EdgewiseError("the 3D viewer is not installed: pip install 'edgewise[viewer]'.") from error
    widget = Path(str(package.locate_file(WIDGET)))
    text = widget.read_text(encoding="utf-8") if widget.is_file() else ""
    sources = [unquote(found) for found in SOURCE.findall(text)]
    usable = [source for source in sources if _usable(source)]
    if not usable:
        raise EdgewiseError(
            f"{PACKAGE} {package.version} does not carry NiiVue where earlier versions did: "
            "pip install 'edgewise[viewer]' installs one that does."
        )
    return Library(source=usable[0], licence=_licence(package))


def _usable(source: str) -> bool:
    exports = re.search(r"export\{([^}]*)\};?\s*$", source)
    return bool(exports) and {"Niivue", "NVImage"} <= set(exports[1].split(",") if exports else ())


def _licence(package: Any) -> str:
    files = [file for file in package.files or () if file.name.upper().startswith("LICENSE")]
    return "\n".join(Path(str(file.locate())).read_text(encoding="utf-8") for file in files)


def write(scene: Scene, folder: Path) -> str:
    """Write the page of a case.

    Args:
        scene: the case.
        folder: where the pages of a report lie, beside it.

    Returns:
        The address of the page, seen from the report.

    Raises:
        EdgewiseError: the viewer is not installed, or not usable.
        OutputError: the page cannot be written.
    """
    name = file_name(scene.case)
    write_text(folder / name, page(scene, library()))
    return f"{quote(folder.name)}/{quote(name)}"


def file_name(case: str) -> str:
    """A name that every file system takes, different for different ids.

    Example:
        >>> file_name("liver_012"), file_name("../a b")
        ('liver_012.html', 'a_b-2c2c791a.html')
    """
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", case).strip("_-")[:60]
    digest = hashlib.sha256(case.encode()).hexdigest()[:8]
    return f"{plain}.html" if plain and plain == case else f"{plain or 'case'}-{digest}.html"


def page(scene: Scene, code: Library) -> str:
    """The page of a case: image, reference and predictions, and the viewer; it needs nothing else."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    volumes, remark = _volumes(scene)
    return environment.get_template("viewer.html").render(
        case=scene.case,
        remark=remark,
        runs=[name for name, _ in scene.runs],
        classes=[
            (name, *(_css(colours[label % len(colours)]) for colours in (REFERENCE, PREDICTION)))
            for label, name in enumerate(scene.classes[1:])
        ],
        volumes=Markup(json.dumps(volumes).replace("<", "\\u003c")),  # `<` is escaped
        source=Markup(re.sub(r"<(?=/script|!--)", r"\\x3c", code.source, flags=re.IGNORECASE)),  # and here
        licence=code.licence.replace("--", "- -"),
    )


def _volumes(scene: Scene) -> tuple[dict[str, Any], str]:
    """What the page's script needs, and a remark where the image was made smaller."""
    first = scene.runs[0][1]
    masks = [first.reference, *(found.prediction for _, found in scene.runs)]
    box, remark = _box(masks, first.spacing)
    spacing = tuple(size * part.step for size, part in zip(first.spacing, box, strict=True))
    return {
        "image": _grey(first.image[box], spacing),
        "reference": _labels(masks[0][box], spacing),
        "predictions": [_labels(mask[box], spacing) for mask in masks[1:]],
        "colours": {
            role: _table(colours, max(int(mask.max()) for mask in masks))
            for role, colours in (("reference", REFERENCE), ("prediction", PREDICTION))
        },
    }, remark


def _box(masks: Sequence[ndarray], spacing: Spacing) -> tuple[tuple[slice, ...], str]:
    """All of the image if it is small enough, else what is about the foreground, thinned if it has to be."""
    shape = masks[0].shape
    if masks[0].size <= MOST_VOXELS:
        return tuple(slice(0, size, 1) for size in shape), ""
    seen = np.logical_or.reduce([mask != 0 for mask in masks])
    ranges = []
    for axis, size in enumerate(shape):
        used = np.flatnonzero(seen.any(tuple(other for other in range(3) if other != axis)))
        margin = int(np.ceil(MARGIN / spacing[axis]))
        ranges.append((max(0, used[0] - margin), min(size, used[-1] + 1 + margin)) if used.size else (0, size))
    voxels = float(np.prod([stop - start for start, stop in ranges]))
    step = int(np.ceil((voxels / MOST_VOXELS) ** (1 / 3))) if voxels > MOST_VOXELS else 1
    remark = f"Only what is within {MARGIN:g} mm of the structures is here" + (
        f", one voxel in {step} along each axis." if step > 1 else "."
    )
    return tuple(slice(int(start), int(stop), step) for start, stop in ranges), remark


def _grey(image: ndarray, spacing: Spacing) -> str:
    """An image of 1024 levels, its display window in the header."""
    low, high = (float(value) for value in np.nanpercentile(image, (0.05, 99.95)))
    step = (high - low) / LEVELS if high > low else 1.0
    levels = np.nan_to_num(np.clip(np.rint((image - low) / step), 0, LEVELS)).astype(np.int16)
    black, white = window(image)
    return _nifti(levels, spacing, (step, low), (black, white))


def _labels(mask: ndarray, spacing: Spacing) -> str:
    top = float(mask.max())
    return _nifti(mask.astype(np.uint8 if top < 256 else np.int16), spacing, (1.0, 0.0), (0.0, top))


def _nifti(array: ndarray, spacing: Spacing, scale: tuple[float, float], shown: tuple[float, float]) -> str:
    """A NIfTI file, packed, in base64."""
    image = nib.Nifti1Image(array, np.diag([*spacing, 1.0]))
    image.header.set_slope_inter(*scale)
    image.header["cal_min"], image.header["cal_max"] = shown
    return base64.b64encode(gzip.compress(image.to_bytes(), 6, mtime=0)).decode("ascii")


def _table(colours: Sequence[tuple[int, int, int]], top: int) -> dict[str, list[int]]:
    """Colours of labels 0 to `top`, as NiiVue wants them."""
    chosen = [(0, 0, 0), *(colours[label % len(colours)] for label in range(max(top, 1)))]
    red, green, blue = (list(channel) for channel in zip(*chosen, strict=True))
    return {"R": red, "G": green, "B": blue, "A": [0] + [255] * (len(red) - 1), "I": list(range(len(red)))}


def _css(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
