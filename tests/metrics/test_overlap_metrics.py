"""Overlap and volume against their definitions, and laws between them."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.metrics import compute_iou, get_confusion_matrix

from edgewise.metrics import evaluate, named
from edgewise.metrics.base import Empty
from edgewise.metrics.comparison import Comparison
from edgewise.metrics.overlap import RVD, Specificity, VolumeDifference

COLUMNS = (
    "dice", "jaccard", "voe", "rvd", "volume", "volume_difference", "sensitivity", "precision", "specificity",
)  # fmt: skip
DEFINITIONS = named("default").only(*COLUMNS)
SPACING = (2.0, 1.5, 0.5)

shapes = hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6)
pairs = shapes.flatmap(lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape)))


def overlap(prediction, reference, spacing=SPACING):
    return evaluate(prediction, reference, spacing[: prediction.ndim], definitions=DEFINITIONS)


@given(pair=pairs)
def test_values_are_those_of_the_four_counts(pair):
    p, r = pair
    assume(p.any() and r.any())
    tp, fp, fn, tn = ((p & r).sum(), (p & ~r).sum(), (~p & r).sum(), (~p & ~r).sum())
    voxel = np.prod(SPACING[: p.ndim]) / 1000
    assert overlap(p, r) == pytest.approx({
        "dice": 2 * tp / (2 * tp + fp + fn),
        "jaccard": tp / (tp + fp + fn),
        "voe": (fp + fn) / (tp + fp + fn),
        "rvd": (fp - fn) / (tp + fn),
        "volume": (tp + fp) * voxel,
        "volume_difference": (fp - fn) * voxel,
        "sensitivity": tp / (tp + fn),
        "precision": tp / (tp + fp),
        "specificity": tn / (tn + fp) if tn + fp else 1.0,
    })  # fmt: skip


@pytest.mark.parametrize("shape", [(30, 40), (12, 14, 16)])
def test_agrees_with_monai(shape):
    import torch

    rng = np.random.default_rng(0)
    p, r = rng.random(shape) < 0.3, rng.random(shape) < 0.4
    tensors = [torch.from_numpy(mask)[None, None].float() for mask in (p, r)]
    tp, fp, tn, fn = get_confusion_matrix(*tensors)[0, 0].tolist()
    values = overlap(p, r)
    assert values["jaccard"] == pytest.approx(float(compute_iou(*tensors)), rel=1e-6)
    assert values["sensitivity"] == pytest.approx(tp / (tp + fn))
    assert values["precision"] == pytest.approx(tp / (tp + fp))
    assert values["specificity"] == pytest.approx(tn / (tn + fp))


@given(pair=pairs)
def test_laws_between_them(pair):
    one, other = overlap(*pair), overlap(*pair[::-1])
    assert one["dice"] == pytest.approx(2 * one["jaccard"] / (1 + one["jaccard"]))
    assert one["voe"] == pytest.approx(1 - one["jaccard"])
    assert one["volume_difference"] == pytest.approx(one["volume"] - other["volume"])
    assert one["sensitivity"] == pytest.approx(other["precision"])
    symmetric = ("dice", "jaccard", "voe")
    assert [one[key] for key in symmetric] == [other[key] for key in symmetric]


@given(mask=shapes.flatmap(lambda shape: hnp.arrays(bool, shape)))
def test_a_structure_that_was_missed_or_invented_keeps_its_volume(mask):
    assume(mask.any())
    none, volume = np.zeros_like(mask), mask.sum() * np.prod(SPACING[: mask.ndim]) / 1000
    missed, invented = overlap(none, mask), overlap(mask, none)
    assert (missed["rvd"], invented["rvd"]) == (-1, np.inf)
    assert (missed["volume"], missed["volume_difference"]) == (0, pytest.approx(-volume))
    assert (invented["volume"], invented["volume_difference"]) == (pytest.approx(volume), pytest.approx(volume))
    assert missed["specificity"] == 1
    assert invented["specificity"] == pytest.approx(1 - mask.mean())


def test_lits_swaps_the_masks_of_its_relative_volume_difference():
    reference, prediction = np.zeros((4, 10), bool), np.zeros((4, 10), bool)
    reference[0], prediction[:2] = True, True
    comparison = Comparison.of(prediction, reference, (1.0, 1.0))
    assert RVD()(comparison) == 1.0
    assert RVD(relative_to="prediction")(comparison) == -0.5
    swapped = Comparison.of(reference, prediction, (1.0, 1.0))
    assert RVD(relative_to="prediction")(comparison) == RVD()(swapped)


def test_specificity_depends_on_the_field_of_view():
    prediction, reference = np.zeros((6, 6), bool), np.zeros((6, 6), bool)
    prediction[1:4, 1:4] = reference[2:4, 2:4] = True
    values = [
        Specificity()(Comparison.of(*(np.pad(mask, width) for mask in (prediction, reference)), (1.0, 1.0)))
        for width in (0, 10)
    ]
    assert values[0] == pytest.approx(1 - 5 / 32)
    assert values[1] == pytest.approx(1 - 5 / (26**2 - 4))


def test_a_set_of_definitions_may_state_what_the_formula_would_give():
    mask = np.ones((2, 2), bool)
    comparison = Comparison.of(~mask, mask, (1.0, 1.0))
    stated = Empty(both=0.0, prediction=-5.0, reference="formula")
    assert VolumeDifference()(comparison, stated) == -5.0
    assert VolumeDifference()(comparison) == pytest.approx(-0.004)
