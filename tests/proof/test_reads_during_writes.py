"""A thousand reads during writes of another process: no error, always a whole version."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from warehouse.lake import Lake, Store, open_lake
from warehouse.publish import Note, publish, replace
from warehouse.seal import refuse_damage

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event
    from pathlib import Path

    import duckdb

pytestmark = pytest.mark.proof

OPENINGS, READS_EACH = 100, 10
# One table is large enough for a Parquet file, one so small that DuckLake keeps it in the catalog.
ROWS = {"sdtm.large": 5000, "sdtm.small": 3}
READ = " union all ".join(f"select '{table}', min(v), max(v), count(*) from lake.{table}" for table in ROWS)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a series of reads found."""

    values: tuple[int, ...]
    while_publishing: int
    seconds: float


def put(lake: Lake, value: int) -> None:
    """Publish tables that must always agree."""
    with lake.write() as writer:
        writer.connection.execute("create schema if not exists sdtm")
        for table, rows in ROWS.items():
            writer.connection.execute(
                f"create or replace table {table} as select {value} as v from range({rows})"
            )

        def write(store: Store) -> None:
            for table in ROWS:
                replace(store, table, None, {})

        publish(writer, write, Note("proof", f"value {value}", {"tables": list(ROWS)}))


def value_of(connection: duckdb.DuckDBPyConnection) -> int:
    """Read all tables, and refuse what no single version ever held."""
    found = connection.execute(READ).fetchall()
    values = {value for _, low, high, _ in found for value in (low, high)}
    assert len(values) == 1, found
    assert {table: count for table, _, _, count in found} == ROWS, found
    return int(values.pop())


def write_until(home: str, done: Event) -> int:
    os.environ["TRIALHOUSE_HOME"] = home
    lake = open_lake("study_a")
    value = 0
    while not done.is_set():
        value += 1
        put(lake, value)
    return value


def read_often(lake: Lake, marker: Path) -> Seen:
    """Open the lake as `trialhouse sql` does, and read some more before closing, as a notebook does."""
    started = time.monotonic()
    values, publishing = [], 0
    for _ in range(OPENINGS):
        with lake.read() as connection:
            for _ in range(READS_EACH):
                publishing += marker.exists()
                values.append(value_of(connection))
    return Seen(tuple(values), publishing, time.monotonic() - started)


def test_a_thousand_reads_during_writes_see_whole_versions(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = open_lake("study_a")
    put(lake, 0)
    spawn = multiprocessing.get_context("spawn")
    with spawn.Manager() as manager, spawn.Pool(1) as pool:
        done = manager.Event()
        writing = pool.apply_async(write_until, (str(home), done))
        seen = read_often(lake, lake.folder / "writing")
        done.set()
        published = writing.get(timeout=120)
    refuse_damage(lake)
    assert len(seen.values) == OPENINGS * READS_EACH
    assert list(seen.values) == sorted(seen.values), "a reader went back to an older version"
    versions_seen = Counter(seen.values)
    assert len(versions_seen) > OPENINGS // 10, "too little was published while reading"
    with capsys.disabled():
        print(  # noqa: T201 - the figures are what the proof is for
            f"\n{len(seen.values)} reads in {OPENINGS} openings and {seen.seconds:.1f} s, no error;"
            f" {published} versions published meanwhile, {len(versions_seen)} of them read;"
            f" {seen.while_publishing} reads began while publishing"
        )
