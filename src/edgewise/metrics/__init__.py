"""Metrics, each with definition, unit, direction and values for empty masks; one file adds one."""

from typing import Any

from edgewise.catalog import discover
from edgewise.metrics.base import Metric as Metric
from edgewise.metrics.cases import Row as Row
from edgewise.metrics.cases import from_csv as from_csv
from edgewise.metrics.cases import summarise as summarise
from edgewise.metrics.cases import to_csv as to_csv
from edgewise.metrics.comparison import Comparison as Comparison
from edgewise.metrics.definitions import Definitions as Definitions
from edgewise.metrics.definitions import Region as Region
from edgewise.metrics.evaluation import evaluate as evaluate
from edgewise.metrics.presets import PRESETS as PRESETS
from edgewise.metrics.presets import named as named
from edgewise.metrics.scoring import rows_of as rows_of


def __getattr__(name: str) -> Any:
    if name == "METRICS":
        return discover(Metric)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
