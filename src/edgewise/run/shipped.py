"""The files that come with Edgewise: experiments (starters, and rows of the papers' tables) and studies (tables)."""

import difflib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from edgewise.errors import ExperimentError

BASE = "base.yaml"
"""Files of this name hold what the others of a paper start from; they are no experiments of their own."""


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """One file.

    Attributes:
        name: its path below the folder of experiments, without suffix, such as `lrnet/table2/dice`.
        path: the file.
    """

    name: str
    path: Path

    @cached_property
    def _text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def sort(self) -> Literal["experiment", "study"]:
        """What the file holds: a study has rows."""
        return "study" if re.search(r"^rows:", self._text, re.MULTILINE) else "experiment"

    @property
    def summary(self) -> str:
        """The comment at the top of the file."""
        lines: list[str] = []
        for line in self._text.splitlines():
            if not line.startswith("#"):
                break
            lines.append(line.removeprefix("#").strip())
        return " ".join(lines)


def shipped() -> tuple[Shipped, ...]:
    """Every experiment and study that comes with Edgewise, by name."""
    folder = _folder()
    files = sorted(file for file in folder.rglob("*.yaml") if file.name != BASE)
    return tuple(Shipped(name=file.relative_to(folder).with_suffix("").as_posix(), path=file) for file in files)


def located(experiment: Path) -> Path:
    """The file that is meant by a path, or by the name of a shipped experiment or study, such as `lrnet/table2/dice`.

    Raises:
        ExperimentError: there is neither.
    """
    if experiment.exists() and not experiment.is_dir():
        return experiment
    names = {each.name: each.path for each in shipped()}
    name = experiment.as_posix().removesuffix(".yaml")
    if name in names:
        return names[name]
    near = difflib.get_close_matches(name, names, 1)
    hint = f"Did you mean {near[0]}?" if near else "`edgewise list experiments` shows the names."
    raise ExperimentError(
        f"cannot read experiment {experiment}: No such file, and no experiment of that name comes with Edgewise. Give "
        f"the path of a YAML file, or a name. {hint}"
    )


def _folder() -> Path:
    """Inside the package, where a wheel has it; at the root of a checkout, where an editable install leaves it."""
    package = Path(__file__).parents[1]
    places = (package / "experiments", package.parents[1] / "experiments")
    for place in places:
        if place.is_dir():
            return place
    raise ExperimentError(f"the experiments that come with Edgewise are not in {places[0]}. Install it again.")
