"""Presets are data: who says what, found by name, with values for empty masks and regions of labels."""

import json
import math
import re

import numpy as np
import peers
import pytest
import torch
from monai.metrics import DiceMetric, HausdorffDistanceMetric, SurfaceDiceMetric

from edgewise.errors import ExperimentError
from edgewise.metrics import PRESETS, Comparison, Definitions, Region, evaluate, named, rows_of, summarise
from edgewise.metrics.overlap import VOE, Dice, Jaccard
from edgewise.metrics.surface import NSD

MASK = np.pad(np.ones((3, 4, 3), bool), 2)
NOTHING = np.zeros_like(MASK)
EMPTY = {"both": (NOTHING, NOTHING), "prediction": (NOTHING, MASK), "reference": (MASK, NOTHING)}


@pytest.fixture(params=PRESETS)
def preset(request):
    return named(request.param)


def test_a_preset_says_whose_numbers_it_gives_and_where_they_are_written_down(preset):
    assert preset.name in PRESETS
    assert preset.summary.endswith(".")
    assert re.search(r"doi:10\.|arXiv:|\w+/\w+", preset.source)
    if preset.name != "default":
        assert re.search(r"\d", preset.summary.split(":")[0]), "a version, or the year of a challenge"


def test_the_facts_of_a_preset_are_plain_data(preset):
    facts = preset.facts()
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert tuple(facts) == preset.columns()
    for fact in facts.values():
        assert fact["set"] == preset.name
        assert "{" not in fact["definition"]


@pytest.mark.parametrize(("which", "masks"), EMPTY.items())
def test_a_preset_gives_its_stated_values_for_empty_masks(preset, which, masks):
    facts = preset.facts()
    for region in preset.regions or (Region(name=preset.name, labels=(1,)),):
        own = preset.of(region)
        comparison = Comparison.of(*masks, (1.0, 2.0, 1.0), border=own.border, edge=own.edge)
        for column, value in own.values(comparison).items():
            stated = facts[column][f"{which}_empty"]
            texts = dict(part.split(": ") for part in str(stated).split("; ")) if ";" in str(stated) else {}
            stated = texts.get(region.name, stated)
            assert stated == "formula" or value == float(stated) or (math.isnan(value) and stated == "nan")


def test_names_may_be_written_with_either_dash():
    assert named("surface_distance") == named("surface-distance") == named("Surface-Distance")
    assert evaluate(MASK, MASK, (1.0, 1.0, 1.0), definitions="surface_distance")["dice"] == 1


@pytest.mark.parametrize(
    ("name", "hint"), [("medpi", "Did you mean medpy?"), ("lit", "Did you mean lits?"), ("zzz", "There are default")]
)
def test_an_unknown_name_is_refused_with_the_nearest(name, hint):
    with pytest.raises(ExperimentError, match=re.escape(hint)) as error:
        named(name)
    assert repr(name) in str(error.value)
    assert all(each in str(error.value) for each in PRESETS)


@pytest.mark.parametrize("tolerance", [0.0, -1.0, math.nan, math.inf])
def test_a_tolerance_that_is_no_distance_is_refused(tolerance):
    for name in PRESETS:
        with pytest.raises(ExperimentError, match=re.escape(f"tolerance of {tolerance} mm")):
            named(name, tolerance)


def test_a_tolerance_reaches_every_metric_that_has_one_but_not_those_of_a_challenge():
    for name in ("default", "monai", "surface-distance"):
        tolerant = [each for each in named(name, 0.7).metrics.values() if hasattr(each, "tolerance")]
        assert tolerant
        assert {each.tolerance for each in tolerant} == {0.7}
    regions = named("kits21", 0.7).regions
    assert [round(each.metrics["nsd"].tolerance, 3) for each in regions] == [2.178, 1.393, 1.536]


def test_the_default_begins_with_what_people_look_at_and_has_no_score_of_a_challenge():
    columns = named("default").columns()
    assert columns[0] == "dice"
    assert {"hd95", "nsd", "assd", "rvd", "sensitivity", "lesion_f1"} <= set(columns)
    assert not [column for column in columns if column.startswith(("brats", "lits"))]


