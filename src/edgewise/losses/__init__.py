"""Training losses, one a module: to add one, add a file here and nothing else.

`LOSSES` maps every kind to its class. A loss from a new file is found by its kind and by its class name at
once; the imports below only add static types for those who write `from edgewise.losses import Dice`.
"""

from typing import Any

from edgewise.catalog import discover
from edgewise.losses.base import Loss as Loss
from edgewise.losses.compound import Sum as Sum
from edgewise.losses.compound import Term as Term
from edgewise.losses.cross_entropy import CrossEntropy as CrossEntropy
from edgewise.losses.deep_supervision import DeepSupervision as DeepSupervision
from edgewise.losses.deep_supervision import pyramid as pyramid
from edgewise.losses.dice import Dice as Dice
from edgewise.losses.region_wise import RegionWise as RegionWise


def __getattr__(name: str) -> Any:
    if name == "LOSSES":
        return discover(Loss)
    for loss in () if name.startswith("__") else discover(Loss).values():
        if loss.__name__ == name:
            return loss
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
