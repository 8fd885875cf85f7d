"""Distance maps: pure functions of labels and spacing. One family a module; a new map is one new file.

A map of a new file is found by its kind (`edgewise.maps.rectified`, ready with its defaults) and by its class
name (`edgewise.maps.Rectified`, to be given parameters) at once; the imports below only add static types.
"""

from typing import Any

from edgewise.catalog import discover
from edgewise.maps.base import DistanceMap as DistanceMap
from edgewise.maps.region_wise import Rectified as Rectified
from edgewise.maps.region_wise import rectified as rectified


def __getattr__(name: str) -> Any:
    if name == "MAPS":
        return discover(DistanceMap)
    for kind, each in () if name.startswith("__") else discover(DistanceMap).items():
        if name == each.__name__:
            return each
        if name == kind:
            return each()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
