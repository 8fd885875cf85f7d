"""Every preset gives the numbers of its tool: on noise, on smooth structures and on real masks, in 2D and in 3D."""

import json
import math
from pathlib import Path

import numpy as np
import peers
import pytest
from lesion_maps import lesion_maps

from edgewise.metrics import evaluate, named
from edgewise.metrics.presets import KITS_TOLERANCES, LARGE

# surface-distance 0.1 (2018) calls SciPy and NumPy by names that warn.
pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated.*:DeprecationWarning")
TOOLS = {"medpy": peers.medpy, "monai": peers.monai, "surface-distance": peers.surface_distance}
GOLDEN = json.loads((Path(__file__).parent / "golden" / "brats_lesionwise.json").read_text(encoding="utf-8"))
CLOSE = {"rel": 1e-5, "abs": 1e-5}
EMPTY = np.zeros((5, 6, 7), bool)
FULL = np.pad(np.ones((2, 3, 3), bool), ((1, 2), (1, 2), (2, 2)))


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("preset", TOOLS)
def test_a_preset_repeats_its_tool(preset, dimensions):
    for prediction, reference, spacing in peers.pairs(dimensions):
        expected = TOOLS[preset](prediction, reference, spacing)
        assert evaluate(prediction, reference, spacing, definitions=preset) == pytest.approx(expected, **CLOSE)


@pytest.mark.parametrize("tolerance", [0.5, 1.7, 4.0])
@pytest.mark.parametrize("preset", ["monai", "surface-distance"])
def test_the_tolerance_is_that_of_the_tool(preset, tolerance):
    prediction, reference = peers.blobs((12, 13, 11), 5)
    spacing = (2.5, 0.8, 0.9)
    expected = TOOLS[preset](prediction, reference, spacing, tolerance=tolerance)["nsd"]
    found = evaluate(prediction, reference, spacing, definitions=preset, tolerance=tolerance)["nsd"]
    assert 0 < expected < 1
    assert found == pytest.approx(expected, **CLOSE)


@pytest.mark.parametrize("pair", ["lits", "kits"])
@pytest.mark.parametrize("preset", TOOLS)
def test_a_preset_repeats_its_tool_on_real_masks(preset, pair):
    if not peers.DATA.is_dir():
        pytest.skip(f"the real masks are not here: {peers.DATA}")
    prediction, reference, spacing = peers.lits_pair(1) if pair == "lits" else peers.kits_pair("case_00034")
    for label in (1, 2) if pair == "kits" else (2,):
        masks = (prediction == label, reference == label)
        expected = TOOLS[preset](*masks, spacing)
        assert 0 < expected["dice"] < 1
        assert evaluate(*masks, spacing, definitions=preset) == pytest.approx(expected, **CLOSE)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_lits_is_what_its_script_says_by_brute_force(dimensions):
    for prediction, reference, spacing in peers.pairs(dimensions):
        expected = peers.lits_liver(prediction, reference, spacing)
        found = evaluate(prediction, reference, spacing, definitions="lits")
        assert found == pytest.approx(expected, **CLOSE)


@pytest.mark.parametrize("number", range(3))
def test_lits_repeats_what_its_own_program_printed_for_real_masks(number):
    if not peers.DATA.is_dir():
        pytest.skip(f"the real masks are not here: {peers.DATA}")
    golden = json.loads((Path(__file__).parent / "golden" / "lits_scoring.json").read_text(encoding="utf-8"))
    printed = golden["pairs"][number]
    prediction, reference, spacing = peers.lits_pair(number)
    found, plain = (
        evaluate(prediction == 2, reference == 2, spacing, definitions=preset) for preset in ("lits", "medpy")
    )
    early = {"rvd": plain["rvd"], "msd": plain["hd"]}  # see the note in the golden file
    assert {column: (found | early)[column] for column in printed} == pytest.approx(printed, abs=1e-5)


def test_lits_by_hand():
    """A liver of 2 x 3 x 4 voxels, 2 x 1 x 1 mm each, found one row short and one column too far to the right.

    Every voxel of it is border. 2 of 4 columns: 12 voxels are shared by 24 and 16 (two of three rows, 4 columns).
    """
    reference, prediction = np.zeros((4, 5, 8), np.uint8), np.zeros((4, 5, 8), np.uint8)
    reference[1:3, 1:4, 1:5] = 1
    prediction[1:3, 1:3, 2:6] = 1
    values = evaluate(prediction, reference, (2.0, 1.0, 1.0), definitions="lits")["liver"]
    # 12 voxels are in both; 12 of the reference are not predicted, 4 predicted ones are false.
    assert values["dice"] == pytest.approx(2 * 12 / 40)
    assert values["jaccard"] == pytest.approx(12 / 28)
    assert values["voe"] == pytest.approx(16 / 28)
    assert values["rvd"] == pytest.approx((24 - 16) / 16)
    # Prediction to reference: 4 times 1 mm. Reference to prediction: 4 in the first column at 1, the row of 4 at
    # 1, 1, 1 and, in its first column, sqrt(2); each twice, for there are two slices.
    root = math.sqrt(2)
    assert values["assd"] == pytest.approx((4 + 4 + 6 + 2 * root) / 40)
    assert values["rmsd"] == pytest.approx(math.sqrt((4 + 4 + 6 + 2 * 2) / 40))
    assert values["msd"] == pytest.approx(root)


