"""Seal each version: what the catalog and the files held when it was published, each seal on the one before.

A seal is a row beside the catalog: the version's author, message and time, a hash of each of DuckLake's
tables, and a hash of the path, size and SHA-256 of every data file. Its own hash covers the seal before it:
no version can be changed or taken out without a trace in all that follow. The newest seal is written into the
data folder too, apart from the catalog, so that a catalog put back to an older state is noticed.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import duckdb

from warehouse.errors import LakeError
from warehouse.storage import MARKER, read_marker, write_marker, writing_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from warehouse.catalog import Catalog
    from warehouse.lake import Lake

CHUNK_BYTES = 1 << 20
_COPY = """
import sqlite3, sys
catalog, copy = map(sqlite3.connect, sys.argv[1:])
catalog.backup(copy)
copy.execute("pragma journal_mode = delete")
copy.close()
"""


@dataclass(frozen=True, slots=True)
class Seal:
    """One row of `trialhouse_seal`: `body` is JSON, `hash` covers `body` and the hash of the seal before."""

    version: int
    sealed_at: str
    previous: str
    body: str
    hash: str

    @property
    def content(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it was sealed; `is_past` if only older versions hold it."""

    kind: str
    place: str
    what: str
    is_past: bool = False

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


def hash_file(path: Path) -> tuple[int, str]:
    """Return the size and the SHA-256 of a file."""
    state = hashlib.sha256()
    size = 0
    with path.open("rb", buffering=0) as stream:
        buffer = memoryview(bytearray(CHUNK_BYTES))
        while read := stream.readinto(buffer):
            state.update(buffer[:read])
            size += read
    return size, state.hexdigest()


def read_seals(catalog: Catalog) -> list[Seal]:
    """Return the seals in the order of their versions; none for a lake that no version was sealed in."""
    rows = catalog.read("trialhouse_seal", "version", "sealed_at", "previous", "body", "hash")
    return sorted((Seal(int(version), *row) for version, *row in rows), key=lambda seal: seal.version)


def seal_version(lake: Lake, catalog: Catalog, version: int, note: str | None = None) -> Seal:
    """Seal the newest version: hash the files that it brought, and all that the catalog holds."""
    catalog.make_own_tables()
    if (seals := read_seals(catalog)) and seals[-1].version >= version:
        return seals[-1]  # our lock was lost, and the writer after us sealed it for us
    known = read_files(catalog)
    catalog.execute("begin")
    for file in catalog.list_files():
        if file.path not in known:
            try:
                size, digest = hash_file(lake.data_folder / file.path)
            except OSError:  # of an older lake that has lost it: verify names it
                continue
            catalog.insert("trialhouse_file", file.path, size, digest, version)
    catalog.execute("commit")
    body = json.dumps(
        {
            "snapshot": read_snapshots(catalog).get(version),
            "catalog": catalog.read_digests(),
            "duckdb": duckdb.__version__,
            "note": note,
        },
        sort_keys=True,
    )
    previous, sealed_at = seals[-1].hash if seals else "", datetime.now(UTC).isoformat()
    seal = Seal(version, sealed_at, previous, body, chain(previous, version, sealed_at, body))
    catalog.insert("trialhouse_seal", seal.version, seal.sealed_at, seal.previous, seal.body, seal.hash)
    _finish(lake, catalog, seal)
    return seal


def _finish(lake: Lake, catalog: Catalog, seal: Seal) -> None:
    """Write down apart from the catalog which version is the newest."""
    write_marker(lake, expect_marker(lake, catalog, seal))
    keep_copy(lake)


def expect_marker(lake: Lake, catalog: Catalog, seal: Seal) -> dict[str, object]:
    """Return what the data folder says of its owner after a version was sealed."""
    said = dict(catalog.read("trialhouse_lake", "name", "value"))
    return {"lake": said.get("id"), "study": lake.study_id, "version": seal.version, "seal": seal.hash}


def chain(previous: str, version: int, sealed_at: str, body: str) -> str:
    return hashlib.sha256(f"{previous}\n{version}\n{sealed_at}\n{body}".encode()).hexdigest()


def read_files(catalog: Catalog) -> dict[str, tuple[int, str]]:
    """Return size and SHA-256 of each data file as recorded when it was written, by path."""
    rows = catalog.read("trialhouse_file", "path", "bytes", "sha256")
    return {path: (int(size), digest) for path, size, digest in rows}


def read_snapshots(catalog: Catalog) -> dict[int, dict[str, str | None]]:
    """Return what the catalog says of each version: when, who, why, and what a program may want to know."""
    said = {
        int(version): row
        for version, *row in catalog.read(
            "ducklake_snapshot_changes",
            *("snapshot_id", "author", "commit_message", "commit_extra_info", "changes_made"),
        )
    }
    names = ("time", "author", "message", "extra", "changes")
    return {
        int(version): dict(zip(names, (str(time), *said.get(int(version), [None] * 4)), strict=True))
        for version, time in catalog.read("ducklake_snapshot", "snapshot_id", "snapshot_time")
    }


