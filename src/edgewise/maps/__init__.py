"""Distance maps: pure functions of labels and spacing. One family a module; a new map is one new file."""

from edgewise.maps.base import DistanceMap as DistanceMap
from edgewise.maps.region_wise import Rectified as Rectified
from edgewise.maps.region_wise import rectified as rectified
