"""Bring a lake of an older shape to today's: a numbered SQL file for each change of the ledgers."""

from __future__ import annotations

import contextlib
import sqlite3
from datetime import UTC, datetime
from importlib import resources
from typing import TYPE_CHECKING

import duckdb

from warehouse.catalog import open_catalog
from warehouse.connection import sweep_spilled
from warehouse.errors import LakeError, LakeFormatError
from warehouse.lake import STORE, as_json, newest_version, read_format
from warehouse.lineage import code_version
from warehouse.locking import hold_lock
from warehouse.meta import FORMAT
from warehouse.publish import append, make_views, record_format
from warehouse.quoting import identifier
from warehouse.seal import copy_catalog, is_interrupted, seal_interrupted, seal_version
from warehouse.storage import claim_storage, mark_writing, remove_orphans

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from warehouse.lake import Lake, Store


def read_migrations() -> Mapping[int, tuple[str, str]]:
    """Return name and SQL of each migration by the format that it makes."""
    return {
        int(file.name[:4]): (file.name.removesuffix(".sql"), file.read_text(encoding="utf-8"))
        for file in resources.files("warehouse.migrations").iterdir()
        if file.name.endswith(".sql")
    }


def upgrade(lake: Lake) -> list[str]:
    """Bring the lake to today's format, a version for each step; return what was done.

    The catalog is backed up before. A step that fails, or is killed, leaves the lake as it was before it.

    Raises
    ------
    LakeError
        If there is no lake, or a newer trialhouse wrote it.
    """
    lake.require()
    lake.scratch.mkdir(parents=True, exist_ok=True)
    done: list[str] = []
    with hold_lock(lake):
        sweep_spilled(lake.scratch)
        is_other_ducklake = _is_older_ducklake(lake)
        if is_other_ducklake:
            done.append(f"the catalog as it was is kept in {back_up_catalog(lake, 'older-ducklake')}")
        with lake.open_store(may_migrate=is_other_ducklake) as store:
            found = read_format(store.connection, STORE)
            newest = newest_version(store.connection, STORE)
        if found > FORMAT:
            raise LakeFormatError(
                f"the lake of {lake.study_id} has format {found}, made by a newer trialhouse, and this one"
                f" knows formats up to {FORMAT}: install the newer one"
            )
        if not newest:
            return done
        with open_catalog(lake, is_writable=True) as catalog:
            if is_interrupted(lake, catalog):
                claim_storage(lake, catalog)
                seal_interrupted(lake, catalog)
                done.append(f"version {newest}: sealed, which an upgrade that was killed left to do")
        if found < FORMAT and not is_other_ducklake:
            done.append(f"the catalog as it was is kept in {back_up_catalog(lake, f'format-{found}')}")
        for number, (name, sql) in sorted(read_migrations().items()):
            if number > found:
                version = _run(lake, number, name, sql)
                done.append(f"version {version}: format {number}: {name[5:].replace('_', ' ')}")
    return done


def _is_older_ducklake(lake: Lake) -> bool:
    try:
        with lake.open_store():
            return False
    except LakeFormatError as error:
        if "trialhouse upgrade" in str(error):
            return True
        raise


def _run(lake: Lake, number: int, name: str, sql: str) -> int:
    with lake.open_store() as store, open_catalog(lake, is_writable=True) as catalog:
        claim_storage(lake, catalog)
        remove_orphans(lake, store.connection)
        connection = store.connection
        version = newest_version(connection, STORE) + 1
        with mark_writing(lake):
            connection.execute("begin transaction")
            try:
                connection.execute(sql)
                record_format(connection, version=version, change=name, number=number)
                make_views(connection)
                note = f"upgraded to format {number}: {name[5:].replace('_', ' ')}"
                _record_run(lake, store, version, note)
                connection.execute("commit")
            except duckdb.Error as error:
                connection.execute("rollback")
                raise LakeError(
                    f"{lake.study_id}: the upgrade to format {number} failed, the lake is as it was: {error}"
                ) from error
            seal_version(lake, catalog, version, note)
    return version


def _record_run(lake: Lake, store: Store, version: int, note: str) -> None:
    now = datetime.now(UTC).replace(tzinfo=None)
    extra = {
        "run_id": f"{now:%Y%m%dT%H%M%S}-upgrade",
        "stage": "upgrade",
        "status": "published",
        "input_version": version - 1,
        "code_version": code_version(),
    }
    row = {**extra, "version": version, "author": lake.settings.author, "message": note}
    append(store, "run", [{**row, "started_at": now, "finished_at": now}])
    store.connection.execute(
        f"call {STORE}.set_commit_message(?, ?, extra_info => ?)",
        [lake.settings.author, note, as_json(extra)],
    )


def back_up_catalog(lake: Lake, name: str) -> Path:
    """Keep every table of the catalog in one SQLite file beside the lake."""
    file = lake.folder / f"catalog.{name}.sqlite"
    if lake.is_sqlite:
        copy_catalog(lake, file)
        return file
    unfinished = file.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    # No DuckDB has this file open, so Python's SQLite may write it.
    with open_catalog(lake) as catalog, contextlib.closing(sqlite3.connect(unfinished)) as kept, kept:
        for table, columns in catalog.list_columns().items():
            kept.execute(f"create table {identifier(table)} ({', '.join(map(identifier, columns))})")
            kept.executemany(
                f"insert into {identifier(table)} values ({', '.join('?' * len(columns))})",
                [
                    [value if isinstance(value, int | None) else str(value) for value in row]
                    for row in catalog.read(table, *columns)
                ],
            )
    unfinished.replace(file)
    return file