def is_interrupted(lake: Lake, catalog: Catalog) -> bool:
    """Tell whether the newest version is that of a writer that was killed between its commit and its seal."""
    seals = read_seals(catalog)
    newest = _newest(catalog)
    return (
        writing_file(lake).exists()
        # An older lake is sealed for the first time when it is upgraded.
        and (newest == seals[-1].version + 1 if seals else newest > 0)
        # Every publication of ours says more than DuckLake does by itself.
        and read_snapshots(catalog)[newest]["extra"] is not None
    )


def seal_interrupted(lake: Lake, catalog: Catalog) -> None:
    """Seal the version of a writer that was killed between its commit and its seal.

    Raises
    ------
    LakeError
        If the newest version has no seal and no killed writer accounts for it: something else made it. Or if
        the data folder knows a version that the catalog does not.
    """
    seals = read_seals(catalog)
    version = _newest(catalog)
    for finding in _check_marker(lake, catalog, seals) if seals else ():
        if finding.kind == "chain":  # the catalog was put back, or is a copy of that which wrote here
            raise LakeError(f"{lake.study_id}: {finding}: see `trialhouse verify {lake.study_id}`")
    if version == (seals[-1].version if seals else 0):
        if seals and writing_file(lake).exists():
            _finish(lake, catalog, seals[-1])
        return
    if not is_interrupted(lake, catalog):
        raise LakeError(
            f"{lake.study_id}: version {version} was not published by trialhouse: see"
            f" `trialhouse verify {lake.study_id}`"
        )
    seal_version(lake, catalog, version, "sealed by the next writer: its own was killed after publishing")


def _newest(catalog: Catalog) -> int:
    return max((int(version) for (version,) in catalog.read("ducklake_snapshot", "snapshot_id")), default=0)


def keep_copy(lake: Lake) -> None:
    """Keep a copy of the sealed catalog beside it; a catalog on a server is backed up there."""
    if lake.is_sqlite:
        copy_catalog(lake, copy_file(lake))


