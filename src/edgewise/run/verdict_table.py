"""What `edgewise compare` prints: the verdict in words, then the numbers; or all of it as JSON."""

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Literal

from edgewise.compare.ranks import RankStability
from edgewise.compare.runs import Compared, Refusal, Results, Verdict, cases_of, classes_of, scores_of
from edgewise.compare.statistics import mean_interval
from edgewise.files import finite
from edgewise.report.words import Metric, Spoken, bare_chance, chance, headline, metric, spoken


def show(results: Sequence[Results], found: Compared, ranks: Sequence[RankStability], notes: Sequence[str]) -> None:
    """Print a comparison on standard output: tables on a terminal, else plain lines."""
    said = _spoken(results, found)
    print(_plain(headline([each for _, _, each in said])) + "\n")  # noqa: T201
    if sys.stdout.isatty():
        _tables(said, ranks)
    else:
        print("\n".join([*(line for each in said for line in _lines(*each)), *_rank_lines(ranks)]))  # noqa: T201
    cautions = dict.fromkeys(each.caution for _, _, each in said if each.caution)
    remarks = [*cautions, *_refusals(found.refusals), *notes, _correction(found.verdicts)]
    print("\n" + "\n".join(f"- {remark}" for remark in remarks if remark))  # noqa: T201


def brief(results: Sequence[Results], found: Compared, notes: Sequence[str]) -> None:
    """Print the means of every method, and only those differences that were found: comparisons of many fill screens."""
    said = _spoken(results, found)
    facts = {each.name: each.definitions for each in results}
    width = max(len(each.name) for each in results)
    lines = [_plain(headline([each for _, _, each in said]))]
    for column in dict.fromkeys(verdict.metric for verdict in found.verdicts):
        reading = metric(column, next(each[column] for each in facts.values() if column in each))
        lines += ["", f"{reading.title}{f' in {reading.unit}' if reading.unit else ''}, {reading.reading}"]
        lines += [f"  {each.name:{width}}  {_row_of_means(each, found, column, reading)}" for each in results]
    lines += ["", *(f"- {each.plain}" for _, _, each in said if each.found)]
    cautions = dict.fromkeys(each.caution for _, _, each in said if each.caution)
    lines += [f"- {remark}" for remark in (*cautions, *_refusals(found.refusals), *notes, _correction(found.verdicts))]
    print("\n".join(line for line in lines if line != "- "))  # noqa: T201


def _row_of_means(results: Results, found: Compared, column: str, reading: Metric) -> str:
    number = reading.number
    return "   ".join(
        f"{each['class_name']} {number(each['mean'])} [{number(each['interval'][0])}, {number(each['interval'][1])}]"
        for each in _means(results, found)
        if each["metric"] == column
    )


def described(
    results: Sequence[Results], found: Compared, ranks: Sequence[RankStability], notes: Sequence[str]
) -> dict[str, Any]:
    """A comparison as one JSON object; an undefined number is `None`."""
    said = _spoken(results, found)
    value: dict[str, Any] = {
        "headline": _plain(headline([each for _, _, each in said])),
        "runs": [_run(each) for each in results],
        "verdicts": [_verdict(*each) for each in said],
        "means": [entry for each in results for entry in _means(each, found)],
        "refusals": [asdict(each) for each in found.refusals],
        "ranks": [asdict(each) for each in ranks],
        "notes": list(notes),
    }
    plain: dict[str, Any] = finite(value)
    return plain


_Said = tuple[Verdict, Metric, Spoken]


def _spoken(results: Sequence[Results], found: Compared) -> list[_Said]:
    facts = {each.name: each.definitions for each in results}
    said = []
    for verdict in found.verdicts:
        reading = metric(verdict.metric, facts[verdict.first][verdict.metric])
        said.append((verdict, reading, spoken(verdict, reading)))
    return said


def _run(results: Results) -> dict[str, Any]:
    cases = cases_of(results)
    return {
        "name": results.name,
        "seeds": list(results.rows),
        "cases": len(cases),
        "patients": len({results.groups[case] for case in cases}),
        "definitions": {column: dict(facts) for column, facts in results.definitions.items()},
    }


def _verdict(verdict: Verdict, reading: Metric, said: Spoken) -> dict[str, Any]:
    own = {key: value for key, value in asdict(verdict).items() if key != "result"}
    statistics = asdict(verdict.result)
    statistics["uncorrected_p"] = statistics.pop("p")
    return {
        **own,
        **statistics,
        "unit": reading.unit or "1",
        "better": reading.better,
        "found": said.found,
        "winner": said.winner,
        "sentence": said.plain,
        "caution": said.caution,
    }


