"""Values of the metrics: laws, MONAI, and a real liver."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.metrics import compute_average_surface_distance, compute_dice, compute_hausdorff_distance
from scipy.ndimage import gaussian_filter

from edgewise.errors import LabelError, ShapeError
from edgewise.metrics import evaluate

REAL = Path(__file__).parents[2] / "../shared/data/masks_lits_scoring"

shapes = hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6)
pairs = shapes.flatmap(lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape)))


def monai(prediction, reference, spacing):
    a, b = (torch.from_numpy(mask)[None, None].float() for mask in (prediction, reference))
    return {
        "dice": float(compute_dice(a, b)),
        "hd95": float(compute_hausdorff_distance(a, b, percentile=95, spacing=spacing)),
        "assd": float(compute_average_surface_distance(a, b, symmetric=True, spacing=spacing)),
    }


def blobs(shape, seed):
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    return noise > np.quantile(noise, 0.8)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((40, 50), (1.0, 1.0)),
        ((40, 50), (0.7, 3.1)),
        ((24, 30, 20), (2.5, 0.8, 0.8)),
        ((24, 30, 20), (0.3, 1.0, 5.0)),
    ],
)
def test_agrees_with_monai(shape, spacing, seed):
    prediction, reference = blobs(shape, seed), blobs(shape, seed + 100)
    prediction |= np.roll(reference, 1, axis=0)
    assert evaluate(prediction, reference, spacing) == pytest.approx(monai(prediction, reference, spacing), rel=1e-5)


def test_agrees_with_monai_on_a_real_liver_and_its_lesions():
    if not REAL.is_dir():
        pytest.skip(f"the real masks are not here: {REAL}")
    import nibabel

    files = [nibabel.load(REAL / f"{name}-1.nii.gz") for name in ("submission", "reference")]
    prediction, reference = (np.asanyarray(file.dataobj).astype(np.uint8) for file in files)
    spacing = tuple(float(size) for size in files[1].header.get_zooms())
    values = evaluate(prediction, reference, spacing)
    box = tuple(slice(at.min() - 2, at.max() + 3) for at in np.nonzero(reference | prediction))
    for label in values:
        masks = (np.pad(each == label, 2)[box] for each in (prediction, reference))
        assert values[label] == pytest.approx(monai(*masks, spacing), rel=1e-4)


@given(pair=pairs)
@settings(deadline=None)
def test_is_symmetric_and_perfect_only_for_equal_masks(pair):
    a, b = pair
    spacing = (2.0, 1.0, 0.5)[: a.ndim]
    one, other = evaluate(a, b, spacing), evaluate(b, a, spacing)
    assert one == pytest.approx(other)
    assert (one["dice"] == 1) == bool((a == b).all())
    assert evaluate(a, a, spacing) == {"dice": 1.0, "hd95": 0.0, "assd": 0.0}


@given(pair=pairs, scale=st.sampled_from([0.5, 10.0]))
@settings(deadline=None)
def test_distances_are_proportional_to_the_spacing_and_overlap_does_not_depend_on_it(pair, scale):
    a, b = pair
    one, scaled = (evaluate(a, b, (size,) * a.ndim) for size in (1.0, scale))
    assert scaled == pytest.approx({"dice": one["dice"], **{k: scale * one[k] for k in ("hd95", "assd")}})


@given(mask=shapes.flatmap(lambda shape: hnp.arrays(bool, shape)))
@settings(deadline=None)
def test_one_empty_mask_is_infinitely_far_and_two_agree(mask):
    assume(mask.any())
    spacing, empty = (1.0,) * mask.ndim, np.zeros_like(mask)
    for pair in ((mask, empty), (empty, mask)):
        assert evaluate(*pair, spacing) == {"dice": 0.0, "hd95": np.inf, "assd": np.inf}
    assert evaluate(empty, empty, spacing) == {"dice": 1.0, "hd95": 0.0, "assd": 0.0}


def test_label_images_are_scored_class_by_class():
    rng = np.random.default_rng(0)
    prediction, reference = (np.pad(rng.integers(0, 3, (6, 5, 4)), 3).astype(np.uint8) for _ in range(2))
    spacing = (3.0, 1.0, 1.0)
    values = evaluate(prediction, reference, spacing)
    assert values == {label: evaluate(prediction == label, reference == label, spacing) for label in (1, 2)}
    asked = evaluate(prediction, reference, spacing, classes=(0, 2, 7))
    assert list(asked) == [0, 2, 7]
    assert asked[0] == evaluate(prediction == 0, reference == 0, spacing)
    assert asked[7] == {"dice": 1.0, "hd95": 0.0, "assd": 0.0}


def test_images_without_labels_have_no_classes():
    empty = np.zeros((4, 4), np.uint8)
    assert evaluate(empty, empty, (1.0, 1.0)) == {}
    assert evaluate(empty, empty, (1.0, 1.0), classes=(1,))[1]["dice"] == 1.0


def test_a_far_false_island_moves_hd95_when_it_is_a_twentieth_of_the_border():
    x, y, z = np.indices((64, 64, 64))
    reference = (x - 32) ** 2 + (y - 32) ** 2 + (z - 32) ** 2 <= 144
    prediction = (x - 34) ** 2 + (y - 32) ** 2 + (z - 32) ** 2 <= 121
    prediction |= (x - 8) ** 2 + (y - 8) ** 2 + (z - 8) ** 2 <= 9
    assert evaluate(prediction, reference, (1.0, 1.0, 1.0))["hd95"] > 20  # pooled percentiles would give about 3


@pytest.mark.parametrize(
    ("prediction", "reference", "error"),
    [
        (np.zeros((4, 4), bool), np.zeros((4, 4), int), LabelError),
        (np.zeros((4, 4)), np.zeros((4, 4)), LabelError),
        (np.zeros((4, 4), int), np.zeros((4, 5), int), ShapeError),
    ],
)
def test_images_that_cannot_be_compared_are_refused(prediction, reference, error):
    with pytest.raises(error):
        evaluate(prediction, reference, (1.0, 1.0))
