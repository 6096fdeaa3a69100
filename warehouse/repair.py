"""Repair a damaged lake: put back what is known, take out what is damaged, and say what is lost."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import duckdb

from warehouse.catalog import open_catalog
from warehouse.errors import LakeError
from warehouse.lake import STORE, Writer, newest_version
from warehouse.lineage import code_version
from warehouse.locking import hold_lock
from warehouse.publish import Note, append, publish
from warehouse.quoting import qualified
from warehouse.seal import (
    Finding,
    check_catalog,
    check_files,
    copy_file,
    expect_marker,
    is_interrupted,
    read_seals,
    seal_interrupted,
)
from warehouse.storage import MARKER, read_marker, write_marker, writing_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from warehouse.catalog import Catalog, DataFile
    from warehouse.lake import Lake, Store

# Tables that a run makes again from raw; rows of the others are as they were delivered or recorded, once.
MADE_AGAIN = ("staging", "sdtm", "omics", "adam", "results", "reports")


def repair(lake: Lake) -> list[str]:
    """Make the newest version of the lake whole; return what was done and what is lost, a line for each.

    A damaged catalog is put back from the copy of its newest seal. Of damaged data files those of tables that
    a run can make are dropped with their table; those of raw and of the ledgers are taken out, and their rows
    are lost: a delivered file that is still there then lands again. Older versions stay as they are.

    Raises
    ------
    LakeError
        If the catalog is damaged and there is no whole copy of it.
    """
    lake.scratch.mkdir(parents=True, exist_ok=True)
    with hold_lock(lake):
        done = _mend_catalog(lake)
        with open_catalog(lake, is_writable=True) as catalog:
            seals = read_seals(catalog)
            version = seals[-1].version
            damaged = {
                finding.place.partition(": ")[2]
                for finding in check_files(lake, catalog, version)
                if finding.kind == "file"
            }
            files = [file for file in catalog.list_files() if file.path in damaged and file.is_in(version)]
        if files:
            done += _take_out(lake, version, files)
    return done


def _mend_catalog(lake: Lake) -> list[str]:
    done: list[str] = []
    marker = lake.data_folder / MARKER
    found = _find_in_catalog(lake)
    if any(finding.kind != "marker" for finding in found):
        done += _restore_catalog(lake, found)
    with open_catalog(lake, is_writable=True) as catalog:
        seals = read_seals(catalog)
        if not seals:
            raise LakeError(
                f"{lake.study_id}: no version is sealed, so nothing tells what is damaged:"
                f" `trialhouse upgrade {lake.study_id}` seals the lake of an older trialhouse"
            )
        expected = expect_marker(lake, catalog, seals[-1])
    try:
        is_right = read_marker(lake) == expected
    except LakeError:
        is_right = False
    if not is_right:
        lake.data_folder.mkdir(parents=True, exist_ok=True)
        write_marker(lake, expected)
        done.append(f"{marker}: written again from the newest seal")
    return done


def _find_in_catalog(lake: Lake) -> list[Finding]:
    try:
        with open_catalog(lake, is_writable=True) as catalog:
            if is_interrupted(lake, catalog):
                seal_interrupted(lake, catalog)
            return [*check_catalog(lake, catalog)]
    except (LakeError, ValueError, TypeError, KeyError) as error:
        return [Finding("catalog", "the catalog", str(error))]


def _restore_catalog(lake: Lake, found: Sequence[Finding]) -> list[str]:
    """Put the copy of the sealed catalog in the place of one that differs from its seal."""
    why = "; ".join(map(str, found[:3]))
    copy = copy_file(lake)
    if not lake.is_sqlite or not copy.is_file():
        raise LakeError(
            f"{lake.study_id}: the catalog is damaged ({why}) and there is no copy of it here:"
            " restore it from a backup"
        )
    try:
        with open_catalog(lake, file=copy) as catalog:
            faults = [str(finding) for finding in check_catalog(lake, catalog) if finding.kind != "marker"]
    except (LakeError, ValueError, TypeError, KeyError) as error:
        faults = [str(error)]
    if faults:
        raise LakeError(
            f"{lake.study_id}: the catalog is damaged ({why}), and so is its copy {copy}"
            f" ({'; '.join(faults[:3])}): restore it from a backup"
        )
    kept = lake.folder / f"catalog.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}.sqlite"
    if lake.catalog_file.exists():
        lake.catalog_file.replace(kept)
    for ending in ("-wal", "-shm", "-journal"):
        lake.catalog_file.with_name(lake.catalog_file.name + ending).unlink(missing_ok=True)
    writing_file(lake).unlink(missing_ok=True)
    new = lake.catalog_file.with_suffix(".new")
    new.write_bytes(copy.read_bytes())
    new.replace(lake.catalog_file)
    return [f"the catalog was put back as it was sealed ({why}); the damaged one is kept in {kept}"]


def _take_out(lake: Lake, version: int, files: Sequence[DataFile]) -> list[str]:
    """Publish a version without the damaged files."""
    dropped = sorted({file.table for file in files if file.table.partition(".")[0] in MADE_AGAIN})
    emptied = [file for file in files if file.table not in dropped]
    message = f"repaired: {len(files)} damaged data files taken out"
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-repair"
    common = {"run_id": run_id, "stage": "repair", "status": "published", "input_version": version}

    def write(store: Store) -> None:
        for table in dropped:
            store.connection.execute(f"drop table {qualified(f'{STORE}.{table}')}")
        _withdraw_lost_loads(store, run_id, version + 1, emptied)
        now = datetime.now(UTC).replace(tzinfo=None)
        told = {"author": lake.settings.author, "code_version": code_version(), "message": message}
        append(
            store,
            "run",
            [{**common, **told, "version": version + 1, "started_at": now, "finished_at": now}],
        )

    with lake.open_store() as store:
        writer = Writer(
            lake, store.connection, newest_version(store.connection, STORE), is_store_attached=True
        )
        note = Note(lake.settings.author, message, {**common, "tables": dropped})
        publish(writer, write, note, amend=lambda catalog: _end_files(catalog, version + 1, emptied))
    return [
        *(f"{table}: dropped; `trialhouse run {lake.study_id}` makes it again from raw" for table in dropped),
        *(
            f"{file.table}: {file.rows} rows of version {file.first_version} are lost: {file.path} is damaged"
            for file in emptied
        ),
    ]


def _end_files(catalog: Catalog, version: int, files: Sequence[DataFile]) -> None:
    """Let damaged files end with the version before this one, as if their rows had been deleted."""
    for file in files:
        name = file.path.rpartition("/")[2]
        catalog.execute(
            f"update catalog.{catalog.name('ducklake_data_file')} set end_snapshot = ?"
            f" where end_snapshot is null and (path = ? or ends_with(path, ?))",
            [str(version) if catalog.is_sqlite else version, name, f"/{name}"],
        )


def _withdraw_lost_loads(store: Store, run_id: str, version: int, files: Sequence[DataFile]) -> None:
    """Withdraw the deliveries of which rows are lost: the next ingest then lands the files again."""
    for file in files:
        if not file.table.startswith("raw."):
            continue
        try:
            rows = store.connection.execute(
                f"select source_file from {STORE}.meta.current_source_file where source = ? and version = ?",
                [file.table.removeprefix("raw."), file.first_version],
            ).fetchall()
        except duckdb.Error:  # the ledger of deliveries is damaged too: every file then lands again
            return
        append(
            store,
            "source_file",
            [
                {
                    "run_id": run_id,
                    "source": file.table.removeprefix("raw."),
                    "source_file": name,
                    "status": "withdrawn",
                    "version": version,
                }
                for (name,) in rows
            ],
        )
