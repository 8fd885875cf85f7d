"""The effective range: slices about the chosen classes where there is a reference, everything where there is none."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.data.case import Case, Grid
from edgewise.data.crop import LabelRange
from edgewise.data.intensity import Window
from edgewise.data.prepare import Preparation, restore, transform
from edgewise.errors import ExperimentError

RAW = Preparation(axes=(2, 1, 0), spacing=(3.0, 1.0, 1.0), intensity=(Window(lower=0.0, upper=1.0),), crop="none")


def case_of(labels, image=None, spacing=(1.0, 1.0, 3.0)):
    shape = labels.shape if labels is not None else image.shape
    image = np.random.default_rng(0).random(shape) if image is None else image
    grid = Grid(path=Path("case.nii.gz"), shape=shape, affine=np.diag([*spacing, 1.0]))
    return Case(
        id="a", image=image.astype(np.float32)[None], labels=labels, spacing=spacing, affine=grid.affine, grid=grid
    )


def one_hot(labels):
    return np.stack([labels == c for c in range(4)]).astype(np.float32)


@settings(max_examples=50)
@given(
    axis=st.integers(0, 2),
    seed=st.integers(0, 999),
    margin=st.integers(0, 4),
    chosen=st.sampled_from(["foreground", (1,), (2, 3), (3,)]),
)
def test_the_slices_of_the_chosen_classes_and_the_margin_are_kept_and_labels_return_exactly(axis, seed, margin, chosen):
    rng = np.random.default_rng(seed)
    labels = (rng.random((9, 10, 11)) < 0.004) * rng.integers(1, 4, (9, 10, 11))
    labels = labels.astype(np.uint8)
    axes = (axis, *(a for a in range(3) if a != axis))
    spacing = (1.0, 1.0, 3.0)
    crop = LabelRange(classes=chosen, margin=float(margin), within="none")
    setting = replace(RAW, axes=axes, spacing=tuple(spacing[a] for a in axes), crop=crop)
    prepared = transform(case_of(labels), setting)
    wanted = labels > 0 if chosen == "foreground" else np.isin(labels, chosen)
    held = np.flatnonzero(wanted.any(axis=axes[1:]))
    if held.size:
        kept = (max(held[0] - margin, 0), min(held[-1] + 1 + margin, labels.shape[axis]))
        assert prepared.notes == ()
    else:
        kept = (0, labels.shape[axis])
        assert "none of the classes" in prepared.notes[0]
    assert prepared.undo.box == tuple(kept if a == axis else (0, n) for a, n in enumerate(labels.shape))
    returned = restore(one_hot(prepared.labels), prepared.undo)
    inside = np.zeros(labels.shape, bool)
    inside[tuple(slice(*edges) for edges in prepared.undo.box)] = True
    np.testing.assert_array_equal(returned, np.where(inside, labels, 0))
    assert not (wanted & ~inside).any()


@pytest.mark.parametrize(
    ("unit", "target", "kept"),
    # Slices are 3 mm apart; the class fills slice 10.
    [
        ("slices", 3.0, (8, 13)), ("slices", 1.0, (9, 12)), ("slices", 6.0, (6, 15)),
        ("mm", 1.0, (9, 12)), ("mm", 9.0, (9, 12)),
    ],
)  # fmt: skip
def test_the_margin_counts_slices_of_the_prepared_grid_or_mm(unit, target, kept):
    labels = np.zeros((8, 8, 20), np.uint8)
    labels[4, 4, 10] = 1
    crop = LabelRange(margin=2.0, unit=unit, within="none")
    prepared = transform(case_of(labels), replace(RAW, spacing=(target, 1.0, 1.0), crop=crop))
    assert prepared.undo.box[2] == kept


def test_without_a_reference_the_whole_image_or_body_is_kept_and_restored_exactly():
    image = np.zeros((20, 20, 30))
    image[6:12, 7:13, 8:20] = np.random.default_rng(0).random((6, 6, 12)) + 0.1
    labels = np.zeros((20, 20, 30), np.uint8)
    labels[8, 8, 10] = 2
    for within in ("none", "body"):
        plain = transform(case_of(None, image), replace(RAW, crop=within))
        bare = transform(case_of(None, image), replace(RAW, crop=LabelRange(within=within)))
        assert bare.undo == plain.undo
        assert bare.notes == ()
        np.testing.assert_array_equal(bare.image, plain.image)
        seen = transform(case_of(labels, image), replace(RAW, crop=LabelRange(within=within, margin=1.0)))
        assert seen.undo.box == (*plain.undo.box[:2], (9, 12))
    answer = transform(case_of(labels, image), replace(RAW, crop="body"))
    np.testing.assert_array_equal(restore(one_hot(answer.labels), bare.undo), labels)


def test_labels_outside_the_body_do_not_count():
    image, labels = np.zeros((20, 20, 30)), np.zeros((20, 20, 30), np.uint8)
    image[6:12, 7:13, 8:20] = 1.0
    labels[0, 0, 0] = 1
    prepared = transform(case_of(labels, image), replace(RAW, crop=LabelRange()))
    assert prepared.undo.box == transform(case_of(None, image), replace(RAW, crop="body")).undo.box
    assert prepared.notes


def test_names_become_label_values_and_unknown_ones_are_refused_with_those_there_are():
    classes = ("background", "liver", "tumour")
    assert LabelRange(classes=("tumour", 1)).known(classes).classes == (1, 2)
    assert LabelRange().known(classes) == LabelRange()
    for wrong in ("lung", "background", 0, 3):
        with pytest.raises(ExperimentError, match=r"is no class of this dataset\. Its classes are liver, tumour\."):
            LabelRange(classes=(wrong,)).known(classes)
    with pytest.raises(ExperimentError, match="names"):
        replace(RAW, crop=LabelRange(classes=("liver",)))


@pytest.mark.parametrize("wrong", [{"margin": -1.0}, {"margin": float("nan")}, {"classes": ()}])
def test_settings_without_a_meaning_are_refused(wrong):
    with pytest.raises(ExperimentError, match=next(iter(wrong))):
        LabelRange(**wrong)
