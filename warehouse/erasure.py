"""Erase one participant from all versions of a lake: files, catalog, and what else lies in its folder.

New data files are written first. Then a version is published that records the erasure; before it is sealed,
the catalog is changed in one transaction: new files take the place of old ones, rows that the catalog holds
go. The old files go last. An erasure that was interrupted is finished by the same command.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from warehouse.catalog import open_catalog
from warehouse.errors import LakeError, UnknownParticipantError
from warehouse.lake import LAKE, Writer
from warehouse.lineage import code_version
from warehouse.participant import hash_bare, hash_key
from warehouse.publish import Note, append, publish
from warehouse.rewriting import (
    Held,
    find_rows,
    identify,
    kept_contents,
    list_chunks,
    refuse_deletions,
    rewrite_file,
    swap_rows,
)
from warehouse.seal import check_catalog, check_files, copy_file, keep_copy, read_snapshots
from warehouse.storage import mark_writing, replace_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from warehouse.catalog import Catalog
    from warehouse.lake import Lake, Store
    from warehouse.participant import Participant

# Stands while old data files wait to be removed; it names files, and never a participant.
ERASING = "erasing"
_COMPACT = """
import sqlite3, sys
catalog = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
catalog.execute("pragma secure_delete = on")
catalog.execute("pragma wal_checkpoint(truncate)")
catalog.execute("vacuum")
catalog.execute("pragma wal_checkpoint(truncate)")
catalog.close()
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """What an erasure would remove; `participant` is for this process alone."""

    participant: Participant
    held: tuple[Held, ...]
    reports: tuple[Path, ...]
    copies: tuple[Path, ...]

    @property
    def rows(self) -> int:
        return sum(each.rows for each in self.held)

    @property
    def files(self) -> list[str]:
        return [each.chunk.path for each in self.held if each.chunk.path is not None]

    @property
    def versions(self) -> list[int]:
        return sorted(
            {
                version
                for each in self.held
                for version in range(each.chunk.first_version, each.chunk.last_version + 1)
            }
        )


def plan_erasure(lake: Lake, name: str) -> Plan:
    """Find all that the lake holds of a participant, in all versions.

    Raises
    ------
    LakeError
        If the lake knows no such participant, the name is that of several, or something cannot be erased.
    """
    lake.require()
    with open_catalog(lake) as catalog:
        chunks = [*list_chunks(lake, catalog)]
        participant = identify(catalog, chunks, name)
        _refuse_names(catalog, participant)
        held = find_rows(catalog, chunks, participant)
        refuse_deletions(catalog, held)
    reports = tuple(
        path
        for path in sorted(lake.folder.glob("reports/**/*"))
        if path.is_file()
        and participant.is_in(path.read_text(encoding="utf-8", errors="replace") + "\n" + path.name)
    )
    return Plan(participant, tuple(held), reports, _copies(lake))


def erase(
    lake: Lake, name: str, reason: str, before: Callable[[Participant], object] = lambda _: None
) -> tuple[Plan | None, int]:
    """Erase a participant; return what was erased, None if that was done before, and the version of it.

    `before` cleans what lies outside the lake's folder: afterwards nothing knows all the identifiers.
    """
    with lake.write() as writer:
        writer.connection.close()  # it keeps the catalog open, and nothing is made on it
        finish_interrupted(lake)
        _refuse_damage(lake)
        try:
            plan = plan_erasure(lake, name)
        except UnknownParticipantError:
            if (version := find_erasure(lake, name)) is not None:
                return None, version
            raise
        if plan.participant.is_in(reason) or name.lower() in reason.lower():
            raise LakeError("--reason: it names the participant, and it is kept: say it without the name")
        before(plan.participant)
        for path in plan.reports:
            path.unlink(missing_ok=True)
        with mark_writing(lake):
            with open_catalog(lake) as catalog:
                for each in plan.held:
                    rewrite_file(lake, catalog, each, plan.participant)
            replace_file(lake.folder / ERASING, json.dumps(plan.files))
            version = _publish(lake, plan, reason, writer.version)
        finish_interrupted(lake)
    return plan, version


def find_erasure(lake: Lake, name: str) -> int | None:
    """Return the version in which a participant of that name was erased."""
    with lake.read() as connection:
        rows = connection.execute(f"select version, salt, key_hashes from {LAKE}.meta.erasure").fetchall()
    found = [
        int(version)
        for version, salt, hashes in rows
        if {hash_key(salt, name), hash_bare(salt, name)} & set(json.loads(hashes))
    ]
    return max(found, default=None)


