"""`edgewise list`: the components an experiment file may name."""

from dataclasses import MISSING, Field, fields
from typing import Any

from edgewise.catalog import Component, discover


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
        case _:
            from edgewise.metrics.base import Metric as Base  # type: ignore[assignment]
    return Base


def describe(what: str) -> list[dict[str, Any]]:
    """One object a component: kind, source, needs, parameters, summary."""
    return [
        {
            "kind": kind,
            "source": cls.source,
            "needs": [need.kind for need in _needs(cls)],
            "parameters": {f.name: _default(f) for f in fields(cls) if f.name != "kind"},  # type: ignore[arg-type]
            "summary": (cls.__doc__ or "").strip().splitlines()[0],
        }
        for kind, cls in discover(catalogue(what)).items()
    ]


def lines(what: str) -> list[str]:
    """A table for people: kind, what it needs, what it is."""
    rows = describe(what)
    width = max(len(row["kind"]) for row in rows)
    return [
        f"{row['kind']:{width}}  {row['summary']}" + (f" (needs {', '.join(row['needs'])})" if row["needs"] else "")
        for row in rows
    ]


def _needs(cls: type[Component]) -> tuple[Any, ...]:
    needs = getattr(cls, "needs", ())
    return cls().needs if isinstance(needs, property) else needs


def _default(field: "Field[Any]") -> Any:
    value = field.default if field.default is not MISSING else None
    return value if isinstance(value, bool | int | float | str | type(None)) else str(value)
