"""The lock of a study: one writer at a time, whichever process, home or machine it works from."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import socket
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import duckdb

from warehouse.connection import connect_scanner
from warehouse.errors import LakeError
from warehouse.quoting import literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TextIO

    from warehouse.lake import Lake

PAUSE_SECONDS = 0.2


@contextlib.contextmanager
def hold_lock(lake: Lake) -> Iterator[None]:
    """Hold the study's lock; the kernel, or the catalog's server, frees it if we are killed.

    Raises
    ------
    LakeError
        If another writer still holds it after the time that the settings allow; it says who.
    """
    with _hold_file(lake):
        if lake.is_sqlite:
            yield
        else:
            with _hold_in_catalog(lake):
                yield


@contextlib.contextmanager
def _hold_file(lake: Lake) -> Iterator[None]:
    with (lake.folder / "lock").open("a+", encoding="utf-8") as file:
        _wait(lake, lambda: _try_file(file), lambda: _read_holder(file))
        file.seek(0)
        file.truncate()
        file.write(json.dumps({"holder": _describe_self(lake), "since": _now()}))
        file.flush()
        yield
        file.seek(0)
        file.truncate()


def _try_file(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_holder(file: TextIO) -> str | None:
    file.seek(0)
    try:
        said = json.loads(file.read())
        return f"{said['holder']}, since {said['since']}"
    except (ValueError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def _hold_in_catalog(lake: Lake) -> Iterator[None]:
    """Hold an advisory lock of PostgreSQL: it holds for every home and machine that uses this catalog."""
    key = int.from_bytes(
        hashlib.sha256(f"trialhouse lake {lake.study_id}".encode()).digest()[:8], signed=True
    )
    connection = connect_scanner(lake.settings)
    try:
        try:
            connection.execute(f"attach {literal(lake.settings.postgres)} as locks (type postgres)")
            connection.execute("begin")
            name = literal(_describe_self(lake)[:63])
            _ask(connection, f"select set_config('application_name', {name}, true)")
        except duckdb.Error as error:
            raise LakeError(f"the lake of {lake.study_id} cannot be opened: {error}") from error
        _wait(
            lake,
            lambda: _ask(connection, f"select pg_try_advisory_xact_lock({key})") == [(True,)],
            lambda: _ask_holder(connection, key),
        )
        yield
    finally:
        # Ended before it is closed: DuckDB aborts the process if the connection to the server was lost.
        with contextlib.suppress(duckdb.Error):
            connection.execute("rollback")
        connection.close()


def _ask(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[object, ...]]:
    return connection.execute("from postgres_query('locks', ?)", [query]).fetchall()


def _ask_holder(connection: duckdb.DuckDBPyConnection, key: int) -> str | None:
    rows = _ask(
        connection,
        f"""
        select application_name, xact_start::text from pg_locks join pg_stat_activity using (pid)
        where locktype = 'advisory' and granted
            and classid::bigint = {(key >> 32) & 0xFFFFFFFF} and objid::bigint = {key & 0xFFFFFFFF}
        """,
    )
    return f"{rows[0][0]}, since {rows[0][1]}" if rows else None


def _wait(lake: Lake, attempt: Callable[[], bool], read_holder: Callable[[], str | None]) -> None:
    deadline = time.monotonic() + lake.settings.lock_wait_seconds
    while not attempt():
        if time.monotonic() >= deadline:
            holder = read_holder() or "another run"
            raise LakeError(
                f"the lake of {lake.study_id} is busy: {holder} holds its lock, and"
                f" {lake.settings.lock_wait_seconds:.0f} s have passed: wait for it to end, or allow more"
                " time with TRIALHOUSE_LOCK_WAIT_SECONDS"
            )
        time.sleep(PAUSE_SECONDS)


def _describe_self(lake: Lake) -> str:
    return f"{lake.settings.author} on {socket.gethostname()}, process {os.getpid()}"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
