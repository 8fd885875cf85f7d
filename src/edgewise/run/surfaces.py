"""`edgewise surfaces`: surfaces of predicted masks, coloured by their distance to the reference, as files."""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from edgewise.console import say
from edgewise.data.images import assemble, labels_on
from edgewise.data.volumes import read_volume
from edgewise.errors import DataError, OutputError
from edgewise.files import output_folder
from edgewise.metrics.scoring import Names, name_of
from edgewise.report.error_surface import surface_error
from edgewise.report.surface_files import FORMATS, mesh, write
from edgewise.report.surface_picture import last_colour
from edgewise.run.evaluate import declared_names, matched
from edgewise.types import Affine, Labels, Spacing

Ending: TypeAlias = Literal["vtp", "ply", "glb"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """Two masks of one case on one grid.

    Attributes:
        case: its id.
        prediction: (x, y, z) labels.
        reference: (x, y, z) labels.
        spacing: voxel size in mm.
        affine: from voxels to the world, RAS, mm.
        names: of the classes.
    """

    case: str
    prediction: Labels
    reference: Labels
    spacing: Spacing
    affine: Affine
    names: Names

    def lacks(self, label: int) -> str:
        """Which of the masks lacks a class, in words; empty if neither does."""
        name = name_of(label, self.names)
        if not (self.prediction == label).any():
            return f"the prediction holds no {name}, so there is no surface"
        if not (self.reference == label).any():
            return f"the reference holds no {name}, so there is no distance to it"
        return ""


def surfaces(predictions: Path, references: Path, out: Path, *, chosen: str, ending: Ending) -> Mapping[str, str]:
    """Write the surface of every class of every predicted mask.

    Args:
        predictions: a predicted mask, or a folder of them.
        references: the reference mask, or a folder of masks of the same names.
        out: a file (one case, one class), whose ending chooses the format; or a folder for
            `<case>_<label>_<class>.<ending>`.
        chosen: a class by name or number; `all`: every class that both masks hold.
        ending: format of the files in a folder.

    Returns:
        The cases of which there is no surface, with the reason; the others are written.

    Raises:
        DataError: masks are missing or do not fit, there is no such class, or no surface could be written.
        OutputError: `out` cannot be written, or is one file for several surfaces.
    """
    single = _single(out)
    truth, predicted = matched(predictions, references)
    names = declared_names(references)
    label = _label(chosen, names)
    cases = sorted(set(truth) & set(predicted))
    if single and len(cases) > 1:
        raise OutputError(
            f"{out} is one file, but there are {len(cases)} cases. Give a folder (a name without ending)."
        )
    failures = {}
    for case in cases:
        try:
            pair = _pair(case, predicted[case], truth[case], names)
            for each in _labels(pair, label, out if single else None):
                _written(pair, each, out if single else output_folder(out) / _name(pair, each, ending))
        except DataError as error:
            failures[case] = str(error)
    for case in sorted(set(truth) - set(predicted)):
        failures[case] = f"{predictions} holds no prediction of it."
    if len(failures) == len(truth):
        raise DataError("no surface could be written:\n" + "\n".join(f"  {text}" for text in failures.values()))
    return failures


def _single(out: Path) -> bool:
    """Whether one file is meant.

    Raises:
        OutputError: it has an ending that is no format.
    """
    if not out.suffix or out.is_dir():
        return False
    if out.suffix.lower() not in FORMATS:
        raise OutputError(
            f"cannot write a surface to {out}. Choose a file that ends in {', '.join(FORMATS)}, or a folder."
        )
    output_folder(out.parent)
    return True


def _label(chosen: str, names: Names) -> int | Literal["all"]:
    if chosen == "all":
        return "all"
    if chosen.isdecimal() and int(chosen) > 0:
        return int(chosen)
    known = [] if names == "present" else list(names[1:])
    if chosen in known:
        return known.index(chosen) + 1
    if not known:
        raise DataError(f"there is no class {chosen}: no dataset.json names the classes. Give the number of its label.")
    near = difflib.get_close_matches(chosen, known, 1)
    raise DataError(
        f"there is no class {chosen}.{f' Did you mean {near[0]}?' if near else ''} Known: {', '.join(known)}."
    )


def _pair(case: str, prediction: Path, reference: Path, names: Names) -> Pair:
    volume = read_volume(reference)
    both = assemble(case, [volume], read_volume(prediction))
    assert both.labels is not None
    if 1 in both.labels.shape:
        raise DataError(f"{reference} is a single slice, and a surface needs a volume.")
    return Pair(
        case=case,
        prediction=both.labels,
        reference=labels_on(volume, volume),
        spacing=both.spacing,
        affine=both.affine,
        names=names,
    )


def _labels(pair: Pair, label: int | Literal["all"], single: Path | None) -> Iterator[int]:
    """The classes to write, all of which both masks hold.

    Raises:
        DataError: there are none, the chosen one is not among them, or one file is to hold several.
    """
    held = [int(each) for each in np.union1d(np.unique(pair.prediction), np.unique(pair.reference)) if each]
    wanted = held if label == "all" else [label]
    whole = [each for each in wanted if not pair.lacks(each)]
    if not whole:
        reasons = "; ".join(pair.lacks(each) for each in wanted) or "both masks are empty"
        raise DataError(f"{pair.case}: {reasons}.")
    if single is not None and len(whole) > 1:
        listed = ", ".join(name_of(each, pair.names) for each in whole)
        raise OutputError(
            f"{single} is one file, but there are several classes: {listed}. Choose one (--class), or give a folder."
        )
    for each in wanted:
        if each not in whole:
            say(f"warning: {pair.case}: {pair.lacks(each)}")
    yield from whole


def _name(pair: Pair, label: int, ending: Ending) -> str:
    """File name of a surface; the label keeps names apart that differ in odd characters only."""
    named = pair.names != "present" and label < len(pair.names)
    word = "_" + re.sub(r"[^\w.+-]+", "_", pair.names[label]) if named else ""
    return f"{pair.case}_{label}{word}.{ending}"


def _written(pair: Pair, label: int, path: Path) -> None:
    surface = surface_error(pair.prediction == label, pair.reference == label, pair.spacing)
    top = last_colour([surface], pair.spacing)
    name = f"{pair.case} {name_of(label, pair.names)}"
    write(path, mesh(surface, pair.spacing, pair.affine, name=name, top=top))
    say(f"{path}: at most {surface.distances.max():.2f} mm from the reference; colours from 0 to {top:g} mm")
