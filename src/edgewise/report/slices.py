"""Stacks of slices that a reader scrolls, the same in every run of a case."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy import ndarray

from edgewise.report import panels
from edgewise.report.panels import Paths, Plane
from edgewise.report.records import PanelCase
from edgewise.types import Labels, Spacing

NEAR_ISOTROPIC = 1.6
MOST_SLICES = 60
MOST_BYTES = 1_500_000
"""What the stacks of a case may weigh in the page."""
BYTES_AN_EDGE = 4
DRAWN = 3
"""Outlines are drawn up to so many times what they may weigh, by a rough count: noise would take minutes otherwise."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Slices of one case in one plane, with outlines of the reference and of every run.

    Attributes:
        plane: where they are cut.
        indices: which slices, rising.
        start: position in `indices` of the slice that is shown first.
        step: 1 where no slice was left out, 2 where every second one is there, and so on.
        pictures: (slices) addresses of data.
        reference: (slices) outlines by label.
        predictions: (runs)(slices) outlines by label.
    """

    plane: Plane
    indices: tuple[int, ...]
    start: int
    step: int
    pictures: tuple[str, ...]
    reference: tuple[Paths, ...]
    predictions: tuple[tuple[Paths, ...], ...]

    @property
    def title(self) -> str:
        """The plane and the slice that is shown first, such as "axial, slice 12"."""
        return f"{self.plane.name}, slice {self.indices[self.start]}"

    @property
    def range(self) -> str:
        """Which slices there are, in words."""
        which = f"{self.plane.name} slices {self.indices[0]} to {self.indices[-1]}"
        return which + (f", every {_ordinal(self.step)}" if self.thinned else "")

    @property
    def thinned(self) -> bool:
        """Whether slices between the first and the last are left out."""
        return self.step > 1

    def panel(self, run: int, title: str) -> Markup:
        """The slice that is shown first, in one run, as inline SVG.

        Args:
            run: position in `predictions`.
            title: text for those who cannot see it.
        """
        roles = [
            (role, {label: paths[self.start].get(label, "") for label in _labels(paths)})
            for role, paths in (("reference", self.reference), ("prediction", self.predictions[run]))
        ]
        return Markup(panels.panel(self.plane, self.pictures[self.start], roles, title))  # escaped there


def stacks(cases: Sequence[PanelCase]) -> tuple[Stack, ...]:
    """Cut the slices of a case in which there is foreground, and one on either side.

    Thick-slice volumes are cut in their slice plane only, near-isotropic ones in three planes. At most
    `MOST_SLICES` slices a plane, and `MOST_BYTES` in all: beyond that every second slice is left out, and again.

    Args:
        cases: the same case in every run: image and reference are shared.

    Returns:
        One stack, or three (axial, coronal, sagittal). The first slice shown has the most foreground and error:
        every class weighs the same along an axis, so that a small structure within a large one is met, and all
        voxels that any run has wrong weigh as much as a class. Without foreground it is the middle one.
    """
    across = axes(cases[0].spacing, cases[0].reference.shape)
    masks = _masks(cases)
    most = MOST_BYTES // len(across)
    return tuple(_lightened(_stack(cases, axis, masks, most), most) for axis in across)


def data(shown: Sequence[Stack]) -> Markup:
    """The stacks of a case for the page's script: JSON that can stand within a `<script>` element."""
    tree = [
        {
            "name": stack.plane.name,
            "start": stack.start,
            "slices": stack.indices,
            "pictures": stack.pictures,
            "reference": _by_label(stack.reference),
            "predictions": [_by_label(paths) for paths in stack.predictions],
        }
        for stack in shown
    ]
    return Markup(json.dumps(tree, separators=(",", ":")).replace("<", "\\u003c"))  # `<` is escaped


