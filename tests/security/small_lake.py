"""A small lake with all that a lake has: versions, ledgers, files, rows in the catalog, seals."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from warehouse.lineage import code_version, content_of, content_of_load
from warehouse.publish import Note, append, publish, replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from warehouse.lake import Lake, Store

LANDED = datetime(2026, 3, 1, 12, tzinfo=UTC).replace(tzinfo=None)
# One table large enough for a Parquet file, one so small that DuckLake keeps it in the catalog.
STAGES: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("ingest", {"raw.lab": "i % 7 as v", "raw.notes": "'note ' || i as v"}),
    ("build", {"sdtm.lb": "i % 11 as v", "sdtm.dm": "'subject ' || i as v"}),
    ("analyze", {"results.effect": "i / 3.0 as v", "results.primary": ".017 + i as v"}),
    ("build", {"sdtm.lb": "i % 13 as v"}),
)
ROWS = {"lab": 3000, "lb": 2000, "effect": 400}
FEW = 3


def make_small_lake(lake: Lake) -> None:
    for number, (stage, tables) in enumerate(STAGES, start=1):
        put_stage(lake, f"run-{number}", stage, tables)


def put_stage(lake: Lake, run_id: str, stage: str, tables: Mapping[str, str], at: datetime = LANDED) -> int:
    """Publish tables as a stage does: with their lineage, or the files they came from, and the run."""
    with lake.write(reads_files=stage == "ingest") as writer:
        connection, version = writer.connection, writer.version + 1
        lineage: list[dict[str, object]] = []
        files: list[dict[str, object]] = []
        for table, columns in tables.items():
            schema, _, name = table.partition(".")
            connection.execute(f"create schema if not exists {schema}")
            own = (
                f", '{name}.csv' as _source_file, timestamp '{at}' as _loaded_at, i + 2 as _source_row"
                if schema == "raw"
                else ""
            )
            rows = ROWS.get(name, FEW)
            connection.execute(
                f"create or replace table {table} as select i, {columns}{own} from range({rows}) as t (i)"
            )
            content, _ = content_of(connection, table)
            if schema == "raw":
                files.append(
                    {
                        "run_id": run_id,
                        "source": name,
                        "source_file": f"{name}.csv",
                        "status": "delivered",
                        "rows": rows,
                        "columns": json.dumps(["i", "v"]),
                        "loaded_at": at,
                        "version": version,
                        "content": content_of_load(connection, table, ["i", "v"]),
                    }
                )
            else:
                made = {"run_id": run_id, "target": table, "content": content, "rows": rows}
                # So many that this ledger lies in a file of its own.
                lineage += [{**made, "input": f"raw.lab_{number}"} for number in range(12)]

        def write(store: Store) -> None:
            for table in tables:
                replace(store, table, f"comment on {table}", {"v": "a value"})
            append(store, "lineage", lineage)
            append(store, "source_file", files)
            run = {"run_id": run_id, "stage": stage, "version": version, "status": "published"}
            told = {"author": "tester", "message": f"{stage} of {run_id}", "code_version": code_version()}
            append(store, "run", [{**run, **told, "started_at": at, "finished_at": at}])

        extra = {"run_id": run_id, "stage": stage, "tables": list(tables), "status": "published"}
        return publish(writer, write, Note("tester", f"{stage} of {run_id}", extra))
