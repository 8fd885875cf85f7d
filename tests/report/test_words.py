import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_verdicts import verdict

from edgewise.metrics.presets import named
from edgewise.report.forest import forest
from edgewise.report.words import Metric, duration, headline, metric, shortened, spoken

DICE = Metric(name="dice", title="Dice", unit="", better="higher")
HD95 = Metric(name="hd95", title="HD95", unit="mm", better="lower")
RVD = Metric(name="rvd", title="RVD", unit="", better="zero")
VOLUME = Metric(name="volume", title="Volume", unit="ml", better="neither")


def test_the_better_run_comes_first_whatever_the_direction_of_the_metric():
    lower = verdict(metric="hd95", difference=-1.3, interval=(-2.9, -0.2), p=0.03)
    said = spoken(lower, HD95)
    assert said.plain == "region_wise beats dice_ce on HD95 (tumour) by 1.30 mm [0.20, 2.90], p = 0.03, 20 cases."
    turned = spoken(verdict(first="dice_ce", second="region_wise", difference=-0.031, interval=(-0.052, -0.01)), DICE)
    assert turned.plain == spoken(verdict(), DICE).plain
    assert turned.winner == "region_wise"


def test_signed_errors_win_by_being_closer_to_zero():
    said = spoken(verdict(metric="rvd", difference=-0.08, interval=(-0.1, -0.05)), RVD)
    assert said.plain == (
        "region_wise beats dice_ce on RVD (tumour): closer to 0 by 0.080 [0.050, 0.100], p = 0.004, 20 cases."
    )
    assert said.winner == "region_wise"


def test_nobody_wins_in_what_only_describes():
    for difference, ends, larger in ((3.1, (2.0, 4.0), "region_wise"), (-3.1, (-4.0, -2.0), "dice_ce")):
        said = spoken(verdict(metric="volume", difference=difference, interval=ends), VOLUME)
        assert said.plain.startswith(f"{larger} has a larger Volume (tumour) than ")
        assert "by 3.10 ml [2.00, 4.00]" in said.plain
        assert said.found
        assert not said.winner


def test_no_difference_is_said_to_be_none_found():
    said = spoken(verdict(difference=0.004, interval=(-0.01, 0.018), p=0.41, cases=40), DICE)
    assert said.plain == (
        "On Dice (tumour) no difference was found between region_wise and dice_ce: "
        "0.004 [−0.010, 0.018], p = 0.41, 40 cases."
    )
    assert not said.found
    assert not said.caution
    assert not spoken(verdict(p=math.nan), DICE).found


def test_a_small_sample_is_called_small():
    assert "cannot give p below 0.125" in spoken(verdict(cases=4), DICE).caution
    assert "The sample is small (8 pairs)" in spoken(verdict(cases=8), DICE).caution
    assert not spoken(verdict(cases=10), DICE).caution
    frames = spoken(verdict(cases=12, groups=6), DICE)
    assert "The sample is small (6 pairs)" in frames.caution
    assert "12 cases of 6 patients." in frames.text
    lonely = spoken(verdict(cases=1, interval=(math.nan, math.nan), p=1.0), DICE)
    assert "cannot give p below 1." in lonely.caution
    assert "(no interval)" in lonely.text


def test_the_headline_tells_two_runs_in_full():
    found = spoken(verdict(metric="hd95", difference=-1.4, interval=(-2.3, -0.6), p=0.003, cases=40), HD95)
    none = spoken(verdict(p=0.5, cases=40), DICE)
    assert headline([found, none]).striptags() == (
        "region_wise beats dice_ce on HD95 (tumour) by 1.40 mm [0.60, 2.30], p = 0.003, 40 cases; "
        "on Dice (tumour) no difference was found."
    )
    again = spoken(verdict(difference=0.1, interval=(0.05, 0.15)), DICE)
    assert (
        headline([found, again]).striptags().endswith("40 cases; on Dice (tumour) by 0.100 [0.050, 0.150], p = 0.004.")
    )
    against = spoken(verdict(difference=-0.1, interval=(-0.15, -0.05)), DICE)
    assert "cases; dice_ce beats region_wise on Dice" in headline([found, against]).striptags()
    assert headline([none]).striptags() == "No difference between the runs was found in 1 comparison."
    assert "The sample is small" in headline([spoken(verdict(cases=7), DICE)])
    assert not headline([])


def test_the_headline_counts_where_there_are_several_pairs():
    none = spoken(verdict(p=0.5), DICE)
    other = spoken(verdict(second="boundary"), DICE)
    assert headline([spoken(verdict(), DICE), none, other]).striptags() == (
        "region_wise is better than dice_ce in 1 of 2 comparisons, than boundary in 1 of 1; "
        "no difference was found in the other one."
    )
    volume = spoken(verdict(metric="volume"), VOLUME)
    assert headline([volume, spoken(verdict(second="boundary", p=0.5), DICE)]).striptags() == (
        "no difference was found in 1 of 2."
    )


