"""Metrics, each with definition, unit, direction and values for empty masks; one file adds one.

The modules in the order of the data:

- two label images: `census` finds every label's box, `comparison` holds two masks on it;
- what metrics share: `borders`, `shells`, `surfels`, `search` (distances), `components` (lesions), `kernels`;
- the catalogue: `overlap`, `surface`, `boundary`, `lesions`, `localisation`, and of challenges `challenges`,
  `lits_lesions`, all made of `base`;
- `definitions` and `presets`: metrics with every choice made; `evaluation`: their values for one pair;
- many cases: `scoring`, `cases` and `lesion_table` (tables and summaries), `shares` (intervals of shares).
"""

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
