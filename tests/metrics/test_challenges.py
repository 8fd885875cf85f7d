"""Lesion scores of challenges: BraTS' against its own script's numbers, LiTS' by hand and by brute force."""

import hashlib
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from lesion_maps import lesion_maps
from scipy import ndimage

from edgewise.metrics import METRICS, Comparison, named
from edgewise.metrics.challenges import BRATS_2023, BratsLesionDice, BratsLesionHD95, Grouping
from edgewise.metrics.lits_lesions import LARGE, LitsLesion, LitsLesionPrecision, LitsLesionRecall
from edgewise.metrics.overlap import RVD, VOE
from edgewise.metrics.surface import ASSD, MSD, RMSD

GOLDEN = json.loads((Path(__file__).parent / "golden" / "brats_lesionwise.json").read_text(encoding="utf-8"))
REGIONS = {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}
SPACING = (1.0, 1.0, 1.0)

shapes = hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=7)
pairs = shapes.flatmap(lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape)))


def brats(prediction, reference, grouping, spacing=SPACING):
    comparison = Comparison.of(prediction, reference, spacing[: reference.ndim])
    return BratsLesionDice(lesions=grouping)(comparison), BratsLesionHD95(lesions=grouping)(comparison)


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: str(case["seed"]))
def test_brats_agrees_with_its_script(case):
    prediction, reference, spacing = lesion_maps(case["seed"])
    assert hashlib.sha256(prediction.tobytes() + reference.tobytes()).hexdigest()[:16] == case["sha256"]
    for (challenge, grouping), (region, labels) in itertools.product(BRATS_2023.items(), REGIONS.items()):
        if challenge in case["scores"]:
            masks = (np.isin(each, labels) for each in (prediction, reference))
            assert brats(*masks, grouping, spacing) == pytest.approx(case["scores"][challenge][region][:2], rel=1e-5)


def test_brats_golden_cases_are_not_all_alike():
    scores = [values for case in GOLDEN["cases"] for values in case["scores"]["glioma"].values()]
    assert sum(0 < dice < 1 and 0 < hd95 < 374 for dice, hd95, *_ in scores) > 50
    assert {0.0, 1.0} <= {dice for dice, *_ in scores}


def test_brats_groups_lesions_that_dilation_joins_and_counts_false_ones():
    reference, prediction = np.zeros((30, 9, 9), bool), np.zeros((30, 9, 9), bool)
    reference[2:4, 2:4, 2:4] = reference[7:9, 2:4, 2:4] = prediction[2:4, 2:4, 2:4] = True
    prediction[27, 2, 2] = True
    assert brats(prediction, reference, Grouping(ignored=0.0))[0] == pytest.approx((2 * 8 / 24 + 0) / 2)
    assert brats(prediction, reference, Grouping(dilations=1, ignored=0.0))[0] == pytest.approx((1 + 0 + 0) / 3)
    assert brats(prediction, reference, Grouping(dilations=0, ignored=0.0))[0] == pytest.approx((1 + 0 + 0) / 3)
    assert brats(prediction, reference, Grouping(dilations=1, ignored=8.0))[0] == 0


@given(pair=pairs, dilations=st.integers(0, 3))
def test_brats_does_not_depend_on_background_around_the_masks(pair, dilations):
    grouping = Grouping(dilations=dilations, ignored=1.0)
    assert brats(*(np.pad(mask, 4) for mask in pair), grouping)[0] == brats(*pair, grouping)[0]


def test_brats_ignores_small_lesions_but_not_what_was_predicted_elsewhere():
    reference, prediction = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    reference[1:3, 1:3] = True
    grouping = Grouping(ignored=4.0)
    assert brats(prediction, reference, grouping) == (1, 0)
    prediction[1, 1] = True
    assert brats(prediction, reference, grouping) == (1, 0)
    prediction[15, 15] = True
    assert brats(prediction, reference, grouping) == (0, 374)
    assert brats(0 * prediction > 0, reference, Grouping(ignored=3.9)) == (0, 374)


def test_the_scores_of_challenges_are_in_their_presets_only():
    own = {column for column in METRICS if column.startswith(("brats_", "lits_"))}
    assert len(own) == 5
    assert not own & set(named("default").metrics)


