"""Pictures of a case: an image slice with the outlines of reference and prediction."""

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from edgewise.report.records import PanelCase
from edgewise.types import Field, Labels, Spacing

PLANES = ("sagittal", "coronal", "axial")
EDGES = (("A", "S"), ("R", "S"), ("R", "A"))
"""What the left and the top edge of a picture show, by plane, in radiological convention."""
NEAR_ISOTROPIC = 1.6
SOFT_TISSUE = (-150.0, 250.0)
SHADES = 4


@dataclass(frozen=True, kw_only=True)
class View:
    """One slice through a case, cropped to what there is to see.

    Attributes:
        axis: which axis the slice is perpendicular to: 0, 1 or 2 (x, y, z).
        index: where along that axis.
        crop: ranges of the two other axes.
    """

    axis: int
    index: int
    crop: tuple[slice, slice]

    @property
    def title(self) -> str:
        """The plane and the slice, such as "axial, slice 12"."""
        return f"{PLANES[self.axis]}, slice {self.index}"


def views(cases: Sequence[PanelCase]) -> tuple[View, ...]:
    """Choose the slices that show most of the foreground of reference and predictions.

    Every class weighs the same along an axis, so that a small structure within a large one is met.
    Thick-slice volumes are shown in their slice plane only, near-isotropic ones in three planes.

    Args:
        cases: the same case in every run: image and reference are shared.

    Returns:
        One or three views; the middle slice, not cropped, where there is no foreground.
    """
    spacing = np.asarray(cases[0].spacing)
    shape = cases[0].reference.shape
    flat = spacing.max() / spacing.min() > NEAR_ISOTROPIC or min(shape) == 1
    thick = int(np.argmin(shape)) if min(shape) == 1 else int(np.argmax(spacing))
    masks = [array for case in cases for array in (case.reference, case.prediction)]
    return tuple(_view(masks, axis, cases[0].spacing) for axis in ((thick,) if flat else (2, 1, 0)))


def panel(case: PanelCase, view: View, title: str) -> str:
    """Draw one view of a case as inline SVG: the slice as PNG, outlines as paths on it.

    The reference is solid, the prediction dashed; their shade tells the class.

    Args:
        case: image, reference and prediction.
        view: from `views`.
        title: text for those who cannot see it.
    """
    height, width = (_length(case.spacing, view, edge) for edge in (1, 0))
    columns, rows = (part.stop - part.start for part in view.crop)
    left, top = EDGES[view.axis]
    scale = f"scale({width / columns:.5g} {height / rows:.5g})"
    outlines = [
        (role, label, path)
        for role, labels in (("reference", case.reference), ("prediction", case.prediction))
        for label, path in _outlines(_slice(labels, view))
    ]
    lines = f'<path class="halo" d="{"".join(path for _, _, path in outlines)}"/>' + "".join(
        f'<path class="{role} shade-{(label - 1) % SHADES}" d="{path}"/>' for role, label, path in outlines
    )
    size = f'width="{width:.5g}" height="{height:.5g}"'
    letter = max(width, height) / 22
    return (
        f'<svg class="panel" role="img" aria-label="{escape(title)}" viewBox="0 0 {width:.5g} {height:.5g}">'
        f'<image {size} preserveAspectRatio="none" href="{_png(case.image, view)}"/>'
        f'<g transform="{scale}">{lines}</g><g class="edges" font-size="{letter:.4g}">'
        f'<text x="{letter * 0.4:.4g}" y="{height / 2:.5g}">{left}</text>'
        f'<text x="{width / 2:.5g}" y="{letter * 1.1:.4g}">{top}</text></g></svg>'
    )


def _view(masks: Sequence[Labels], axis: int, spacing: Spacing) -> View:
    others = tuple(other for other in range(3) if other != axis)
    weight = np.zeros(masks[0].shape[axis])
    for label in np.unique(np.concatenate([np.unique(mask) for mask in masks])):
        if label:
            area = np.logical_or.reduce([mask == label for mask in masks]).sum(others)
            weight += area / area.max()
    index = int(weight.argmax()) if weight.any() else masks[0].shape[axis] // 2
    seen = np.logical_or.reduce([mask.take(index, axis) != 0 for mask in masks])
    first, second = _square(seen, tuple(spacing[other] for other in others))
    return View(axis=axis, index=index, crop=(first, second))


def _square(seen: np.ndarray, spacing: Spacing) -> list[slice]:
    """A square (in mm) about the foreground with a margin of a third, moved into the image and cut to it."""
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


def _slice(volume: Any, view: View) -> Any:
    """Rows from the top down, columns from the left, radiological: R or A on the left, A or S at the top."""
    plane = np.take(volume, view.index, axis=view.axis)[view.crop]
    return plane[::-1, ::-1].T


def _length(spacing: Spacing, view: View, edge: int) -> float:
    others = [step for axis, step in enumerate(spacing) if axis != view.axis]
    return float((view.crop[edge].stop - view.crop[edge].start) * others[edge])


def _png(image: Field, view: View) -> str:
    from PIL import Image

    low, high = _window(image, view)
    grey = np.clip((_slice(image, view) - low) / (high - low), 0, 1) * 255
    buffer = io.BytesIO()
    Image.fromarray(np.nan_to_num(grey).astype(np.uint8)).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _window(image: Field, view: View) -> tuple[float, float]:
    """Soft tissue where the values can only be Hounsfield units (air is among them), else percentiles."""
    if float(np.nanmin(image)) < -400 and float(np.nanmax(image)) > 100:
        return SOFT_TISSUE
    low, high = np.nanpercentile(_slice(image, view), (0.5, 99.5))
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(low) + 0.5)


def _outlines(labels: Labels) -> Iterator[tuple[int, str]]:
    """SVG path of the outline of every class, in pixels."""
    from contourpy import contour_generator

    for label in np.unique(labels[labels != 0]).tolist():
        mask = np.pad(labels == label, 1).astype(np.float32)
        lines: list[Any] = list(contour_generator(z=mask).lines(0.5) or ())
        yield (
            label,
            "".join("M" + "L".join(f"{x - 0.5:.4g} {y - 0.5:.4g}" for x, y in line) + "Z" for line in lines),
        )