def axes(spacing: Spacing, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes across which a volume is cut, the one to show first in front: that of thick slices, or axial."""
    if min(shape) == 1:
        return (int(np.argmin(shape)),)
    return (int(np.argmax(spacing)),) if max(spacing) / min(spacing) > NEAR_ISOTROPIC else (2, 1, 0)


def _masks(cases: Sequence[PanelCase]) -> list[ndarray]:
    """Where each class is, in any of the volumes; last, where any prediction is wrong."""
    reference, predictions = cases[0].reference, [case.prediction for case in cases]
    volumes = [reference, *predictions]
    labels = np.unique(np.concatenate([np.unique(volume) for volume in volumes]))
    wrong = np.logical_or.reduce([prediction != reference for prediction in predictions])
    return [*(np.logical_or.reduce([volume == label for volume in volumes]) for label in labels[labels != 0]), wrong]


def _stack(cases: Sequence[PanelCase], axis: int, masks: Sequence[ndarray], most: int) -> Stack:
    seen = np.logical_or.reduce(masks)
    plane = panels.plane_of(seen, axis, cases[0].spacing)
    volumes = [cases[0].reference, *(case.prediction for case in cases)]
    areas = [mask.sum(tuple(other for other in range(3) if other != axis)) for mask in masks]
    edges = np.sum([_edges(volume, axis) for volume in volumes], axis=0)
    indices, start, step = _indices(areas, edges, DRAWN * most)
    image = cases[0].image
    shown = panels.window(np.stack([plane.cut(image, index) for index in indices]))
    reference, *predictions = (
        tuple(panels.outlines(plane.cut(volume, index)) for index in indices) for volume in volumes
    )
    return Stack(
        plane=plane,
        indices=indices,
        start=start,
        step=step,
        pictures=tuple(panels.picture(plane.cut(image, index), shown) for index in indices),
        reference=reference,
        predictions=tuple(predictions),
    )


def _edges(volume: Labels, axis: int) -> ndarray:
    """For every slice, how many pairs of neighbouring pixels have different labels: how long its outlines are."""
    planes = np.moveaxis(volume, axis, 0)
    across = planes[:, 1:] != planes[:, :-1]
    down = planes[:, :, 1:] != planes[:, :, :-1]
    edges: ndarray = across.sum((1, 2)) + down.sum((1, 2))
    return edges


def _indices(areas: Sequence[ndarray], edges: ndarray, most: int) -> tuple[tuple[int, ...], int, int]:
    """Slices with foreground and one on either side, thinned about the first to show; its position; every which.

    Thinned until there are at most `MOST_SLICES`, and their outlines can be drawn with some `most` bytes.
    """
    weight = np.sum([area / max(area.max(), 1) for area in areas], axis=0)
    start = int(weight.argmax()) if weight.any() else weight.size // 2
    there = np.flatnonzero(weight) if weight.any() else np.arange(weight.size)
    first, last = max(0, int(there[0]) - 1), min(weight.size - 1, int(there[-1]) + 1)
    for step in range(1, weight.size + 1):
        indices = tuple(range(start - (start - first) // step * step, last + 1, step))
        if len(indices) <= MOST_SLICES and BYTES_AN_EDGE * edges[list(indices)].sum() <= most:
            return indices, indices.index(start), step
    return (start,), 0, weight.size


def _lightened(stack: Stack, most: int) -> Stack:
    """The stack, with every second slice left out again and again until it is light enough or one slice is left."""
    while _weight(stack) > most and len(stack.indices) > 1:
        keep = slice(stack.start % 2, None, 2)
        stack = Stack(
            plane=stack.plane,
            indices=stack.indices[keep],
            start=stack.start // 2,
            step=stack.step * 2,
            pictures=stack.pictures[keep],
            reference=stack.reference[keep],
            predictions=tuple(paths[keep] for paths in stack.predictions),
        )
    return stack


def _weight(stack: Stack) -> int:
    drawn = [paths for role in (stack.reference, *stack.predictions) for paths in role]
    return sum(map(len, stack.pictures)) + sum(len(path) for paths in drawn for path in paths.values())


def _labels(paths: Sequence[Paths]) -> list[int]:
    return sorted({label for of_slice in paths for label in of_slice})


def _by_label(paths: Sequence[Paths]) -> Mapping[int, list[str]]:
    return {label: [of_slice.get(label, "") for of_slice in paths] for label in _labels(paths)}


def _ordinal(number: int) -> str:
    return {2: "second", 3: "third"}.get(number, f"{number}th")