def _means(results: Results, found: Compared) -> Iterator[dict[str, Any]]:
    """The mean of each compared metric over all cases that a run has, with its interval."""
    for column in dict.fromkeys(verdict.metric for verdict in found.verdicts):
        for index, name in classes_of([results]):
            scores = scores_of(results, index, column)
            if scores and all(math.isfinite(value) for values in scores.values() for value in values):
                groups = {case: results.groups[case] for case in scores}
                whole = asdict(mean_interval(scores, groups))
                yield {"run": results.name, "metric": column, "class_index": index, "class_name": name, **whole}


HEADINGS = ("metric", "class", "runs", "means", "difference [95 %]", "p", "d_z", "r", "W/T/L", "cases")


def _cells(verdict: Verdict, reading: Metric) -> tuple[str, ...]:
    result, number = verdict.result, reading.number
    low, high = result.interval
    cases = str(result.cases) + (f"/{result.groups}" if result.groups < result.cases else "")
    return (
        " ".join((f"|{reading.title}|" if result.of_sizes else reading.title, reading.arrow, reading.unit)).strip(),
        verdict.class_name,
        f"{verdict.first}\n{verdict.second}",
        f"{number(result.mean_a)}\n{number(result.mean_b)}",
        f"{number(result.difference)}\n[{number(low)}, {number(high)}]",
        bare_chance(verdict.p),
        _number(result.standardised),
        _number(result.rank_biserial),
        f"{result.wins}/{result.ties}/{result.losses}",
        cases,
    )


def _tables(said: Sequence[_Said], ranks: Sequence[RankStability]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    longest = max(len(name) for verdict, _, _ in said for name in (verdict.first, verdict.second))
    console = Console(highlight=False, markup=False, emoji=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for heading in HEADINGS:
        text = heading in {"metric", "class", "runs"}
        least = min(24, longest) if heading == "runs" else None
        justify: Literal["left", "right"] = "left" if text else "right"
        table.add_column(heading, justify=justify, no_wrap=not text, overflow="fold", min_width=least)
    for verdict, reading, _ in said:
        table.add_row(*_cells(verdict, reading))
    console.print(table)
    if ranks:
        print("\n".join(_rank_lines(ranks)))  # noqa: T201


def _lines(verdict: Verdict, reading: Metric, _: Spoken) -> Iterator[str]:
    result, number, unit = verdict.result, reading.number, f" {reading.unit}" if reading.unit else ""
    low, high = result.interval
    size = "absolute values, " if result.of_sizes else ""
    seeds = f", seeds {result.seeds[0]} and {result.seeds[1]}" if max(result.seeds) > 1 else ""
    patients = f" of {result.groups} patients" if result.groups < result.cases else ""
    corrected = f" ({verdict.correction})" if verdict.correction else ""
    yield f"{reading.title} ({verdict.class_name}), {size}{reading.reading}: {verdict.first} against {verdict.second}"
    yield (
        f"  means {number(result.mean_a)} and {number(result.mean_b)}{unit}; "
        f"difference {number(result.difference)} [{number(low)}, {number(high)}]{unit}, "
        f"median {number(result.median_difference)}{unit}"
    )
    yield (
        f"  {chance(verdict.p)}{corrected}, {chance(result.p)} alone, Wilcoxon {chance(result.wilcoxon_p)}; "
        f"d_z {_number(result.standardised)}, rank-biserial {_number(result.rank_biserial)}; "
        f"{result.wins} wins, {result.ties} ties, {result.losses} losses; {result.cases} cases{patients}{seeds}"
    )


def _rank_lines(ranks: Sequence[RankStability]) -> Iterator[str]:
    for each in ranks:
        tau, (low, high) = _number(each.tau), (_number(end) for end in each.interval)
        yield ""
        yield (
            f"Ranks by mean {each.metric} of class {each.class_index} over {each.cases} cases, and in bootstrap "
            f"samples of {each.groups} patients (Kendall's tau to this order: {tau} [{low}, {high}])"
        )
        for run in each.runs:
            places = ", ".join(f"{place}: {share:.0%}" for place, share in enumerate(run.shares, 1) if share >= 0.005)
            yield f"  {run.rank:g}. {run.name}: mean rank {run.mean_rank:.2f}; share of samples at rank {places}"


def _refusals(refusals: Sequence[Refusal]) -> Iterator[str]:
    for each in refusals:
        of = f" of {each.class_name}" if each.class_name else ""
        yield f"not compared: {each.metric}{of}, {each.first} and {each.second}: {each.reason}"


def _correction(verdicts: Sequence[Verdict]) -> str:
    named = next((each.correction for each in verdicts if each.correction), "")
    return f"p-values are corrected for {len(verdicts)} comparisons ({named})" if named else ""


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}".replace("-", "−")


def _plain(markup: Any) -> str:
    return str(markup.striptags())
