"""The versions of a lake: when, who, which stage, why, and which tables changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import polars as pl

from warehouse.lake import LAKE

if TYPE_CHECKING:
    import duckdb

SCHEMA = {
    "version": pl.Int64,
    "published_at": pl.String,
    "author": pl.String,
    "stage": pl.String,
    "status": pl.String,
    "message": pl.String,
    "tables": pl.String,
    "run_id": pl.String,
    "flow_run": pl.String,
    "input_version": pl.Int64,
    "code_version": pl.String,
}


def versions(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """Return one row per version, oldest first; the empty version 0 of a new catalog is left out."""
    rows = connection.execute(
        f"""
        select snapshot_id, strftime(snapshot_time at time zone 'UTC', '%Y-%m-%d %H:%M:%S'),
            author, commit_message, commit_extra_info
        from {LAKE}.snapshots() where snapshot_id > 0 order by snapshot_id
        """
    ).fetchall()
    listed = []
    for version, published_at, author, message, extra_info in rows:
        extra = json.loads(extra_info) if extra_info else {}
        listed.append(
            {
                "version": version,
                "published_at": published_at,
                "author": author,
                "message": message,
                "tables": ", ".join(extra.get("tables", [])),
                **{
                    key: extra.get(key)
                    for key in ("stage", "status", "run_id", "flow_run", "input_version", "code_version")
                },
            }
        )
    return pl.DataFrame(listed, schema=SCHEMA)