def copy_catalog(lake: Lake, target: Path) -> None:
    """Copy a SQLite catalog whole, whoever reads or writes it at the same time."""
    unfinished = target.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    # In a process of its own, for the sake of the locks that this one holds on the catalog.
    done = subprocess.run(  # noqa: S603 - our own interpreter and fixed arguments
        [sys.executable, "-I", "-S", "-c", _COPY, str(lake.catalog_file), str(unfinished)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        why = done.stderr.strip().rpartition("\n")[2]
        raise LakeError(f"{target}: the catalog cannot be copied there: {why}")
    unfinished.replace(target)


def copy_file(lake: Lake) -> Path:
    return lake.folder / "catalog.sealed.sqlite"


def check_catalog(lake: Lake, catalog: Catalog) -> Iterator[Finding]:
    """Hold the catalog against its newest seal and the seals against each other."""
    seals = read_seals(catalog)
    if not seals:
        is_ours = _newest(catalog) and catalog.read("trialhouse_lake", "name")
        if is_ours or "version" in (read_marker(lake) or {}):
            yield Finding("chain", "the catalog", "its seals are missing")
        return
    yield from _check_chain(seals)
    yield from _check_marker(lake, catalog, seals)
    newest = seals[-1]
    yield from _check_snapshots(seals, read_snapshots(catalog))
    sealed, found = newest.content["catalog"], catalog.read_digests()
    for table in sorted(sealed.keys() | found.keys()):
        if sealed.get(table) != found.get(table):
            yield _differs(table, newest)


def _differs(table: str, seal: Seal) -> Finding:
    return Finding("catalog", f"catalog table {table}", f"is not as version {seal.version} sealed it")


def _check_chain(seals: Sequence[Seal]) -> Iterator[Finding]:
    previous = ""
    for number, seal in enumerate(seals):
        if number and seal.version != seals[number - 1].version + 1:
            yield Finding("chain", f"version {seals[number - 1].version + 1}", "its seal is missing")
        if seal.previous != previous or seal.hash != chain(previous, seal.version, seal.sealed_at, seal.body):
            yield Finding("chain", f"version {seal.version}", "its seal does not follow from the one before")
        previous = seal.hash


def _check_marker(lake: Lake, catalog: Catalog, seals: Sequence[Seal]) -> Iterator[Finding]:
    place = str(lake.data_folder / MARKER)
    try:
        said = read_marker(lake)
    except LakeError as error:
        yield Finding("marker", place, str(error))
        return
    if said is None:
        yield Finding("marker", place, "is missing: it names the newest version apart from the catalog")
        return
    expected = expect_marker(lake, catalog, seals[-1])
    if said == expected:
        return
    version = said.get("version")
    if said.get("lake") != expected["lake"] or version is None or version == expected["version"]:
        yield Finding("marker", place, f"says {said}, and the catalog {expected}")
    elif {"version": version, "seal": said.get("seal")} not in (
        {"version": seal.version, "seal": seal.hash} for seal in seals
    ):
        yield Finding(
            "chain",
            f"version {version}",
            "was published and sealed, says the data folder, and the catalog does not hold it as it was",
        )
    elif not writing_file(lake).exists():  # a writer killed after its seal leaves the one before here
        yield Finding("marker", place, f"says that version {version} is the newest: it is not")


def _check_snapshots(
    seals: Iterable[Seal], snapshots: Mapping[int, Mapping[str, str | None]]
) -> Iterator[Finding]:
    sealed = {seal.version: seal.content["snapshot"] for seal in seals}
    for version in sorted(sealed.keys() | {number for number in snapshots if number > min(sealed)}):
        expected, found = sealed.get(version), snapshots.get(version)
        if found is None:
            yield Finding("version", f"version {version}", "is missing from the catalog")
        elif expected is None:
            yield Finding("version", f"version {version}", "was not published by trialhouse: it has no seal")
        else:
            for key in expected:
                if expected[key] != found.get(key):
                    yield Finding(
                        "version",
                        f"version {version}",
                        f"{key} is {found.get(key)!r}, sealed {expected[key]!r}",
                    )


def check_copy(lake: Lake, newest: Seal) -> Iterator[Finding]:
    """Hold the copy of the catalog, which a repair begins with, against the newest seal."""
    from warehouse.catalog import open_catalog

    file = copy_file(lake)
    if not lake.is_sqlite or writing_file(lake).exists():  # a killed writer leaves an older copy
        return
    if not file.is_file():
        yield Finding("copy", str(file), "is missing: a repair of the catalog needs it")
        return
    try:
        with open_catalog(lake, file=file) as copy:
            is_right = read_seals(copy)[-1:] == [newest] and copy.read_digests() == newest.content["catalog"]
    except LakeError as error:
        yield Finding("copy", str(file), str(error))
        return
    if not is_right:
        yield Finding("copy", str(file), f"is not the catalog as version {newest.version} sealed it")


def check_files(
    lake: Lake, catalog: Catalog, version: int | None = None, schemas: Collection[str] | None = None
) -> Iterator[Finding]:
    """Hash every data file again: of all versions, or of those that one version, or schemas of it, reads."""
    recorded = read_files(catalog)
    if not recorded:
        return
    # The next writer seals what a killed one published.
    unsealed = _newest(catalog) if is_interrupted(lake, catalog) else None
    for file in catalog.list_files():
        if version is not None and not file.is_in(version):
            continue
        if schemas is not None and file.table.partition(".")[0] not in schemas:
            continue
        path = lake.data_folder / file.path
        place = f"{file.table}: {file.path}"
        until = "on" if file.last_version is None else f"to {file.last_version}"
        versions = f"versions {file.first_version} {until}"
        is_past = file.last_version is not None
        try:
            size, digest = hash_file(path)
        except OSError as error:
            yield Finding("file", place, f"cannot be read: {error.strerror} ({versions})", is_past)
            continue
        if file.path not in recorded:
            if file.first_version != unsealed:
                yield Finding("file", place, f"was not written by trialhouse ({versions})", is_past)
            continue
        expected_size, expected = recorded[file.path]
        if size != expected_size:
            yield Finding(
                "file", place, f"has {size} bytes, {expected_size} were written ({versions})", is_past
            )
        elif digest != expected:
            yield Finding("file", place, f"its bytes are not those that were written ({versions})", is_past)


def refuse_damage(lake: Lake, version: int | None = None, schemas: Collection[str] | None = None) -> None:
    """Check the catalog and the files of the version that is about to be read, and stop where one differs.

    `schemas` are those that will be read; without it, all.

    Raises
    ------
    LakeError
        Naming what differs, and the commands that say more and mend it.
    """
    from warehouse.catalog import open_catalog

    with open_catalog(lake) as catalog:
        shown = _newest(catalog) if version is None else version
        found = [] if is_interrupted(lake, catalog) else [*check_catalog(lake, catalog)]
        found += check_files(lake, catalog, shown, schemas)
    if found:
        lines = [f"  {finding}" for finding in found[:10]]
        more = [f"  and {len(found) - 10} more"] if len(found) > 10 else []  # noqa: PLR2004 - what a screen shows
        raise LakeError(
            "\n".join(
                [
                    f"{lake.study_id}: the lake is not as it was published:",
                    *lines,
                    *more,
                    (
                        f"see `trialhouse verify {lake.study_id}`; `trialhouse repair {lake.study_id}` makes"
                        " again what it can"
                    ),
                ]
            )
        )
