"""`edgewise list`: what experiment and study files may name, sets of metric definitions, shipped experiments."""

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, asdict, fields
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from edgewise.catalog import Component, discover

if TYPE_CHECKING:
    from edgewise.metrics.definitions import Definitions
    from edgewise.run.shipped import Shipped

WIDTH = 100


def catalogue(what: str) -> type[Component]:
    """The base class of a catalogue."""
    match what:
        case "losses":
            from edgewise.losses.base import Loss as Base
        case "maps":
            from edgewise.maps.base import DistanceMap as Base  # type: ignore[assignment]
        case "networks":
            from edgewise.networks.base import Network as Base  # type: ignore[assignment]
        case "methods":
            from edgewise.methods.base import Method as Base  # type: ignore[assignment]
        case "engines":
            from edgewise.engines.base import Engine as Base  # type: ignore[assignment]
        case _:
            from edgewise.metrics.base import Metric as Base  # type: ignore[assignment]
    return Base


def describe(what: str) -> list[dict[str, Any]]:
    """One object a component: kind, source, needs, parameters, summary.

    Or one a set of definitions, with its metrics; or one a shipped experiment or study: name, sort, path, summary, its
    claims, and the rows of a study.
    """
    if what == "experiments":
        from edgewise.run.shipped import shipped

        return [_experiment(each) for each in shipped()]
    if what == "definitions":
        from edgewise.metrics.presets import PRESETS, named

        return [_described(named(name)) for name in PRESETS]
    return [
        {
            "kind": kind,
            "source": cls.source,
            "needs": [need.kind for need in _needs(cls)],
            "parameters": _parameters(cls),
            "summary": (cls.__doc__ or "").strip().splitlines()[0],
        }
        for kind, cls in discover(catalogue(what)).items()
    ]


def lines(what: str) -> list[str]:
    """A table for people: kind, what it needs, what it is."""
    rows = describe(what)
    if what == "definitions":
        return [line for row in rows for line in _paragraph(row)]
    if what == "experiments":
        width = max(len(row["name"]) for row in rows)
        return [f"{row['name']:{width}}  {_about(row)}".rstrip() for row in rows]
    width = max(len(row["kind"]) for row in rows)
    needs = [f" (needs {', '.join(row['needs'])})" if row["needs"] else "" for row in rows]
    return [f"{row['kind']:{width}}  {_words(row['summary'])}{need}" for row, need in zip(rows, needs, strict=True)]


def _experiment(shipped: "Shipped") -> dict[str, Any]:
    """A study's claims are those of its rows, which may be experiments of this list."""
    import yaml

    from edgewise.experiment_file import load

    study = shipped.sort == "study"
    return {
        "name": shipped.name,
        "sort": shipped.sort,
        "path": str(shipped.path),
        "summary": shipped.summary,
        "claims": [] if study else [asdict(claim) for claim in load(shipped.path).claims],
        "rows": list(yaml.safe_load(shipped.path.read_text(encoding="utf-8"))["rows"]) if study else [],
    }


def _about(row: Mapping[str, Any]) -> str:
    """What was published for an experiment; the size of a study, and the first sentence of what it says of itself."""
    if row["sort"] == "experiment":
        return _claimed(row["claims"])
    count = len(row["rows"])
    first = re.split(r"\.(?:\s{2,}|\s+(?=[A-Z]))", row["summary"], maxsplit=1)[0].rstrip(".")
    return f"study of {count} row{'s' * (count > 1)}: {first}"


def _claimed(claims: Sequence[Mapping[str, Any]]) -> str:
    """`dice 0.9642 ± 0.008 (Caliva et al. 2019, Section 3)`, and the source once for several classes."""
    return "; ".join(
        f"{'; '.join(map(_measured, alike))} ({source})" for source, alike in groupby(claims, key=itemgetter("source"))
    )


def _measured(claim: Mapping[str, Any]) -> str:
    """`dice 0.7463 of tumour`."""
    spread = claim["deviations"]
    values = (
        f"{key} {value:g}{f' ± {spread[key]:g}' if key in spread else ''}" for key, value in claim["values"].items()
    )
    return ", ".join(values) + ("" if claim["of"] == "all" else f" of {claim['of']}")


def _described(definitions: "Definitions") -> dict[str, Any]:
    return {
        "kind": definitions.name,
        "source": definitions.source,
        "summary": definitions.summary,
        "regions": {region.name: list(region.labels) for region in definitions.regions},
        "metrics": definitions.facts(),
    }


def _paragraph(row: dict[str, Any]) -> list[str]:
    regions = [f"{name} = {' + '.join(map(str, labels))}" for name, labels in row["regions"].items()]
    texts = [row["summary"], f"Source: {row['source']}.", f"Metrics: {', '.join(row['metrics'])}."]
    texts += [f"Regions by label: {', '.join(regions)}."] if regions else []
    wrapped = [textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ") for text in texts]
    return [row["kind"], *(line for lines in wrapped for line in lines)]


def _words(summary: str) -> str:
    """A summary without the formula at its end."""
    words, formula, _ = summary.partition(": $")
    return f"{words}." if formula else summary


def _needs(cls: Any) -> tuple[Any, ...]:
    needs = getattr(cls, "needs", ())
    return tuple(cls().needs if isinstance(needs, property) else needs)


def _parameters(cls: Any) -> dict[str, Any]:
    """Every setting but `kind`, with its default."""
    return {field.name: _default(field) for field in fields(cls) if field.name != "kind"}


def _default(field: "Field[Any]") -> Any:
    """The default as JSON can hold it; `None` where a setting has none."""
    if field.default is not MISSING:
        value = field.default
    else:
        value = field.default_factory() if field.default_factory is not MISSING else None
    return value if isinstance(value, bool | int | float | str | type(None)) else str(value)
