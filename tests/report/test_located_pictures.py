"""Pictures of what a two-stage run located, and the part of the page that shows them."""

import base64
import io
import json
import re
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from located_runs import SHAPE, heat_of, load, located_run, row
from PIL import Image
from structure import page, parsed

from edgewise.data.phantoms import write_dataset
from edgewise.errors import DataError
from edgewise.metrics.located_table import located_to_csv
from edgewise.report import panels
from edgewise.report.located_pictures import located
from edgewise.run.report import report

EVIL = "</script><img src=x onerror=alert(1)>"


def corners(path):
    """The corners of the lines of a path that is made of `M x y l dx dy ... z`, or of `M x y H V H z`."""
    for part in filter(None, path.split("z")):
        if "H" in part:
            left, top, right, bottom, _ = map(float, re.findall(r"-?[\d.]+", part))
            yield [left, top], [right, bottom]
        else:
            start, steps = part.removeprefix("M").split("l")
            numbers = [list(map(int, re.findall(r"-?\d+", text))) for text in (start, steps)]
            yield np.cumsum(np.vstack([numbers[0], np.reshape(numbers[1], (-1, 2))]), axis=0)


def bounds(path):
    points = np.concatenate([np.asarray(each, float) for each in corners(path)])
    return [*points.min(0), *points.max(0)]


@given(arrays.arrays(bool, (6, 5, 4)).filter(np.any), st.integers(0, 2), arrays.arrays(bool, (6, 5, 4)))
def test_the_box_of_a_mask_touches_its_outline_on_all_sides(mask, axis, seen):
    where = np.argwhere(mask)
    box = [*(where.min(0) - 0.5).tolist(), *(where.max(0) + 0.5).tolist()]
    plane = panels.plane_of(seen | mask, axis, (1.0, 2.0, 3.0))
    flat = plane.cut(mask.any(axis, keepdims=True).repeat(mask.shape[axis], axis).astype(np.uint8), 0)
    assert bounds(plane.frame(box)) == bounds(panels.outlines(flat)[1])


def warm(address):
    data = base64.b64decode(address.split(",")[1])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"), float)


def test_a_heatmap_is_clear_at_0_and_the_more_opaque_the_more_there_is():
    values = np.tile(np.linspace(0, 1, 32), (16, 1))
    opacity = warm(panels.warmth(values))[..., 3]
    assert opacity[:, 0].max() == 0
    assert (np.diff(opacity, axis=1) >= 0).all()
    assert 100 < opacity[:, -1].min() <= opacity[:, -1].max() < 200, "the image can be seen through it"
    assert warm(panels.warmth(np.full((8, 8), np.nan)))[..., 3].max() == 0
    assert warm(panels.warmth(np.zeros((900, 30)))).shape[0] == panels.LARGEST


def lines_of(svg):
    return dict(
        re.findall(r'<path class="((?:reference|prediction) box|roi|reference|prediction) [^>]* d="([^"]*)"', svg)
    )


@pytest.mark.parametrize("dims", [2, 3])
def test_a_panel_has_heat_and_boxes_and_masks_where_they_are(make_run, dims):
    record = located_run(make_run, dims=dims)
    (shown,), failed = located([record])
    assert not failed
    assert [panel.title for panel in shown.panels] == ["Worst", "Median", "Best"]
    for panel in shown.panels:
        assert panel.svg.count('class="heat"') == 1
        assert "axial slice" in panel.where
        assert panel.where in panel.svg
        assert panel.remark in panel.svg
    found = lines_of(shown.panels[2].svg)
    assert set(found) == {"reference", "prediction", "reference box", "prediction box", "roi"}
    if dims == 2:
        assert bounds(found["reference box"]) == bounds(found["reference"])
    low, high = np.split(np.array(bounds(found["roi"])) - bounds(found["prediction box"]), 2)
    assert (low.tolist(), high.tolist()) == ([-6, -6], [6, 6]), "3 voxels on each side, in half pixels"


def test_a_missed_object_is_shown_without_a_region(make_run):
    record = located_run(make_run)
    (shown,), _ = located([record])
    worst = shown.panels[0]
    assert worst.remark == "missed; the heatmap reaches 70 % in its box"
    found = lines_of(worst.svg)
    assert found["reference box"]
    assert not found["roi"] + found["prediction box"]


def test_a_run_of_another_method_has_no_part(make_run, tmp_path):
    record = make_run("unet", load=load)
    assert located([record]) == ([], [])
    structure = page([record], tmp_path / "report.html")
    assert "localisation" not in structure.ids
    assert "Mean IoU of the boxes" not in structure.text


