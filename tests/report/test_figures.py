import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from edgewise.errors import OutputError
from edgewise.report.figures import GRID, RUN_COLOURS, curves, dice_curves, loss_curves, strip
from edgewise.report.panels import panel, views
from edgewise.report.records import PanelCase
from edgewise.report.words import Metric

HD95 = Metric(name="hd95", title="HD95", unit="mm", higher=False)
DICE = Metric(name="dice", title="Dice", unit="", higher=True)
SVG = "{http://www.w3.org/2000/svg}"


def parsed(svg):
    return ElementTree.fromstring(svg.replace("<svg", f'<svg xmlns="{SVG[1:-1]}" xmlns:xlink="x"', 1))


def luminance(colour):
    channels = np.array([int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)])
    linear = np.where(channels <= 0.03928, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ (0.2126, 0.7152, 0.0722)


def blocks(spacing=(1.0, 1.0, 4.0)):
    shape = (40, 40, 10)
    reference = np.zeros(shape, np.uint8)
    reference[8:20, 10:24, 3:6] = 1
    reference[12:14, 14:16, 4] = 2
    prediction = np.roll(reference, 2, axis=0)
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return PanelCase(image=image, reference=reference, prediction=prediction, spacing=spacing)


def test_every_run_colour_can_be_read_on_white():
    assert all(1.05 / (luminance(colour) + 0.05) >= 4.5 for colour in RUN_COLOURS)


def test_charts_follow_the_colours_of_the_page(make_run):
    records = [make_run("a"), make_run("b", seed=1)]
    for svg in (loss_curves(records), dice_curves(records), strip(records, DICE, 2, [0.5, math.nan])):
        root = parsed(svg)
        assert root.attrib["role"] == "img"
        assert root.attrib["aria-label"]
        assert "var(--run-0)" in svg
        assert "var(--run-1)" in svg
        assert "var(--ink)" in svg or "var(--muted)" in svg
        assert RUN_COLOURS[0] not in svg
        assert GRID not in svg


def test_ids_of_different_charts_never_collide(make_run):
    record = make_run()
    charts = [loss_curves([record]), dice_curves([record])]
    charts += [strip([record], metric, label, [0.5]) for metric in (DICE, HD95) for label in (1, 2)]
    ids = [name for chart in charts for name in set(re.findall(r'\bid="([^"]+)"', chart))]
    assert len(ids) == len(set(ids))
    for chart in charts:
        used = set(re.findall(r"url\(#([^)]+)\)", chart)) | set(re.findall(r'href="#([^"]+)"', chart))
        assert used <= set(re.findall(r'\bid="([^"]+)"', chart))


def test_equal_runs_give_equal_charts(make_run):
    record = make_run()
    assert loss_curves([record]) == loss_curves([record])


def test_infinite_distances_are_drawn_and_named(make_run):
    record = make_run()
    assert any(math.isinf(score.values["hd95"]) for score in record.scores)
    assert "∞" in strip([record], HD95, 2, [12.0])
    assert "∞" not in strip([record], HD95, 1, [12.0])


def test_there_is_no_chart_without_values(make_run):
    record = make_run()
    assert not strip([record], Metric(name="nsd", title="NSD", unit="", higher=True), 1, [math.nan])
    assert not strip([record], DICE, 7, [math.nan])


def test_names_with_dollar_signs_are_no_formulas(make_run):
    records = [make_run("a$\\frac$"), make_run("_$b", seed=1)]
    assert "a$\\frac$" in strip(records, DICE, 1, [0.5, 0.5])


def test_curves_are_written_as_a_png(make_run, tmp_path):
    curves([make_run("a$x$"), make_run("b", seed=2)], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OutputError):
        curves([make_run("c")], tmp_path / "folder.png")


def test_thick_slices_are_shown_in_their_plane_where_every_class_is():
    (view,) = views([blocks()])
    assert (view.axis, view.index) == (2, 4)
    assert view.title == "axial, slice 4"
    reference = blocks().reference
    assert np.count_nonzero(reference[..., 4][view.crop]) == np.count_nonzero(reference[..., 4])


def test_near_isotropic_volumes_are_shown_in_three_planes():
    assert [view.axis for view in views([blocks(spacing=(1.0, 1.0, 1.2))])] == [2, 1, 0]


def test_flat_volumes_are_shown_in_their_only_slice():
    whole = blocks()
    image, reference, prediction = (a[..., 4:5] for a in (whole.image, whole.reference, whole.prediction))
    case = PanelCase(image=image, reference=reference, prediction=prediction, spacing=(1.0, 1.0, 1.0))
    (view,) = views([case])
    assert (view.axis, view.index) == (2, 0)
    assert panel(case, view, "flat")


def test_a_case_without_foreground_is_shown_in_the_middle():
    case = blocks()
    bare = np.zeros_like(case.reference)
    empty = PanelCase(image=case.image, reference=bare, prediction=bare, spacing=case.spacing)
    (view,) = views([empty])
    assert view.index == 5
    assert 'class="reference' not in panel(empty, view, "empty")


def test_outlines_lie_where_the_labels_are():
    shape = (12, 10, 4)
    labels = np.zeros(shape, np.uint8)
    labels[2:5, 3:5, 2] = 1
    image = np.zeros(shape, np.float32)
    case = PanelCase(image=image, reference=labels, prediction=labels * 0, spacing=(2.0, 1.0, 8.0))
    (view,) = views([case])
    root = parsed(panel(case, view, "case"))
    (path,) = [element for element in root.iter(f"{SVG}path") if "reference" in element.attrib["class"]]
    points = np.array(re.findall(r"([\d.]+) ([\d.]+)", path.attrib["d"]), float)
    first, second = view.crop
    assert (points[:, 0].min(), points[:, 0].max()) == (first.stop - 5, first.stop - 2)
    assert (points[:, 1].min(), points[:, 1].max()) == (second.stop - 5, second.stop - 3)
    width, height = (float(value) for value in root.attrib["viewBox"].split()[2:])
    assert width == 2 * (first.stop - first.start)
    assert height == second.stop - second.start


def test_ct_is_shown_in_a_soft_tissue_window_and_other_images_by_percentiles(loader):
    from edgewise.report.panels import SOFT_TISSUE, _window

    case = loader()("3")
    (view,) = views([case])
    assert _window(case.image, view) == SOFT_TISSUE
    low, high = _window(blocks().image, views([blocks()])[0])
    assert -4 < low < -1 < 1 < high < 4
    flat = np.zeros((40, 40, 10), np.float32)
    assert _window(flat, views([blocks()])[0]) == (-0.5, 0.5)
