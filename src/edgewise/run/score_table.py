"""What `edgewise evaluate` prints: the summary of a table of cases, for a terminal or for a file."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgewise.report.words import ARROWS, READING

TELLING = ("dice", "hd95", "nsd", "assd", "lesion_f1")
"""What is printed of many metrics: an overlap, three boundary metrics, one that counts lesions."""
FEW = 16
"""So many metrics are all printed."""
EMPTY = {"both_empty": "both empty", "prediction_empty": "missed", "reference_empty": "invented"}


def main_columns(columns: Sequence[str]) -> tuple[str, ...]:
    """Those of the columns that are worth printing where nobody chose."""
    return tuple(columns) if len(columns) <= FEW else tuple(each for each in TELLING if each in columns)


def show(summary: Mapping[str, Any], columns: Sequence[str], left_out: str) -> None:
    """Print a summary on standard output: a table on a terminal, else a plain line for each number.

    Args:
        summary: as `Evaluation.summary` gives it.
        columns: the metrics to print.
        left_out: where the others are.
    """
    if sys.stdout.isatty():
        _table(summary, columns)
    else:
        print("\n".join(_lines(summary, columns)))  # noqa: T201
    print("\n".join(_notes(summary, columns, left_out)))  # noqa: T201


def _table(summary: Mapping[str, Any], columns: Sequence[str]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for heading in ("class", "metric", "mean", "median", "sd", "used"):
        text = heading in {"class", "metric"}
        table.add_column(heading, justify="left" if text else "right", no_wrap=not text, overflow="fold")
    for entry in summary["classes"].values():
        own = [column for column in columns if column in entry]
        for column, name in zip(own, _beside(entry, own), strict=True):
            table.add_row(name, *_cells(entry[column], column, summary["definitions"][column]))
        table.add_section()
    Console(highlight=False, markup=False, emoji=False).print(table)


def _beside(entry: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    """A class's name, and below it how many masks are empty, one cell for each of its metrics."""
    if not columns:
        return []
    words = [entry["name"], *_empty(entry[columns[0]])]
    words += [""] * (len(columns) - len(words))
    return [*words[: len(columns) - 1], "\n".join(words[len(columns) - 1 :])]


def _cells(numbers: Mapping[str, Any], column: str, facts: Mapping[str, Any]) -> list[str]:
    metric = " ".join((column, ARROWS[facts["better"]], _unit(facts))).strip()
    statistics = (_number(numbers[key]) for key in ("mean", "median", "std"))
    return [metric, *statistics, f"{numbers['used']}/{numbers['cases']}"]


def _lines(summary: Mapping[str, Any], columns: Sequence[str]) -> Iterator[str]:
    for entry, column, facts in _numbers(summary, columns):
        numbers, unit = entry[column], _unit(facts)
        mean, median, sd = (_number(numbers[key], unit) for key in ("mean", "median", "std"))
        counts = ", ".join([f"{numbers['used']} of {numbers['cases']} cases", *_empty(numbers)])
        direction = READING[facts["better"]]
        yield f"{entry['name']}: {column} mean {mean}, median {median}, sd {sd}; {counts} ({direction})"


def _numbers(
    summary: Mapping[str, Any], columns: Sequence[str]
) -> Iterator[tuple[Mapping[str, Any], str, Mapping[str, Any]]]:
    for entry in summary["classes"].values():
        for column in columns:
            if column in entry:
                yield entry, column, summary["definitions"][column]


def _empty(numbers: Mapping[str, Any]) -> list[str]:
    return [f"{numbers[key]} {text}" for key, text in EMPTY.items() if numbers[key]]


def _notes(summary: Mapping[str, Any], columns: Sequence[str], left_out: str) -> Iterator[str]:
    pooled = ", ".join(f"{entry['name']} {_number(entry['dice_global'])}" for entry in summary["classes"].values())
    yield f"Dice pooled over the voxels of all cases: {pooled}"
    yield f"definitions: {summary['set']['name']} ({summary['set']['source']})"
    yield f"--empty {summary['policy']}"
    if any(entry[column]["mean"] is None for entry, column, _ in _numbers(summary, columns)):
        yield "undefined: some cases have no value under these definitions; --empty skip leaves those out"
    hidden = len(set(summary["definitions"]) - set(columns))
    if hidden:
        yield f"{hidden} more metrics: {left_out}"
    if summary["failures"]:
        yield f"failed cases, named on standard error: {len(summary['failures'])}"


def _unit(facts: Mapping[str, Any]) -> str:
    return "" if facts["unit"] == "1" else str(facts["unit"])


def _number(value: float | None, unit: str = "") -> str:
    return "undefined" if value is None else f"{value:.3f} {unit}".strip()
