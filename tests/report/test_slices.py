import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.report import slices
from edgewise.report.records import PanelCase


def blocks(spacing=(1.0, 1.0, 4.0), shape=(40, 40, 10), shift=2):
    reference = np.zeros(shape, np.uint8)
    reference[8:20, 10:24, 3:6] = 1
    reference[12:14, 14:16, 4] = 2
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    prediction = np.roll(reference, shift, axis=0)
    return PanelCase(image=image, reference=reference, prediction=prediction, spacing=spacing)


def case_of(reference, prediction, spacing=(1.0, 1.0, 9.0)):
    image = np.zeros(reference.shape, np.float32)
    return PanelCase(image=image, reference=reference, prediction=prediction, spacing=spacing)


def test_thick_slices_are_shown_in_their_plane_from_where_every_class_is():
    (stack,) = slices.stacks([blocks()])
    assert stack.plane.axis == 2
    assert stack.indices == (2, 3, 4, 5, 6)
    assert stack.title == "axial, slice 4"
    assert stack.step == 1


def test_near_isotropic_volumes_are_shown_in_three_planes():
    stacks = slices.stacks([blocks(spacing=(1.0, 1.0, 1.2))])
    assert [stack.plane.name for stack in stacks] == ["axial", "coronal", "sagittal"]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_flat_volumes_are_shown_in_their_only_slice(axis):
    whole = blocks()
    flat = [np.moveaxis(array[..., 4:5], 2, axis) for array in (whole.image, whole.reference, whole.prediction)]
    case = PanelCase(image=flat[0], reference=flat[1], prediction=flat[2], spacing=(1.0, 1.0, 1.0))
    (stack,) = slices.stacks([case])
    assert (stack.plane.axis, stack.indices) == (axis, (0,))
    assert "<svg" in stack.panel(0, "flat")


def test_a_case_without_foreground_is_shown_in_the_middle():
    bare = np.zeros((20, 20, 11), np.uint8)
    (stack,) = slices.stacks([case_of(bare, bare)])
    assert stack.title == "axial, slice 5"
    assert len(stack.indices) == 11
    assert 'class="reference' not in stack.panel(0, "empty")


def test_the_first_slice_has_an_error_where_the_classes_have_their_most_everywhere():
    reference = np.zeros((20, 20, 12), np.uint8)
    reference[4:12, 4:12, 2:9] = 1
    prediction = reference.copy()
    prediction[4:6, 4:12, 7] = 0
    (stack,) = slices.stacks([case_of(reference, prediction)])
    assert stack.title == "axial, slice 7"


def test_a_slice_that_only_a_prediction_has_is_there():
    reference, prediction = np.zeros((2, 20, 20, 12), np.uint8)
    reference[4:12, 4:12, 2:5] = 1
    prediction[15:18, 15:18, 9] = 1
    (stack,) = slices.stacks([case_of(reference, reference), case_of(reference, prediction)])
    assert stack.indices == tuple(range(1, 11))
    place = stack.indices.index(9)
    assert not stack.reference[place]
    assert not stack.predictions[0][place]
    assert set(stack.predictions[1][place]) == {1}


@settings(max_examples=30)
@given(st.lists(st.booleans(), min_size=1, max_size=300), st.integers(0, 299))
def test_slices_are_evenly_thinned_about_the_first_one_shown(seen, peak):
    areas = np.array(seen, int)
    areas[min(peak, areas.size - 1)] = 5
    indices, start, step = slices._indices([areas], np.zeros(areas.size), 1)
    assert 1 <= len(indices) <= slices.MOST_SLICES
    assert areas[indices[start]] == 5
    assert set(np.diff(indices)) <= {step}
    there = np.flatnonzero(areas)
    assert max(0, there[0] - 1) <= indices[0] < max(1, there[0] - 1 + step)
    assert indices[-1] > min(areas.size - 1, there[-1] + 1) - step


def test_the_weight_of_a_case_is_capped_whatever_the_masks_are():
    rng = np.random.default_rng(0)
    reference, prediction = rng.integers(0, 3, (2, 160, 160, 40)).astype(np.uint8)
    image = rng.normal(size=reference.shape).astype(np.float32)
    case = PanelCase(image=image, reference=reference, prediction=prediction, spacing=(1.0, 1.0, 4.0))
    (stack,) = slices.stacks([case, case])
    assert len(slices.data([stack])) < slices.MOST_BYTES * 1.02
    assert 1 < len(stack.indices) < 20
    assert set(np.diff(stack.indices)) == {stack.step}
    assert "every" in stack.range


def test_thinning_keeps_the_slice_that_is_shown_first():
    (stack,) = slices.stacks([blocks()])
    for most in (60_000, 20_000, 5_000, 1):
        light = slices._lightened(stack, most)
        assert light.title == stack.title
    assert len(light.indices) == len(light.pictures) == len(light.reference) == len(light.predictions[0]) == 1


def test_the_data_is_what_the_panels_show():
    stacks = slices.stacks([blocks(spacing=(1.0, 1.0, 1.2)), blocks(spacing=(1.0, 1.0, 1.2), shift=-1)])
    text = slices.data(stacks)
    assert "<" not in text
    for stack, given_stack in zip(stacks, json.loads(text), strict=True):
        assert given_stack["slices"] == list(stack.indices)
        lengths = {len(given_stack["pictures"])}
        for role in (given_stack["reference"], *given_stack["predictions"]):
            lengths |= {len(paths) for paths in role.values()}
        assert lengths == {len(stack.indices)}
        for run in (0, 1):
            shown = stack.panel(run, "")
            assert given_stack["pictures"][stack.start] in shown
            for label, paths in given_stack["predictions"][run].items():
                assert (
                    f'class="prediction shade-{int(label) - 1}" data-label="{label}" d="{paths[stack.start]}"' in shown
                )


def test_the_range_is_in_words():
    (stack,) = slices.stacks([blocks()])
    assert stack.range == "axial slices 2 to 6"
    thinned = slices._lightened(stack, 1)
    assert thinned.range.startswith("axial slices 4 to 4, every ")
    assert [slices._ordinal(number) for number in (2, 3, 4)] == ["second", "third", "4th"]


def test_data_never_ends_the_script_that_holds_it():
    (stack,) = slices.stacks([blocks()])
    pictures = ("</script><!--",) * len(stack.indices)
    text = slices.data([replace(stack, pictures=pictures)])
    assert "<" not in text
    assert json.loads(text)[0]["pictures"] == list(pictures)
