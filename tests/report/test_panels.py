import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from edgewise.report import panels

SVG = "{http://www.w3.org/2000/svg}"


def parsed(svg):
    return ElementTree.fromstring(svg.replace("<svg", f'<svg xmlns="{SVG[1:-1]}"', 1))


def drawn(address):
    kind, data = address.split(",")
    assert kind == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("L"))


def polygons(path):
    """Corners of every closed line of a path made of `M x y l dx dy ... z`, in half pixels."""
    for part in filter(None, path.split("z")):
        start, steps = part.removeprefix("M").split("l")
        numbers = [list(map(int, re.findall(r"-?\d+", text))) for text in (start, steps)]
        yield np.cumsum(np.vstack([numbers[0], np.reshape(numbers[1], (-1, 2))]), axis=0)


def rasterised(path, shape):
    """Pixels whose centres lie within the lines (even-odd), by counting the lines a ray to the right crosses."""
    inside = np.zeros(shape, bool)
    rows, columns = np.indices(shape) * 2 + 1
    for corners in polygons(path):
        for (x, y), (to_x, to_y) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            if y != to_y:
                crossed = (rows >= min(y, to_y)) & (rows < max(y, to_y))
                inside ^= crossed & (columns < x + (rows - y) * (to_x - x) / (to_y - y))
    return inside


@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 3)))
def test_outlines_filled_in_again_are_the_labels(labels):
    paths = panels.outlines(labels)
    assert set(paths) == set(np.unique(labels)) - {0}
    for label, path in paths.items():
        assert np.array_equal(rasterised(path, labels.shape), labels == label)


@given(arrays.arrays(bool, (7, 6, 5)), st.integers(0, 2))
def test_a_crop_holds_all_that_is_seen(seen, axis):
    plane = panels.plane_of(seen, axis, (1.0, 2.0, 3.0))
    assert sum(np.count_nonzero(plane.cut(seen, index)) for index in range(seen.shape[axis])) == np.count_nonzero(seen)


def test_a_crop_is_square_in_mm_with_a_margin_of_a_third():
    seen = np.zeros((100, 200, 9), bool)
    seen[40:60, 100:112, 3:6] = True
    plane = panels.plane_of(seen, 2, (2.0, 1.0, 5.0))
    width, height = plane.size
    assert width == pytest.approx(20 * 2.0 * 5 / 3, abs=2)
    assert height == pytest.approx(width, abs=2)


def test_nothing_to_see_is_not_cropped():
    plane = panels.plane_of(np.zeros((30, 20, 10), bool), 0, (1.0, 1.0, 1.0))
    assert plane.pixels == (20, 10)
    assert plane.size == (20.0, 10.0)


@pytest.mark.parametrize(
    ("axis", "left", "top"),
    [(2, "x", "y"), (1, "x", "z"), (0, "y", "z")],
    ids=["axial", "coronal", "sagittal"],
)
def test_the_right_and_the_front_are_on_the_left_and_the_front_and_the_head_at_the_top(axis, left, top):
    volume = sum(10**place * grid for place, grid in enumerate(np.indices((4, 5, 6))))
    digits = dict(zip("xyz", (volume % 10, volume // 10 % 10, volume // 100), strict=True))
    plane = panels.plane_of(np.zeros(volume.shape, bool), axis, (1.0, 1.0, 1.0))
    for name, direction in ((left, 1), (top, 0)):
        steps = np.diff(plane.cut(digits[name], 1), axis=direction)
        assert (steps == -1).all()
    assert panels.EDGES[axis] == tuple({"x": "R", "y": "A", "z": "S"}[name] for name in (left, top))


def test_ct_is_shown_in_a_soft_tissue_window_and_other_images_by_percentiles():
    noise = np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)
    assert panels.window(noise * 400 - 300) == panels.SOFT_TISSUE
    low, high = panels.window(noise)
    assert -4 < low < -1 < 1 < high < 4
    assert panels.window(np.full((4, 4), 3.0)) == (2.5, 3.5)
    assert panels.window(np.full((4, 4), np.nan)) == (-0.5, 0.5)
    noise[0] = np.nan
    assert np.isfinite(panels.window(noise)).all()


def test_a_picture_shows_the_values_between_black_and_white():
    values = np.tile(np.linspace(-1.0, 2.0, 30), (20, 1))
    grey = drawn(panels.picture(values, (0.0, 1.0)))
    assert grey.shape == values.shape
    assert np.abs(grey - np.clip(values, 0, 1) * 255).max() < 16


@settings(max_examples=10)
@given(st.integers(1, 900), st.integers(1, 900))
def test_a_picture_is_never_larger_than_allowed(height, width):
    grey = drawn(panels.picture(np.zeros((height, width)), (0.0, 1.0)))
    assert max(grey.shape) == min(max(height, width), panels.LARGEST)


def test_values_that_are_no_numbers_are_black():
    assert drawn(panels.picture(np.full((8, 8), np.nan), (0.0, 1.0))).max() < 8


def test_a_panel_has_the_size_of_its_slice_and_outlines_where_the_labels_are():
    labels = np.zeros((12, 10, 4), np.uint8)
    labels[2:5, 3:5, 2] = 1
    plane = panels.plane_of(labels > 0, 2, (2.0, 1.0, 8.0))
    paths = panels.outlines(plane.cut(labels, 2))
    root = parsed(panels.panel(plane, "data:,", [("reference", paths)], 'a "title" <b>'))
    assert root.attrib["aria-label"] == 'a "title" <b>'
    width, height = (float(value) for value in root.attrib["viewBox"].split()[2:])
    assert (width, height) == plane.size
    (group,) = [element for element in root.iter(f"{SVG}g") if "transform" in element.attrib]
    scales = [float(number) for number in re.findall(r"[\d.]+", group.attrib["transform"])]
    (path,) = [element for element in group if "reference" in element.attrib["class"]]
    ((*corners,),) = polygons(path.attrib["d"])
    low, high = np.min(corners, 0) * scales, np.max(corners, 0) * scales
    first, second = plane.crop
    assert low == pytest.approx([2.0 * (first.stop - 5), second.stop - 5])
    assert high == pytest.approx([2.0 * (first.stop - 2), second.stop - 3])
