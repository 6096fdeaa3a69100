"""Publish a stage: all its tables in one transaction, which is one version of the lake."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import duckdb

from warehouse.catalog import open_catalog
from warehouse.errors import LakeError, LakeMovedOnError
from warehouse.lake import STORE, Store, Writer, as_json, newest_version
from warehouse.lineage import code_version, digest
from warehouse.meta import FORMAT, LEDGERS, VIEWS
from warehouse.quoting import identifier, literal, qualified
from warehouse.seal import seal_version
from warehouse.storage import mark_writing, writing_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from warehouse.catalog import Catalog

SCHEMAS = ("meta", "raw", "staging", "sdtm", "omics", "adam", "results", "reports")
ATTEMPTS = 6
MOST_COLUMNS_IN_CATALOG = 1_500
LONGEST_NAME_IN_CATALOG = 63
RESERVED_IN_CATALOG = frozenset(
    {"row_id", "begin_snapshot", "end_snapshot", "ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", "oid"}
)


@dataclass(frozen=True, slots=True)
class Note:
    """What is written on a version: who, why, and what a program may want to know."""

    author: str
    message: str
    extra: Mapping[str, object] = field(default_factory=dict)


def publish(
    writer: Writer,
    write: Callable[[Store], None],
    note: Note,
    *,
    amend: Callable[[Catalog], None] | None = None,
) -> int:
    """Run `write` and commit as one version, the next after the one that the writer read; return its number.

    Another program's short write can lock the SQLite catalog at the commit: the whole transaction is
    then done again. Nothing is published by an attempt that fails. The lock of the study keeps two writers
    apart; that the newest version is still the one that was read is checked all the same, within the
    transaction, for a lock can be lost. `amend` may change the catalog itself before it is sealed.

    Raises
    ------
    LakeMovedOnError
        If another writer published meanwhile: what was made is of an older version.
    LakeError
        If the catalog stays locked.
    """
    lake = writer.lake
    with mark_writing(lake):
        _commit_with_patience(writer, write, note)
        with open_catalog(lake, is_writable=True) as catalog:
            if amend is not None:
                amend(catalog)
            seal_version(lake, catalog, writer.version + 1)
    return writer.version + 1


def _commit_with_patience(writer: Writer, write: Callable[[Store], None], note: Note) -> None:
    for attempt in range(ATTEMPTS):
        try:
            with writer.open_store() as store:
                _commit(writer, store, write, note)
        except duckdb.Error as error:
            if not any(word in str(error) for word in ("locked", "retry count", "conflict")):
                raise
            if attempt + 1 == ATTEMPTS:
                raise LakeError(
                    f"{writer.lake.study_id}: nothing was published: another process uses the catalog:"
                    f" run again: {error}"
                ) from error
            time.sleep(0.1 * 2**attempt)
            continue
        return


def _commit(writer: Writer, store: Store, write: Callable[[Store], None], note: Note) -> None:
    connection = store.connection
    connection.execute("begin transaction")
    try:
        _refuse_moved(writer, newest_version(connection, STORE))
        _prepare(connection)
        write(store)
        connection.execute(
            f"call {STORE}.set_commit_message(?, ?, extra_info => ?)",
            [note.author, note.message, as_json(note.extra)],
        )
        _refuse_swept(writer)
        connection.execute("commit")
    except BaseException:
        _roll_back(connection)
        raise


def _refuse_moved(writer: Writer, newest: int) -> None:
    if newest != writer.version:
        raise LakeMovedOnError(
            f"{writer.lake.study_id}: nothing was published: another process published version {newest}"
            f" after this one had read version {writer.version}: run again"
        )


def _refuse_swept(writer: Writer) -> None:
    """Refuse to commit files that another writer, to whom our lock was lost, has taken for leftovers."""
    if not writing_file(writer.lake).exists():
        raise LakeMovedOnError(
            f"{writer.lake.study_id}: nothing was published: another process took over the lake while this"
            " one was writing: run again"
        )


def _roll_back(connection: duckdb.DuckDBPyConnection) -> None:
    try:
        connection.execute("rollback")
    except duckdb.Error:  # the failure ended the transaction already
        return


def _prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """Make what every lake has; only the first version of a lake finds anything to do."""
    present = connection.execute(
        "select 1 from duckdb_tables() where database_name = ? and schema_name = 'meta' limit 1", [STORE]
    ).fetchone()
    if present:
        make_views(connection)
        return
    for schema in SCHEMAS:
        connection.execute(f"create schema if not exists {STORE}.{schema}")
    for name in LEDGERS:
        make_ledger(connection, name)
    record_format(connection, version=1, change="a new lake")
    make_views(connection)


def make_ledger(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    ledger = LEDGERS[name]
    table = qualified(f"{STORE}.meta.{name}")
    columns = ", ".join(f"{identifier(column)} {kind}" for column, (kind, _) in ledger.columns.items())
    connection.execute(f"create table {table} ({columns})")
    describe(
        connection, table, ledger.comment, {column: text for column, (_, text) in ledger.columns.items()}
    )


def make_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the views whose definition differs from that of today: a corrected one reaches every lake."""
    present = dict(
        connection.execute(
            "select view_name, comment from duckdb_views() where database_name = ? and schema_name = 'meta'",
            [STORE],
        ).fetchall()
    )
    for name, select in VIEWS.items():
        definition = f"definition {digest(select)}"
        if present.get(name) != definition:
            connection.execute(f"use {STORE}")
            connection.execute(f"create or replace view meta.{identifier(name)} as {select}")
            connection.execute("use memory")
            connection.execute(f"comment on view {STORE}.meta.{identifier(name)} is {literal(definition)}")


