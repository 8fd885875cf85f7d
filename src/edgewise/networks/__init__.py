"""Segmentation networks, one a file; each serves 2D and 3D. To add one, add a file here and nothing else."""

from edgewise.networks.base import Network as Network
from edgewise.networks.base import Topology as Topology
