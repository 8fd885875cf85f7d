"""Writes the tables of docs/explanation/correctness.md: one pair of masks under every preset. `make reference`."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from edgewise.data.images import canonical_spacing, labels_on
from edgewise.data.volumes import read_volume
from edgewise.metrics import PRESETS, evaluate

PAGE = Path(__file__).parent / "explanation" / "correctness.md"
REAL = Path(__file__).parents[1] / "../shared/data/masks_lits_scoring"
COLUMNS = {
    "dice": "Dice",
    "hd": "HD",
    "hd95": "HD95",
    "assd": "ASSD",
    "masd": "MASD",
    "rmsd": "RMSD",
    "nsd": "NSD",
    "brats_lesion_dice": "lesion-wise Dice",
    "brats_lesion_hd95": "lesion-wise HD95",
}
SAME = {"hd": "msd"}
"""LiTS calls the Hausdorff distance MSD."""


def drawn() -> tuple[np.ndarray, np.ndarray, tuple[float, float, float]]:
    """An organ with two lesions: its border is off, a lesion is missed, and there is an island far away.

    Returns:
        Prediction, reference, voxel size in mm.
    """
    z, y, x = np.ogrid[:24, :80, :90]

    def ball(centre: tuple[int, int, int], radii: tuple[float, float, float]) -> Any:
        return sum(((a - c) / r) ** 2 for a, c, r in zip((z, y, x), centre, radii, strict=True)) <= 1

    reference = ball((12, 40, 34), (8, 24, 26)) | ball((5, 12, 12), (2, 4, 4)) | ball((18, 66, 70), (2, 3, 3))
    prediction = ball((12, 41, 35), (8, 23, 26)) | ball((5, 13, 12), (2, 4, 3)) | ball((4, 9, 82), (3, 6, 6))
    return prediction, reference, (2.5, 0.8, 0.8)


def real() -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """The lesions of pair 1 of the LiTS scoring example."""
    volumes = [read_volume(REAL / f"{name}-1.nii.gz") for name in ("submission", "reference")]
    prediction, reference = (labels_on(volume, volumes[1]) == 2 for volume in volumes)
    return prediction, reference, canonical_spacing(volumes[1])


def table(prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...]) -> str:
    """The numbers of every preset, as Markdown; a dash where its source has no such number."""
    lines = [f"| definitions | {' | '.join(COLUMNS.values())} |", f"|---|{'---|' * len(COLUMNS)}"]
    for preset in PRESETS:
        values = evaluate(prediction, reference, spacing, definitions=preset)
        lines.append(f"| `{preset}` | {' | '.join(_number(values, column) for column in COLUMNS)} |")
    return "\n".join(lines)


def _number(values: Mapping[str, float], column: str) -> str:
    value = values.get(column, values.get(SAME.get(column, ""), None))
    return "–" if value is None else f"{value:.4f}"


TABLES: Mapping[str, Callable[[], tuple[np.ndarray, np.ndarray, tuple[float, ...]]]] = MappingProxyType(
    {
        "drawn": drawn,
        "real": real,
    }
)


def with_table(page: str, name: str) -> str:
    """The page with one of its tables made anew, between the marks `<!-- name -->` and `<!-- end -->`."""
    content = f"<!-- {name} -->\n{table(*TABLES[name]())}\n<!-- end -->"
    made, count = re.subn(rf"<!-- {name} -->\n.*?<!-- end -->", lambda _: content, page, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"{PAGE} has {count} places for the table {name!r}, expected one.")
    return made


def available() -> tuple[str, ...]:
    """The tables whose masks are here."""
    return tuple(name for name in TABLES if name != "real" or REAL.is_dir())


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    for each in available():
        text = with_table(text, each)
    PAGE.write_text(text, encoding="utf-8")
