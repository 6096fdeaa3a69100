"""Write the report of one version: read its tables, render the page, put it in place whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from tasks.export.data_set import put_in_place
from tasks.lake_reading import read_table
from tasks.older_versions import makers_of
from tasks.report.page import TABLES, About, render
from warehouse.errors import LakeError
from warehouse.lake import LAKE, newest_version, open_lake, report_file, tables
from warehouse.versions import versions

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    import duckdb

    from tasks.preparation import Prepared
    from warehouse.lake import Lake


def write_report(prepared: Prepared, version: int | None, output: Path | None) -> Path:
    """Render the report of a version, the newest by default; return where it lies."""
    lake = open_lake(prepared.study.id)
    with lake.read(version, is_checked=True) as connection:
        listed = versions(connection)
        shown = newest_version(connection) if version is None else version
        present = tables(connection)
        makers = makers_of(prepared.study, listed, shown, present)
        page = render(_frames(connection, lake, present), _about(prepared, listed, shown), makers)
    target = output or report_file(lake, shown)
    target.parent.mkdir(parents=True, exist_ok=True)
    with put_in_place(target) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return target


def _frames(
    connection: duckdb.DuckDBPyConnection, lake: Lake, present: Collection[str]
) -> dict[str, pl.DataFrame]:
    connection.execute(f"use {LAKE}")
    return {
        table: read_table(connection, lake.study_id, table, _NEWEST.get(table))
        for table in TABLES
        if table in present
    }


# The report shows the newest word on every table, which may be from an earlier run.
_NEWEST = {
    "meta.check_result": "from meta.current_check_result",
    "meta.source_file": "from meta.current_source_file",
    "meta.check_failure": """
        select check_failure.* from meta.check_failure
        semi join meta.current_check_result using (run_id, table_name)
    """,
    "meta.quarantine": """
        select quarantine.* from meta.quarantine
        semi join meta.current_check_result using (run_id, table_name)
    """,
    # The rows of a ledger are counted as they come, in the lakes of every format; clocks may go back.
    "meta.correction": """
        select correction.* from meta.correction join meta.run on
            correction.run_id = run.run_id and run.stage = 'build'
        qualify run.rowid = max(run.rowid) over (partition by source)
    """,
}


def _about(prepared: Prepared, listed: pl.DataFrame, version: int) -> About:
    rows = listed.filter(pl.col("version") == version).to_dicts()
    if not rows:
        raise LakeError(f"{prepared.study.id}: version {version}: no such version, or not made by trialhouse")
    (row,) = rows
    identity = prepared.study.study
    return About(
        study_id=identity.id,
        title=identity.title,
        is_simulated=identity.simulated,
        version=version,
        published_at=row["published_at"],
        run_id=row["run_id"],
        code_version=row["code_version"],
        commands=(
            f"trialhouse run {identity.id}",
            f"trialhouse report {identity.id} --at {version}",
            f'trialhouse sql {identity.id} "select * from results.primary_endpoint" --at {version}',
        ),
        data_version=row["input_version"],
        phase=identity.phase,
        indication=identity.indication,
        registry=identity.registry,
        reference=identity.reference,
        obtain=identity.obtain,
    )
