"""Publish a stage: all its tables in one transaction, which is one version of the lake."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import duckdb

from warehouse.errors import LakeError
from warehouse.lake import LAKE, Lake, as_json, newest_version
from warehouse.meta import LEDGERS, VIEWS
from warehouse.quoting import identifier, literal, qualified

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

SCHEMAS = ("meta", "raw", "staging", "sdtm", "omics", "adam", "results", "reports")
ATTEMPTS = 6


@dataclass(frozen=True, slots=True)
class Note:
    """What is written on a version: who, why, and what a program may want to know."""

    author: str
    message: str
    extra: Mapping[str, object] = field(default_factory=dict)


def publish(
    lake: Lake,
    connection: duckdb.DuckDBPyConnection,
    write: Callable[[duckdb.DuckDBPyConnection], None],
    note: Note,
) -> int:
    """Run `write` and commit as one version; return its number.

    Another program's short write can lock the SQLite catalog at the commit: the whole transaction is
    then done again. Nothing is published by an attempt that fails.

    Raises
    ------
    LakeError
        If the catalog stays locked, or another writer published to the same tables meanwhile.
    """
    for attempt in range(ATTEMPTS):
        connection.execute("begin transaction")
        try:
            with lake.unfinished():
                _prepare(connection)
                write(connection)
                connection.execute(
                    f"call {LAKE}.set_commit_message(?, ?, extra_info => ?)",
                    [note.author, note.message, as_json(note.extra)],
                )
                connection.execute("commit")
        except BaseException as error:
            _roll_back(connection)
            if not isinstance(error, duckdb.Error):
                raise
            if "locked" in str(error) and attempt + 1 < ATTEMPTS:
                time.sleep(0.1 * 2**attempt)
                continue
            if "locked" in str(error) or "conflict" in str(error).lower():
                raise LakeError(
                    f"{lake.study_id}: nothing was published: another writer was at the lake: {error}"
                ) from error
            raise
        return newest_version(connection)
    raise AssertionError  # pragma: no cover - the loop returns or raises


def _roll_back(connection: duckdb.DuckDBPyConnection) -> None:
    try:
        connection.execute("rollback")
    except duckdb.Error:  # the failure ended the transaction already
        return


def _prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """Make what every lake has; only the first version of a lake finds anything to do."""
    present = connection.execute(
        "select 1 from duckdb_tables() where database_name = ? and schema_name = 'meta' limit 1", [LAKE]
    ).fetchone()
    if present:
        return
    for schema in SCHEMAS:
        connection.execute(f"create schema if not exists {LAKE}.{schema}")
    for name, ledger in LEDGERS.items():
        table = f"{LAKE}.meta.{name}"
        columns = ", ".join(f"{identifier(column)} {kind}" for column, (kind, _) in ledger.columns.items())
        connection.execute(f"create table {table} ({columns})")
        describe(
            connection, table, ledger.comment, {column: text for column, (_, text) in ledger.columns.items()}
        )
    connection.execute(f"use {LAKE}")
    for name, select in VIEWS.items():
        connection.execute(f"create view meta.{name} as {select}")
    connection.execute("use memory")


def replace(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    relation: str,
    comment: str | None,
    columns: Mapping[str, str],
) -> None:
    """Replace a table of the lake by a relation of this connection, with its comments."""
    target = qualified(f"{LAKE}.{table}")
    connection.execute(f"create or replace table {target} as from {relation}")
    present = {name for name, *_ in connection.execute(f"describe {target}").fetchall()}
    describe(
        connection,
        target,
        comment,
        {name: text for name, text in columns.items() if name in present},
    )


def append(connection: duckdb.DuckDBPyConnection, name: str, rows: Iterable[Mapping[str, object]]) -> None:
    """Append rows to a ledger of `meta`."""
    rows = list(rows)
    if not rows:
        return
    frame = LEDGERS[name].frame(rows)
    connection.register("ledger_rows", frame)
    connection.execute(f"insert into {LAKE}.meta.{name} by name select * from ledger_rows")
    connection.unregister("ledger_rows")


def describe(
    connection: duckdb.DuckDBPyConnection, table: str, comment: str | None, columns: Mapping[str, str]
) -> None:
    """Write the comments that make `describe` explain a table in any SQL client."""
    if comment:
        connection.execute(f"comment on table {table} is {literal(comment)}")
    for column, text in columns.items():
        connection.execute(f"comment on column {table}.{identifier(column)} is {literal(text)}")