def lits_by_hand(prediction, reference, iou):
    """Groups of components that were found, as pairs of masks, and how many components there are."""
    predicted, true = (
        [numbers == number for number in range(1, count + 1)]
        for numbers, count in (ndimage.label(mask) for mask in (prediction, reference))
    )
    merged = {}
    for r in true:
        shared = [(r & p).sum() for p in predicted]
        if max(shared, default=0):
            best = int(np.argmax(shared))
            merged[best] = merged.get(best, np.zeros_like(r)) | r
    taken = {}
    for p in predicted:
        shared = {group: (p & mask).sum() for group, mask in sorted(merged.items())}
        if max(shared.values(), default=0):
            best = max(shared, key=shared.get)
            taken[best] = taken.get(best, np.zeros_like(p)) | p
    both = [(taken[group], merged[group]) for group in taken]
    found = [(p, r) for p, r in both if (p & r).sum() > iou * (p | r).sum()]
    return found, len(predicted), len(true)


@given(pair=pairs, iou=st.sampled_from([0.0, 0.5]))
def test_lits_agrees_with_its_definition(pair, iou):
    prediction, reference = pair
    if prediction.any() and reference.any():
        found, predictions, references = lits_by_hand(*pair, iou)
        spacing = (2.0, 1.0, 0.5)[: reference.ndim]
        comparison = Comparison.of(*pair, spacing)
        assert LitsLesionRecall(iou=iou)(comparison) == pytest.approx(len(found) / references)
        assert LitsLesionPrecision(iou=iou)(comparison) == pytest.approx(len(found) / predictions)
        dice = [2 * (p & r).sum() / (p.sum() + r.sum()) for p, r in found]
        assert LitsLesion(iou=iou)(comparison) == pytest.approx(np.mean(dice) if found else 0)
        assd = [ASSD()(Comparison.of(p, r, spacing, border="edges")) for p, r in found]
        assert LitsLesion(measured=ASSD(), iou=iou, nothing=LARGE)(comparison) == pytest.approx(
            np.mean(assd) if found else 9001
        )


def test_lits_as_worked_by_hand():
    reference, prediction = np.zeros((12, 12), bool), np.zeros((12, 12), bool)
    reference[1, 1:4] = reference[1, 5:8] = True  # spanned by one prediction: merged, IoU 6/7
    prediction[1, 1:8] = True
    reference[5, 1:5] = True  # IoU 2/4: missed
    prediction[5, 1:3] = True
    reference[8, 1:9] = True  # two predictions, merged: IoU 7/8
    prediction[8, 1:5] = prediction[8, 6:9] = True
    prediction[11, 11] = True
    comparison = Comparison.of(prediction, reference, (1.0, 1.0))
    assert LitsLesionRecall()(comparison) == 2 / 4
    assert LitsLesionPrecision()(comparison) == 2 / 5
    assert LitsLesionRecall(iou=0.0)(comparison) == 3 / 4
    assert LitsLesion()(comparison) == pytest.approx((12 / 13 + 14 / 15) / 2)
    assert LitsLesion(measured=VOE())(comparison) == pytest.approx((1 / 7 + 1 / 8) / 2)
    assert LitsLesion(measured=RVD(relative_to="prediction"))(comparison) == pytest.approx((-1 / 7 + 1 / 7) / 2)
    assert LitsLesion(measured=ASSD())(comparison) == pytest.approx((1 / 13 + 1 / 15) / 2)
    assert LitsLesion(measured=RMSD())(comparison) == pytest.approx(((1 / 13) ** 0.5 + (1 / 15) ** 0.5) / 2)
    assert LitsLesion(measured=MSD())(comparison) == 1


def test_lits_takes_the_first_of_predictions_that_overlap_alike_whatever_the_memory_layout():
    reference, prediction = np.zeros((9, 3), bool), np.zeros((9, 3), bool)
    reference[0:2, 1] = reference[3:9, 1] = True  # the second shares 2 voxels with each prediction
    prediction[0:5, 1] = prediction[7:9, 1] = True
    for order in "CF":
        masks = (np.asarray(mask, order=order) for mask in (prediction, reference))
        assert LitsLesionRecall()(Comparison.of(*masks, (1.0, 1.0))) == 1 / 2  # all merged: IoU 6/9
    mirrored = Comparison.of(prediction[::-1], reference[::-1], (1.0, 1.0))
    assert LitsLesionRecall()(mirrored) == 0  # as in the script: the other prediction is the first now


def test_lits_without_a_found_lesion_has_the_values_of_its_script():
    reference, prediction = np.zeros((6, 6), bool), np.zeros((6, 6), bool)
    reference[1, 1] = prediction[4, 4] = True
    comparison = Comparison.of(prediction, reference, (1.0, 1.0))
    lits = named("lits")
    lesion = lits.of(lits.regions[1]).only(
        "lits_lesion_recall", "lits_lesion_precision", "lits_lesion_dice", "lits_lesion_voe", "lits_lesion_assd"
    )
    assert list(lesion.values(comparison).values()) == [0, 0, 0, 1, LARGE]
