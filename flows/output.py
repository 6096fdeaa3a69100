"""What the command prints: rows on stdout in the format asked for, messages on stderr."""

from __future__ import annotations

import io
import itertools
import shutil
import sys
from typing import TYPE_CHECKING, Literal

import duckdb
import polars as pl
import pyarrow as pa
from pydantic import ByteSize, TypeAdapter
from rich.console import Console
from rich.table import Table

from tasks.queries import read
from warehouse.errors import LakeError, TrialhouseError
from warehouse.lake import newest_version
from warehouse.query_limit import OverTimeError, limit_memory, limit_time
from warehouse.select_guard import MAX_CHARACTERS, QUERY, RefusedSelectError, check_select
from warehouse.settings import load_settings
from warehouse.study import find_studies, load_study

if TYPE_CHECKING:
    from pathlib import Path

WIDE = 100_000
Format = Literal["table", "csv", "json", "parquet"]
ROWS_AT_A_TIME = 2048  # DuckDB's vector
ROOM = 2**30  # for threads and libraries


class QueryError(TrialhouseError):
    """The query is not one that the lake can answer."""


def say(message: str) -> None:
    print(message, file=sys.stderr)  # noqa: T201


def read_query(file: Path) -> str:
    try:
        with file.open(encoding="utf-8") as opened:
            return opened.read(MAX_CHARACTERS + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise QueryError(f"{file}: the query cannot be read: {error}") from error


def ask(study_id: str, query: str, version: int | None) -> pl.DataFrame:
    """Run one SELECT on the lake, within the limits of time and memory that are set."""
    try:
        check_select(query, QUERY)
    except (RefusedSelectError, duckdb.Error) as error:
        raise QueryError(str(error)) from error
    seconds = load_settings().query_seconds

    def question(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
        try:
            with limit_time(connection, seconds):
                return _answer(connection, query)
        # What fails while the rows come is an OSError of Arrow, with DuckDB's message.
        except (duckdb.Error, OSError, MemoryError, OverTimeError) as error:
            what = str(error)
            if isinstance(error, MemoryError) or what.startswith("Out of Memory Error"):
                reason = what.partition("\n")[0].removeprefix("Out of Memory Error: ")
                what = f"out of memory: {reason}: ask for less, or raise TRIALHOUSE_MEMORY_LIMIT"
            raise QueryError(what) from error
        except (pa.ArrowException, pl.exceptions.PolarsError) as error:
            raise QueryError(
                f"a column of the answer is of a type that cannot be shown: {error}:"
                " cast it to text: column::varchar"
            ) from error

    return read(study_id, question, version)


def _answer(connection: duckdb.DuckDBPyConnection, query: str) -> pl.DataFrame:
    """Fetch the rows in portions: DuckDB's limit of memory does not count what it has handed out."""
    (limit,) = connection.execute("select current_setting('memory_limit')").fetchone() or ("8GB",)
    allowed = TypeAdapter(ByteSize).validate_python(limit)
    portions: list[pa.RecordBatch] = []
    with limit_memory(2 * allowed + ROOM):
        rows = connection.execute(query).to_arrow_reader(ROWS_AT_A_TIME)
        for portion in rows:
            portions.append(portion)
            allowed -= portion.nbytes
            if allowed < 0:
                raise MemoryError(f"the answer is larger than {limit}")
    names: list[str] = []
    for name in rows.schema.names:  # two columns of one name are told apart as DuckDB does: id, id_1
        numbered = (f"{name}_{number}" for number in itertools.count(1))
        names.append(next(new for new in itertools.chain([name], numbered) if new not in names))
    return pl.DataFrame(pa.Table.from_batches(portions, rows.schema).rename_columns(names))


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
