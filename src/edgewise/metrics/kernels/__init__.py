"""Kernels of the metrics, for Numba: a module here imports its compiler."""
