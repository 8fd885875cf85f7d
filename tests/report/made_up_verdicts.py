"""Verdicts with made-up numbers."""

from edgewise.compare.runs import Verdict
from edgewise.compare.statistics import PairedComparison


def verdict(**changes):
    values = {
        "mean_a": 0.8, "mean_b": 0.769, "difference": 0.031, "interval": (0.010, 0.052), "p": 0.004, "cases": 20,
        "wins": 15, "ties": 0, "losses": 5, "exact": False, "median_difference": 0.03, "wilcoxon_p": 0.006,
        "standardised": 0.7, "rank_biserial": 0.5, "seeds": (1, 1), "of_sizes": False,
    } | changes  # fmt: skip
    of_pair = {"metric": "dice", "class_index": 2, "class_name": "tumour", "first": "region_wise", "second": "dice_ce"}
    of_pair |= {key: values.pop(key) for key in list(values) if key in of_pair}
    result = PairedComparison(**({"groups": values["cases"]} | values))
    return Verdict(**of_pair, result=result, p=values["p"], correction="", left_out=0)
