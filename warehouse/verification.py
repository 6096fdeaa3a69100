"""Verify a lake: files, tables, ledgers and catalog against what was sealed when they were published."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import duckdb

from warehouse.catalog import open_catalog
from warehouse.errors import LakeError
from warehouse.lake import LAKE
from warehouse.lineage import content_of, content_of_load
from warehouse.quoting import literal, qualified
from warehouse.seal import Finding, check_catalog, check_copy, check_files, is_interrupted, read_seals
from warehouse.storage import list_data_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from warehouse.catalog import Catalog
    from warehouse.lake import Lake


def verify(lake: Lake, anchor: str | None = None) -> list[Finding]:
    """Return all that is not as it was published, over all versions; `anchor` is a seal kept elsewhere."""
    return [*find_damage(lake, anchor)]


def find_damage(lake: Lake, anchor: str | None = None) -> Iterator[Finding]:
    """Find what is not as it was published: first in the catalog and the files, then in the rows."""
    damaged = set()
    try:
        with open_catalog(lake) as catalog:
            yield from _check_database(lake, catalog)
            seals = read_seals(catalog)
            if not seals:
                what = (
                    "no version is sealed: it was written by an older trialhouse, or its seals were removed"
                )
                yield Finding("chain", "the lake", what)
                return
            if anchor is not None and anchor not in {seal.hash for seal in seals}:
                yield Finding("chain", f"seal {anchor}", "is in no version of this lake")
            if is_interrupted(lake, catalog):
                what = "was published by a writer that was killed before it sealed it: the next run seals it"
                yield Finding("version", f"version {seals[-1].version + 1}", what)
            else:
                yield from check_catalog(lake, catalog)
            for finding in check_files(lake, catalog):
                damaged.add(finding.place.partition(":")[0])
                yield finding
            yield from _find_strangers(lake, catalog)
            yield from check_copy(lake, seals[-1])
            is_comparable = {seal.version: seal.content["duckdb"] == duckdb.__version__ for seal in seals}
    except LakeError as error:
        yield Finding("catalog", "the catalog", str(error))
        return
    try:
        with lake.read() as connection:
            yield from _check_ledgers(connection)
            yield from _check_tables(connection, is_comparable, damaged)
            yield from _check_loads(connection, is_comparable, damaged)
    except (LakeError, duckdb.Error) as error:
        yield Finding("table", "the newest version", f"cannot be read: {_one_line(error)}")


def find_head(lake: Lake) -> tuple[int, str] | None:
    """Return the newest sealed version and its seal: what to keep elsewhere as an anchor."""
    with open_catalog(lake) as catalog:
        seals = read_seals(catalog)
    return (seals[-1].version, seals[-1].hash) if seals else None


def _check_database(lake: Lake, catalog: Catalog) -> Iterator[Finding]:
    if not lake.is_sqlite:
        return
    for (said,) in catalog.ask("pragma integrity_check"):
        if said != "ok":
            yield Finding("catalog", str(lake.catalog_file), f"SQLite finds it damaged: {said}")


def _find_strangers(lake: Lake, catalog: Catalog) -> Iterator[Finding]:
    for path in sorted(list_data_files(lake.data_folder) - {file.path for file in catalog.list_files()}):
        yield Finding("stranger", path, "lies in the data folder and belongs to no version")


def _check_ledgers(connection: duckdb.DuckDBPyConnection) -> Iterator[Finding]:
    """Hold the ledger of runs against the versions, and what a version says of itself against it."""
    rows = connection.execute(
        f"""
        select s.snapshot_id, s.author, run.author, s.commit_message, run.message,
            s.commit_extra_info ->> 'run_id', run.run_id
        from {LAKE}.snapshots() as s left join {LAKE}.meta.run as run on run.version = s.snapshot_id
        where s.snapshot_id > 0 order by s.snapshot_id
        """
    ).fetchall()
    seen: set[int] = set()
    for version, author, run_author, message, run_message, run_id, ledger_run_id in rows:
        place = f"meta.run, version {version}"
        if version in seen:
            yield Finding("ledger", place, "stands more than once")
        elif ledger_run_id is None:
            yield Finding("ledger", place, "is missing")
        elif (author, message, run_id) != (run_author, run_message, ledger_run_id):
            yield Finding("ledger", place, "says another author, message or run than the version does")
        seen.add(version)


def _check_tables(
    connection: duckdb.DuckDBPyConnection, is_comparable: dict[int, bool], damaged: set[str]
) -> Iterator[Finding]:
    """Read each table at the version that made it, and compare its rows with the hash recorded then."""
    made = connection.execute(
        f"""
        select distinct target, content, run.version
        from {LAKE}.meta.lineage join {LAKE}.meta.run using (run_id)
        where status = 'published' and split_part(target, '.', 1) not in ('raw', 'meta')
            and stage = if(split_part(target, '.', 1) in ('results', 'reports'), 'analyze', 'build')
        order by version, target
        """
    ).fetchall()
    for target, content, version in made:
        if target in damaged or not is_comparable.get(version, False):
            continue
        relation = f"(from {qualified(f'{LAKE}.{target}')} at (version => {int(version)}))"
        try:
            found, _ = content_of(connection, relation, is_quoted=True)
        except duckdb.Error as error:
            yield Finding("table", f"{target}, version {version}", f"cannot be read: {_one_line(error)}")
            continue
        if found != content:
            yield Finding(
                "table", f"{target}, version {version}", "its rows are not those that were published"
            )


def _check_loads(
    connection: duckdb.DuckDBPyConnection, is_comparable: dict[int, bool], damaged: set[str]
) -> Iterator[Finding]:
    """Compare the rows of each delivered file in raw with the hash recorded when it landed."""
    loads = connection.execute(
        f"""
        select source, source_file, loaded_at, columns, content, version from {LAKE}.meta.source_file
        where content is not null order by version, source, source_file
        """
    ).fetchall()
    for source, source_file, loaded_at, columns, content, version in loads:
        if f"raw.{source}" in damaged or not is_comparable.get(version, False):
            continue
        place = f"raw.{source}, {source_file}, version {version}"
        relation = (
            f"(from {qualified(f'{LAKE}.raw.{source}')} where _source_file = {literal(source_file)}"
            f" and _loaded_at = {literal(loaded_at.isoformat())}::timestamp)"
        )
        try:
            found = content_of_load(connection, relation, json.loads(columns))
        except duckdb.Error as error:
            yield Finding("table", place, f"cannot be read: {_one_line(error)}")
            continue
        if found != content:
            yield Finding("table", place, "its rows are not those that landed")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
