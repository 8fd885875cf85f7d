"""The report: one HTML file that needs nothing else: no network, no server, and scripts for comfort only."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from markupsafe import Markup

from edgewise.compare.ranks import RankStability
from edgewise.compare.runs import Refusal, Verdict
from edgewise.files import write_text
from edgewise.metrics.scoring import name_of
from edgewise.report import (
    cautions,
    claims,
    converging,
    distributions,
    explained,
    figures,
    localisation,
    located_pictures,
    settings,
    sizes,
    tables,
    words,
)
from edgewise.report.forest import forest, statistics
from edgewise.report.located_pictures import LocatedRun
from edgewise.report.methods import gaps, methods, palette
from edgewise.report.pictures import pictures
from edgewise.report.records import RunRecord, plain
from edgewise.report.standing import Study
from edgewise.report.words import Metric

Judged: TypeAlias = tuple[Sequence[Verdict], Sequence[Refusal], Sequence[RankStability]]
"""Verdicts, what could not be compared, and ranks."""


def write(
    runs: Sequence[RunRecord],
    path: Path,
    verdicts: Sequence[Verdict] = (),
    refusals: Sequence[Refusal] = (),
    ranks: Sequence[RankStability] = (),
    study: Study | Literal["none"] = "none",
) -> None:
    """Write the report on one run, or on several that are compared.

    Args:
        runs: from `read_run`; their order gives the colours. Runs of one name are told apart by their folder.
        path: the HTML file.
        verdicts: paired comparisons, in the order in which they are to be read.
        refusals: what could not be compared, and why.
        ranks: how stable the order of the runs is.
        study: whose runs they are, all that are done; there may be none yet.

    Raises:
        ValueError: `runs` is empty, and there is no study.
        OutputError: the file cannot be written.
    """
    if not runs and study == "none":
        raise ValueError("a report needs at least one run")
    viewers = path.with_name(f"{path.stem}_viewer")
    write_text(path, _render(told_apart(runs), viewers, (verdicts, refusals, ranks), study))


def _render(runs: Sequence[RunRecord], viewers: Path, judged: Judged, study: Study | Literal["none"]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    verdicts, refusals, ranks = judged
    metrics = words.metrics(runs)
    names = tables.class_names(runs)
    shown, failed = pictures(runs, tables.chosen(runs), viewers)
    located, unseen = located_pictures.located(runs)
    return environment.get_template("page.html").render(
        title=_title(runs) if study == "none" else study.name,
        runs=runs,
        colours=palette(runs),
        plain=plain,
        pictures=shown,
        classes=names[1:],
        failures=_merged([*_failures(runs), *_cut([*failed, *unseen], runs)]),
        notes=[(run.name, words.shortened(note, _root(run))) for run in runs for note in run.journal.notes],
        **_judged(runs, metrics, verdicts),
        refusals=_refused(refusals, metrics),
        ranks=[
            (_metric(metrics, each.metric), name_of(each.class_index, tables.class_names(runs)), each) for each in ranks
        ],
        **_measured(runs, metrics),
        **_drawn(runs, metrics),
        **_set_up(runs),
        **_claimed(runs, study),
        **_located(runs, located),
    )


def _claimed(runs: Sequence[RunRecord], study: Study | Literal["none"]) -> dict[str, Any]:
    """What was published, beside what was measured; and how far the study has come."""
    found = claims.claims(runs, claims.entries(runs) if study == "none" else study.entries(runs))
    here, there = claims.elsewhere(runs, found)
    return {
        "study": None if study == "none" else study,
        "claims": found,
        "measured_on": here,
        "published_on": there,
        "other_data": claims.otherwise(runs, found),
        "several_data": len({claim.published.data for claim in found}) > 1,
    }


def _located(runs: Sequence[RunRecord], shown: Sequence[LocatedRun]) -> dict[str, Any]:
    """How well objects were located, of the runs that did so."""
    kinds = {row.kind for run in runs for row in run.located}
    names = tables.class_names(runs)[1:]
    return {
        "located": shown,
        "located_lines": localisation.lines(runs),
        "located_otherwise": localisation.contradictions(runs),
        "located_explained": explained.located(runs),
        "boxed": [name for name in names if name in kinds],
        "unnamed": not kinds <= set(names),
        "flat": any(row.slice >= 0 for run in runs for row in run.located),
        "heat_bar": located_pictures.heat_bar() if shown else Markup(""),
    }


def told_apart(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """The runs, those of one name called by their folder too."""
    names = [run.name for run in runs]
    return [replace(run, name=f"{run.name} ({run.folder.name})") if names.count(run.name) > 1 else run for run in runs]


def _title(runs: Sequence[RunRecord]) -> str:
    names = [method.name for method in methods(runs)]
    if len(names) <= 2:
        return " against ".join(names)
    return f"{len(names)} runs" if len(names) == len(runs) else f"{len(names)} methods, {len(runs)} runs"


def _judged(runs: Sequence[RunRecord], metrics: Sequence[Metric], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The verdicts: in words, as a forest, and in numbers."""
    of_verdicts = [_metric(metrics, verdict.metric) for verdict in verdicts]
    spoken = [words.spoken(verdict, metric) for verdict, metric in zip(verdicts, of_verdicts, strict=True)]
    trees = forest(verdicts, of_verdicts)
    return {
        "headline": words.headline(spoken) if spoken else _summary(runs),
        "verdicts": spoken,
        "cautions": list(dict.fromkeys([*(each.caution for each in spoken if each.caution), *_incomplete(runs)])),
        "corrections": sorted({verdict.correction for verdict in verdicts}),
        "forest": trees,
        "pairs": list(dict.fromkeys((each.first, each.second) for tree in trees for each in tree.branches)),
        "statistics": statistics(verdicts, of_verdicts),
    }


