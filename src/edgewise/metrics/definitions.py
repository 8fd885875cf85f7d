"""Named sets of metric definitions: the field's tools disagree, so every number says whose definition it follows."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from edgewise.errors import ExperimentError
from edgewise.metrics.base import Empty, Metric, Stated
from edgewise.metrics.borders import BORDERS, EDGES, Border, Edge
from edgewise.metrics.comparison import Comparison


@dataclass(frozen=True, kw_only=True)
class Region:
    """What is scored as one structure: the union of some labels.

    Attributes:
        name: what it is called.
        labels: the label values it consists of.
        metrics: its metrics by column, where they are not those of the set.
        empty: its values for empty masks by column, where they are not those of the set.
    """

    name: str
    labels: tuple[int, ...]
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    empty: Mapping[str, Empty] = field(default_factory=dict)


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
        return {column: metric(comparison, self._empty(column, metric)) for column, metric in self.metrics.items()}

    def of(self, region: Region) -> "Definitions":
        """The definitions of one region: its own metrics and values for empty masks, where it has some."""
        return replace(self, metrics=region.metrics or self.metrics, empty={**self.empty, **region.empty}, regions=())

    def columns(self) -> tuple[str, ...]:
        """The columns of a table of label images: those of every region, in the order of printing."""
        return tuple(dict.fromkeys(column for _, scope in self._scopes() for column in scope.metrics))

    def only(self, *columns: str) -> "Definitions":
        """The same definitions of fewer metrics; a region that has none of them is left out.

        Raises:
            ExperimentError: there is no such column.
        """
        known = dict.fromkeys((*self.metrics, *self.columns()))
        for column in columns:
            if column not in known:
                raise ExperimentError(f"{self.name} defines no metric {nearest(column, known)}")
        own = [(region, _chosen(self.of(region).metrics, columns)) for region in self.regions]
        return replace(
            self,
            metrics=_chosen(self.metrics, columns),
            regions=tuple(replace(region, metrics=metrics) for region, metrics in own if metrics),
        )

    def facts(self) -> dict[str, dict[str, Any]]:
        """Definition, unit, direction and values for empty masks of every column, ready for JSON.

        Where regions differ, the text says what holds for which.
        """
        return {column: self._facts(column) for column in self.columns()}

    def _facts(self, column: str) -> dict[str, Any]:
        scopes = {name: scope for name, scope in self._scopes() if column in scope.metrics}
        metrics = {name: scope.metrics[column] for name, scope in scopes.items()}
        empty = {name: scope._empty(column, metrics[name]) for name, scope in scopes.items()}
        metric = next(iter(metrics.values()))
        border = f"; {BORDERS[self.border]}; {EDGES[self.edge]}" if metric.of_borders else ""
        return {
            "kind": metric.kind,
            "set": self.name,
            "definition": f"{_joined({name: each.described() for name, each in metrics.items()})}{border}.",
            "unit": metric.unit,
            "better": metric.better,
            "both_empty": _joined({name: _text(each.both) for name, each in empty.items()}),
            "prediction_empty": _joined({name: _text(each.prediction) for name, each in empty.items()}),
            "reference_empty": _joined({name: _text(each.reference) for name, each in empty.items()}),
        }

    def _scopes(self) -> list[tuple[str, "Definitions"]]:
        return [(region.name, self.of(region)) for region in self.regions] or [(self.name, self)]

    def _empty(self, column: str, metric: Metric) -> Empty:
        return self.empty.get(column, metric.empty)


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about a name that is not known: the name, the nearest right one, and all of them."""
    names = list(known)
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]}?" if close else ""
    return f"{name!r}.{hint} There are {', '.join(names)}."


def _chosen(metrics: Mapping[str, Metric], columns: Sequence[str]) -> dict[str, Metric]:
    return {column: metrics[column] for column in columns if column in metrics}


def _joined(texts: Mapping[str, float | str]) -> float | str:
    """What all say alike, or who says what."""
    different = list(dict.fromkeys(texts.values()))
    return different[0] if len(different) == 1 else "; ".join(f"{name}: {text}" for name, text in texts.items())


def _text(value: Stated) -> float | str:
    return value if value == "formula" or abs(value) < float("inf") else str(value)
