"""Evaluation of whole images: masks, labels, regions, and a real liver."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.metrics import compute_average_surface_distance, compute_dice, compute_hausdorff_distance

from edgewise.errors import ExperimentError, LabelError, ShapeError
from edgewise.metrics import Region, evaluate, named
from edgewise.metrics.evaluation import comparisons

REAL = Path(__file__).parents[2] / "../shared/data/masks_lits_scoring"
COLUMNS = (
    "dice", "jaccard", "voe", "rvd", "volume", "volume_difference", "sensitivity", "precision", "specificity",
    "hd", "hd95", "assd", "masd", "msd", "rmsd", "nsd", "bdice", "boundary_iou",
)  # fmt: skip
DEFINITIONS = named("default").only(*COLUMNS)
OVERLAPS = ("dice", "jaccard", "voe", "rvd", "sensitivity", "precision", "specificity")

shapes = hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6)
pairs = shapes.flatmap(lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape)))
labels = shapes.flatmap(
    lambda shape: st.tuples(*[hnp.arrays(np.uint8, shape, elements=st.integers(0, 4)) for _ in range(2)])
)


def test_every_metric_is_measured_by_default():
    square = np.zeros((8, 8), bool)
    square[2:6, 2:6] = True
    assert set(COLUMNS) <= set(evaluate(square, square, (1.0, 1.0)))


def test_agrees_with_monai_on_a_real_liver_and_its_lesions():
    if not REAL.is_dir():
        pytest.skip(f"the real masks are not here: {REAL}")
    import nibabel

    files = [nibabel.load(REAL / f"{name}-1.nii.gz") for name in ("submission", "reference")]
    prediction, reference = (np.asanyarray(file.dataobj).astype(np.uint8) for file in files)
    spacing = tuple(float(size) for size in files[1].header.get_zooms())
    values = evaluate(prediction, reference, spacing, definitions=DEFINITIONS.only("dice", "hd95", "assd"))
    box = tuple(slice(at.min() - 2, at.max() + 3) for at in np.nonzero(reference | prediction))
    for label in values:
        a, b = (torch.from_numpy(np.pad(each == label, 2)[box])[None, None].float() for each in (prediction, reference))
        assert values[label] == pytest.approx(
            {
                "dice": float(compute_dice(a, b)),
                "hd95": float(compute_hausdorff_distance(a, b, percentile=95, spacing=spacing)),
                "assd": float(compute_average_surface_distance(a, b, symmetric=True, spacing=spacing)),
            },
            rel=1e-5,
        )


@given(pair=pairs, scale=st.sampled_from([0.5, 10.0]))
def test_distances_are_proportional_to_the_spacing_and_overlap_does_not_depend_on_it(pair, scale):
    a, b = pair
    one, scaled = (evaluate(a, b, (size,) * a.ndim, definitions=DEFINITIONS) for size in (1.0, scale))
    distances = ("hd", "hd95", "assd", "masd", "msd", "rmsd")
    assert {key: scaled[key] for key in OVERLAPS} == {key: one[key] for key in OVERLAPS}
    assert {key: scaled[key] for key in distances} == pytest.approx({key: scale * one[key] for key in distances})


@given(pair=labels, spacing=st.sampled_from([(1.0, 1.0, 1.0), (2.5, 0.8, 0.6)]))
def test_label_images_are_scored_class_by_class(pair, spacing):
    spacing = spacing[: pair[0].ndim]
    values = evaluate(*pair, spacing, definitions=DEFINITIONS)
    present = sorted({int(each) for image in pair for each in image.flat} - {0})
    assert list(values) == present
    for label in present:
        assert values[label] == evaluate(*(image == label for image in pair), spacing, definitions=DEFINITIONS)


@given(pair=labels)
def test_classes_that_are_asked_for_are_scored_whether_present_or_not(pair):
    spacing = (2.0, 1.0, 0.5)[: pair[0].ndim]
    values = evaluate(*pair, spacing, classes=(0, 2, 7), definitions=DEFINITIONS)
    assert list(values) == [0, 2, 7]
    for label in values:
        assert values[label] == evaluate(*(image == label for image in pair), spacing, definitions=DEFINITIONS)


@given(pair=labels)
def test_regions_are_unions_of_labels(pair):
    spacing = (2.0, 1.0, 0.5)[: pair[0].ndim]
    whole, core = Region(name="whole", labels=(1, 2, 4)), Region(name="core", labels=(2, 9))
    values = evaluate(*pair, spacing, definitions=replace(DEFINITIONS, regions=(whole, core)))
    assert list(values) == ["whole", "core"]
    for region in (whole, core):
        masks = (np.isin(image, region.labels) for image in pair)
        assert values[region.name] == evaluate(*masks, spacing, definitions=DEFINITIONS)


@pytest.mark.parametrize("dtype", ["int8", "uint16", ">i2", "int32", ">i4", "int64"])
@pytest.mark.parametrize("layout", [np.asfortranarray, lambda image: np.repeat(image, 2, axis=0)[::2]])
def test_neither_the_type_of_the_labels_nor_their_layout_matters(dtype, layout):
    rng = np.random.default_rng(0)
    pair = [np.pad(rng.integers(0, 3, (6, 5, 4)), 3) for _ in range(2)]
    values = evaluate(*pair, (3.0, 1.0, 1.0), definitions=DEFINITIONS)
    other = evaluate(*(layout(image.astype(dtype)) for image in pair), (3.0, 1.0, 1.0), definitions=DEFINITIONS)
    for label, found in values.items():
        assert other[label] == pytest.approx(found, rel=1e-12)


def test_labels_that_do_not_fit_a_byte_keep_their_names():
    rng = np.random.default_rng(0)
    pair = [rng.choice([0, 300, -7, 70000], (6, 7, 8)) for _ in range(2)]
    values = evaluate(*pair, (1.0, 1.0, 2.0), definitions=DEFINITIONS)
    assert list(values) == [-7, 300, 70000]
    for label in values:
        assert values[label] == evaluate(*(image == label for image in pair), (1.0, 1.0, 2.0), definitions=DEFINITIONS)


def test_a_comparison_knows_where_it_is():
    image = np.zeros((9, 8, 7), np.int16)
    image[2:5, 3:6, 1:4] = 3
    ((region, comparison),) = comparisons(image, np.roll(image, 1, axis=0), (1.0, 1.0, 1.0), DEFINITIONS)
    assert (region.name, region.labels) == ("3", (3,))
    assert (comparison.start, comparison.prediction.shape, comparison.image) == ((2, 3, 1), (4, 3, 3), (9, 8, 7))


def test_what_counts_as_border_is_passed_on():
    image = np.zeros((9, 9), np.uint8)
    image[:, 3:6] = 1
    chosen = replace(DEFINITIONS, border="surfels", edge="open")
    ((_, comparison),) = comparisons(image, image, (1.0, 1.0), chosen)
    assert (comparison.border, comparison.edge) == ("surfels", "open")
    masks = evaluate(image == 1, np.roll(image, 1, axis=1) == 1, (1.0, 1.0), definitions=chosen)
    assert masks == evaluate(image, np.roll(image, 1, axis=1), (1.0, 1.0), definitions=chosen)[1]


def test_images_without_labels_have_no_classes():
    empty = np.zeros((4, 4), np.uint8)
    assert evaluate(empty, empty, (1.0, 1.0)) == {}
    assert evaluate(empty, empty, (1.0, 1.0), classes=(1,))[1]["dice"] == 1.0


def test_images_are_not_changed():
    rng = np.random.default_rng(0)
    pair = [rng.integers(0, 3, (6, 5, 4)).astype(np.uint8) for _ in range(2)]
    before = [image.copy() for image in pair]
    evaluate(*pair, (1.0, 1.0, 1.0))
    assert all((a == b).all() for a, b in zip(before, pair, strict=True))


@pytest.mark.parametrize(
    ("prediction", "reference", "error", "message"),
    [
        (np.zeros((4, 4), bool), np.zeros((4, 4), int), LabelError, "prediction is bool"),
        (np.zeros((4, 4), int), np.zeros((4, 4), bool), LabelError, "reference is bool"),
        (np.zeros((4, 4)), np.zeros((4, 4)), LabelError, "prediction is float64: expected integer labels"),
        (np.zeros((4, 4), int), np.zeros((4, 5), int), ShapeError, "differ in shape: resample"),
    ],
)
def test_images_that_cannot_be_compared_are_refused(prediction, reference, error, message):
    with pytest.raises(error, match=message):
        evaluate(prediction, reference, (1.0, 1.0))


def test_definitions_that_do_not_exist_are_refused():
    mask = np.ones((2, 2), bool)
    with pytest.raises(ExperimentError, match="no definitions called"):
        evaluate(mask, mask, (1.0, 1.0), definitions="mine")
