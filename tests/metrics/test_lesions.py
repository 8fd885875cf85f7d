"""Lesion-wise metrics against the slow, obvious definition, by hand, and by law."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.metrics import compute_panoptic_quality
from scipy import ndimage

from edgewise.components import numbered
from edgewise.metrics import Comparison, evaluate
from edgewise.metrics.components import Matching, hull, pairs_of
from edgewise.metrics.lesions import (
    LesionDice,
    LesionF1,
    LesionPrecision,
    LesionRecall,
    PanopticQuality,
    RecognitionQuality,
    SegmentationQuality,
)

CONNECTIVITY = {"faces": 1, "edges": 2, "corners": 3}
COLUMNS = ("lesion_recall", "lesion_precision", "lesion_f1", "lesion_dice", "pq", "sq", "rq")

shapes = hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=7)
pairs = shapes.flatmap(lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape)))
matchings = st.builds(Matching, connectivity=st.sampled_from(list(CONNECTIVITY)), iou=st.sampled_from([0.0, 0.3, 0.5]))


def components(mask, connectivity):
    structure = ndimage.generate_binary_structure(mask.ndim, min(CONNECTIVITY[connectivity], mask.ndim))
    numbers, count = ndimage.label(mask, structure)
    return [numbers == number for number in range(1, count + 1)]


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def by_hand(prediction, reference, matching):
    """Every metric, from every pair of components."""
    predicted, true = (components(mask, matching.connectivity) for mask in (prediction, reference))
    overlap = np.array([[iou(p, r) for p in predicted] for r in true])
    recall, precision = (overlap > matching.iou).any(1).mean(), (overlap > matching.iou).any(0).mean()
    unions = [
        np.logical_or.reduce([p for p in predicted if iou(p, r) > matching.iou] or [np.zeros_like(r)]) for r in true
    ]
    matches = overlap[overlap > 0.5]
    wrong = len(predicted) + len(true) - 2 * len(matches)
    return {
        "lesion_recall": recall,
        "lesion_precision": precision,
        "lesion_f1": 2 / (1 / recall + 1 / precision) if recall else 0,
        "lesion_dice": np.mean([dice(r, union) for r, union in zip(true, unions, strict=True)]),
        "pq": matches.sum() / (len(matches) + wrong / 2),
        "sq": matches.mean() if len(matches) else 0,
        "rq": len(matches) / (len(matches) + wrong / 2),
    }


def score(prediction, reference, matching):
    comparison = Comparison.of(prediction, reference, (1.0,) * reference.ndim)
    matched = [metric(matching=matching) for metric in (LesionRecall, LesionPrecision, LesionF1, LesionDice)]
    segments = [
        metric(connectivity=matching.connectivity)
        for metric in (PanopticQuality, SegmentationQuality, RecognitionQuality)
    ]
    return dict(zip(COLUMNS, [metric(comparison) for metric in matched + segments], strict=True))


def two_of_three():
    """Three reference lesions of 4, 4 and 1 voxels; one found whole, one by half, one missed; and a false lesion."""
    reference = np.zeros((12, 12), bool)
    reference[1:3, 1:3] = reference[5:7, 1:3] = reference[10, 10] = True
    prediction = np.zeros((12, 12), bool)
    prediction[1:3, 1:3] = prediction[5:7, 2:4] = prediction[1, 8:11] = True
    return prediction, reference


@given(pair=pairs, matching=matchings)
def test_all_agree_with_the_definition(pair, matching):
    prediction, reference = pair
    if prediction.any() and reference.any():
        assert score(*pair, matching) == pytest.approx(by_hand(*pair, matching))


def test_all_as_worked_by_hand():
    assert score(*two_of_three(), Matching()) == pytest.approx(
        {
            "lesion_recall": 2 / 3,
            "lesion_precision": 2 / 3,
            "lesion_f1": 2 / 3,
            "lesion_dice": (1 + 2 * 2 / 8 + 0) / 3,
            "pq": 1 / (1 + 2 / 2 + 2 / 2),
            "sq": 1,
            "rq": 1 / (1 + 2 / 2 + 2 / 2),
        }
    )


def test_an_intersection_over_union_must_be_above_the_threshold_to_match():
    prediction, reference = np.zeros((3, 4), bool), np.zeros((3, 4), bool)
    reference[1, :2] = prediction[1, :1] = True
    values = score(prediction, reference, Matching(iou=0.5))
    assert (values["lesion_recall"], values["lesion_dice"], values["pq"]) == (0, 0, 0)
    assert score(prediction, reference, Matching(iou=0.49))["lesion_recall"] == 1


def test_default_columns_are_the_metrics_with_any_overlap():
    prediction, reference = two_of_three()
    values = evaluate(prediction, reference, (1.0, 1.0))
    assert {column: values[column] for column in COLUMNS} == score(prediction, reference, Matching())


def test_connectivity_decides_what_one_lesion_is():
    diagonal = np.eye(3, dtype=bool)
    half = diagonal.copy()
    half[2, 2] = False
    assert score(half, diagonal, Matching(connectivity="corners"))["lesion_recall"] == 1
    assert score(half, diagonal, Matching(connectivity="faces"))["lesion_recall"] == pytest.approx(2 / 3)
    edge = np.zeros((2, 2, 2), bool)
    edge[0, 0, 0] = edge[1, 1, 0] = True
    assert [numbered(edge, each)[1] for each in ("faces", "edges", "corners")] == [2, 1, 1]
    edge[1, 1] = [False, True]
    assert [numbered(edge, each)[1] for each in ("faces", "edges", "corners")] == [2, 2, 1]


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 1, 3), (3, 3, 3), (1, 1, 21), (1, 5), (5, 5)])
@pytest.mark.parametrize("connectivity", CONNECTIVITY)
def test_as_many_components_as_there_is_room_for_are_found(shape, connectivity):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(None, None, 2) for _ in shape)] = True
    assert numbered(mask, connectivity)[1] == mask.sum()
    assert numbered(~mask & False, connectivity)[1] == 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", [(60, 50), (20, 24, 22)])
def test_panoptic_quality_agrees_with_monai(shape, seed):
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=shape), 1.5)
    reference = noise > np.quantile(noise, 0.85)
    prediction = noise + 0.15 * noise.std() * rng.normal(size=shape) > np.quantile(noise, 0.86)
    values = score(prediction, reference, Matching())
    assert values["pq"] > 0.05
    numbers = [torch.from_numpy(numbered(mask, "corners")[0].astype(np.int64)) for mask in (prediction, reference)]
    for column in ("pq", "sq", "rq"):
        theirs = compute_panoptic_quality(*numbers, metric_name=column, match_iou_threshold=0.5)
        assert values[column] == pytest.approx(float(theirs), rel=1e-5)


@given(pair=pairs, matching=matchings)
def test_prediction_and_reference_trade_recall_and_precision(pair, matching):
    prediction, reference = pair
    if prediction.any() and reference.any():
        there, back = score(prediction, reference, matching), score(reference, prediction, matching)
        assert there["lesion_recall"] == back["lesion_precision"]
        assert there["lesion_precision"] == back["lesion_recall"]
        for column in ("lesion_f1", "pq", "sq", "rq"):
            assert there[column] == pytest.approx(back[column])


@given(pair=pairs, matching=matchings, axis=st.integers(0, 1))
def test_mirror_images_and_padding_change_nothing(pair, matching, axis):
    if pair[0].any() and pair[1].any():
        values = score(*pair, matching)
        assert score(*(np.flip(mask, axis) for mask in pair), matching) == pytest.approx(values)
        assert score(*(np.pad(mask, 2) for mask in pair), matching) == pytest.approx(values)


@given(pair=pairs)
def test_panoptic_quality_is_recognition_times_segmentation(pair):
    if pair[0].any() and pair[1].any():
        values = score(*pair, Matching())
        assert values["pq"] == pytest.approx(values["sq"] * values["rq"])


@given(mask=shapes.flatmap(lambda shape: hnp.arrays(bool, shape)), matching=matchings)
def test_the_truth_is_perfect(mask, matching):
    if mask.any():
        assert set(score(mask, mask, matching).values()) == {1.0}


def test_one_lesion_each_has_the_dice_of_the_masks():
    prediction, reference = np.zeros((6, 6), bool), np.zeros((6, 6), bool)
    prediction[1:4, 1:5] = reference[2:5, 2:6] = True
    values = evaluate(prediction, reference, (1.0, 2.0))
    assert values["lesion_dice"] == pytest.approx(values["dice"])


def test_bridging_two_lesions_keeps_recall_and_costs_dice():
    reference = np.zeros((5, 9), bool)
    reference[1:4, 1:4] = reference[1:4, 5:8] = True
    bridged = reference.copy()
    bridged[2, 4] = True
    values = score(bridged, reference, Matching())
    assert values["lesion_recall"] == values["lesion_precision"] == 1
    assert values["lesion_dice"] == pytest.approx(2 * 9 / (9 + 19))


def test_a_false_lesion_lowers_precision_and_panoptic_quality_alone():
    _, reference = two_of_three()
    values = score(reference | two_of_three()[0], reference, Matching())
    assert (values["lesion_recall"], values["lesion_precision"]) == (1, 3 / 4)
    prediction = reference.copy()
    prediction[1, 8:11] = True
    values = score(prediction, reference, Matching())
    assert (values["lesion_dice"], values["sq"]) == (1, 1)
    assert values["pq"] == pytest.approx(3 / 3.5)


@pytest.mark.parametrize("column", COLUMNS)
def test_an_absent_structure_is_right_only_if_nothing_is_predicted(column):
    mask = two_of_three()[1]
    empty = np.zeros_like(mask)
    values = [evaluate(*pair, (1.0, 1.0))[column] for pair in ((empty, empty), (empty, mask), (mask, empty))]
    assert values == [1, 0, 0]


def test_an_absent_class_has_values():
    labels = np.zeros((5, 5), np.uint8)
    assert evaluate(labels, labels, (1.0, 1.0), classes=[1])[1]["lesion_f1"] == 1


def test_thousands_of_speckles_agree_with_scipy():
    rng = np.random.default_rng(0)
    shape, corners = (60, 120, 120), np.ones((3, 3, 3))
    reference = rng.random(shape) < 0.008
    prediction = reference & (rng.random(shape) < 0.7) | (rng.random(shape) < 0.002)
    (true, references), (predicted, predictions) = (ndimage.label(mask, corners) for mask in (reference, prediction))
    assert references > 5000
    sizes, expected = np.bincount(predicted.ravel()), []
    for number, box in enumerate(ndimage.find_objects(true), start=1):
        touched = predicted[box][(true[box] == number) & prediction[box]]
        expected.append(2 * len(touched) / ((true[box] == number).sum() + sizes[np.unique(touched)].sum()))
    comparison = Comparison.of(prediction, reference, (1.0, 1.0, 1.0))
    both = prediction & reference
    assert LesionRecall()(comparison) == pytest.approx(len(np.unique(true[both])) / references)
    assert LesionPrecision()(comparison) == pytest.approx(len(np.unique(predicted[both])) / predictions)
    assert LesionDice()(comparison) == pytest.approx(np.mean(expected))


@given(
    numbers=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=30),
    largest=st.sampled_from([0, 400, 100_000]),
)
def test_pairs_are_counted_alike_by_counting_and_by_sorting(numbers, largest):
    rows = np.array([*numbers, *([(largest, largest)] if largest else [])], np.int64).reshape(-1, 2)
    pairs_found, times = pairs_of(rows[:, 0], rows[:, 1])
    expected = np.unique(rows, axis=0, return_counts=True) if len(rows) else (rows, np.zeros(0, int))
    np.testing.assert_array_equal(pairs_found, expected[0])
    np.testing.assert_array_equal(times, expected[1])


def test_a_hull_holds_all_boxes():
    assert hull([np.s_[2:4, 0:1], np.s_[3:9, 5:6]]) == np.s_[2:9, 0:6]
