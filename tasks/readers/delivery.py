"""What a reader is given and what it hands back, whatever the format of the file."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa
from duckdb import DuckDBPyConnection

from warehouse.errors import SourceError
from warehouse.study import Source

if TYPE_CHECKING:
    from pathlib import Path

# Every landed row carries these beside its delivered columns; a file may not bring its own.
ORIGIN_COLUMNS = ("_source_file", "_source_row", "_source_column", "_sha256", "_loaded_at")

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Piece:
    """One file to read: a file on disk, or one member of a zip file on disk."""

    path: Path
    source_file: str
    member: str | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """One file as a relation of text columns, validated from its first byte to its last.

    `relation` names a temporary table or view of the connection that the reader was given; it holds
    `columns` in the order of delivery (text, empty cells null) and `_source_row` (BIGINT). The matrix
    reader adds `_source_column` (BIGINT) to `columns`. `rows` counts the rows of the relation.
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


Reader: TypeAlias = Callable[[DuckDBPyConnection, Piece, Source], Delivered]


def identifier(name: str) -> str:
    """Quote a name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a text for SQL."""
    return "'" + text.replace("'", "''") + "'"


def create_relation(connection: DuckDBPyConnection, query: str, *, is_lazy: bool = False) -> str:
    """Keep a query as a temporary table or, if `is_lazy`, as a view that reads the file when it is read."""
    # A name is never used twice in a process, so the pieces of a source can stand beside each other.
    name = f"delivered_{next(_numbers)}"
    connection.execute(f"create temp {'view' if is_lazy else 'table'} {name} as {query}")
    return name


def store_rows(
    connection: DuckDBPyConnection,
    columns: Mapping[str, Sequence[str | None]],
    source_rows: Sequence[int],
) -> str:
    """Keep rows read in Python as a temporary table of text columns; empty text becomes null."""
    arrays = [pa.array(values, type=pa.string()) for values in columns.values()]
    rows = pa.table([*arrays, pa.array(source_rows, type=pa.int64())], names=[*columns, "_source_row"])
    incoming = f"incoming_{next(_numbers)}"
    connection.register(incoming, rows)
    try:
        cells = ", ".join(f"nullif({identifier(name)}, '') as {identifier(name)}" for name in columns)
        return create_relation(connection, f"select {cells}, _source_row from {incoming}")
    finally:
        connection.unregister(incoming)


def release(connection: DuckDBPyConnection, delivered: Delivered) -> None:
    """Drop the relation of a piece that has landed."""
    is_view = connection.execute(
        "select count(*) > 0 from duckdb_views() where temporary and view_name = ?", [delivered.relation]
    ).fetchone() == (True,)
    connection.execute(f"drop {'view' if is_view else 'table'} if exists {delivered.relation}")


def check_names(columns: Sequence[str], piece: Piece) -> None:
    """Refuse column names that a table cannot hold side by side."""
    positions: dict[str, list[int]] = {}
    for position, name in enumerate(columns, start=1):
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


def check_declared(columns: Sequence[str], piece: Piece, source: Source) -> None:
    """Refuse a file without a column that the study declares."""
    for declared in source.columns:
        if declared in columns:
            continue
        by_folded = {name.lower(): name for name in columns}
        near = difflib.get_close_matches(declared.lower(), by_folded, n=1)
        hint = f"; did you mean {by_folded[near[0]]!r}?" if near else ""
        raise SourceError(
            f"{piece.source_file}: declared column {declared!r} is missing{hint} "
            f"The file has: {', '.join(map(repr, columns))}"
        )
