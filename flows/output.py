"""What the command prints: rows on stdout in the format asked for, messages on stderr."""

from __future__ import annotations

import io
import shutil
import sys
from typing import TYPE_CHECKING

import duckdb
import polars as pl
from rich.console import Console
from rich.table import Table

from tasks.queries import read
from warehouse.errors import LakeError, TrialhouseError
from warehouse.lake import newest_version
from warehouse.settings import load_settings
from warehouse.study import find_studies, load_study

if TYPE_CHECKING:
    from pathlib import Path

WIDE = 100_000


class QueryError(TrialhouseError):
    """The query is not one that the lake can answer."""


def say(message: str) -> None:
    print(message, file=sys.stderr)  # noqa: T201


def read_query(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise QueryError(f"{file}: the query cannot be read: {error}") from error


def ask(study_id: str, query: str, version: int | None) -> pl.DataFrame:
    """Run a query on the lake, read-only."""

    def question(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
        try:
            relation = connection.sql(query)
            if relation is None:
                raise QueryError("the query gives no rows: a SELECT is expected")
            return relation.pl()
        except duckdb.Error as error:
            raise QueryError(str(error)) from error

    return read(study_id, question, version)


def show(frame: pl.DataFrame, form: str) -> None:
    """Print rows on stdout."""
    if form == "csv":
        sys.stdout.write(frame.write_csv())
    elif form == "json":
        sys.stdout.write(frame.write_json() + "\n")
    elif form == "parquet":
        buffer = io.BytesIO()
        frame.write_parquet(buffer)
        sys.stdout.buffer.write(buffer.getvalue())
    else:
        _show_table(frame)


def list_studies() -> pl.DataFrame:
    rows = []
    for folder in find_studies():
        study = load_study(folder)
        load_settings()  # a wrong setting is an error here, too, and not a study without a version
        try:
            version: int | None = read(study.id, newest_version)
        except LakeError:  # no run yet
            version = None
        rows.append({"study": study.id, "version": version, "title": study.study.title})
    return pl.DataFrame(rows, schema={"study": pl.String, "version": pl.Int64, "title": pl.String})


def _show_table(frame: pl.DataFrame) -> None:
    # Into a file or a pipe nothing is cut or folded.
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, kind in frame.schema.items():
        table.add_column(name, justify="right" if kind.is_numeric() else "left", overflow="fold")
    for row in frame.iter_rows():
        table.add_row(*(_cell(value) for value in row))
    text = io.StringIO()
    Console(file=text, width=width, highlight=False, markup=False, no_color=True).print(table)
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)
