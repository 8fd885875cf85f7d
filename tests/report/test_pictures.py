import re
from dataclasses import replace

import numpy as np
import pytest

from edgewise.report import viewer
from edgewise.report.pictures import pictures
from edgewise.report.records import PanelCase

CHOSEN = [("Worst case", 0.5, "case_1")]


def case_of(reference, prediction, spacing=(1.0, 1.0, 1.0)):
    image = np.random.default_rng(0).normal(size=reference.shape).astype(np.float32)
    return PanelCase(image=image, reference=reference, prediction=prediction, spacing=spacing)


def body():
    labels = np.zeros((24, 24, 24), np.uint8)
    labels[4:20, 4:20, 4:20] = 1
    labels[9:15, 9:15, 9:15] = 2
    return labels


@pytest.fixture
def shown(make_run, tmp_path):
    """The pictures of one case: one run a prediction."""

    def show(reference, *predictions, name="run"):
        runs = [make_run(f"{name}_{number}") for number in range(len(predictions))]
        found = {run.name: case_of(reference, mask) for run, mask in zip(runs, predictions, strict=True)}
        runs = [replace(run, load=lambda _, name=run.name: found[name]) for run in runs]
        cases, failed = pictures(runs, CHOSEN, tmp_path / "report_viewer")
        return cases[0], failed

    return show


def test_the_error_surface_is_that_of_the_class_that_is_segmented_worst(shown):
    prediction = body()
    prediction[9:12, 9:15, 9:15] = 1
    case, failed = shown(body(), body(), prediction)
    assert not failed
    assert case.surface_class == "tumour"
    assert [run.remark for run in case.runs] == [
        "at most 0.0 mm from the reference",
        "at most 2.0 mm from the reference",
    ]
    assert all("error surface of tumour" in run.surface for run in case.runs)


def test_a_class_that_no_run_predicted_has_no_surface(shown):
    prediction = np.minimum(body(), 1)
    case, _ = shown(body(), prediction)
    assert case.surface_class == "liver"
    case, _ = shown(body(), np.zeros_like(prediction), name="none")
    assert case.surface_class == ""
    assert not case.runs[0].surface


def test_a_run_that_predicted_nothing_says_so_beside_those_that_did(shown):
    case, _ = shown(body(), body(), np.zeros_like(body()))
    assert case.runs[1].remark == "nothing was predicted"
    assert "<svg" in case.runs[1].surface


def test_a_single_slice_has_no_surface(shown):
    flat = body()[:, :, 10:11]
    case, _ = shown(flat, np.roll(flat, 1, 0))
    assert case.surface_class == ""
    assert len(case.stacks) == 1


def test_a_class_that_only_a_prediction_has_is_no_trouble(shown):
    prediction = body()
    prediction[0:2, 0:2, 0:2] = 9
    case, _ = shown(np.minimum(body(), 1), prediction)
    assert case.surface_class == "liver"
    assert "shade-0" in case.runs[0].panels[0][1]


def test_a_grid_that_differs_between_runs_is_named(make_run, tmp_path):
    first, second = (make_run(name) for name in ("a", "b"))
    whole, cut = case_of(body(), body()), case_of(body()[2:], body()[2:])
    runs = [replace(first, load=lambda _: whole), replace(second, load=lambda _: cut)]
    (case,), failed = pictures(runs, CHOSEN, tmp_path / "report_viewer")
    assert [run.name for run in case.runs] == ["a"]
    assert failed == [("b", "case_1: no picture, its grid (22, 24, 24) is not that of the runs before, (24, 24, 24)")]


def test_names_are_text_wherever_they_stand(make_run, tmp_path):
    evil = '"><script>alert(1)</script>'
    run = replace(make_run("a"), load=lambda _: case_of(body(), np.roll(body(), 1, 0)), name=evil)
    (case,), _ = pictures([run], [("Worst case", 0.5, evil)], tmp_path / "report_viewer")
    markup = "".join([*(svg for _, svg in case.runs[0].panels), case.runs[0].surface, case.data])
    assert "<script" not in markup
    assert len(re.findall(r"&lt;script&gt;", markup)) == 2 * 4


def test_there_is_a_link_only_where_the_viewer_is_installed(shown, tmp_path):
    case, failed = shown(body(), body())
    assert bool(case.viewer) == viewer.installed() == (tmp_path / "report_viewer").exists()
    assert not failed


def test_a_viewer_that_cannot_be_used_is_a_failure_and_no_more(shown, monkeypatch, tmp_path):
    (tmp_path / "ipyniivue-9.9.dist-info").mkdir()
    (tmp_path / "ipyniivue-9.9.dist-info" / "METADATA").write_text("Name: ipyniivue\nVersion: 9.9\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    case, ((who, text),) = shown(body(), body())
    assert not case.viewer
    assert who == "3D viewer"
    assert "does not carry NiiVue" in text