def test_lits_counts_lesions_as_liver():
    labels = np.zeros((4, 5, 8), np.uint8)
    labels[1:3, 1:4, 1:5] = 1
    labels[1:3, 1:3, 1:3] = 2
    values = evaluate(np.minimum(labels, 1), labels, (1.0, 1.0, 1.0), definitions="lits")
    assert values["liver"]["dice"] == 1
    assert values["lesion"] == {
        "dice": 0, "lits_lesion_recall": 0, "lits_lesion_precision": 0, "lits_lesion_dice": 0, "lits_lesion_voe": 1,
        **{f"lits_lesion_{kind}": LARGE for kind in ("rvd", "assd", "rmsd", "msd")},
    }  # fmt: skip


def test_kits21_is_surface_distance_with_a_tolerance_for_each_region():
    rng = np.random.default_rng(3)
    tumour, kidney = peers.blobs((14, 18, 16), 6)
    reference = np.where(kidney, rng.choice([1, 1, 3], kidney.shape), 0).astype(np.uint8)
    reference[2:6, 3:9, 4:9] = 2
    prediction = np.where(tumour, np.roll(reference, 1, axis=1), 0)
    spacing = (1.3, 0.8, 0.8)
    found = evaluate(prediction, reference, spacing, definitions="kits21")
    regions = {"kidney_and_mass": (1, 2, 3), "mass": (2, 3), "tumour": (2,)}
    assert list(found) == list(regions)
    for region, labels in regions.items():
        masks = (np.isin(prediction, labels), np.isin(reference, labels))
        expected = peers.surface_distance(*masks, spacing, KITS_TOLERANCES[region])
        assert found[region] == pytest.approx({key: expected[key] for key in ("dice", "nsd")}, **CLOSE)
        assert 0 < expected["nsd"] < 1


@pytest.mark.parametrize("case", GOLDEN["cases"][:12], ids=lambda case: str(case["seed"]))
def test_brats_scores_its_regions_as_its_script_does(case):
    prediction, reference, spacing = lesion_maps(case["seed"])
    found = evaluate(prediction, reference, spacing, definitions="brats-lesionwise")
    names = {"whole tumour": "WT", "tumour core": "TC", "enhancing tumour": "ET"}
    for region, values in found.items():
        scores = case["scores"]["glioma"][names[region]]
        assert (values["brats_lesion_dice"], values["brats_lesion_hd95"]) == pytest.approx(tuple(scores[:2]), **CLOSE)


def test_the_plain_scores_of_brats_are_those_of_surface_distance():
    prediction, reference = (3 * mask.astype(np.uint8) for mask in peers.blobs((14, 15, 16), 8))
    expected = peers.surface_distance(prediction > 0, reference > 0, (1.0, 1.0, 1.0))
    for values in evaluate(prediction, reference, (1.0, 1.0, 1.0), definitions="brats-lesionwise").values():
        assert values["dice"] == pytest.approx(expected["dice"], **CLOSE)
        assert values["hd95"] == pytest.approx(expected["hd95"], **CLOSE)


@pytest.mark.parametrize(("prediction", "reference"), [(EMPTY, EMPTY), (EMPTY, FULL), (FULL, EMPTY)])
def test_monai_gives_what_it_gives_for_empty_masks(prediction, reference):
    expected = peers.monai(prediction, reference, (1.0, 1.0, 1.0))
    found = evaluate(prediction, reference, (1.0, 1.0, 1.0), definitions="monai")
    assert found == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(("prediction", "reference"), [(EMPTY, EMPTY), (EMPTY, FULL), (FULL, EMPTY)])
def test_medpy_gives_what_it_gives_for_empty_masks_where_it_gives_something(prediction, reference):
    from medpy.metric import binary

    found = evaluate(prediction, reference, (1.0, 1.0, 1.0), definitions="medpy")
    meant = {"dice": 1.0 if prediction is reference else 0.0, "sensitivity": 0.0, "precision": 0.0}
    tools = {"dice": "dc", "jaccard": "jc", "sensitivity": "recall", "precision": "precision"}
    for column, function in (tools | {"specificity": "specificity"}).items():
        with np.errstate(invalid="ignore"):  # with NumPy 2 MedPy divides by 0 where it means to catch that
            given = float(getattr(binary, function)(prediction, reference))
        assert found[column] == pytest.approx(meant[column] if math.isnan(given) else given)
    if reference.any():
        assert found["rvd"] == binary.ravd(prediction, reference)
    for column in ("hd95", "hd", "assd"):
        with pytest.raises(RuntimeError, match="does not contain any binary object"):
            getattr(binary, column)(prediction, reference)
        assert found[column] == (0 if prediction is reference else math.inf)


def test_the_definitions_disagree_on_one_pair():
    """Otherwise the agreements above would prove nothing: all presets could be one."""
    prediction, reference = peers.blobs((14, 17, 12), 20)
    spacing = (2.5, 0.8, 0.8)
    hd95 = {name: evaluate(prediction, reference, spacing, definitions=name)["hd95"] for name in TOOLS}
    assert len({round(value, 3) for value in hd95.values()}) == 3
    assd = {name: evaluate(prediction, reference, spacing, definitions=name)["assd"] for name in ("medpy", "lits")}
    assert abs(assd["medpy"] - assd["lits"]) > 0.01
    assert named("kits21").facts()["nsd"]["definition"].count("mm of the other") == 3
