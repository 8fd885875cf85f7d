"""`edgewise gradients` without a run: the gradient of losses over the simplex of three classes."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from edgewise.compare.gradients import Field, field
from edgewise.compare.simplex import CLASSES, Depth, Others, Scene, cells, heart, placed
from edgewise.console import progress
from edgewise.errors import DataError
from edgewise.experiment_file import inline
from edgewise.files import finite, output_folder, write_json, write_text
from edgewise.losses.base import Loss
from edgewise.losses.compound import Sum
from edgewise.losses.cross_entropy import CrossEntropy
from edgewise.losses.region_wise import RegionWise
from edgewise.maps.boundary import Boundary

RESOLUTION = 48
"""Triangles along an edge of the simplex, 2304 in all: the shares of the spec's examples are right to 0.4 %."""


@dataclass(frozen=True, kw_only=True)
class Voxel:
    """Which voxel, and what is held fixed; see `compare.simplex.Scene`.

    Attributes:
        true: its class.
        depth: where in its class it lies.
        others: what all other voxels predict.
        values: what the map of each loss holds, as numbers with commas, or `built`: one for all losses, or one each;
            none is `built`.
    """

    true: int = 2
    depth: Depth = "deep"
    others: Others = "reference"
    values: tuple[str, ...] = ()


def simplex(losses: Sequence[Loss], voxel: Voxel, out: Path) -> list[str]:
    """Draw the gradients of losses over the simplex, and write their numbers.

    Args:
        losses: none is what the paper compares: the region-wise loss with the signed distance and with the rectified
            map, and cross entropy.
        voxel: whose gradient.
        out: folder for `simplex` and `true_class` (PNG and SVG) and `gradients` (JSON and CSV).

    Returns:
        Lines about what was found.

    Raises:
        DataError: the voxel's class or the values do not fit.
        OutputError: `out` cannot be written.
    """
    from edgewise.report.simplex import Drawn, fields, rise, true_class

    chosen = tuple(losses) or (RegionWise(map=Boundary()), RegionWise(), CrossEntropy())
    scenes = _scenes(chosen, voxel)
    output_folder(out)
    drawn = []
    with progress("gradients") as report:
        for number, (loss, scene) in enumerate(zip(chosen, scenes, strict=True)):
            area, up = field(loss, scene, cells(RESOLUTION)), field(loss, scene, rise(voxel.true))
            drawn.append(Drawn(title=title(loss), area=area, rise=up, resolution=RESOLUTION))
            report(number + 1, len(chosen), title(loss))
    fields(out / "simplex", drawn)
    true_class(out / "true_class", drawn)
    rows = [_row(each.title, each.area) for each in drawn]
    whole = [
        {**row, "settings": settings(loss), "values": list(each.area.values), "held": each.area.held}
        for row, loss, each in zip(rows, chosen, drawn, strict=True)
    ]
    write_tables(out, rows, whole)
    width = max(len(each.title) for each in drawn)
    return [
        f"{each.title:{width}}  several negative {100 * each.area.several:5.1f} %, "
        f"the true class alone {100 * each.area.right:5.1f} %"
        for each in drawn
    ]


def losses(texts: Sequence[str]) -> tuple[Loss, ...]:
    """Losses as the command line spells them: a kind, or a YAML mapping.

    Raises:
        ExperimentError: one is neither, or misspelt; the message names the nearest.
    """
    return tuple(inline(Loss, text) for text in texts)  # type: ignore[type-abstract]


def title(loss: Loss) -> str:
    """What a loss is called: its kind, and what is not at its default."""
    if isinstance(loss, Sum):
        return " + ".join(title(term.loss) for term in loss.terms)
    changed = [
        f"{each.name}: {getattr(value, 'kind', value)}"
        for each in fields(loss)
        if (value := getattr(loss, each.name)) != _default(each)
    ]
    return f"{loss.kind} ({', '.join(changed)})" if changed else str(loss.kind)


def settings(loss: Loss) -> dict[str, Any]:
    """A loss as an experiment file spells it, defaults filled in."""
    plain: dict[str, Any] = TypeAdapter(Loss).dump_python(loss, mode="json")
    return plain


def write_tables(out: Path, rows: Sequence[Mapping[str, Any]], whole: Any) -> None:
    """Write gradients.csv, one line a row, and gradients.json, which may say more."""
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows({key: f"{v:.6g}" if isinstance(v, float) else v for key, v in row.items()} for row in rows)
    write_text(out / "gradients.csv", text.getvalue())
    write_json(out / "gradients.json", finite(whole))


def _default(each: Any) -> Any:
    return each.default if each.default_factory is MISSING else each.default_factory()


def _row(name: str, found: Field) -> dict[str, Any]:
    count = found.negative.sum(0)
    shares = {f"share_{n}": float((count == n).mean()) for n in range(CLASSES + 1)}
    return {"loss": name, "true_class": found.true, **shares, "several": found.several, "true_class_alone": found.right}


def _scenes(chosen: Sequence[Loss], voxel: Voxel) -> list[Scene]:
    if voxel.true not in range(CLASSES):
        raise DataError(f"class {voxel.true} is none of the {CLASSES} classes of a simplex: give 0, 1 or 2.")
    given = [_values(text) for text in voxel.values or ("built",)]
    if len(given) not in {1, len(chosen)}:
        raise DataError(
            f"{len(given)} sets of map values are given for {len(chosen)} losses: give one for all, or one for each "
            "in the same order (`built` where the map is that of the label map)."
        )
    labels = heart()
    place = placed(labels, voxel.true, voxel.depth)
    each = given * len(chosen) if len(given) == 1 else given
    return [Scene(labels=labels, voxel=place, others=voxel.others, values=values) for values in each]


def _values(text: str) -> tuple[float, ...] | Literal["built"]:
    if text == "built":
        return "built"
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise DataError(f"map values {text!r} are no numbers with commas between them, such as 10,20,-3.") from error
    if len(found) != CLASSES:
        raise DataError(f"map values {text!r} are {len(found)}: give {CLASSES}, one a class, such as 10,20,-3.")
    return found