def record_format(
    connection: duckdb.DuckDBPyConnection, *, version: int, change: str, number: int = FORMAT
) -> None:
    """Write down the shape that a lake has from this version on, and what wrote it."""
    row = {
        "format": number,
        "version": version,
        "change": change,
        "code_version": code_version(),
        "duckdb_version": duckdb.__version__,
        "changed_at": datetime.now(UTC).replace(tzinfo=None),
    }
    append(Store(connection), "format", [row])


def replace(
    store: Store,
    table: str,
    comment: str | None,
    columns: Mapping[str, str],
) -> None:
    """Replace a table of the lake by the workbench's table of that name, with its comments."""
    connection = store.connection
    target = qualified(f"{STORE}.{table}")
    made = (store.source or connection).execute(f"describe {qualified(f'memory.{table}')}").fetchall()
    keep_out_of_catalog(connection, [name for name, *_ in made])
    with store.bring(table) as relation:
        connection.execute(f"create or replace table {target} as from {relation}")
    _refuse_loss(store, table, target)
    present = {name for name, *_ in connection.execute(f"describe {target}").fetchall()}
    describe(
        connection,
        target,
        comment,
        {name: text for name, text in columns.items() if name in present},
    )


def _refuse_loss(store: Store, table: str, target: str) -> None:
    if store.source is None:
        return
    made, written = (
        connection.execute(f"select count(*) from {relation}").fetchone()
        for connection, relation in (
            (store.source, qualified(f"memory.{table}")),
            (store.connection, target),
        )
    )
    if made != written:
        raise LakeError(f"{table}: {written} rows were written of {made}: nothing was published: run again")


def keep_out_of_catalog(connection: duckdb.DuckDBPyConnection, columns: Sequence[str]) -> None:
    """Let a lake keep even a few rows in files, if the catalog could not hold columns of such names."""
    if _is_only_fit_for_files(columns):
        connection.execute(f"call {STORE}.set_option('data_inlining_row_limit', '0')")


def _is_only_fit_for_files(columns: Sequence[str]) -> bool:
    """Tell whether the catalog could not hold a few rows of such columns in a table of its own.

    DuckLake, SQLite and PostgreSQL keep some names for themselves there, cut long ones, allow fewer columns.
    """
    return len(columns) > MOST_COLUMNS_IN_CATALOG or any(
        column.lower() in RESERVED_IN_CATALOG or len(column.encode()) > LONGEST_NAME_IN_CATALOG
        for column in columns
    )


def append(store: Store, name: str, rows: Iterable[Mapping[str, object]]) -> None:
    """Append rows to a ledger of `meta`."""
    rows = list(rows)
    if not rows:
        return
    frame = LEDGERS[name].frame(rows)
    store.connection.register("ledger_rows", frame)
    store.connection.execute(
        f"insert into {qualified(f'{STORE}.meta.{name}')} by name select * from ledger_rows"
    )
    store.connection.unregister("ledger_rows")


def describe(
    connection: duckdb.DuckDBPyConnection, table: str, comment: str | None, columns: Mapping[str, str]
) -> None:
    """Write the comments that make `describe` explain a table in any SQL client."""
    if comment:
        connection.execute(f"comment on table {table} is {literal(comment)}")
    for column, text in columns.items():
        connection.execute(f"comment on column {table}.{identifier(column)} is {literal(text)}")
