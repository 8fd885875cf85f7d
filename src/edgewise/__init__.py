"""Edgewise: train, apply and compare segmentation networks with distance maps."""

__version__ = "0.1.0"