def test_the_page_shows_numbers_lists_pictures_and_definitions(make_run, tmp_path):
    runs = [
        located_run(make_run, name="lsnet"),
        make_run("unet", load=load),
        located_run(make_run, name="lsnet_3d", dims=3),
    ]
    structure = page(runs, tmp_path / "report.html")
    assert len(structure.ids) == len(set(structure.ids))
    assert "#localisation" in structure.links
    for expected in (
        "Recall at IoU 0.5",
        "Worst, median and best located object",
        "a network that looks at slices finds the objects of each slice",
        "These runs count different objects in the same cases: lsnet and lsnet_3d.",
        "Missed (",
        "Less than 95 % inside the regions (",
        "in localisation.csv",
        "Mean IoU of the boxes",
        "what lies outside cannot be segmented",
    ):
        assert expected in structure.text, expected
    pictures = [given for tag, given in structure.tags if tag == "image" and given.get("class") == "heat"]
    assert len(pictures) == 6


def gone(case):
    raise DataError(f"the image of case {case} is not where it was, in /home/anna/scans/{case}.nii.gz")


def test_images_that_are_gone_are_told_and_the_numbers_are_there(make_run, tmp_path):
    record = replace(located_run(make_run), load=gone)
    structure = page([record], tmp_path / "report.html")
    assert "No picture could be drawn: the images or predictions are no longer where they were" in structure.text
    assert "phantom_001: no picture of what was located, the image of case phantom_001" in structure.text
    assert "anna" not in structure.text
    assert "Missed (" in structure.text
    assert "No picture could be drawn." in page([replace(record, load=None)], tmp_path / "bare.html").text


def unreadable(case):
    raise DataError(f"{case} cannot be read")


@pytest.mark.parametrize(
    ("heat", "said"),
    [
        (lambda _: np.zeros((0, 0, 0), np.float32), "without a heatmap"),
        (lambda case: heat_of(case)[1:], "its heatmap has another grid"),
        (unreadable, "its heatmap cannot be read"),
    ],
)
def test_a_panel_without_a_heatmap_says_so(make_run, heat, said):
    (shown,), failed = located([replace(located_run(make_run), heat=heat)])
    assert not failed
    assert len(shown.panels) == 3
    for panel in shown.panels:
        assert panel.remark.endswith(said)
        assert 'class="heat"' not in panel.svg


def test_names_are_text_and_wild_boxes_no_harm(make_run, tmp_path):
    record = located_run(make_run)
    far = (-1e300, -9e9, 1e17, 1e300, -8e9, 1e18)
    rows = [
        replace(row(case="phantom_001", kind=EVIL, index=index), object=far, box=far, roi=box)
        for index in (-1, 2)
        for box in (far, far[::-1])
    ]
    evil = replace(row(case=EVIL), kind=EVIL)
    (record.folder / "localisation.csv").write_text(located_to_csv([*rows, evil]))
    record = replace(record, located=(*rows, evil), name=EVIL, dataset={**record.dataset, "classes": ["b", EVIL]})
    structure = page([record], tmp_path / "report.html")
    assert "img" not in [tag for tag, _ in structure.tags]
    assert EVIL in structure.text


def test_image_mask_and_heatmap_are_read_from_the_files_of_a_run(make_run, tmp_path):
    data = tmp_path / "data"
    write_dataset(data, 3, shape=SHAPE, spacing=(6.0, 6.0, 10.0))
    folder = located_run(make_run).folder
    told = json.loads((folder / "dataset.json").read_text()) | {"root": str(data)}
    (folder / "dataset.json").write_text(json.dumps(told))
    for name in ("predictions", "localisation"):
        (folder / name).mkdir()
    for mask in sorted((data / "labelsTr").iterdir()):
        (folder / "predictions" / mask.name).write_bytes(mask.read_bytes())
        image = nibabel.load(mask)
        heat = (np.asanyarray(image.dataobj) > 0).astype(np.uint8) * 100
        nibabel.save(nibabel.Nifti1Image(heat, image.affine), folder / "localisation" / mask.name)
    structure = parsed(report([folder], tmp_path / "report.html"))
    pictures = [given["href"] for tag, given in structure.tags if given.get("class") == "heat"]
    assert len(pictures) == 3
    assert max(warm(each)[..., 3].max() for each in pictures) == pytest.approx(255 * panels.OPAQUE, abs=2)
    for each in (folder / "localisation").iterdir():
        each.unlink()
    assert parsed(report([folder], tmp_path / "report.html")).text.count("; without a heatmap") == 3
