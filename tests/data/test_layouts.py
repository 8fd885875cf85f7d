"""Layouts are recognised, odd ones are refused, and nothing is swallowed."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from edgewise.data.layouts import LAYOUTS, case_id, detect, find_images, scan
from edgewise.errors import DataError

REAL = Path(__file__).parents[2] / "../shared/data"


def image(path, values=(0, 1, 2), channels=()):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.resize(np.array(values, np.uint8), (3, 4, 2, *channels))
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)
    return path


def description(root, **content):
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset.json").write_text(json.dumps(content))


def decathlon(root, names=("b", "a"), **changes):
    for name in names:
        image(root / f"imagesTr/{name}.nii.gz")
        image(root / f"labelsTr/{name}.nii.gz")
    training = [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in names]
    content = {
        "name": "Tiny",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "front", "2": "back"},
        "training": training,
    }
    description(root, **(content | changes))
    return root


def nnunet(root, names=("b", "a"), **changes):
    for name in names:
        image(root / f"imagesTr/{name}_0000.nii.gz")
        image(root / f"imagesTr/{name}_0001.nii.gz")
        image(root / f"labelsTr/{name}.nii.gz")
    content = {
        "channel_names": {"0": "T1", "1": "T2"},
        "labels": {"background": 0, "back": 2, "front": 1},
        "file_ending": ".nii.gz",
    }
    description(root, **(content | changes))
    return root


def folders(root, names=("b", "a")):
    for name in names:
        image(root / f"images/{name}.nii.gz")
        image(root / f"labels/{name}.nii.gz")
    return root


BUILD = {"decathlon": decathlon, "nnunet": nnunet, "folders": folders}


def test_the_list_of_layouts_in_the_message_has_one_line_for_each(tmp_path):
    with pytest.raises(DataError) as caught:
        detect(tmp_path)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(LAYOUTS) + 2
    assert [line.strip() for line in lines[1:-1]] == [f"({i}) {x.describe}" for i, x in enumerate(LAYOUTS, 1)]
    assert max(map(len, lines[1:-1])) <= 160


def test_the_decathlon_layout_is_recognised(tmp_path):
    data = detect(decathlon(tmp_path / "d"))
    assert (data.layout, data.name, data.channels) == ("decathlon", "Tiny", ("MRI",))
    assert data.classes == ("background", "front", "back")
    assert [case.id for case in data.cases] == ["a", "b"]
    assert data.cases[0].images == (tmp_path / "d/imagesTr/a.nii.gz",)
    assert data.cases[0].label == tmp_path / "d/labelsTr/a.nii.gz"


def test_the_nnunet_layout_is_recognised_with_all_channels_in_order(tmp_path):
    data = detect(nnunet(tmp_path / "d"))
    assert (data.layout, data.name, data.channels) == ("nnunet", "d", ("T1", "T2"))
    assert data.classes == ("background", "front", "back")
    assert [file.name for file in data.cases[0].images] == ["a_0000.nii.gz", "a_0001.nii.gz"]
    assert data.cases[0].label == tmp_path / "d/labelsTr/a.nii.gz"


def test_plain_folders_are_recognised_and_classes_are_read_from_the_masks(tmp_path):
    data = detect(folders(tmp_path / "d"))
    assert (data.layout, data.channels) == ("folders", ("image",))
    assert data.classes == ("background", "class 1", "class 2")
    assert [case.id for case in data.cases] == ["a", "b"]


def test_plain_folders_may_hold_several_channels_in_one_file(tmp_path):
    image(tmp_path / "images/a.nii.gz", channels=(3,))
    image(tmp_path / "labels/a.nii.gz")
    assert detect(tmp_path).channels == ("channel 0", "channel 1", "channel 2")


@pytest.mark.parametrize("layout", BUILD)
def test_a_clean_dataset_has_no_defects_and_hidden_files_are_ignored(tmp_path, layout):
    root = BUILD[layout](tmp_path)
    for folder in [p for p in root.iterdir() if p.is_dir()]:
        (folder / "._a.nii.gz").write_bytes(b"macOS was here")
        (folder / ".DS_Store").touch()
    if layout == "decathlon":
        listed = json.loads((root / "dataset.json").read_text())
        listed["training"].append({"image": "./imagesTr/._a.nii.gz", "label": "./labelsTr/._a.nii.gz"})
        description(root, **listed)
    found = scan(root)
    assert len(found.dataset.cases) == 2
    assert found.defects == ()


@pytest.mark.parametrize("layout", BUILD)
@pytest.mark.parametrize("side", ["image", "label"])
def test_an_image_without_label_and_a_label_without_image_are_told(tmp_path, layout, side):
    root = BUILD[layout](tmp_path, names=("a", "b", "c"))
    for file in [p for p in root.rglob("b*.nii.gz") if (side == "image") == ("label" in p.parent.name)]:
        file.unlink()
    found = scan(root)
    assert [case.id for case in found.dataset.cases] == ["a", "c"]
    (defect,) = found.defects
    assert (defect.case, defect.severity) == ("b", "error")
    if layout == "decathlon":
        assert "listed in dataset.json, but missing" in defect.problem
    else:
        assert defect.problem == {"image": "is an image without label", "label": "is a label without image"}[side]
    assert str(defect.file) in str(defect)


def test_files_that_the_decathlon_list_leaves_out_are_told(tmp_path):
    decathlon(tmp_path)
    image(tmp_path / "imagesTr/c.nii.gz")
    image(tmp_path / "imagesTr/d.nii.gz")
    image(tmp_path / "labelsTr/d.nii.gz")
    assert [(d.case, d.severity) for d in scan(tmp_path).defects] == [("c", "error"), ("d", "warning")]


def test_an_entry_listed_twice_is_told(tmp_path):
    decathlon(tmp_path)
    listed = json.loads((tmp_path / "dataset.json").read_text())
    description(tmp_path, **(listed | {"training": listed["training"] * 2}))
    found = scan(tmp_path)
    assert len(found.dataset.cases) == 2
    assert [d.problem for d in found.defects] == ["is listed twice in dataset.json"] * 2


def test_a_missing_channel_is_told_once_with_what_was_expected(tmp_path):
    nnunet(tmp_path)
    (tmp_path / "imagesTr/a_0000.nii.gz").unlink()
    (defect,) = scan(tmp_path).defects
    assert "expected a_0000.nii.gz a_0001.nii.gz, found a_0001.nii.gz" in defect.problem


@pytest.mark.parametrize("layout", ["nnunet", "folders"])
def test_the_same_id_from_two_suffixes_is_told(tmp_path, layout):
    root = BUILD[layout](tmp_path)
    folder = root / ("labelsTr" if layout == "nnunet" else "labels")
    image(folder / "a.nii")
    (defect,) = scan(root).defects
    assert defect.case == "a"
    assert "has the same id 'a' as" in defect.problem


@pytest.mark.parametrize("layout", BUILD)
def test_a_dataset_without_cases_is_a_layout_still(tmp_path, layout):
    root = BUILD[layout](tmp_path, names=())
    for name in ("imagesTr", "labelsTr") if layout != "folders" else ("images", "labels"):
        (root / name).mkdir()
    assert detect(root).cases == ()


def test_a_folder_that_fits_no_layout_is_refused_with_what_was_sought_and_found(tmp_path):
    (tmp_path / "scans").mkdir()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError) as caught:
        detect(tmp_path)
    for layout in LAYOUTS:
        assert layout.describe in str(caught.value)
    assert "Found notes.txt, scans/." in str(caught.value)


def test_the_folder_above_a_dataset_is_refused_with_the_right_one(tmp_path):
    nnunet(tmp_path / "inner")
    with pytest.raises(DataError, match=r"Did you mean .*inner"):
        detect(tmp_path)


@pytest.mark.parametrize(
    ("build", "changes", "words"),
    [
        (decathlon, {"labels": {"0": "background", "2": "x"}}, "numbers [0, 2], expected 0, 1, 2"),
        (decathlon, {"labels": None}, "`labels` is not a mapping"),
        (decathlon, {"training": ["imagesTr/a.nii.gz"]}, "`training` holds 'imagesTr/a.nii.gz'"),
        (nnunet, {"labels": {"background": 0, "a": 1, "ignore": 2}}, "declares an ignore label"),
        (nnunet, {"labels": {"background": 0, "whole": [1, 2], "core": 2}}, "declares regions"),
        (nnunet, {"labels": {"background": 0, "a": 1, "b": 1}}, "numbers [0, 1, 1]"),
        (nnunet, {"labels": {"background": 0, "a": "one"}}, "must map names to integers"),
        (nnunet, {"file_ending": ".png"}, "`file_ending` is '.png'"),
        (nnunet, {"dataset": {}}, "lists its files in `dataset`"),
    ],
)
def test_a_description_that_contradicts_itself_is_refused(tmp_path, build, changes, words):
    with pytest.raises(DataError) as caught:
        detect(build(tmp_path, **changes))
    assert words in str(caught.value)
    assert str(tmp_path / "dataset.json") in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[1]", "\xff\xfe"])
def test_a_broken_description_is_refused(tmp_path, text):
    (tmp_path / "dataset.json").write_bytes(text.encode("latin1"))
    with pytest.raises(DataError, match=r"dataset\.json: (cannot be read|holds a list)"):
        detect(tmp_path)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="there is no such folder"):
        detect(tmp_path / "no")


def test_masks_of_0_and_255_without_description_are_refused_by_file(tmp_path):
    folders(tmp_path)
    image(tmp_path / "labels/b.nii.gz", (0, 255))
    with pytest.raises(DataError, match=r"b\.nii\.gz: holds label 255.*\[0, 1, 2, 255\]"):
        detect(tmp_path)


def test_masks_that_cannot_be_read_do_not_hide_the_layout(tmp_path):
    folders(tmp_path)
    (tmp_path / "labels/a.nii.gz").write_bytes(b"no mask")
    (tmp_path / "images/a.nii.gz").write_bytes(b"no image")
    assert detect(tmp_path).classes == ("background", "class 1", "class 2")


@pytest.mark.parametrize(("name", "found"), [("a.b.nii.gz", "a.b"), ("a.NII.GZ", "a"), ("a.mhd", "a"), ("a", "a")])
def test_an_id_is_the_name_without_image_suffix(name, found):
    assert case_id(Path("x") / name) == found


def test_single_channel_numbers_are_dropped_only_if_all_files_have_them(tmp_path):
    image(tmp_path / "a_0000.nii.gz")
    image(tmp_path / "b_0000.nii")
    assert [case.id for case in find_images([tmp_path], 1)] == ["a", "b"]
    image(tmp_path / "c.nii")
    assert [case.id for case in find_images([tmp_path], 1)] == ["a_0000", "b_0000", "c"]


def test_channels_of_a_case_are_grouped_in_order(tmp_path):
    for name in ("b_0001", "a_0000", "b_0000", "a_0001"):
        image(tmp_path / f"{name}.nii.gz")
    cases = find_images([tmp_path], 2)
    assert [(c.id, [f.name[:6] for f in c.images]) for c in cases] == [
        ("a", ["a_0000", "a_0001"]),
        ("b", ["b_0000", "b_0001"]),
    ]
    assert all(case.label is None for case in cases)
    files = sorted(tmp_path.iterdir())
    assert find_images([*files, tmp_path], 2) == cases


def test_several_channels_in_one_file_are_one_case_even_if_the_name_ends_in_a_number(tmp_path):
    image(tmp_path / "scan_2020.nii.gz", channels=(2,))
    assert [case.id for case in find_images([tmp_path], 2)] == ["scan_2020"]


def test_images_that_cannot_be_found_are_refused(tmp_path):
    with pytest.raises(DataError, match="no image lies in this folder"):
        find_images([tmp_path], 1)
    with pytest.raises(DataError, match="no such file or folder"):
        find_images([tmp_path / "a.nii"], 1)
    (tmp_path / "a.txt").touch()
    with pytest.raises(DataError, match=r"a\.txt: is no image"):
        find_images([tmp_path / "a.txt"], 1)
    image(tmp_path / "a_0000.nii")
    with pytest.raises(DataError, match="needs the 2 channels a_0000 to a_0001, found a_0000"):
        find_images([tmp_path], 2)
    image(tmp_path / "other/a_0000.nii.gz")
    with pytest.raises(DataError, match="have the same id 'a'"):
        find_images([tmp_path, tmp_path / "other"], 1)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real data of development, ../shared/data, is not here")
@pytest.mark.parametrize(("name", "layout", "cases"), [("hippocampus", "decathlon", 200), ("acdc", "nnunet", 50)])
def test_real_datasets_are_recognised_without_defects(name, layout, cases):
    found = scan(REAL / name)
    assert (found.dataset.layout, len(found.dataset.cases), found.defects) == (layout, cases, ())