def _publish(lake: Lake, plan: Plan, reason: str, version: int) -> int:
    """Publish the version that records the erasure, and change all versions before it is sealed."""
    with lake.read() as connection:
        contents = [*kept_contents(connection, plan.held, plan.participant)]
    now = datetime.now(UTC).replace(tzinfo=None)
    message = f"erased a participant: {plan.rows} rows, {len(plan.files)} data files written anew"
    run = {
        "run_id": f"{now:%Y%m%dT%H%M%S}-erase",
        "stage": "erase",
        "status": "published",
        "input_version": version,
    }
    told = {"version": version + 1, "author": lake.settings.author, "code_version": code_version()}
    salt = secrets.token_hex(16)
    erasure = {
        **told,
        "erased_at": now,
        "reason": reason,
        "rows": plan.rows,
        "files": len(plan.files),
        "versions": json.dumps(plan.versions),
        "salt": salt,
        "key_hashes": json.dumps(plan.participant.hashes(salt)),
    }

    def write(store: Store) -> None:
        append(store, "erasure", [erasure])
        append(store, "erased_content", [{"erased_in": version + 1, **row} for row in contents])
        append(store, "run", [{**run, **told, "message": message, "started_at": now, "finished_at": now}])

    with lake.open_store() as store:
        return publish(
            Writer(lake, store.connection, version, is_store_attached=True),
            write,
            Note(lake.settings.author, message, run),
            amend=lambda catalog: swap_rows(lake, catalog, plan.held, plan.participant),
        )


def finish_interrupted(lake: Lake) -> bool:
    """Remove the old data files of an erasure, and what its catalog still holds in free pages and copies."""
    marker = lake.folder / ERASING
    if not marker.exists():
        return False
    with open_catalog(lake) as catalog:
        known = {file.path for file in catalog.list_files()}
    for path in json.loads(marker.read_text(encoding="utf-8")):
        if path not in known:
            (lake.data_folder / path).unlink(missing_ok=True)
    for path in _copies(lake):
        path.unlink(missing_ok=True)
    (lake.folder / "last_run.json").unlink(missing_ok=True)
    for path in lake.scratch.iterdir() if lake.scratch.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    if lake.is_sqlite:
        compact(lake.catalog_file)
        copy_file(lake).unlink(missing_ok=True)
        keep_copy(lake)
    marker.unlink()
    return True


def compact(database: Path) -> None:
    """Write a SQLite database anew, without what was deleted from it."""
    # In a process of its own, for the sake of the locks that this one may hold on the file.
    done = subprocess.run(  # noqa: S603 - our own interpreter and fixed arguments
        [sys.executable, "-I", "-S", "-c", _COMPACT, str(database)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        why = done.stderr.strip().rpartition("\n")[2]
        raise LakeError(
            f"{database}: deleted rows may still be in its free pages: {why}: end what else uses it,"
            " and give the same command again"
        )


def _copies(lake: Lake) -> tuple[Path, ...]:
    """Return copies of the catalog as it was: after an erasure they name files that are gone."""
    kept = (lake.catalog_file, copy_file(lake))
    names = ("catalog.*.sqlite*", "catalog.*unfinished", "catalog.new")
    return tuple(sorted(path for name in names for path in lake.folder.glob(name) if path not in kept))


def _refuse_damage(lake: Lake) -> None:
    """Refuse a damaged lake: the seal of the erasure would cover the damage up."""
    with open_catalog(lake) as catalog:
        found = [*check_catalog(lake, catalog), *check_files(lake, catalog)]
    if found:
        raise LakeError(
            f"{lake.study_id}: nothing was erased: the lake is not as it was published: {found[0]}: see"
            f" `trialhouse verify {lake.study_id}`"
        )


def _refuse_names(catalog: Catalog, participant: Participant) -> None:
    """Refuse what cannot be changed: sealed messages, and names of columns and tables."""
    for version, said in read_snapshots(catalog).items():
        if any(participant.is_in(str(text)) for text in said.values()):
            raise LakeError(
                f"version {version}: its message holds an identifier of the participant, and it is sealed:"
                " nothing was erased: see docs/operations.md"
            )
    for table, column in (("ducklake_table", "table_name"), ("ducklake_column", "column_name")):
        if any(participant.is_in(str(name)) for (name,) in catalog.read(table, column)):
            raise LakeError(
                f"{table[9:]}: one is named after the participant: nothing was erased: see docs/operations.md"
            )
