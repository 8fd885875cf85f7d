"""The table of cases as a file: CSV, or Parquet where pyarrow is installed."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgewise.errors import OutputError
from edgewise.files import atomic, output_folder, write_text
from edgewise.metrics.cases import FIXED, Row, to_csv

FORMATS = (".csv", ".parquet")


def require_table(path: Path) -> None:
    """Fail before the work rather than after it.

    Raises:
        OutputError: the table cannot be written to `path`.
    """
    if path.suffix.lower() not in FORMATS or path.is_dir():
        mend = f"Choose a file that ends in {' or '.join(FORMATS)}; a summary goes beside it."
        raise OutputError(f"cannot write the table {path}. {mend}")
    if path.suffix.lower() == ".parquet" and find_spec("pyarrow") is None:
        mend = "Install it (pip install 'edgewise[parquet]'), or choose a file that ends in .csv."
        raise OutputError(f"cannot write the table {path}: Parquet needs pyarrow. {mend}")
    output_folder(path.parent)


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows; the ending of `path` chooses the format."""
    if path.suffix.lower() == ".csv":
        write_text(path, to_csv(rows))
        return
    import pyarrow
    from pyarrow import parquet

    with atomic(path) as temporary:
        parquet.write_table(pyarrow.table(_columns(rows)), temporary)


def _columns(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Whole columns, with the names and the order of the CSV file."""
    metrics = dict.fromkeys(column for row in rows for column in row.values)
    names = {"class": "class_index"}
    fixed = {column: [getattr(row, names.get(column, column)) for row in rows] for column in FIXED}
    first = {column: fixed.pop(column) for column in FIXED[:3]}
    return first | {column: [row.values.get(column) for row in rows] for column in metrics} | fixed
