"""`edgewise surfaces`: from two masks to coloured surfaces."""

import json
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import trimesh

AFFINE = np.array([[0.0, -2.0, 0.0, 40.0], [1.5, 0.0, 0.0, -20.0], [0.0, 0.0, 3.0, 5.0], [0.0, 0.0, 0.0, 1.0]])
"""Stored axes: to the front, to the left, upwards."""


def save(path, labels, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(labels, affine), path)
    return path


@pytest.fixture
def masks(tmp_path):
    """Two cases of liver (1) and tumour (2); the second prediction has no tumour. `.predicted`, `.true`, `.write`."""
    true = np.zeros((14, 12, 10), np.uint8)
    true[3:11, 2:10, 2:8] = 1
    true[5:7, 4:6, 4:6] = 2
    predicted = np.roll(true, 2, axis=0)
    folders = SimpleNamespace(predicted=tmp_path / "predicted", true=tmp_path / "data" / "labelsTr")
    for case, labels in (("a", predicted), ("b", np.minimum(true, 1))):
        save(folders.predicted / f"{case}.nii.gz", labels)
        save(folders.true / f"{case}.nii.gz", true)
    names = {"labels": {"background": 0, "liver": 1, "tumour": 2}}
    (tmp_path / "data" / "dataset.json").write_text(json.dumps(names), encoding="utf-8")
    return folders


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def ply(path):
    found = trimesh.load(path, process=False)
    return found, found.metadata["_ply_raw"]["face"]["data"]["quality"].ravel()


def test_a_folder_gets_a_file_for_each_case_and_class_that_both_masks_hold(masks, edgewise, tmp_path):
    call = edgewise("surfaces", masks.predicted, masks.true, "--out", tmp_path / "out")
    assert (call.code, call.out.strip()) == (0, str(tmp_path / "out"))
    assert names_in(tmp_path / "out") == ["a_1_liver.vtp", "a_2_tumour.vtp", "b_1_liver.vtp"]
    assert "warning: b: the prediction holds no tumour, so there is no surface" in call.err


def test_the_largest_distance_is_that_of_evaluate(masks, edgewise, tmp_path):
    from edgewise.metrics.comparison import Comparison

    pair = masks.predicted / "a.nii.gz", masks.true / "a.nii.gz"
    call = edgewise("surfaces", *pair, "--out", tmp_path / "liver.ply", "--class", "liver")
    assert call.code == 0
    masks_of = [np.asanyarray(nib.load(path).dataobj) == 1 for path in pair]
    gaps = Comparison.of(*masks_of, (1.5, 2.0, 3.0)).gaps[0].distances
    assert ply(tmp_path / "liver.ply")[1].max() == pytest.approx(gaps.max(), rel=1e-6)
    assert f"at most {gaps.max():.2f} mm from the reference" in call.err


def test_the_surface_lies_where_the_mask_lies_in_the_world(masks, edgewise, tmp_path):
    edgewise("surfaces", masks.predicted, masks.true, "--out", tmp_path / "out", "--format", "ply", "--class", "2")
    mask = np.asanyarray(nib.load(masks.predicted / "a.nii.gz").dataobj) == 2
    centre = AFFINE[:3, :3] @ np.argwhere(mask).mean(0) + AFFINE[:3, 3]
    assert ply(tmp_path / "out" / "a_2_tumour.ply")[0].vertices.mean(0) == pytest.approx(centre, abs=1e-3)


@pytest.mark.parametrize("ending", ["vtp", "ply", "glb"])
def test_one_case_and_one_class_fit_into_one_file_of_any_format(masks, edgewise, tmp_path, ending):
    out = tmp_path / f"one.{ending}"
    call = edgewise("surfaces", masks.predicted / "b.nii.gz", masks.true / "b.nii.gz", "--out", out)
    assert call.code == 0
    assert out.stat().st_size > 1000
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name]


