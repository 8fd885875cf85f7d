"""Named sets of metric definitions: the field's tools disagree, so every number says whose definition it follows."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from edgewise.catalog import discover
from edgewise.errors import ExperimentError
from edgewise.metrics.base import Empty, Metric
from edgewise.metrics.borders import BORDERS, EDGES, Border, Edge
from edgewise.metrics.comparison import Comparison


@dataclass(frozen=True, kw_only=True)
class Region:
    """What is scored as one structure: the union of some labels.

    Attributes:
        name: what it is called.
        labels: the label values it consists of.
    """

    name: str
    labels: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Definitions:
    """Metrics with every choice made on which implementations differ.

    Attributes:
        name: what the set is called.
        summary: whose numbers these are, and where they are approximations.
        source: where the choices are written down.
        metrics: the metrics by the name of their column, in the order of printing.
        border: what counts as border.
        edge: whether a structure that the image's edge cuts has a border there.
        empty: values for empty masks by column, where they are not the metric's own.
        regions: the structures that are scored on label images; without any, each class is one.
    """

    name: str
    summary: str
    source: str
    metrics: Mapping[str, Metric]
    border: Border = "faces"
    edge: Edge = "background"
    empty: Mapping[str, Empty] = field(default_factory=dict)
    regions: tuple[Region, ...] = ()

    def values(self, comparison: Comparison) -> dict[str, float]:
        """Every metric of a comparison by column; the comparison must have this set's `border` and `edge`."""
        return {
            column: metric(comparison, self.empty.get(column, metric.empty)) for column, metric in self.metrics.items()
        }

    def only(self, *columns: str) -> "Definitions":
        """The same definitions of fewer metrics.

        Raises:
            ExperimentError: there is no such column.
        """
        unknown = [column for column in columns if column not in self.metrics]
        if unknown:
            raise ExperimentError(f"{self.name} defines no {unknown[0]!r}: it has {', '.join(self.metrics)}.")
        return replace(self, metrics={column: self.metrics[column] for column in columns})

    def facts(self) -> dict[str, dict[str, Any]]:
        """Definition, unit, direction and values for empty masks of every column, ready for JSON."""
        return {column: self._facts(column, metric) for column, metric in self.metrics.items()}

    def _facts(self, column: str, metric: Metric) -> dict[str, Any]:
        empty = self.empty.get(column, metric.empty)
        border = f"; {BORDERS[self.border]}; {EDGES[self.edge]}" if metric.of_borders else ""
        return {
            "kind": metric.kind,
            "set": self.name,
            "definition": f"{metric.described()}{border}.",
            "unit": metric.unit,
            "better": metric.better,
            "both_empty": _text(empty.both),
            "prediction_empty": _text(empty.prediction),
            "reference_empty": _text(empty.reference),
        }


def default(tolerance: float = 2.0) -> Definitions:
    """Every metric of the catalogue, as Metrics Reloaded recommends where it does.

    Args:
        tolerance: of the metrics that forgive small distances, in mm.
    """
    order = {"higher": 0, "lower": 1, "zero": 2, "neither": 3}
    metrics = {kind: _tolerant(metric, tolerance) for kind, metric in discover(Metric).items() if metric.in_default}
    return Definitions(
        name="default",
        summary="Metrics Reloaded where it settles the choice.",
        source="Maier-Hein et al. 2024, doi:10.1038/s41592-023-02151-z",
        metrics=dict(sorted(metrics.items(), key=lambda item: order[item[1].better])),
    )


def named(name: str, tolerance: float = 2.0) -> Definitions:
    """The set of definitions called `name`.

    Raises:
        ExperimentError: there is none of that name.
    """
    if name == "default":
        return default(tolerance)
    raise ExperimentError(f"there are no definitions called {name!r}: choose among default.")


def _tolerant(metric: type[Metric], tolerance: float) -> Metric:
    return metric(tolerance=tolerance) if "tolerance" in metric.__dataclass_fields__ else metric()  # type: ignore[call-arg]


def _text(value: float) -> float | str:
    return value if abs(value) < float("inf") else str(value)