def test_what_runs_are_called_is_escaped_in_every_sentence():
    evil = "<b onclick=x>&amp;"
    said = spoken(
        verdict(first=evil, second="b", class_name=evil), Metric(name="x", title=evil, unit=evil, better="zero")
    )
    for text in (said.text, headline([said]), said.subject):
        assert "<b onclick" not in text
    assert evil in said.plain


@pytest.mark.parametrize(
    ("better", "difference", "first_is_better"),
    [
        ("higher", 0.2, True),
        ("higher", -0.2, False),
        ("lower", 0.2, False),
        ("lower", -0.2, True),
        ("zero", -0.2, True),
    ],
)
def test_the_forest_grows_to_the_side_of_the_better_run(better, difference, first_is_better):
    measured = Metric(name="m", title="M", unit="", better=better)
    ends = tuple(sorted((0.5 * difference, 1.5 * difference)))
    judged = verdict(metric="m", difference=difference, interval=ends)
    (tree,) = forest([judged], [measured])
    (branch,) = tree.branches
    winner = "region_wise" if first_is_better else "dice_ce"
    assert spoken(judged, measured).winner == branch.first == winner
    assert branch.places[0] > tree.zero
    assert branch.winner == 0
    assert branch.tally == ("15 / 0 / 5" if first_is_better else "5 / 0 / 15")


def test_a_pair_is_turned_as_a_whole():
    won, lost = verdict(), verdict(class_index=1, difference=-0.02, interval=(-0.03, -0.01))
    other = verdict(class_index=3, p=0.5, difference=-0.02)
    (tree,) = forest([won, lost, other], [DICE] * 3)
    assert [branch.winner for branch in tree.branches] == [1, 0, -1]
    assert {branch.first for branch in tree.branches} == {"region_wise"}
    (tree,) = forest([lost, other], [DICE] * 2)
    assert {branch.first for branch in tree.branches} == {"dice_ce"}
    assert tree.branches[0].places[0] > tree.zero


@given(st.lists(st.tuples(*[st.floats(-1e3, 1e3)] * 3), min_size=1, max_size=5))
def test_the_forest_stays_within_its_picture_and_keeps_the_order_of_an_interval(triples):
    judged = [verdict(difference=sorted(t)[1], interval=(min(t), max(t))) for t in triples]
    (tree,) = forest(judged, [DICE] * len(judged))
    for branch in tree.branches:
        assert 0 <= branch.places[0] <= branch.places[1] <= branch.places[2] <= 100
    assert 0 <= tree.zero <= 100


def test_every_metric_of_the_catalogue_is_read_as_it_defines_itself():
    for name, facts in named("default").facts().items():
        read = metric(name, facts)
        assert read.better == facts["better"]
        assert read.unit == ("" if facts["unit"] == "1" else facts["unit"])


@pytest.mark.parametrize(
    ("name", "better", "unit"),
    [("dice", "higher", ""), ("hd95", "lower", "mm"), ("voe", "lower", ""), ("rvd", "zero", ""), ("new", "higher", "")],
)
def test_runs_that_say_nothing_about_a_column_are_read_by_its_name(name, better, unit):
    assert (metric(name, {}).better, metric(name, {}).unit) == (better, unit)
    assert metric("score", {"direction": "lower is better"}).better == "lower"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.500"), (-0.0004, "0.000"), (-0.25, "−0.250"), (12345.6, "12,346"), (math.inf, "∞"), (math.nan, "–")],
)
def test_numbers_have_as_many_digits_as_a_reader_needs(value, text):
    assert DICE.number(value) == text


@pytest.mark.parametrize(
    ("text", "root", "said"),
    [
        (
            "edgewise fit a.yaml --data /home/anna/LiTS --out runs/a",
            "",
            "edgewise fit a.yaml --data …/LiTS --out runs/a",
        ),
        ("'/data/Anna Smith/x': no", "/data/Anna Smith/x", "'…/x': no"),
        ("cannot read /a/b/c.nii.gz: it ends", "", "cannot read …/c.nii.gz: it ends"),
        (r"C:\Users\anna\scan.nii", "", "…/scan.nii"),
        ("12 mm/px, 1/2, https://doi.org/10.1/x", "", "12 mm/px, 1/2, https://doi.org/10.1/x"),
        ("--data=/home/anna/x", "", "--data=…/x"),
        ("/", "/", "/"),
    ],
)
def test_absolute_paths_are_cut_to_their_last_part(text, root, said):
    assert shortened(text, root) == said


def test_durations_are_in_words():
    assert [duration(float(s)) for s in (48, 390, 7500)] == ["48 s", "6 min 30 s", "2 h 05 min"]
