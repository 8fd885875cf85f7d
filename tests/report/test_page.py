import html
import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from itertools import pairwise
from types import SimpleNamespace

import pytest

from edgewise.compare.runs import Verdict
from edgewise.compare.statistics import PairedComparison
from edgewise.errors import DataError, OutputError, RunError
from edgewise.report.page import write
from edgewise.report.records import read_run
from edgewise.report.words import Metric, duration, headline, spoken

DICE = Metric(name="dice", title="Dice", unit="", higher=True)
HD95 = Metric(name="hd95", title="HD95", unit="mm", higher=False)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
VOID = {"meta", "link", "br", "img", "path", "image", "use"}
EVIL = "<img src=x onerror=alert(1)>"


class Structure(HTMLParser):
    """Tags, ids, links and text of a page; unbalanced tags fail."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.ids, self.links, self.words = [], [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        given = dict(attributes)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given[key] for key in ("href", "src", "xlink:href") if key in given]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in {"style", "script"}:
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", "".join(self.words))


def page(runs, path, verdicts=()):
    write(runs, path, verdicts)
    structure = Structure()
    structure.feed(path.read_text(encoding="utf-8"))
    structure.close()
    assert not structure.open
    return structure


def verdict(**changes):
    values = {
        "mean_a": 0.8, "mean_b": 0.769, "difference": 0.031, "interval": (0.010, 0.052), "p": 0.004, "cases": 20,
        "wins": 15, "ties": 0, "losses": 5, "exact": False,
    } | changes  # fmt: skip
    of_pair = {"metric": "dice", "class_index": 2, "class_name": "tumour", "first": "region_wise", "second": "dice_ce"}
    of_pair |= {key: values.pop(key) for key in list(values) if key in of_pair}
    result = PairedComparison(**({"groups": values["cases"]} | values))
    return Verdict(**of_pair, result=result, p=values["p"], correction="")


def words_of(markup):
    return html.unescape(re.sub(r"<[^>]+>", "", str(markup)))


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
        "region_wise has a higher Dice on tumour than dice_ce by 0.031 [0.010, 0.052], p = 0.004, 20 cases.",
        "16 train, 16 validation",
        "residual_unet (widths 16, 32, 64)",
        "600 steps, 1 min 06 s",
        "Xeon Platinum 8370C, 2 cores",
        "tumour was predicted where there is none in 1 of 16 cases (phantom_002)",
        "median of the training cases",
        "maximum of the two directed 95th percentiles",
        "edgewise fit dice_ce.yaml --data /data/phantoms --out runs/dice_ce",
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
    assert (tmp_path / "report.html").stat().st_size < 1_000_000


def test_every_picture_says_what_it_shows(two_runs, tmp_path):
    structure = page(two_runs, tmp_path / "report.html")
    pictures = [given for tag, given in structure.tags if tag == "svg" and given.get("role") == "img"]
    assert len(pictures) == 2 + 6 + 3 * 2 * 3
    assert all(given["aria-label"] for given in pictures)
    headings = [int(tag[1]) for tag, _ in structure.tags if re.fullmatch(r"h[1-6]", tag)]
    assert headings.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))


def test_what_a_user_wrote_is_shown_as_text(make_run, tmp_path):
    record = make_run(EVIL.replace("/", ""), case_name=EVIL + "{}", load=fail)
    structure = page([record], tmp_path / "report.html", [verdict(first=EVIL, class_name=EVIL)])
    assert not [tag for tag, given in structure.tags if tag == "img" or "onerror" in given]
    assert EVIL in structure.text


def fail(case):
    raise DataError(f"{case} cannot be read")


def test_a_case_without_a_picture_is_listed_and_the_rest_is_there(two_runs, tmp_path):
    from dataclasses import replace

    broken = replace(two_runs[1], load=fail)
    structure = page([two_runs[0], broken], tmp_path / "report.html")
    assert structure.text.count("no picture, phantom_") == 3
    assert "Worst case" in structure.text


def test_arrays_that_do_not_fit_each_other_are_listed(two_runs, loader, tmp_path):
    from dataclasses import replace

    def crooked(case):
        good = loader(0.0, (32, 32, 16), (9.0, 9.0, 12.5))(case)
        return SimpleNamespace(image=good.image, reference=good.reference, prediction=good.prediction[1:])

    structure = page([replace(two_runs[0], load=crooked)], tmp_path / "report.html")
    assert "have different shapes" in structure.text


def test_an_unfinished_run_says_so(make_run, tmp_path):
    record = make_run("early")
    for name in ("metrics.csv", "summary.json", "plan.yaml", "environment.json"):
        (record.folder / name).unlink()
    journal = record.folder / "journal.jsonl"
    journal.write_text("\n".join(journal.read_text().splitlines()[:20]) + '\n{"event": "tra')
    structure = page([read_run(record.folder)], tmp_path / "report.html")
    assert "early is unfinished: its journal has no end; missing: plan.yaml, environment.json" in structure.text
    assert "There are no metrics yet." in structure.text
    assert "curves" in structure.ids


def test_a_run_that_has_only_begun_has_a_page(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "experiment.yaml").write_text("seed: 1\n")
    structure = page([read_run(tmp_path / "run")], tmp_path / "report.html")
    assert "run is unfinished" in structure.text


def test_a_finished_run_is_not_called_unfinished(make_run, tmp_path):
    record = make_run()
    assert record.finished
    assert "is unfinished" not in page([record], tmp_path / "report.html").text


def test_cases_without_metrics_are_failures(make_run, tmp_path):
    record = make_run()
    table = record.folder / "metrics.csv"
    table.write_text("".join(line for line in table.read_text().splitlines(True) if not line.startswith("phantom_003")))
    assert "phantom_003: no metrics" in page([read_run(record.folder)], tmp_path / "report.html").text


def test_aggregates_come_from_the_summary_and_else_from_finite_values(make_run):
    from edgewise.report.tables import rows

    record = make_run()
    liver, tumour = rows([record], HD95)
    finite = [s.values["hd95"] for s in record.scores if s.label == 2 and math.isfinite(s.values["hd95"])]
    assert tumour.cases == len(finite) == 3
    assert tumour.mean == pytest.approx(sum(finite) / 3)
    assert tumour.empty == "one empty: 1"
    assert liver.cases == 4
    summary = json.loads((record.folder / "summary.json").read_text())
    summary["classes"] = {"2": {"name": "tumour", "hd95": {"mean": 99.5, "median": 98.0, "std": None, "cases": 4}}}
    (record.folder / "summary.json").write_text(json.dumps(summary))
    again = rows([read_run(record.folder)], HD95)[1]
    assert (again.mean, again.median, again.cases) == (99.5, 98.0, 4)
    assert math.isnan(again.std)


def test_runs_of_one_name_are_told_apart_by_their_folders(make_run, tmp_path):
    from dataclasses import replace

    runs = [replace(make_run(name), name="same") for name in ("a", "b")]
    assert "same (a) against same (b)" in page(runs, tmp_path / "report.html").text


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="is no run folder"):
        read_run(tmp_path)
    with pytest.raises(RunError, match="is no run folder"):
        read_run(tmp_path / "absent")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("summary.json", "{"),
        ("plan.yaml", "- a\n- b\n"),
        ("experiment.yaml", "a: [1"),
        ("metrics.csv", "case,class,dice\na,liver,0.5\n"),
        ("journal.jsonl", '{"event": "train"\n{"event": "end"}\n'),
        ("journal.jsonl", '{"event": "train", "step": 3}\n'),
    ],
)
def test_a_broken_file_is_named(make_run, name, text):
    record = make_run()
    (record.folder / name).write_text(text)
    with pytest.raises(RunError, match=name):
        read_run(record.folder)


def test_the_page_is_refused_without_runs_and_where_it_cannot_be_written(make_run, tmp_path):
    with pytest.raises(ValueError, match="at least one run"):
        write([], tmp_path / "report.html")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(OutputError):
        write([make_run()], tmp_path / "folder.html")


def test_the_better_run_comes_first_whatever_the_direction_of_the_metric():
    lower = verdict(metric="hd95", difference=-1.3, interval=(-2.9, -0.2), p=0.03)
    said = spoken(lower, HD95)
    assert words_of(said.text) == (
        "region_wise has a lower HD95 on tumour than dice_ce by 1.30 [0.20, 2.90] mm, p = 0.03, 20 cases."
    )
    turned = spoken(verdict(first="dice_ce", second="region_wise", difference=-0.031, interval=(-0.052, -0.01)), DICE)
    assert words_of(turned.text) == words_of(spoken(verdict(), DICE).text)
    assert turned.winner == "region_wise"


def test_no_difference_is_said_to_be_none_found():
    said = spoken(verdict(difference=0.004, interval=(-0.01, 0.018), p=0.41, cases=40), DICE)
    assert words_of(said.text) == (
        "No difference was found in Dice on tumour between region_wise and dice_ce: "
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


def test_the_headline_counts_what_was_found():
    none = spoken(verdict(p=0.5), DICE)
    found = spoken(verdict(), DICE)
    assert words_of(headline([found, none])) == (
        "region_wise is better in 1 of 2 comparisons; no difference was found in the other one."
    )
    assert words_of(headline([none])) == "No difference between the runs was found in 1 comparison."
    assert "The sample is small" in headline([spoken(verdict(cases=7), DICE)])


def test_durations_are_in_words():
    assert [duration(float(s)) for s in (48, 390, 7500)] == ["48 s", "6 min 30 s", "2 h 05 min"]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_loads_the_page_without_a_complaint(two_runs, tmp_path):
    page(two_runs, tmp_path / "report.html", [verdict()])
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --enable-logging=stderr --dump-dom"
    )
    address = (tmp_path / "report.html").as_uri()
    command = [CHROMIUM, *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr
    assert 'type="button"' in done.stdout
