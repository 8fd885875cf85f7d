"""Writes docs/reference/losses.md and maps.md from the catalogues: `make reference`."""

import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any

from edgewise.losses import LOSSES
from edgewise.maps import MAPS
from edgewise.run.listing import describe

REFERENCE = Path(__file__).parent / "reference"
INTRODUCTION = {
    "losses": """# Losses

Every loss of the catalogue, from its own docstring (`make reference`). All are called alike:
`loss(logits, labels, spacing=...)` or `loss(logits, truth)`; in an experiment file, `loss: {kind: ...}` with the
parameters as keys. $p$ are the probabilities (softmax of the logits), $y$ the labels, 0 or 1 for each class; there are
$B$ images and $C$ classes with the background; $x$ are voxels, $\\Omega$ is the image. How fast each is:
[benchmarks](../explanation/benchmarks.md).
""",
    "maps": """# Distance maps

Every map of the catalogue, from its own docstring (`make reference`). All are called alike:
`edgewise.maps.KIND(labels, classes=..., spacing=...)`, with parameters `edgewise.maps.Class(...)(labels, ...)`; on the
command line `edgewise maps LABELS --kind KIND --set PARAMETER=VALUE --out FILE`. Pictures:
[the gallery](../explanation/maps.md).
""",
}


def page(what: str, catalogue: dict[str, type[Any]]) -> str:
    """The reference page of one catalogue."""
    rows = {row["kind"]: row for row in describe(what)}
    return "\n".join([INTRODUCTION[what], *(entry(cls, rows[kind]) for kind, cls in catalogue.items())])


def entry(cls: type[Any], row: dict[str, Any]) -> str:
    """One component: heading, docstring, parameters, source."""
    body, _, attributes = (inspect.getdoc(cls) or "").partition("Attributes:")
    lines = [f"## `{row['kind']}` · {cls.__name__}", "", body.strip(), ""]
    meanings = _meanings(attributes)
    names = [each.name for each in fields(cls) if each.name != "kind"]
    if names:
        lines += ["| parameter | default | meaning |", "|---|---|---|"]
        lines += [f"| `{name}` | `{_short(row['parameters'][name])}` | {meanings.get(name, '')} |" for name in names]
        lines.append("")
    needs = f" Maps by default: {', '.join(f'`{need}`' for need in row['needs'])}." if row["needs"] else ""
    return "\n".join([*lines, f"Source: {row['source']}.{needs}", ""])


def _meanings(attributes: str) -> dict[str, str]:
    """What a docstring's `Attributes:` say of each, with the pipe that would end a table's cell escaped."""
    found: dict[str, str] = {}
    name = ""
    for line in inspect.cleandoc("\n" + attributes).splitlines():
        if line and not line.startswith(" "):
            name, _, rest = line.partition(":")
            found[name] = rest.strip()
        elif line and name:
            found[name] += " " + line.strip()
    return {key: value.replace("|", "\\|") for key, value in found.items()}


def _short(value: object) -> str:
    return str(value) if value not in {"", ()} else "none"


def pages() -> dict[Path, str]:
    """Every generated page and its file."""
    return {
        REFERENCE / "losses.md": page("losses", LOSSES),
        REFERENCE / "maps.md": page("maps", MAPS),
    }


if __name__ == "__main__":
    for path, content in pages().items():
        path.write_text(content, encoding="utf-8")
