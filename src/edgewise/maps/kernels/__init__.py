"""Kernels of the distance maps, for Numba (CPU) and Triton (GPU): a module here imports its compiler."""