def test_fewer_metrics_are_chosen_by_column_and_a_misspelt_one_is_refused():
    lits = named("lits")
    assert lits.only("msd", "dice").columns() == ("msd", "dice")
    assert [region.name for region in lits.only("msd").regions] == ["liver"]
    assert [region.name for region in lits.only("lits_lesion_recall").regions] == ["lesion"]
    with pytest.raises(ExperimentError, match=r"'asd'\. Did you mean assd\?"):
        lits.only("dice", "asd")


def test_regions_have_metrics_and_values_of_their_own():
    mine = Definitions(
        name="mine",
        summary="",
        source="",
        metrics={"dice": Dice(), "nsd": NSD(tolerance=2.0)},
        empty={"dice": named("monai").empty["dice"]},
        regions=(
            Region(name="all", labels=(1, 2)),
            Region(name="core", labels=(2,), metrics={"jaccard": Jaccard(), "voe": VOE()}),
            Region(name="rim", labels=(1,), empty={"dice": named("default").metrics["dice"].empty}),
        ),
    )
    labels = MASK.astype(np.uint8)
    values = evaluate(labels, labels, (1.0, 1.0, 1.0), definitions=mine)
    assert values["all"] == {"dice": 1, "nsd": 1}
    assert values["core"] == {"jaccard": 1, "voe": 0}
    nothing = evaluate(0 * labels, 0 * labels, (1.0, 1.0, 1.0), definitions=mine)
    assert math.isnan(nothing["all"]["dice"])
    assert nothing["rim"]["dice"] == 1
    assert mine.columns() == ("dice", "nsd", "jaccard", "voe")
    assert mine.facts()["dice"]["both_empty"] == "all: nan; rim: 1.0"


def test_regions_are_the_unions_of_labels_that_the_challenges_score():
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[0], labels[1], labels[2] = 1, 2, 3
    voxels = {
        name: {
            row.class_name: row.reference_voxels for row in rows_of("a", labels, labels, (1.0,) * 3, [], named(name))
        }
        for name in ("lits", "kits21", "brats-lesionwise")
    }
    assert voxels == {
        "lits": {"liver": 32, "lesion": 16},
        "kits21": {"kidney_and_mass": 48, "mass": 32, "tumour": 16},
        "brats-lesionwise": {"whole tumour": 48, "tumour core": 32, "enhancing tumour": 16},
    }


def test_skipping_what_is_not_finite_repeats_the_means_of_monai():
    """Its metrics drop NaN when they aggregate; an HD95 of a missed structure is NaN too, so it flatters."""
    pairs = [peers.blobs((10, 12, 11), seed) for seed in range(3)]
    pairs += [(np.zeros_like(mask), mask) for _, mask in pairs[:1]] + [
        (mask, np.zeros_like(mask)) for mask, _ in pairs[1:2]
    ]
    spacing, preset = (2.0, 1.0, 1.0), named("monai").only("dice", "hd95", "nsd")
    tools = {
        "dice": DiceMetric(include_background=False),
        "hd95": HausdorffDistanceMetric(include_background=False, percentile=95),
        "nsd": SurfaceDiceMetric(class_thresholds=[2.0]),
    }
    for prediction, reference in pairs:
        two = [torch.from_numpy(np.stack([~mask, mask])[None].astype(np.float32)) for mask in (prediction, reference)]
        for column, tool in tools.items():
            tool(*two, **({} if column == "dice" else {"spacing": spacing}))
    rows = [
        row
        for number, masks in enumerate(pairs)
        for row in rows_of(str(number), *(each.astype(np.uint8) for each in masks), spacing, ["b", "x"], preset)
    ]
    summary = summarise(rows, preset, "skip")["classes"]["1"]
    for column, tool in tools.items():
        assert summary[column]["mean"] == pytest.approx(float(tool.aggregate()), rel=1e-5)
    assert [summary[column]["used"] for column in tools] == [4, 3, 5]
    worst = summarise(rows, preset)["classes"]["1"]
    assert worst["hd95"]["mean"] > 2 * summary["hd95"]["mean"]
