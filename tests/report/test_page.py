import re
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from types import SimpleNamespace

import pytest
from made_up_verdicts import verdict
from structure import page, parsed

from edgewise.errors import DataError, OutputError
from edgewise.report import page as page_module
from edgewise.report.drawing import RUN_COLOURS
from edgewise.report.page import write
from edgewise.report.words import Metric
from edgewise.run.report import report

HD95 = Metric(name="hd95", title="HD95", unit="mm", better="lower")
TEMPLATE = Path(page_module.__file__).parent / "template"


@pytest.fixture
def two_runs(make_run, loader):
    return [
        make_run("dice_ce", load=loader(0.0, (32, 32, 16), (9.0, 9.0, 12.5)), cases=16),
        make_run("region_wise", load=loader(0.1, (32, 32, 16), (9.0, 9.0, 12.5)), cases=16, skill=0.05, seed=1),
    ]


def test_the_page_holds_everything_in_the_order_of_the_questions(two_runs, tmp_path):
    structure = page(two_runs, tmp_path / "report.html", [verdict()])
    order = re.findall(r"\w+", "verdict runs metrics curves cases pictures failures plan definitions repeat")
    assert [name for name in structure.ids if name in order] == order
    assert len(structure.ids) == len(set(structure.ids))
    for expected in (
        "dice_ce against region_wise",
        "region_wise beats dice_ce on Dice (tumour) by 0.031 [0.010, 0.052], p = 0.004, 20 cases.",
        "16 train, 16 validation",
        "residual_unet (widths 16, 32, 64)",
        "600 steps, 1 min 06 s",
        "Xeon Platinum 8370C, 2 cores",
        "tumour was predicted where there is none in 1 of 16 cases (phantom_002)",
        "median of the training cases",
        "maximum of the two directed 95th percentiles",
        "edgewise fit dice_ce.yaml --data …/phantoms --out runs/dice_ce",
        "None: every case that was tried has a result.",
        "Worst case",
    ):
        assert expected in structure.text, expected


def test_the_page_needs_nothing_from_elsewhere(two_runs, tmp_path):
    structure = page(two_runs, tmp_path / "report.html", [verdict()])
    assert all(link.startswith(("#", "data:")) for link in structure.links)
    text = (tmp_path / "report.html").read_text()
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_every_picture_says_what_it_shows(two_runs, tmp_path):
    structure = page(two_runs, tmp_path / "report.html")
    pictures = [given for tag, given in structure.tags if tag == "svg" and given.get("role") == "img"]
    assert len(pictures) >= 2 + 3 * 2 * 2
    assert all(given["aria-label"] for given in pictures)
    headings = [int(tag[1]) for tag, _ in structure.tags if re.fullmatch(r"h[1-6]", tag)]
    assert headings.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))


def fail(case):
    raise DataError(f"{case} cannot be read")


def test_a_case_without_a_picture_is_listed_and_the_rest_is_there(two_runs, tmp_path):
    broken = replace(two_runs[1], load=fail)
    structure = page([two_runs[0], broken], tmp_path / "report.html")
    assert structure.text.count("no picture, phantom_") == 3
    assert "Worst case" in structure.text


def test_arrays_that_do_not_fit_each_other_are_listed(two_runs, loader, tmp_path):
    def crooked(case):
        good = loader(0.0, (32, 32, 16), (9.0, 9.0, 12.5))(case)
        return SimpleNamespace(image=good.image, reference=good.reference, prediction=good.prediction[1:])

    structure = page([replace(two_runs[0], load=crooked)], tmp_path / "report.html")
    assert "have different shapes" in structure.text


def test_the_page_of_a_study_holds_every_metric_and_every_part(make_study, tmp_path):
    records = make_study()
    path = report([record.folder for record in records], tmp_path / "report.html")
    structure = parsed(path)
    order = re.findall(r"\w+", "verdict runs metrics sizes curves cases failures plan definitions repeat")
    assert [name for name in structure.ids if name in order] == order
    assert len(structure.ids) == len(set(structure.ids))
    for expected in (
        "3 methods, 6 runs",
        "region_wise is better than ",
        "The p-values are corrected for the 18 comparisons (Holm).",
        "All comparisons in one picture",
        "Would the order survive other patients?",
        "tumour was missed altogether in 1 of 30 cases (case_004)",
        "All 30 metrics (means)",
        "Lesions found: tumour",
        "case_009: the image …/study/imagesTr/case_009_0000.nii.gz cannot be read",
        "All values (360 rows)",
    ):
        assert expected in structure.text, expected
    for facts in records[0].definitions.values():
        assert str(facts["definition"]).split("; ")[0].rstrip(".") in structure.text
    assert path.stat().st_size < 1_500_000


def test_the_page_can_be_walked_without_eyes_or_a_mouse(two_runs, tmp_path):
    structure = page(two_runs, tmp_path / "report.html", [verdict()])
    tags = [tag for tag, _ in structure.tags]
    for landmark in ("header", "nav", "main", "footer"):
        assert landmark in tags
    assert tags.count("main") == tags.count("h1") == 1
    first_link = next(given for tag, given in structure.tags if tag == "a")
    assert first_link["href"].lstrip("#") in structure.ids
    for link in structure.links:
        assert not link.startswith("#") or link[1:] in structure.ids
    for _, given in structure.tags:
        if "scroll" in given.get("class", "").split() and "tabindex" in given:
            assert given["role"] == "region"
            assert given["aria-label"]
    for scope in (given.get("scope") for tag, given in structure.tags if tag == "th"):
        assert scope in {"col", "row", "rowgroup"}


def test_the_colours_of_both_schemes_can_be_read():
    style = (TEMPLATE / "style.css").read_text()
    schemes = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    assert len(schemes) == 2
    for scheme in schemes:
        colours = dict(re.findall(r"--([\w-]+): (#\w+)", scheme))
        for ink, ground in product(("ink", "muted", "accent", "warn"), ("paper", "card")):
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
        for soft in ("warn", "accent"):
            assert contrast(colours[soft], colours[f"{soft}-soft"]) >= 4.5, soft
        assert contrast(colours["ink"], colours["accent-soft"]) >= 4.5
        assert contrast(colours["ink"], colours["code"]) >= 4.5
        for run in range(6):
            assert contrast(colours[f"run-{run}"], colours["card"]) >= 4.5, run
    light = dict(re.findall(r"--(run-\d): (#\w+)", schemes[0]))
    assert tuple(light.values()) == RUN_COLOURS, "charts are drawn in these, and the page puts its own in their place"


def contrast(one, other):
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    channels = [int(digits[start : start + 2], 16) / 255 for start in (0, 2, 4)]
    linear = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return sum(value * weight for value, weight in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))


def test_runs_of_one_name_are_told_apart_by_their_folders(make_run, tmp_path):
    runs = [replace(make_run(name), name="same") for name in ("a", "b")]
    assert "same (a) against same (b)" in page(runs, tmp_path / "report.html").text


def test_the_page_is_refused_without_runs_and_where_it_cannot_be_written(make_run, tmp_path):
    with pytest.raises(ValueError, match="at least one run"):
        write([], tmp_path / "report.html")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(OutputError):
        write([make_run()], tmp_path / "folder.html")
