"""Comparisons between finished runs.

`statistics` compares two vectors of results (with `resampling` and `effects`), `runs` every pair of runs in every
metric and class, `ranks` all runs at once; `convergence` is about how trainings got there.
"""
