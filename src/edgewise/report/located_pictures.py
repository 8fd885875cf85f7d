"""Pictures of what a two-stage run located: heatmap, boxes, regions and masks over the image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from edgewise.detection.boxes import Box
from edgewise.errors import EdgewiseError
from edgewise.metrics.located_table import LocatedRow
from edgewise.report import panels, slices
from edgewise.report.localisation import Listed, chosen, lists, middle, percent, slice_axis
from edgewise.report.panels import Overlay, Plane
from edgewise.report.pictures import arrays
from edgewise.report.records import PanelCase, RunRecord
from edgewise.types import Field, Mask

LEAST = 0.25
"""What has to be seen is at least so much of an image's side, so that a small object is not without surroundings."""


@dataclass(frozen=True, kw_only=True)
class LocatedPanel:
    """The picture of one object.

    Attributes:
        title: such as "Worst".
        where: case, slice and kind.
        remark: how well it was located.
        svg: the picture.
    """

    title: str
    where: str
    remark: str
    svg: Markup


@dataclass(frozen=True, kw_only=True)
class LocatedRun:
    """What the page shows of how one run located objects, beside its numbers.

    Attributes:
        index: position of the run in the report.
        panels: the worst located object, a median one and the best, as far as they could be drawn.
        lists: what was missed, cut, or found in vain.
    """

    index: int
    panels: tuple[LocatedPanel, ...]
    lists: tuple[Listed, ...]


def located(records: Sequence[RunRecord]) -> tuple[list[LocatedRun], list[tuple[str, str]]]:
    """Pictures and lists of every run that located objects; (run, text) of every picture that could not be drawn."""
    shown, failed = [], []
    for index, record in enumerate(records):
        if not record.located:
            continue
        drawn = []
        for title, row in chosen(record.located) if record.load else ():
            try:
                drawn.append(_panel(record, title, row))
            except (EdgewiseError, OSError) as error:
                failed.append((record.name, f"{row.case}: no picture of what was located, {error}"))
        shown.append(LocatedRun(index=index, panels=tuple(drawn), lists=tuple(lists(record))))
    return shown, failed


def heat_bar() -> Markup:
    """The colours of the heatmaps from 0 to 1, over the grey of an image."""
    address = panels.warmth(np.linspace(0, 1, 120)[None])
    return Markup(
        '<svg class="warmth" viewBox="0 0 120 18" aria-hidden="true"><rect width="120" height="18"/>'
        f'<image width="120" height="18" preserveAspectRatio="none" href="{address}"/></svg>'
    )


def _panel(record: RunRecord, title: str, row: LocatedRow) -> LocatedPanel:
    case = arrays(record, row.case)
    axis = slice_axis(record, row) if row.slice >= 0 else slices.axes(case.spacing, case.image.shape)[0]
    index = min(max(middle(row.object or row.box, axis), 0), case.image.shape[axis] - 1)
    rows = [each for each in record.located if _there(each, row, axis, index)]
    plane = panels.plane_of(_seen(case, row, rows, axis), axis, case.spacing)
    heat, without = _heat(record, row.case, case)
    where = f"{row.case}, {plane.name} slice {index}, {row.kind}"
    remark = _remark(row, axis, index) + (_warmest(heat, row) if row.missed and heat is not None else without)
    label = record.classes.index(row.kind) if row.kind in record.classes else 0
    image = plane.cut(case.image, index)
    over = Overlay(
        heat=panels.warmth(plane.cut(heat, index)) if heat is not None else "",
        boxes=_boxes(rows, label, plane, index),
    )
    svg = panels.panel(
        plane,
        panels.picture(image, panels.window(image)),
        _masks(case, label, plane, index),
        f"{where}, {record.name}: {remark}",
        over,
    )
    return LocatedPanel(title=title, where=where, remark=remark, svg=Markup(svg))  # escaped in `panel`


def _there(each: LocatedRow, row: LocatedRow, axis: int, index: int) -> bool:
    """Whether a row is to be drawn with another: of its case and kind, and its object or its box in the slice."""
    if (each.case, each.kind) != (row.case, row.kind):
        return False
    return each.slice == row.slice if row.slice >= 0 else any(_crosses(b, axis, index) for b in (each.object, each.box))


def _crosses(box: Box, axis: int, index: int) -> bool:
    return bool(box) and box[axis] < index + 0.5 and box[axis + 3] > index - 0.5


def _seen(case: PanelCase, row: LocatedRow, rows: Sequence[LocatedRow], axis: int) -> Mask:
    """What has to be in the picture: the object with its region; for a missed one all regions of its slice."""
    boxes = [row.object, row.box, row.roi] if row.box else [row.object, *(each.roi for each in rows)]
    shape = [1 if each == axis else size for each, size in enumerate(case.image.shape)]
    seen = np.zeros(shape, bool)
    for box in filter(None, boxes):
        seen[tuple(_range(low, high, size) for low, high, size in zip(box[:3], box[3:], shape, strict=True))] = True
    return seen


def _range(low: float, high: float, size: int) -> slice:
    """The voxels of a box along an axis of so many; some around a small one."""
    more = max(0.0, (LEAST * size - (high - low)) / 2)
    return slice(max(0, math.floor(low - more)), max(0, math.ceil(high + more))) if size > 1 else slice(1)


def _masks(case: PanelCase, label: int, plane: Plane, index: int) -> list[tuple[str, panels.Paths]]:
    """The outlines of a class; of all classes where it is the background."""
    cuts = [("reference", plane.cut(case.reference, index)), ("prediction", plane.cut(case.prediction, index))]
    return [(role, panels.outlines(np.where(cut == label, cut, 0) if label else cut)) for role, cut in cuts]


def _boxes(rows: Sequence[LocatedRow], label: int, plane: Plane, index: int) -> tuple[tuple[str, panels.Paths], ...]:
    """Regions, boxes of objects, and boxes found, as far as they are in the slice."""
    boxes = {
        "roi": [each.roi for each in rows],
        "reference box": [each.object for each in rows],
        "prediction box": [each.box for each in rows],
    }
    return tuple(
        (role, {label or 1: "".join(plane.frame(box) for box in there if _crosses(box, plane.axis, index))})
        for role, there in boxes.items()
    )


def _heat(record: RunRecord, name: str, case: PanelCase) -> tuple[Field | None, str]:
    """The heatmap, or that there is none."""
    try:
        heat = record.heat(name) if record.heat else None
    except (EdgewiseError, OSError):
        return None, "; its heatmap cannot be read"
    if heat is None or not heat.size:
        return None, "; without a heatmap"
    if heat.shape != case.image.shape:
        return None, "; its heatmap has another grid"
    return heat, ""


def _remark(row: LocatedRow, axis: int, index: int) -> str:
    if row.missed:
        return f"missed, {percent(row.contained)} of it in other regions" if row.contained > 0 else "missed"
    if row.false:
        return f"no object there, score {row.score:.2f}"
    elsewhere = "" if _crosses(row.box, axis, index) else ", the box found does not reach this slice"
    return f"IoU {row.iou:.2f}, {percent(row.contained)} inside the regions, score {row.score:.2f}{elsewhere}"


def _warmest(heat: Field, row: LocatedRow) -> str:
    """How sure the first stage was of an object that it missed: hardly at all, or not quite enough."""
    sides = zip(row.object[:3], row.object[3:], strict=True)
    there = heat[tuple(slice(max(0, math.ceil(low)), max(0, math.floor(high) + 1)) for low, high in sides)]
    return f"; the heatmap reaches {percent(float(there.max()))} in its box" if there.size else ""
