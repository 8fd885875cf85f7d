import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from edgewise.errors import OutputError
from edgewise.report.distributions import cumulative, strip
from edgewise.report.drawing import GRID, RUN_COLOURS
from edgewise.report.figures import convergence, curves, dice_curves, loss_curves
from edgewise.report.sizes import recall_by_size, size_tables
from edgewise.report.words import Metric

HD95 = Metric(name="hd95", title="HD95", unit="mm", better="lower")
DICE = Metric(name="dice", title="Dice", unit="", better="higher")
SVG = "{http://www.w3.org/2000/svg}"


def parsed(svg):
    return ElementTree.fromstring(svg.replace("<svg", f'<svg xmlns="{SVG[1:-1]}" xmlns:xlink="x"', 1))


def luminance(colour):
    channels = np.array([int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)])
    linear = np.where(channels <= 0.03928, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ (0.2126, 0.7152, 0.0722)


def test_every_run_colour_can_be_read_on_white():
    assert all(1.05 / (luminance(colour) + 0.05) >= 4.5 for colour in RUN_COLOURS)


def test_charts_follow_the_colours_of_the_page(make_run):
    records = [make_run("a"), make_run("b", seed=1)]
    for svg in (loss_curves(records), dice_curves(records), strip(records, DICE, 2), cumulative(records, DICE, 2)):
        root = parsed(svg)
        assert root.attrib["role"] == "img"
        assert root.attrib["aria-label"]
        assert "var(--run-0)" in svg
        assert "var(--run-1)" in svg
        assert "var(--ink)" in svg or "var(--muted)" in svg
        assert RUN_COLOURS[0] not in svg
        assert GRID not in svg
        assert "<style" not in svg, "a style in an inline SVG holds for the whole page"


def test_ids_of_different_charts_never_collide(make_study):
    records = make_study(methods=("dice_ce",), seeds=3, cases=6)
    charts = [loss_curves(records), dice_curves(records), convergence(records)]
    charts += [
        draw(records, metric, label) for draw in (strip, cumulative) for metric in (DICE, HD95) for label in (1, 2)
    ]
    charts += [recall_by_size(records, table) for table in size_tables(records)]
    assert all(charts)
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
    assert "∞" in strip([record], HD95, 2)
    assert "∞" not in strip([record], HD95, 1)


def test_there_is_no_chart_without_values(make_run):
    record = make_run()
    nsd = Metric(name="nsd", title="NSD", unit="", better="higher")
    for draw in (strip, cumulative):
        assert not draw([record], nsd, 1)
        assert not draw([record], DICE, 7)
    assert not size_tables([record])


def test_marks_of_all_cases_are_there_and_say_their_style_once(make_study):
    records = make_study(methods=("dice_ce", "boundary"), seeds=1, cases=20)
    root = parsed(strip(records, DICE, 1))
    marks = [element for element in root.iter(f"{SVG}use") if "style" not in element.attrib]
    assert len(marks) == 2 * 20


def test_convergence_is_drawn_from_three_runs_of_one_method_on(make_study):
    records = make_study(methods=("dice_ce", "boundary"), seeds=3, cases=3)
    assert not convergence(records[:2] + records[3:5])
    svg = convergence(records[:4])
    assert "var(--run-0)" in svg
    assert "var(--run-1)" not in svg, "one run of a method is no distribution"


def test_seeds_of_one_method_share_a_band(make_study):
    records = make_study(methods=("dice_ce",), seeds=2, cases=3)
    assert "FillBetween" in dice_curves(records)
    assert "FillBetween" not in dice_curves(records[:1])


def test_names_with_dollar_signs_are_no_formulas(make_run):
    records = [make_run("a$\\frac$"), make_run("_$b", seed=1)]
    assert "a$\\frac$" in strip(records, DICE, 1)


def test_what_a_chart_is_called_is_text(make_run):
    evil = Metric(name="dice", title='"><img src=x onerror=alert(1)>', unit="<b>", better="higher")
    for draw in (strip, cumulative):
        root = parsed(draw([make_run(f"<i>{draw.__name__}")], evil, 1))
        assert evil.title in root.attrib["aria-label"]
        assert not [element for element in root.iter() if element.tag.endswith(("img", "}b", "}i"))]


def test_curves_are_written_as_a_png(make_run, tmp_path):
    curves([make_run("a$x$"), make_run("b", seed=2)], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OutputError):
        curves([make_run("c")], tmp_path / "folder.png")