def test_several_surfaces_do_not_fit_into_one_file(masks, edgewise, tmp_path):
    out = tmp_path / "one.ply"
    call = edgewise("surfaces", masks.predicted / "a.nii.gz", masks.true / "a.nii.gz", "--out", out)
    assert call.code == 2
    assert "several classes: liver, tumour. Choose one (--class), or give a folder." in call.err
    call = edgewise("surfaces", masks.predicted, masks.true, "--out", out, "--class", "liver")
    assert call.code == 2
    assert "2 cases" in call.err
    assert not out.exists()


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ("tumor", "there is no class tumor. Did you mean tumour? Known: liver, tumour."),
        ("7", "the prediction holds no class 7, so there is no surface"),
        ("background", "there is no class background."),
        ("0", "there is no class 0."),
    ],
)
def test_a_class_that_does_not_exist_is_refused(masks, edgewise, tmp_path, chosen, said):
    call = edgewise("surfaces", masks.predicted, masks.true, "--out", tmp_path / "out", "--class", chosen)
    assert call.code == 2
    assert said in call.err


def test_a_class_has_no_name_where_nothing_names_it(masks, edgewise, tmp_path):
    (tmp_path / "data" / "dataset.json").unlink()
    call = edgewise("surfaces", masks.predicted, masks.true, "--out", tmp_path / "out", "--class", "liver")
    assert call.code == 2
    assert "Give the number of its label." in call.err
    assert edgewise("surfaces", masks.predicted, masks.true, "--out", tmp_path / "out", "--class", "1").code == 0
    assert names_in(tmp_path / "out") == ["a_1.vtp", "b_1.vtp"]


def test_empty_masks_are_named(masks, edgewise, tmp_path):
    nothing = save(tmp_path / "nothing.nii.gz", np.zeros((14, 12, 10), np.uint8))
    some = masks.true / "a.nii.gz"
    call = edgewise("surfaces", nothing, some, "--out", tmp_path / "out")
    assert call.code == 2
    assert "the prediction holds no liver, so there is no surface" in call.err
    call = edgewise("surfaces", some, nothing, "--out", tmp_path / "out")
    assert call.code == 2
    assert "the reference holds no class 1, so there is no distance to it" in call.err
    call = edgewise("surfaces", nothing, nothing, "--out", tmp_path / "out")
    assert call.code == 2
    assert "both masks are empty" in call.err


def test_a_case_that_fails_does_not_stop_the_others(masks, edgewise, tmp_path):
    save(masks.predicted / "a.nii.gz", np.ones((3, 3, 3), np.uint8))
    call = edgewise("surfaces", masks.predicted, masks.true, "--out", tmp_path / "out")
    assert call.code == 1
    assert "failed: a: " in call.err
    assert "has shape (3, 3, 3)" in call.err
    assert names_in(tmp_path / "out") == ["b_1_liver.vtp"]


def test_masks_on_different_grids_are_refused(masks, edgewise, tmp_path):
    moved = AFFINE.copy()
    moved[0, 3] += 4
    path = save(tmp_path / "moved.nii.gz", np.ones((14, 12, 10), np.uint8), moved)
    call = edgewise("surfaces", path, masks.true / "a.nii.gz", "--out", tmp_path / "one.ply", "--class", "1")
    assert call.code == 2
    assert "affine" in call.err


def test_a_single_slice_has_no_surface(edgewise, tmp_path):
    path = save(tmp_path / "slice.nii.gz", np.ones((6, 6, 1), np.uint8))
    call = edgewise("surfaces", path, path, "--out", tmp_path / "one.ply")
    assert call.code == 2
    assert "single slice" in call.err


def test_an_ending_that_is_no_format_and_a_missing_mask_are_refused(masks, edgewise, tmp_path):
    call = edgewise("surfaces", masks.predicted, masks.true, "--out", tmp_path / "one.stl")
    assert call.code == 2
    assert ".vtp, .ply, .glb, or a folder" in call.err
    call = edgewise("surfaces", tmp_path / "nowhere.nii.gz", masks.true, "--out", tmp_path / "one.ply")
    assert call.code == 2
    assert "there is no such folder or file" in call.err


def test_class_names_that_are_odd_as_file_names_stay_apart(masks, edgewise, tmp_path):
    names = {"labels": {"background": 0, "a/b c": 1, "a\\b:c": 2}}
    (tmp_path / "data" / "dataset.json").write_text(json.dumps(names), encoding="utf-8")
    pair = masks.predicted / "a.nii.gz", masks.true / "a.nii.gz"
    assert edgewise("surfaces", *pair, "--out", tmp_path / "out", "--format", "glb").code == 0
    assert names_in(tmp_path / "out") == ["a_1_a_b_c.glb", "a_2_a_b_c.glb"]
