"""Read a table of a lake whole; where a data file is damaged, say which one it is and what to do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from warehouse.errors import LakeError
from warehouse.lake import LAKE
from warehouse.quoting import literal, qualified

if TYPE_CHECKING:
    import polars as pl

_FILE = re.compile(r"""["']([^"'\n]+\.parquet)["']""")


def read_table(
    connection: duckdb.DuckDBPyConnection, study_id: str, table: str, query: str | None = None
) -> pl.DataFrame:
    """Return the rows of a table, or what a query makes of them.

    Raises
    ------
    LakeError
        If they cannot be read; it names the table and, where that can be told, the damaged file.
    """
    try:
        return connection.sql(query or f"from {LAKE}.{qualified(table)}").pl()
    except duckdb.InterruptException:
        raise
    except (duckdb.Error, UnicodeDecodeError) as error:
        raise LakeError(
            f"{study_id}: {table}: {_damage(connection, table, error)}: `trialhouse verify {study_id}` names"
            " everything in the lake that is damaged"
        ) from error


def _damage(connection: duckdb.DuckDBPyConnection, table: str, error: Exception) -> str:
    said = " ".join(str(error).split("\n")[0].split()) or type(error).__name__
    named = _FILE.search(str(error))
    file = named[1] if named else _unreadable(connection, table)
    if file is None:
        return f"its rows cannot be read ({said})"
    place = "/".join(Path(file).parts[-4:])
    if not named or Path(file).is_file():
        return f"the data file {place} is damaged ({said.replace(file, place)})"
    return f"the data file {place} is missing"


def _unreadable(connection: duckdb.DuckDBPyConnection, table: str) -> str | None:
    """Return the first data file of a table that cannot be read: DuckDB does not always name it."""
    schema, _, name = table.partition(".")
    try:
        listed = connection.execute(
            "select data_file from"
            f" ducklake_list_files({literal(LAKE)}, {literal(name)}, schema => {literal(schema)})"
        ).fetchall()
    except duckdb.Error:  # a view, or a connection that the damage has closed
        return None
    for (file,) in listed:
        try:
            connection.execute(f"select * from read_parquet({literal(file)})").fetchall()
        except (duckdb.Error, UnicodeDecodeError):
            return str(file)
    return None
