"""Pictures of a case: an image slice with the outlines of reference and prediction."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy import ndarray

from edgewise.types import Field, Labels, Mask, Spacing

PLANES = ("sagittal", "coronal", "axial")
EDGES = (("A", "S"), ("R", "S"), ("R", "A"))
"""What the left and the top edge of a picture show, by plane, in radiological convention."""
SOFT_TISSUE = (-150.0, 250.0)
SHADES = 4
LARGEST = 384
"""Pixels along a side beyond which a picture is made smaller; outlines keep their precision."""
HEAT = ((120, 60, 255), (255, 20, 190))
"""Red, green and blue of a heatmap's lowest and highest value."""
OPAQUE = 0.62
"""How opaque the highest value is: the image can still be seen through it."""

Paths = Mapping[int, str]
"""Outlines of a slice: label -> data of an SVG path, in half pixels."""


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """What lies on a slice beside the outlines of its masks.

    Attributes:
        heat: address of a heatmap's picture, from `warmth`, under all lines; empty for none.
        boxes: (role, outlines), as of the masks, over all else.
    """

    heat: str = ""
    boxes: tuple[tuple[str, Paths], ...] = ()


BARE = Overlay()


@dataclass(frozen=True, kw_only=True)
class Plane:
    """How slices are cut from a volume: perpendicular to one axis, cropped to what there is to see.

    Attributes:
        axis: 0, 1 or 2 (x, y, z of a volume turned to RAS+).
        crop: ranges of the two other axes.
        spacing: voxel size along x, y, z in mm.
    """

    axis: int
    crop: tuple[slice, slice]
    spacing: Spacing

    @property
    def name(self) -> str:
        """Sagittal, coronal or axial."""
        return PLANES[self.axis]

    @property
    def pixels(self) -> tuple[int, int]:
        """Columns and rows of a slice."""
        columns, rows = (part.stop - part.start for part in self.crop)
        return columns, rows

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of a slice in mm."""
        across, up = (step for axis, step in enumerate(self.spacing) if axis != self.axis)
        columns, rows = self.pixels
        return columns * across, rows * up

    def cut(self, volume: ndarray, index: int) -> ndarray:
        """A slice: rows from the top down, columns from the left, radiological: R or A on the left, A or S on top."""
        plane: ndarray = np.take(volume, index, axis=self.axis)[self.crop]
        return plane[::-1, ::-1].T

    def frame(self, box: Sequence[float]) -> str:
        """A box as the data of an SVG path, in half pixels of a slice.

        Args:
            box: (x_low, y_low, z_low, x_high, y_high, z_high) in voxels of the volume, where voxel i covers i - ½ to
                i + ½; may reach beyond the slice.
        """
        across, up = (axis for axis in range(3) if axis != self.axis)
        ends = (2 * part.stop - 1 for part in self.crop)
        (left, right), (top, bottom) = (
            (end - 2 * box[axis + 3], end - 2 * box[axis]) for end, axis in zip(ends, (across, up), strict=True)
        )
        return f"M{left:.6g} {top:.6g}H{right:.6g}V{bottom:.6g}H{left:.6g}z"


def plane_of(seen: Mask, axis: int, spacing: Spacing) -> Plane:
    """The plane perpendicular to an axis, cropped to a square (in mm) about what is seen.

    Args:
        seen: (x, y, z) what has to be in the picture, in whichever slice it is; a third of its size is left
            around it. All False: the plane is not cropped.
        axis: 0, 1 or 2.
        spacing: voxel size along x, y, z in mm.
    """
    flat: ndarray = np.any(seen, axis=axis)
    steps = tuple(step for other, step in enumerate(spacing) if other != axis)
    first, second = _square(flat, steps)
    return Plane(axis=axis, crop=(first, second), spacing=spacing)


def _square(seen: ndarray, spacing: Spacing) -> list[slice]:
    """A square about the foreground, moved into the image and cut to it."""
    if not seen.any():
        return [slice(0, size) for size in seen.shape]
    spans = [np.flatnonzero(seen.any(1 - axis))[[0, -1]] for axis in (0, 1)]
    side = max((last - first + 1) * step for (first, last), step in zip(spans, spacing, strict=True)) * 5 / 3
    ranges = []
    for (first, last), step, size in zip(spans, spacing, seen.shape, strict=True):
        length = min(size, max(8, round(side / step)))
        start = min(max(0, round((first + last + 1 - length) / 2)), size - length)
        ranges.append(slice(int(start), int(start + length)))
    return ranges


def window(image: Field) -> tuple[float, float]:
    """The values to show as black and as white.

    Args:
        image: what is shown; values that are not finite are left out.

    Returns:
        Soft tissue where the values can only be Hounsfield units (air is among them), else percentiles.
    """
    values = image[np.isfinite(image)]
    if not values.size:
        return (-0.5, 0.5)
    if values.min() < -400 and values.max() > 100:
        return SOFT_TISSUE
    low, high = (float(value) for value in np.percentile(values, (0.5, 99.5)))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def picture(values: Field, shown: tuple[float, float]) -> str:
    """A slice as an address of data: WebP, at most `LARGEST` pixels along a side."""
    from PIL import Image

    low, high = shown
    grey = np.nan_to_num(np.clip((values - low) / (high - low), 0, 1) * 255)
    drawn = Image.fromarray(grey.astype(np.uint8))
    if max(drawn.size) > LARGEST:
        drawn.thumbnail((LARGEST, LARGEST))
    return webp(drawn)


def warmth(values: Field) -> str:
    """A slice of a heatmap as an address of data, to lie over its picture.

    Violet to magenta, more and more opaque: neither red nor green is needed to tell more from less, and no outline has
    these colours.

    Args:
        values: (rows, columns) in [0, 1]; 0 is transparent. What is no number is 0.

    Returns:
        WebP, at most `LARGEST` pixels along a side.
    """
    from PIL import Image

    share = np.clip(np.nan_to_num(values), 0, 1)[..., None]
    faint, strong = (np.array(colour, float) for colour in HEAT)
    colour = np.concatenate([faint + share * (strong - faint), 255 * OPAQUE * share**0.8], axis=-1)
    drawn = Image.fromarray(np.rint(colour).astype(np.uint8), "RGBA")
    if max(drawn.size) > LARGEST:
        drawn.thumbnail((LARGEST, LARGEST))
    return webp(drawn)


def webp(drawn: Any) -> str:
    """A picture of Pillow as an address of data."""
    buffer = io.BytesIO()
    drawn.save(buffer, format="WEBP", quality=78, method=3)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def outlines(labels: Labels) -> dict[int, str]:
    """The outline of every class of a slice: label -> SVG path in half pixels.

    The path runs through the middle between the centres of a pixel inside and one outside, so that the centres of
    exactly the pixels of the class lie within it (even-odd). A path closes at the edge of the slice.

    Example:
        >>> outlines(np.array([[0, 2]]))
        {2: 'M2 1l1-1 1 1-1 1z'}
    """
    return {label: _outline(labels == label) for label in np.unique(labels[labels != 0]).tolist()}


def _outline(mask: ndarray) -> str:
    from contourpy import LineType, contour_generator

    rows, columns = (np.flatnonzero(mask.any(axis))[[0, -1]] for axis in (1, 0))
    box = mask[rows[0] : rows[1] + 1, columns[0] : columns[1] + 1]
    found: Any = contour_generator(z=np.pad(box, 1).astype(np.float32), line_type=LineType.ChunkCombinedOffset)
    ((points,), (offsets,)) = found.lines(0.5)
    corner = 2 * np.array([columns[0], rows[0]]) - 1
    return _path(np.rint(2 * points).astype(np.int64) + corner, offsets.astype(np.int64))


def _path(points: ndarray, offsets: ndarray) -> str:
    """Closed lines with relative steps; steps of one direction become one, and the last is left to `z`.

    Lines end where they begin, and line k is `points[offsets[k]:offsets[k + 1]]`. All are taken at once: a prediction
    that is mere noise has thousands of them in a slice.
    """
    steps = np.diff(points, axis=0)
    turns = np.r_[True, (steps[1:] != steps[:-1]).any(1), False]
    turns[offsets[:-1]], turns[offsets[1:] - 1] = True, False
    corners = points[turns]
    first = np.searchsorted(np.flatnonzero(turns), offsets[:-1])
    moves = np.diff(corners, axis=0, prepend=0)
    moves[first] = corners[first]
    words = [f"{across} {down}" for across, down in moves.tolist()]
    ends = [*first[1:].tolist(), len(words)]
    lines = zip(first.tolist(), ends, strict=True)
    return "".join(f"M{words[at]}l{' '.join(words[at + 1 : end])}z" for at, end in lines).replace(" -", "-")


def panel(plane: Plane, address: str, roles: Sequence[tuple[str, Paths]], title: str, over: Overlay = BARE) -> str:
    """Draw a slice of a case as inline SVG: its picture, outlines as paths on it.

    Args:
        plane: where the slice was cut.
        address: its picture, from `picture`.
        roles: (role, outlines) such as ("reference", ...); the role is the line's style, the label its shade. A class
            that is not in this slice has an empty path, which scripts fill.
        title: text for those who cannot see it.
        over: what else lies on it.
    """
    (width, height), (columns, rows) = plane.size, plane.pixels
    left, top = EDGES[plane.axis]
    scale = f"scale({width / columns / 2:.5g} {height / rows / 2:.5g})"
    size = f'width="{width:.5g}" height="{height:.5g}"'
    layer = f'<image class="heat" {size} preserveAspectRatio="none" href="{over.heat}"/>' if over.heat else ""
    lines = _lines(roles, "halo") + (_lines(over.boxes, "halo boxes") if over.boxes else "")
    letter = max(width, height) / 22
    return (
        f'<svg class="panel" role="img" aria-label="{escape(title)}" viewBox="0 0 {width:.5g} {height:.5g}">'
        f'<image {size} preserveAspectRatio="none" href="{address}"/>{layer}'
        f'<g transform="{scale}">{lines}</g><g class="edges" font-size="{letter:.4g}">'
        f'<text x="{letter * 0.4:.4g}" y="{height / 2:.5g}">{left}</text>'
        f'<text x="{width / 2:.5g}" y="{letter * 1.1:.4g}">{top}</text></g></svg>'
    )


def _lines(roles: Sequence[tuple[str, Paths]], halo: str) -> str:
    """The outlines of roles, over a dark line that parts them from the image."""
    return f'<path class="{halo}" d="{"".join(path for _, paths in roles for path in paths.values())}"/>' + "".join(
        f'<path class="{role} shade-{(label - 1) % SHADES}" data-label="{label}" d="{path}"/>'
        for role, paths in roles
        for label, path in paths.items()
    )
