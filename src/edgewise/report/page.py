"""The report: one HTML file that needs nothing else: no network, no server, and scripts only to sort."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from edgewise.compare.runs import Verdict
from edgewise.errors import EdgewiseError
from edgewise.files import write_text
from edgewise.report import figures, panels, tables, words
from edgewise.report.records import PanelCase, RunRecord, plain
from edgewise.report.words import Metric


def write(runs: Sequence[RunRecord], path: Path, verdicts: Sequence[Verdict] = ()) -> None:
    """Write the report on one run, or on several that are compared.

    Args:
        runs: from `read_run`; their order gives the colours. Runs of one name are told apart by their folder.
        path: the HTML file.
        verdicts: paired comparisons, in the order in which they are to be read.

    Raises:
        ValueError: `runs` is empty.
        OutputError: the file cannot be written.
    """
    if not runs:
        raise ValueError("a report needs at least one run")
    write_text(path, _render(told_apart(runs), verdicts))


def _render(runs: Sequence[RunRecord], verdicts: Sequence[Verdict]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    metrics = words.metrics(runs)
    pictures, failed = _pictures(runs)
    spoken = [words.spoken(verdict, _metric(metrics, verdict.metric)) for verdict in verdicts]
    return environment.get_template("template.html").render(
        title=_title(runs),
        runs=runs,
        verdicts=spoken,
        corrections=sorted({verdict.correction for verdict in verdicts}),
        headline=words.headline(spoken) if spoken else _summary(runs),
        facts=tables.facts(runs),
        differences=tables.differences(runs) if len(runs) > 1 else [],
        metrics=[(metric, tables.rows(runs, metric)) for metric in metrics],
        warnings=tables.warnings(runs),
        policies=sorted({plain(run.summary["policy"]) for run in runs if run.summary.get("policy")}),
        charts=_charts(runs),
        strips=list(_strips(runs, metrics)),
        case_rows=tables.case_rows(runs, [metric.name for metric in metrics]),
        pictures=pictures,
        classes=max((run.classes for run in runs), key=len)[1:],
        failures=[*_failures(runs), *failed],
        notes=[(run.name, note) for run in runs for note in run.journal.notes],
        plans=tables.plans(runs),
        environments=[(run.name, _environment(run)) for run in runs],
        plain=plain,
    )


def told_apart(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """The runs, those of one name called by their folder too."""
    names = [run.name for run in runs]
    return [replace(run, name=f"{run.name} ({run.folder.name})") if names.count(run.name) > 1 else run for run in runs]


def _title(runs: Sequence[RunRecord]) -> str:
    names = [run.name for run in runs]
    return names[0] if len(names) == 1 else " against ".join(names) if len(names) == 2 else f"{len(names)} runs"


def _metric(metrics: Sequence[Metric], name: str) -> Metric:
    known = {metric.name: metric for metric in metrics}
    return known.get(name) or Metric(name=name, title=words.TITLES.get(name, name), unit="", higher=True)


def _summary(runs: Sequence[RunRecord]) -> Markup:
    """The headline where nothing was compared: the mean foreground Dice of every run."""
    parts = []
    for run in runs:
        order = tables.ranked([run])
        mean = run.summary.get("mean_dice", sum(value for value, _ in order) / len(order) if order else None)
        cases = words.counted(len(order), "validation case")
        if isinstance(mean, int | float):
            parts.append(
                Markup("<code>{}</code>: mean foreground Dice <b>{:.3f}</b> over {}").format(run.name, mean, cases)
            )
    return Markup("; ").join(parts) + "." if parts else Markup("There are no metrics yet.")


def _charts(runs: Sequence[RunRecord]) -> list[tuple[str, str, Markup]]:
    charts = (
        ("Training loss", "against the step", figures.loss_curves(runs)),
        ("Validation Dice", "mean of the foreground; ring: best checkpoint", figures.dice_curves(runs)),
    )
    return [(caption, remark, Markup(svg)) for caption, remark, svg in charts if svg]


def _strips(runs: Sequence[RunRecord], metrics: Sequence[Metric]) -> Iterator[tuple[Metric, str, Markup]]:
    names = max((run.classes for run in runs), key=len)
    for metric in metrics:
        for label, name in list(enumerate(names))[1:]:
            medians = {row.run: row.median for row in tables.rows(runs, metric) if row.label == label}
            svg = figures.strip(runs, metric, label, [medians.get(index, math.nan) for index in range(len(runs))])
            if svg:
                yield metric, name, Markup(svg)


def _failures(runs: Sequence[RunRecord]) -> Iterator[tuple[str, str]]:
    for run in runs:
        yield from ((run.name, text) for text in run.journal.failures)
        yield from ((run.name, f"{case}: no metrics, although it is a validation case") for case in run.unscored)


def _pictures(runs: Sequence[RunRecord]) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Pictures of the worst, the median and the best case in every run, and what could not be drawn."""
    pictures, failed = [], []
    able = [(index, run) for index, run in enumerate(runs) if run.load]
    for title, dice, case in tables.chosen(runs) if able else []:
        loaded: list[tuple[int, RunRecord, PanelCase]] = []
        for index, run in able:
            try:
                loaded.append((index, run, _loaded(run, case)))
            except (EdgewiseError, OSError) as error:
                failed.append((run.name, f"{case}: no picture, {error}"))
        if loaded:
            pictures.append({"title": title, "case": case, "dice": dice, "runs": _views(case, loaded)})
    return pictures, failed


def _loaded(run: RunRecord, case: str) -> PanelCase:
    if run.load is None:
        raise EdgewiseError("its arrays were not passed")
    found = run.load(case)
    shapes = {found.image.shape, found.reference.shape, found.prediction.shape}
    if len(shapes) > 1:
        raise EdgewiseError(f"image, reference and prediction have different shapes: {sorted(shapes)}")
    return found


def _views(case: str, loaded: Sequence[tuple[int, RunRecord, PanelCase]]) -> list[dict[str, Any]]:
    shape = loaded[0][2].image.shape
    views = panels.views([found for _, _, found in loaded if found.image.shape == shape])
    result = []
    for index, run, found in loaded:
        scores = [score for score in run.scores if score.case == case and "dice" in score.values]
        result.append(
            {
                "index": index,
                "name": run.name,
                "scores": [(run.classes[score.label], words.TITLES["dice"], score.values["dice"]) for score in scores],
                "panels": [
                    (view.title, Markup(panels.panel(found, view, f"{case}, {view.title}, {run.name}")))
                    for view in views
                    if found.image.shape == shape
                ],
            }
        )
    return result


def _environment(run: RunRecord) -> dict[str, Any]:
    known = dict(run.environment)
    packages, command = known.pop("packages", {}), known.pop("command", "")
    return {
        "facts": [(key.replace("_", " "), plain(value)) for key, value in known.items() if value not in {None, ""}],
        "packages": sorted(packages.items()) if isinstance(packages, dict) else [],
        "command": " ".join(command) if isinstance(command, list) else str(command or ""),
        "experiment": run.experiment_text,
        "digest": str(run.dataset.get("digest", "")),
    }
