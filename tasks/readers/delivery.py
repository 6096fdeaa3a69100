"""What a reader is given and what it hands back, whatever the format of the file."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa
from duckdb import DuckDBPyConnection

from tasks.readers.limits import MAX_NAME_CHARACTERS, MAX_SAMPLES
from warehouse.errors import SourceError
from warehouse.quoting import identifier
from warehouse.settings import load_settings
from warehouse.study import Source

if TYPE_CHECKING:
    from pathlib import Path

# Every landed row carries these beside its delivered columns; a file may not bring its own.
ORIGIN_COLUMNS = ("_source_file", "_source_row", "_source_column", "_sha256", "_loaded_at")

SHOWN_NAMES = 100

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Piece:
    """One file to read: a file on disk, or one member of a zip file on disk.

    A reader is given a private, decompressed copy, in a folder where it may write what it needs.
    """

    path: Path
    source_file: str
    member: str | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """One file as a relation of text columns, validated from its first byte to its last.

    `relation` names a temporary table or view of the connection that the reader was given; it holds
    `columns` in the order of delivery (text, empty cells null) and `_source_row` (BIGINT). The matrix
    reader adds `_source_column` (BIGINT) to `columns`. `rows` counts the rows of the relation. `sha256` and
    `size` are those of the bytes as delivered.
    """

    source_file: str
    relation: str
    columns: tuple[str, ...]
    rows: int | None = None
    encoding: str | None = None
    separator: str | None = None
    has_bom: bool | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    table_label: str | None = None
    remarks: tuple[str, ...] = ()
    sha256: str = ""
    size: int = 0


Reader: TypeAlias = Callable[[DuckDBPyConnection, Piece, Source], Delivered]


def new_name() -> str:
    """Return a name never used twice, so that the relations of many pieces stand beside each other."""
    return f"delivered_{next(_numbers)}"


def store_rows(
    connection: DuckDBPyConnection,
    columns: Mapping[str, Sequence[str | None]],
    source_rows: Sequence[int],
) -> str:
    """Keep rows read in Python as a temporary table of text columns; empty text becomes null."""
    arrays = [pa.array(values, type=pa.string()) for values in columns.values()]
    rows = pa.table([*arrays, pa.array(source_rows, type=pa.int64())], names=[*columns, "_source_row"])
    relation = new_name()
    incoming = f"{relation}_incoming"
    connection.register(incoming, rows)
    try:
        cells = ", ".join(f"nullif({identifier(name)}, '') as {identifier(name)}" for name in columns)
        connection.execute(f"create temp table {relation} as select {cells}, _source_row from {incoming}")
    finally:
        connection.unregister(incoming)
    return relation


def release(connection: DuckDBPyConnection, delivered: Delivered) -> None:
    """Drop the relation of a piece that has landed, and what it reads from."""
    kind = connection.execute(
        "select table_type from information_schema.tables where table_name = ?", [delivered.relation]
    ).fetchone()
    if kind == ("VIEW",):
        connection.execute(f"drop view {delivered.relation}")
        connection.execute(f"drop table if exists {cells_of(delivered.relation)}")
    elif kind is not None:
        connection.execute(f"drop table {delivered.relation}")


def cells_of(relation: str) -> str:
    """Return the name of the table under a relation that is a view of cells as delivered."""
    return f"{relation}_cells"


def check_names(columns: Sequence[str], piece: Piece) -> None:
    """Refuse column names that a table cannot hold side by side."""
    check_width(len(columns), piece)
    positions: dict[str, list[int]] = {}
    for position, name in enumerate(columns, start=1):
        check_text(name, f"the name of column {position}", piece)
        # SQL does not tell names apart by case, so neither may a file.
        positions.setdefault(name.lower(), []).append(position)
    repeated = [places for places in positions.values() if len(places) > 1]
    if repeated:
        listed = "; ".join(
            f"{' and '.join(repr(columns[place - 1]) for place in places)} in columns "
            f"{', '.join(map(str, places))}"
            for places in repeated
        )
        raise SourceError(
            f"{piece.source_file}: column names stand more than once: {listed}; "
            "each must be unique without regard to case"
        )
    for name in ORIGIN_COLUMNS:
        if name in positions:
            position = positions[name][0]
            raise SourceError(
                f"{piece.source_file}: column {position} is named {columns[position - 1]!r}; "
                f"{', '.join(ORIGIN_COLUMNS)} are added on landing and may not be delivered"
            )


def check_width(columns: int, piece: Piece) -> None:
    """Refuse more columns than a table of the lake is to have."""
    if columns > (allowed := load_settings().max_columns):
        raise SourceError(
            f"{piece.source_file}: {columns} columns, where TRIALHOUSE_MAX_COLUMNS allows {allowed}:"
            " is the separator right, and is it the table that was meant?"
        )


def check_samples(samples: int, piece: Piece) -> None:
    if samples > MAX_SAMPLES:
        raise SourceError(f"{piece.source_file}: {samples} samples; {MAX_SAMPLES} are allowed in one matrix")


def check_text(text: str, what: str, piece: Piece) -> None:
    """Refuse a name or label that the lake cannot keep as it is."""
    if len(text) > MAX_NAME_CHARACTERS:
        raise SourceError(
            f"{piece.source_file}: {what} has {len(text)} characters; {MAX_NAME_CHARACTERS} are allowed"
        )
    if not is_storable(text):
        raise SourceError(
            f"{piece.source_file}: {what}, {text!a}, holds NUL or half a surrogate pair, which is no text"
        )


def is_storable(text: str) -> bool:
    return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text)


def check_declared(columns: Sequence[str], piece: Piece, source: Source) -> None:
    """Refuse a file without a column that the study declares."""
    for declared in source.columns:
        if declared in columns:
            continue
        by_folded = {name.lower(): name for name in columns}
        near = difflib.get_close_matches(declared.lower(), by_folded, n=1)
        hint = f"; did you mean {by_folded[near[0]]!r}?" if near else ""
        # In a file without a header these are the cells of a row, which no message may spread.
        is_header = any(name in columns for name in source.columns)
        has = (
            f"The file has: {', '.join(map(repr, columns[:SHOWN_NAMES]))}"
            f"{' ...' if len(columns) > SHOWN_NAMES else ''}"
            if is_header or hint
            else "The first row of the file has no column that is declared; is it a header?"
        )
        raise SourceError(f"{piece.source_file}: declared column {declared!r} is missing{hint or '.'} {has}")
