"""What the command prints: rows on stdout in the format asked for, messages on stderr."""

from __future__ import annotations

import codecs
import contextlib
import io
import itertools
import json
import os
import re
import shutil
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

import duckdb
import polars as pl
import pyarrow as pa
from pydantic import ByteSize, TypeAdapter
from rich.console import Console
from rich.table import Table

from flows.answers import as_frame
from tasks.formulas import escape_formulas
from tasks.queries import read
from warehouse.errors import LakeError, NoLakeError, TrialhouseError
from warehouse.lake import newest_version
from warehouse.query_limit import OverTimeError, limit_memory, limit_time
from warehouse.select_guard import MAX_CHARACTERS, QUERY, RefusedSelectError, check_select
from warehouse.settings import load_settings
from warehouse.study import find_studies, load_study

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TextIO

WIDE = 100_000
Format = Literal["table", "csv", "json", "parquet"]
ROWS_AT_A_TIME = 2048  # DuckDB's vector
ROOM = 2**30  # for threads and libraries
# What moves the cursor, hides or reorders text: controls, line separators, marks of right-to-left text.
UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


class QueryError(TrialhouseError):
    """The query is not one that the lake can answer."""


def prepare_streams() -> None:
    """Make the standard streams such that printing a message or a value never fails for its letters."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file opened would get its number, and be written into
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - for the whole process
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=LEGIBLE)


@contextlib.contextmanager
def _stdout() -> Iterator[TextIO]:
    """Write results; where stdout is full, or has no reader any more, what is left goes nowhere."""
    try:
        yield sys.stdout
        sys.stdout.flush()
    except OSError as error:
        error.filename = "standard output"
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def tell(result: object) -> None:
    """Print a result, such as the path of what was written, on stdout."""
    with _stdout() as stdout:
        stdout.write(f"{result}\n")


def say(message: str) -> None:
    """Tell a person something on stderr; nothing there can be done about a terminal that is gone."""
    with contextlib.suppress(OSError, ValueError):
        print(legible_lines(message), file=sys.stderr)  # noqa: T201


def legible(text: str) -> str:
    """Show what a terminal would obey, such as the escape sequences of colours, as a code."""
    return UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)


def legible_lines(text: str) -> str:
    return "\n".join(map(legible, text.split("\n")))


def _encode_legibly(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write the bytes of a path as they are, and a letter that the terminal does not have as a code."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


LEGIBLE = "trialhouse-legible"
codecs.register_error(LEGIBLE, _encode_legibly)


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
            # The plan is within the limits, too: DuckDB computes what is constant when it makes it.
            more = 2 * _memory_limit(connection) + ROOM
            with limit_time(connection, seconds), limit_memory(more):
                return as_frame(connection.sql(query), lambda relation: _fetch(connection, relation))
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


def _fetch(connection: duckdb.DuckDBPyConnection, relation: duckdb.DuckDBPyRelation) -> pl.DataFrame:
    """Fetch the rows in portions: DuckDB's limit of memory does not count what it has handed out."""
    limit = allowed = _memory_limit(connection)
    portions: list[pa.RecordBatch] = []
    rows = relation.to_arrow_reader(ROWS_AT_A_TIME)
    for portion in rows:
        portions.append(portion)
        allowed -= portion.nbytes
        if allowed < 0:
            raise MemoryError(f"the answer is larger than {ByteSize(limit).human_readable()}")
    names: list[str] = []
    for name in rows.schema.names:  # two columns of one name are told apart as DuckDB does: id, id_1
        numbered = (f"{name}_{number}" for number in itertools.count(1))
        names.append(next(new for new in itertools.chain([name], numbered) if new not in names))
    return pl.DataFrame(pa.Table.from_batches(portions, rows.schema).rename_columns(names))


def _memory_limit(connection: duckdb.DuckDBPyConnection) -> int:
    (limit,) = connection.execute("select current_setting('memory_limit')").fetchone() or ("8GB",)
    return int(TypeAdapter(ByteSize).validate_python(limit))


def show(frame: pl.DataFrame, form: str, *, is_escaped: bool = False) -> None:
    """Print rows on stdout; text for programs is UTF-8 wherever it is printed."""
    if form == "csv":
        flat = _flatten(frame)
        _write((escape_formulas(flat) if is_escaped else flat).write_csv())
    elif form == "json":
        _write(_flatten_bytes(frame).write_json() + "\n")
    elif form == "parquet":
        buffer = io.BytesIO()
        frame.write_parquet(buffer)
        with _stdout() as stdout:
            stdout.buffer.write(buffer.getvalue())
    else:
        _show_table(_flatten(frame))


def list_studies() -> tuple[pl.DataFrame, list[TrialhouseError]]:
    """Return the studies of the house with their newest versions, and what keeps others from being listed."""
    rows: list[dict[str, object]] = []
    problems: list[TrialhouseError] = []
    load_settings()  # a wrong setting is an error here, too, and not a study without a version
    for folder in find_studies():
        try:
            study = load_study(folder)
        except TrialhouseError as error:
            problems.append(error)
            continue
        version: int | None = None
        try:
            version = read(study.id, newest_version)
        except NoLakeError:
            pass
        except (TrialhouseError, duckdb.Error, OSError) as error:
            problems.append(LakeError(f"the lake of {study.id} cannot be read: {error}"))
        rows.append({"study": study.id, "version": version, "title": study.study.title})
    return pl.DataFrame(rows, schema={"study": pl.String, "version": pl.Int64, "title": pl.String}), problems


def _write(text: str) -> None:
    with _stdout() as stdout:
        if stdout.isatty():
            stdout.writelines(f"{legible(line)}\n" for line in text.splitlines())
        else:
            stdout.buffer.write(text.encode())


def _flatten(frame: pl.DataFrame) -> pl.DataFrame:
    """Return lists and structs as JSON, as one cell can hold them."""
    flat = _flatten_bytes(frame)
    nested = [name for name, kind in flat.schema.items() if kind.is_nested()]
    return flat.with_columns(
        pl.Series(name, map(_as_json, flat[name].to_list()), pl.String) for name in nested
    )


def _flatten_bytes(frame: pl.DataFrame) -> pl.DataFrame:
    r"""Return bytes as DuckDB writes them: the letters of ASCII, and the others as \xAB."""
    blobs = [name for name, kind in frame.schema.items() if kind == pl.Binary]
    return frame.with_columns(pl.Series(name, map(_as_letters, frame[name]), pl.String) for name in blobs)


def _as_json(value: object) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, default=str)


def _as_letters(value: bytes | None) -> str | None:
    if value is None:
        return None
    return "".join(chr(one) if 32 <= one < 127 and one != 92 else f"\\x{one:02X}" for one in value)  # noqa: PLR2004


def _show_table(frame: pl.DataFrame) -> None:
    # Into a file or a pipe nothing is cut or folded.
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, kind in frame.schema.items():
        table.add_column(legible(name), justify="right" if kind.is_numeric() else "left", overflow="fold")
    for row in frame.iter_rows():
        table.add_row(*(_cell(value) for value in row))
    text = io.StringIO()
    Console(file=text, width=width, highlight=False, markup=False, no_color=True).print(table)
    with _stdout() as stdout:
        stdout.writelines(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Decimal):
        return f"{value:f}"
    return legible(str(value))
