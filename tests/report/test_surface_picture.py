import base64
import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgewise.report import surface_picture
from edgewise.report.error_surface import surface_error
from edgewise.report.surface_picture import FINER, MISSED, RAMP, SIDE, VIEWERS, Scale

ONES = (1.0, 1.0, 1.0)


def block(start, stop, shape=(30, 30, 30)):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(first, last) for first, last in zip(start, stop, strict=True))] = True
    return mask


def pictured(prediction, reference):
    """The first view before it is made smaller: (y, x, 3)."""
    surface = surface_error(prediction, reference, ONES)
    expected = surface_error(reference, reference, ONES)
    frame = surface_picture.scale([surface], expected, ONES)
    return surface_picture._render(surface, expected, frame, VIEWERS[0][1]), frame


def hue(pixel):
    return np.asarray(pixel, float) / max(np.max(pixel), 1)


def test_a_perfect_surface_has_the_first_colour_everywhere():
    mask = block((5, 5, 5), (25, 25, 25))
    image, frame = pictured(mask, mask)
    drawn = image.reshape(-1, 3)[image.reshape(-1, 3).any(1)]
    assert frame.top == 2.0
    assert not frame.clipped
    assert np.abs(drawn / drawn.max(1, keepdims=True) - hue(RAMP[0])).max() < 0.03


def test_a_surface_far_away_has_the_last_colours_and_the_missed_reference_is_grey():
    image, _ = pictured(block((20, 20, 20), (26, 26, 26)), block((2, 2, 2), (10, 10, 10)))
    pixels = image.reshape(-1, 3)[image.reshape(-1, 3).max(1) > 40]
    shades = pixels / pixels.max(1, keepdims=True)
    last = shades[:, 1] < 0.5
    grey = np.abs(shades - hue(MISSED)).max(1) < 0.05
    assert min(hue(RAMP[0])[1], hue(MISSED)[1]) > 0.5
    assert last.sum() > 1000
    assert grey.sum() > 1000
    assert (last | grey).mean() > 0.9


def test_what_is_in_front_hides_what_is_behind():
    front, behind = block((4, 18, 18), (12, 26, 26)), block((20, 4, 4), (28, 12, 12))
    both = front | behind
    surface = surface_error(both, front, ONES)
    toward = surface_picture._axes(VIEWERS[0][1])
    place = toward[:, 2]
    assert place @ (8, 22, 22) > place @ (24, 8, 8)
    frame = Scale(top=1.0, clipped=True, centre=(15.0, 15.0, 15.0), reach=25.0)
    face, light, distance = surface_picture._visible(surface, frame, toward)
    seen = surface.distances[face[face >= 0]]
    alone, *_ = surface_picture._visible(surface_error(front, front, ONES), frame, toward)
    assert (surface.distances[face[alone >= 0]] == 0).mean() > 0.99
    assert (seen > 0).any()
    assert light[face >= 0].min() >= 0.29
    assert not light[face < 0].any()
    assert distance[face >= 0] == pytest.approx(seen, abs=surface.distances.max() / 2)  # the mean of its corners
    assert not distance[face < 0].any()


def test_a_surface_has_no_holes():
    mask = block((5, 5, 5), (25, 25, 25))
    surface = surface_error(mask, mask, ONES)
    frame = surface_picture.scale([surface], surface, ONES)
    for _, place in VIEWERS:
        face, *_ = surface_picture._visible(surface, frame, surface_picture._axes(place))
        covered = (face >= 0).reshape(SIDE, FINER, SIDE, FINER).any((1, 3))
        inside = np.logical_and.reduce(
            [np.logical_or.accumulate(covered[:, ::step], axis=1)[:, ::step] for step in (1, -1)]
        )
        assert np.count_nonzero(inside & ~covered) <= inside.sum() * 0.001


def test_every_face_is_turned_to_one_of_the_viewers():
    (_, one), (_, other) = VIEWERS
    assert np.array(one) == pytest.approx(-np.array(other))


@pytest.mark.parametrize(("_", "place"), VIEWERS)
def test_the_axes_of_a_view_are_right_angled_and_the_head_is_up(_, place):
    axes = surface_picture._axes(place)
    assert axes.T @ axes == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1)
    assert axes[2, 1] > 0.8


@given(st.floats(1e-3, 1e4))
def test_the_scale_ends_at_a_round_number_that_is_not_much_larger(value):
    top = surface_picture._round_up(value)
    assert value * (1 - 1e-6) <= top <= value * 1.51
    assert len(f"{top:g}".replace(".", "").strip("0")) <= 2


def test_all_runs_of_a_case_fit_the_frame_and_share_the_scale():
    reference = block((10, 10, 10), (20, 20, 20))
    small, wide = block((12, 12, 12), (18, 18, 18)), block((0, 0, 0), (30, 30, 30))
    surfaces = [surface_error(mask, reference, ONES) for mask in (small, wide)]
    frame = surface_picture.scale(surfaces, surface_error(reference, reference, ONES), ONES)
    assert frame.top >= np.quantile(np.concatenate([surface.distances for surface in surfaces]), 0.95)
    for _, place in VIEWERS:
        for surface in surfaces:
            seen = (surface.vertices - np.array(frame.centre)) @ surface_picture._axes(place)
            assert np.abs(seen[:, :2]).max() < frame.reach


def test_a_picture_has_a_name_a_ruler_and_two_views():
    mask = block((10, 10, 10), (20, 20, 20))
    surface = surface_error(mask, mask, ONES)
    frame = surface_picture.scale([surface], surface, ONES)
    svg = surface_picture.picture(surface, surface, frame, '<b> & "title"')
    assert 'aria-label="&lt;b&gt; &amp; &#34;title&#34;"' in svg
    data = re.search(r"base64,([^\"]+)", svg)[1]
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert image.size == (2 * SIDE, SIDE)
    length, pixels = surface_picture._ruler(frame)
    assert f"{length:g} mm" in svg
    assert pixels / SIDE * 2 * frame.reach == pytest.approx(length)
    assert SIDE / 12 < pixels <= SIDE / 4
    assert len(svg) < 20_000


def test_an_empty_prediction_shows_the_reference_that_was_missed():
    reference = block((10, 10, 10), (20, 20, 20))
    image, _ = pictured(np.zeros_like(reference), reference)
    assert image.any()
    pixels = image.reshape(-1, 3)[image.reshape(-1, 3).max(1) > 40]
    assert np.abs(pixels / pixels.max(1, keepdims=True) - hue(MISSED)).max() < 0.05


def test_the_bar_says_its_unit_and_whether_there_is_more():
    frame = Scale(top=2.5, clipped=True, centre=ONES, reach=10.0)
    assert re.findall(r">([^<]+)</text>", surface_picture.bar(frame)) == ["0", "1.25", "≥ 2.5 mm"]
    whole = Scale(top=2.0, clipped=False, centre=ONES, reach=10.0)
    assert re.findall(r">([^<]+)</text>", surface_picture.bar(whole)) == ["0", "1", "2 mm"]