def _incomplete(runs: Sequence[RunRecord]) -> list[str]:
    return [f"{gap}." for gap in gaps(runs)]


def _refused(refusals: Sequence[Refusal], metrics: Sequence[Metric]) -> list[str]:
    """What was not compared: pairs with one reason share a sentence."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for each in refusals:
        where = f" ({each.class_name})" if each.class_name else ""
        subject = _metric(metrics, each.metric).title + where
        groups.setdefault((each.first, each.second, each.reason), []).append(subject)
    return [
        f"{', '.join(subjects)}, {first} against {second}: {reason}."
        for (first, second, reason), subjects in groups.items()
    ]


def _measured(runs: Sequence[RunRecord], metrics: Sequence[Metric]) -> dict[str, Any]:
    """The tables of numbers."""
    conflicts = cautions.conflicts(runs)
    rows = [(metric, tables.rows(runs, metric)) for metric in tables.primary(metrics)]
    return {
        "metrics": metrics,
        "primary": [(metric, found) for metric, found in rows if found],
        "matrix": tables.matrix(runs, metrics) if len(metrics) > len(rows) else [],
        "case_rows": tables.case_rows(runs, metrics),
        "warnings": cautions.warnings(runs),
        "conflicts": [f"{_metric(metrics, name).title} {text}." for name, text in conflicts.items()],
        "conflicting": list(conflicts),
        "policies": sorted({plain(run.summary["policy"]) for run in runs if run.summary.get("policy")}),
        "explained": explained.explained(runs, metrics),
        "size_tables": [(table, Markup(sizes.recall_by_size(runs, table))) for table in sizes.size_tables(runs)],
    }


def _drawn(runs: Sequence[RunRecord], metrics: Sequence[Metric]) -> dict[str, Any]:
    """The charts."""
    names = tables.class_names(runs)
    chosen = [(metric, label) for metric in tables.primary(metrics) for label in range(1, len(names))]
    strips = [(metric, label, distributions.strip(runs, metric, label)) for metric, label in chosen]
    curves = [(metric, label, distributions.cumulative(runs, metric, label)) for metric, label in chosen]
    level, converged = converging.converged(runs)
    return {
        "charts": list(_charts(runs)),
        "level": level,
        "converged": converged,
        "strips": [(metric, name_of(label, names), Markup(svg)) for metric, label, svg in strips if svg],
        "cumulative": [(metric, name_of(label, names), Markup(svg)) for metric, label, svg in curves if svg],
    }


def _set_up(runs: Sequence[RunRecord]) -> dict[str, Any]:
    """What ran, and how to repeat it."""
    return {
        "facts": settings.facts(runs),
        "differences": settings.differences(runs) if len(runs) > 1 else [],
        "plans": settings.plans(runs),
        "repeats": [settings.repeat(run) for run in runs],
        "machines": settings.machines(runs),
    }


def _metric(metrics: Sequence[Metric], name: str) -> Metric:
    known: Mapping[str, Metric] = {metric.name: metric for metric in metrics}
    return known.get(name) or words.metric(name, {})


def _root(run: RunRecord) -> str:
    return str(run.dataset.get("root", ""))


def _summary(runs: Sequence[RunRecord]) -> Markup:
    """The headline where nothing was compared: the mean foreground Dice of every method."""
    parts = []
    for method in methods(runs):
        own = [runs[run] for run in method.runs]
        cases = words.counted(len({case for run in own for _, case in tables.ranked([run])}), "validation case")
        means = [mean for mean in map(_reach, own) if math.isfinite(mean)]
        if means:
            parts.append(
                Markup("<code>{}</code>: mean foreground Dice <b>{:.3f}</b> over {}").format(
                    method.name, sum(means) / len(means), cases
                )
            )
    return Markup("; ").join(parts) + "." if parts else Markup("There are no metrics yet.")


def _reach(run: RunRecord) -> float:
    order = tables.ranked([run])
    if not order:
        return math.nan
    return figures.reach(run) if run.summary else sum(value for value, _ in order) / len(order)


def _charts(runs: Sequence[RunRecord]) -> Iterator[tuple[str, str, Markup]]:
    several = any(len(method.runs) > 1 for method in methods(runs))
    band = "line: mean over a method's runs; band: lowest to highest" if several else "ring: best checkpoint"
    charts = (
        ("Training loss", "against the step", figures.loss_curves(runs)),
        ("Validation Dice", f"mean of the foreground; {band}", figures.dice_curves(runs)),
        ("Convergence", "share of a method's runs with at most this Dice", figures.convergence(runs)),
    )
    return ((caption, remark, Markup(svg)) for caption, remark, svg in charts if svg)


def _failures(runs: Sequence[RunRecord]) -> Iterator[tuple[str, str]]:
    for run in runs:
        yield from ((run.name, words.shortened(text, _root(run))) for text in run.journal.failures)
        yield from ((run.name, f"{case}: no metrics, although it is a validation case") for case in run.unscored)


def _cut(failures: Sequence[tuple[str, str]], runs: Sequence[RunRecord]) -> Iterator[tuple[str, str]]:
    """Failures without absolute paths."""
    roots = {run.name: _root(run) for run in runs}
    return ((name, words.shortened(text, roots.get(name, ""))) for name, text in failures)


def _merged(failures: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Failures, those of one text with the names of all their runs."""
    runs: dict[str, list[str]] = {}
    for name, text in failures:
        runs.setdefault(text, []).append(name)
    return [(", ".join(names), text) for text, names in runs.items()]
