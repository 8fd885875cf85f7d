"""Distance maps: pure functions of labels and spacing. One family a module; a new map is one new file.

A map of a new file is found by its kind (`edgewise.maps.rectified`, ready with its defaults) and by its class
name (`edgewise.maps.Rectified`, to be given parameters) at once. The imports below add static types, and let a map
win over a module of the same name.
"""

from typing import Any

from edgewise.catalog import discover
from edgewise.maps.base import DistanceMap as DistanceMap
from edgewise.maps.boundary import Boundary as Boundary
from edgewise.maps.boundary import boundary as boundary
from edgewise.maps.components import Component as Component
from edgewise.maps.components import NearestComponent as NearestComponent
from edgewise.maps.components import component as component
from edgewise.maps.components import nearest_component as nearest_component
from edgewise.maps.hausdorff import Hausdorff as Hausdorff
from edgewise.maps.hausdorff import hausdorff as hausdorff
from edgewise.maps.inverse import Distance as Distance
from edgewise.maps.inverse import Inverse as Inverse
from edgewise.maps.inverse import NormalizedInverse as NormalizedInverse
from edgewise.maps.inverse import SignedNormalizedInverse as SignedNormalizedInverse
from edgewise.maps.inverse import distance as distance
from edgewise.maps.inverse import inverse as inverse
from edgewise.maps.inverse import normalized_inverse as normalized_inverse
from edgewise.maps.inverse import signed_normalized_inverse as signed_normalized_inverse
from edgewise.maps.penalty import Penalty as Penalty
from edgewise.maps.penalty import penalty as penalty
from edgewise.maps.rectify import Rectification as Rectification
from edgewise.maps.rectify import rectification as rectification
from edgewise.maps.rectify import rectify as rectify
from edgewise.maps.region_wise import ActiveContour as ActiveContour
from edgewise.maps.region_wise import NonDistance as NonDistance
from edgewise.maps.region_wise import Rectified as Rectified
from edgewise.maps.region_wise import active_contour as active_contour
from edgewise.maps.region_wise import non_distance as non_distance
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
