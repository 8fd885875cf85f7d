"""The pictures of a report: the worst, the median and the best case in every run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from markupsafe import Markup
from numpy import ndarray

from edgewise.errors import EdgewiseError
from edgewise.metrics.scoring import name_of
from edgewise.report import slices, surface_picture, viewer
from edgewise.report.error_surface import Surface, surface_error
from edgewise.report.records import PanelCase, RunRecord
from edgewise.report.slices import Stack
from edgewise.report.tables import class_names


@dataclass(frozen=True, kw_only=True)
class ShownRun:
    """One run's pictures of a case.

    Attributes:
        index: position of the run in the report, which gives its colour.
        name: of the run.
        scores: (class, Dice).
        panels: (title, SVG) of the slices that are shown first, one a plane.
        surface: SVG of the error surface; empty where there is none.
        remark: about the surface.
    """

    index: int
    name: str
    scores: tuple[tuple[str, float], ...]
    panels: tuple[tuple[str, Markup], ...]
    surface: Markup
    remark: str


@dataclass(frozen=True, kw_only=True)
class ShownCase:
    """What the page shows of a case.

    Attributes:
        title: such as "Worst case".
        case: its id.
        dice: mean foreground Dice.
        stacks: slices to scroll, one stack a plane.
        data: the stacks for the page's script.
        surface_class: class of the error surface; empty where there is none.
        bar: the colours of the error surfaces.
        viewer: address of the case's page in 3D; empty where there is none.
        runs: in the order of the report.
    """

    title: str
    case: str
    dice: float
    stacks: tuple[Stack, ...]
    data: Markup
    surface_class: str
    bar: Markup
    viewer: str
    runs: tuple[ShownRun, ...]


Loaded = tuple[int, RunRecord, PanelCase]


def pictures(
    runs: Sequence[RunRecord], chosen: Sequence[tuple[str, float, str]], viewers: Path
) -> tuple[list[ShownCase], list[tuple[str, str]]]:
    """Pictures of the chosen cases in every run, and what could not be drawn.

    Where the extra `viewer` is installed, a page of each case in 3D is written too.

    Args:
        runs: those without `load` are left out.
        chosen: (title, Dice, case id) of the cases to show, from `tables.chosen`.
        viewers: folder for the pages in 3D, beside the report.

    Returns:
        The cases that could be loaded in at least one run; (run, text) of every failure.
    """
    shown, failed = [], []
    able = [(index, run) for index, run in enumerate(runs) if run.load]
    for title, dice, case in chosen if able else []:
        loaded: list[Loaded] = []
        for index, run in _validating(able, case):
            try:
                loaded.append((index, run, arrays(run, case, [found for _, _, found in loaded])))
            except (EdgewiseError, OSError) as error:
                failed.append((run.name, f"{case}: no picture, {error}"))
        if loaded:
            shown.append(_shown((title, case, dice), loaded))
            if viewer.installed():
                shown[-1], trouble = _in_3d(shown[-1], loaded, viewers)
                failed += trouble
    return shown, failed


def _validating(able: Sequence[tuple[int, RunRecord]], case: str) -> list[tuple[int, RunRecord]]:
    """The runs that have scored a case: in cross-validation it belongs to one fold; all where none has."""
    return [(index, run) for index, run in able if any(score.case == case for score in run.scores)] or list(able)


def _in_3d(shown: ShownCase, loaded: Sequence[Loaded], folder: Path) -> tuple[ShownCase, list[tuple[str, str]]]:
    """Write the page of a case in 3D; the case with its address, or why there is none."""
    scene = viewer.Scene(
        case=shown.case,
        classes=class_names([run for _, run, _ in loaded]),
        runs=tuple((run.name, found) for _, run, found in loaded),
    )
    try:
        return replace(shown, viewer=viewer.write(scene, folder)), []
    except EdgewiseError as error:
        return shown, [("3D viewer", f"{shown.case}: {error}")]


def arrays(run: RunRecord, case: str, before: Sequence[PanelCase] = ()) -> PanelCase:
    """The arrays of a case, which share one shape, with one another and with those of the runs before.

    Raises:
        EdgewiseError: they do not, or they cannot be loaded.
    """
    if run.load is None:
        raise EdgewiseError("its arrays were not passed")
    found = run.load(case)
    shapes = {found.image.shape, found.reference.shape, found.prediction.shape}
    if len(shapes) > 1:
        raise EdgewiseError(f"image, reference and prediction have different shapes: {sorted(shapes)}")
    if before and before[0].image.shape != found.image.shape:
        raise EdgewiseError(f"its grid {found.image.shape} is not that of the runs before, {before[0].image.shape}")
    return found


def _shown(chosen: tuple[str, str, float], loaded: Sequence[Loaded]) -> ShownCase:
    title, case, dice = chosen
    stacks = slices.stacks([found for _, _, found in loaded])
    label = _worst_class([found for _, _, found in loaded])
    name = name_of(label, class_names([run for _, run, _ in loaded])) if label else ""
    surfaces, bar = _surfaces(loaded, label, f"{case}, error surface of {name}") if label else ([], Markup(""))
    return ShownCase(
        title=title,
        case=case,
        dice=dice,
        stacks=stacks,
        data=slices.data(stacks),
        surface_class=name,
        bar=bar,
        viewer="",
        runs=tuple(
            ShownRun(
                index=index,
                name=run.name,
                scores=tuple(_scores(run, case)),
                panels=tuple(
                    (stack.title, stack.panel(place, f"{case}, {run.name}: {stack.title}")) for stack in stacks
                ),
                surface=surfaces[place][0] if surfaces else Markup(""),
                remark=surfaces[place][1] if surfaces else "",
            )
            for place, (index, run, _) in enumerate(loaded)
        ),
    )


def _scores(run: RunRecord, case: str) -> list[tuple[str, float]]:
    scores = [score for score in run.scores if score.case == case and "dice" in score.values]
    return [(run.classes[score.label], score.values["dice"]) for score in scores]


def _worst_class(cases: Sequence[PanelCase]) -> int:
    """The class of lowest mean Dice of those that the reference has and any run predicted; 0 where there is none."""
    reference = cases[0].reference
    if min(reference.shape) == 1:
        return 0
    dice = {}
    for label in np.unique(reference[reference != 0]).tolist():
        pairs = [(reference == label, case.prediction == label) for case in cases]
        if any(predicted.any() for _, predicted in pairs):
            dice[label] = sum(_dice(*pair) for pair in pairs)
    return min(dice, key=lambda label: dice[label], default=0)


def _dice(reference: ndarray, predicted: ndarray) -> float:
    both = np.count_nonzero(reference & predicted)
    return 2 * both / (np.count_nonzero(reference) + np.count_nonzero(predicted))


def _surfaces(loaded: Sequence[Loaded], label: int, title: str) -> tuple[list[tuple[Markup, str]], Markup]:
    """The error surface of one class in every run, and a remark on it; the bar of their colours."""
    cases = [found for _, _, found in loaded]
    reference = cases[0].reference == label
    surfaces = [surface_error(case.prediction == label, reference, case.spacing) for case in cases]
    expected = surface_error(reference, reference, cases[0].spacing)
    frame = surface_picture.scale(surfaces, expected, cases[0].spacing)
    remarks = [_remark(surface) for surface in surfaces]
    titles = [f"{title}, {run.name}: {remark}" for (_, run, _), remark in zip(loaded, remarks, strict=True)]
    drawn = [
        surface_picture.picture(surface, expected, frame, words)
        for surface, words in zip(surfaces, titles, strict=True)
    ]
    return list(zip(drawn, remarks, strict=True)), surface_picture.bar(frame)


def _remark(surface: Surface) -> str:
    if not len(surface.faces):
        return "nothing was predicted"
    return f"at most {surface.distances.max():.1f} mm from the reference"
