"""Stop a query that runs longer, or takes more memory, than the settings allow."""

from __future__ import annotations

import contextlib
import resource
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

AGAIN_AFTER_SECONDS = 0.2


class OverTimeError(RuntimeError):
    """The query was stopped at the time limit."""


@contextlib.contextmanager
def limit_time(connection: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    """Interrupt what the connection runs when the time has passed."""
    done = threading.Event()
    has_expired = threading.Event()

    def watch() -> None:
        if done.wait(seconds):
            return
        has_expired.set()
        # Again, for an interrupt between two statements is forgotten.
        while not done.wait(AGAIN_AFTER_SECONDS):
            connection.interrupt()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    except Exception as error:
        if not has_expired.is_set():
            raise
        raise OverTimeError(
            f"stopped after {seconds:g} s, the limit of time: ask for less, or raise TRIALHOUSE_QUERY_SECONDS"
        ) from error
    finally:
        done.set()
        watcher.join()


@contextlib.contextmanager
def limit_memory(more_bytes: int) -> Iterator[None]:
    """Let this process take so much more memory, where Linux tells how much it has.

    DuckDB's own limit does not count long texts and lists in work; without this the kernel ends the process.
    """
    sizes = Path("/proc/self/statm")
    if not sizes.is_file():
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    allowed = int(sizes.read_text(encoding="ascii").split()[0]) * resource.getpagesize() + more_bytes
    resource.setrlimit(
        resource.RLIMIT_AS, (min([allowed, *(each for each in (soft, hard) if each >= 0)]), hard)
    )
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
