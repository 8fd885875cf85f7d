"""Draws the gallery of distance maps: `make gallery` (MASK=FILE for another mask).

Each map of the catalogue on the same two shapes: a drawn one in two dimensions, and a slice through a map that was
built on a whole three-dimensional mask. Writes docs/images/maps/KIND.png and docs/explanation/maps.md.
"""

import argparse
import inspect
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import nibabel as nib
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt

from edgewise.maps import MAPS, DistanceMap

DOCS = Path(__file__).parent
INTRODUCTION = """\
# Distance maps

Every distance map on the same two shapes. On the left a drawing in two dimensions: a large and a small object of class
1, and a vessel of class 2, one voxel wide at its end. On the right a slice through a map of a whole hippocampus (class
1 anterior, class 2 posterior), measured in three dimensions. Lines are the boundaries of the classes.

A map of *one channel* holds the value of each voxel's own class; the text says what every other class holds. Of a map
with *a channel for each class*, and of one whose own value is the same everywhere, the channel of class 1 is shown.

This page and its pictures are made by `make gallery`; formulas and edge cases are those of the code's own docstrings.
The mask is case {case} of the Medical Segmentation Decathlon, Task04 (CC BY-SA 4.0); the pictures made from it are
under the same licence.
"""


def drawing() -> np.ndarray:
    """(72, 104) labels: a large lobed object with a small one beside it, and a vessel that tapers."""
    y, x = np.mgrid[:72, :104].astype(float)
    labels = np.zeros((72, 104), np.uint8)
    angle = np.arctan2(y - 36, x - 30)
    labels[np.hypot(y - 36, x - 30) < 22 + 4 * np.cos(3 * angle)] = 1
    labels[np.hypot(y - 14, x - 62) < 4.5] = 1
    middle, half = 44 + 8 * np.sin(x / 10), np.clip((100 - x) / 7, 0.5, 4)
    labels[(np.abs(y - middle) <= half) & (x > 58) & (x < 102)] = 2
    return labels


def shown(each: DistanceMap, labels: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """The field of one channel unless it is the same everywhere, else the channel of class 1."""
    field = each(labels, classes=3, spacing=spacing)
    if field.ndim == labels.ndim and np.ptp(field) > 0:
        return field
    return each(labels, classes=3, spacing=spacing, channels="all")[1]


def name(each: DistanceMap) -> str:
    """Of the picture's file."""
    return f"{each.kind}_component" if getattr(each, "per", "") == "component" else each.kind


def draw(each: DistanceMap, volume: np.ndarray, spacing: tuple[float, ...], place: int) -> None:
    """One picture: the drawing, and a slice of the volume."""
    flat = drawing()
    fields = (shown(each, flat, (1.0, 1.0)), shown(each, volume, spacing)[:, :, place].T[::-1])
    masks = (flat, volume[:, :, place].T[::-1])
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.1), width_ratios=(1.25, 1), layout="constrained")
    for axis, field, mask in zip(axes, fields, masks, strict=True):
        signed = field.min() < 0 < field.max()
        limit = max(np.abs(field).max(), 1e-6)
        limits = (-limit, limit) if signed else (min(field.min(), 0), max(field.max(), 0))
        picture = axis.imshow(field, cmap="RdBu_r" if signed else "viridis", vmin=limits[0], vmax=limits[1])
        for value in (1, 2):
            for colour, width in (("black", 2.0), ("white", 0.8)):  # seen on any colour
                axis.contour(mask == value, levels=[0.5], colors=colour, linewidths=width)
        axis.set_axis_off()
        figure.colorbar(picture, ax=axis, shrink=0.9)
    figure.savefig(DOCS / "images" / "maps" / f"{name(each)}.png", dpi=90)
    plt.close(figure)


def text(each: DistanceMap) -> str:
    """Heading, picture, and what the class says of itself."""
    channels = "a channel for each class" if each.channels == "all" else f"one channel; elsewhere {each.elsewhere}"
    body = inspect.getdoc(type(each)) or ""
    parameters = body.split("Attributes:", 1)
    lines = [f"## `{each.kind}`", "", f"![{each.kind}](../images/maps/{each.kind}.png)", "", parameters[0].strip(), ""]
    if hasattr(each, "per"):
        lines += ["With `per: component`:", "", f"![by component](../images/maps/{each.kind}_component.png)", ""]
    lines += [f"*{channels[0].upper()}{channels[1:]}.* Source: {each.source}.", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mask", type=Path, help="label file of three classes")
    mask = parser.parse_args().mask
    image = nib.load(mask)
    volume = np.asarray(image.dataobj).astype(np.uint8)
    spacing = tuple(float(size) for size in image.header.get_zooms()[:3])
    place = int(np.argmax([(layer > 0).sum() * (len(np.unique(layer)) == 3) for layer in np.moveaxis(volume, 2, 0)]))
    maps = [cls() for cls in MAPS.values()]
    for each in maps:
        draw(each, volume, spacing, place)
        if hasattr(each, "per"):
            draw(replace(each, per="component"), volume, spacing, place)
    page = INTRODUCTION.format(case=mask.name.split(".")[0]) + "\n" + "\n".join(text(each) for each in maps)
    (DOCS / "explanation" / "maps.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
