"""Land one CSV file in a new lake, by the steps of `trialhouse ingest` or by DuckDB's own reader alone."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tasks import landing
from tasks.preparation import prepare
from tasks.stage import new_run, open_stage
from warehouse.connection import connect
from warehouse.lake import LAKE, newest_version
from warehouse.settings import load_settings

if TYPE_CHECKING:
    import duckdb

SOURCE = "laboratory"
STUDY_TOML = f"""
[study]
id = "landing"
title = "Simulated: one large laboratory export"
simulated = true
data_root = "."

[design]
kind = "single-arm"

[sources.{SOURCE}]
path = "{SOURCE}.csv"
format = "csv"
"""


def by_ingest(folder: Path) -> int:
    """Find, hash, read, check and publish the file, with where each row came from."""
    prepared = prepare(str(folder))
    with open_stage("ingest", prepared.study, new_run({})) as stage:
        landed = landing.landed_files(stage.connection, stage.input_version)
        for delivery in landing.find_deliveries(stage.study, prepared.root(None), landed):
            landing.land_source(stage, delivery)
        done = stage.publish("landed")
        with stage.lake.read() as connection:
            return _rows(connection, done.version)


def by_duckdb(folder: Path) -> int:
    """Read the same file into the same kind of lake, every value as text, and nothing else."""
    lake = load_settings().home
    lake.mkdir(parents=True)
    connection = connect(load_settings(), spill=lake)
    connection.execute(
        f"attach 'ducklake:sqlite:{lake / 'catalog.sqlite'}' as {LAKE}"
        f" (data_path '{lake / 'data'}/', meta_journal_mode 'WAL')"
    )
    connection.execute(f"create schema {LAKE}.raw")
    connection.execute(
        f"create table {LAKE}.raw.{SOURCE} as"
        f" select * from read_csv('{folder / SOURCE}.csv', all_varchar = true)"
    )
    return _rows(connection, newest_version(connection))


def _rows(connection: duckdb.DuckDBPyConnection, version: int) -> int:
    (rows,) = connection.execute(
        f"select count(*) from {LAKE}.raw.{SOURCE} at (version => {version})"
    ).fetchone() or (0,)
    return int(rows)


def main() -> None:
    side, folder = sys.argv[1:]
    land = {"ingest": by_ingest, "duckdb": by_duckdb}[side]
    started = time.monotonic()
    cpu = time.process_time()
    rows = land(Path(folder))
    print(json.dumps({"rows": rows, "seconds": time.monotonic() - started, "cpu": time.process_time() - cpu}))


if __name__ == "__main__":
    main()
