"""Open a study's lake: DuckDB, its pinned extensions, the DuckLake catalog and the writer's lock."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from warehouse.errors import LakeError
from warehouse.quoting import literal
from warehouse.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

LAKE = "lake"


@dataclass(frozen=True, slots=True)
class Lake:
    """One study's lake: where it lies and how to open it."""

    study_id: str
    settings: Settings

    @property
    def folder(self) -> Path:
        return self.settings.lake_folder(self.study_id)

    @property
    def is_sqlite(self) -> bool:
        return self.settings.catalog == "sqlite"

    @property
    def catalog_file(self) -> Path:
        return self.folder / "catalog.sqlite"

    @property
    def data_path(self) -> str:
        storage = self.settings.storage
        root = f"{storage.rstrip('/')}/{self.study_id}" if storage else str(self.folder / "data")
        return root + "/"

    @contextlib.contextmanager
    def read(self, version: int | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open the lake read-only, at its newest version or at the one named, as catalog `lake`."""
        if self.is_sqlite and not self.catalog_file.is_file():
            raise self._nothing_yet()
        connection = connect(self.settings)
        try:
            self._attach(connection, read_only=True, version=version)
            yield connection
        finally:
            connection.close()

    @contextlib.contextmanager
    def write(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open the lake for one writer; every other process can go on reading."""
        (self.folder / "tmp").mkdir(parents=True, exist_ok=True)
        with self._lock():
            connection = connect(self.settings, spill=self.folder / "tmp")
            try:
                self._attach(connection, read_only=False)
                self._sweep(connection)
                yield connection
            finally:
                connection.close()

    @contextlib.contextmanager
    def unfinished(self) -> Iterator[None]:
        """Mark that data files are being written, so that a killed writer's orphans are found."""
        self._marker.touch()
        yield
        self._marker.unlink(missing_ok=True)

    @property
    def _marker(self) -> Path:
        return self.folder / "writing"

    def _sweep(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Remove the data files that a killed writer left without a version that names them."""
        if not self._marker.exists():
            return
        # With a catalog shared between machines a young file may be another writer's work.
        age = "cleanup_all => true" if self.is_sqlite else "older_than => now() - interval 1 day"
        connection.execute(f"call ducklake_delete_orphaned_files('{LAKE}', {age})")
        self._marker.unlink(missing_ok=True)

    def _attach(
        self, connection: duckdb.DuckDBPyConnection, *, read_only: bool, version: int | None = None
    ) -> None:
        options = [f"data_path {literal(self.data_path)}", "override_data_path true"]
        if self.is_sqlite:
            target = f"ducklake:sqlite:{self.catalog_file}"
            # Readers never wait for the writer in WAL mode; in the default mode some reads fail.
            options += [] if read_only else ["meta_journal_mode 'WAL'"]
        else:
            target = f"ducklake:{self.settings.catalog}"
            options.append(f"metadata_schema {literal(self.study_id)}")
        if read_only:
            options.append("read_only")
        if version is not None:
            options.append(f"snapshot_version {int(version)}")
        try:
            connection.execute(f"attach {literal(target)} as {LAKE} ({', '.join(options)})")
        except duckdb.Error as error:
            if version is not None and (version < 0 or "napshot" in str(error)):
                raise LakeError(
                    f"version {version}: the lake of {self.study_id} has no such version:"
                    f" see `trialhouse versions {self.study_id}`"
                ) from error
            if read_only and "does not exist" in str(error):
                raise self._nothing_yet() from error
            raise LakeError(f"the lake of {self.study_id} cannot be opened: {error}") from error

    def _nothing_yet(self) -> LakeError:
        return LakeError(
            f"{self.study_id}: no lake at {self.folder}:"
            f" `trialhouse run {self.study_id}` makes its first version"
        )

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the lake's lock: two writers would race to publish. The kernel frees it if we are killed."""
        with (self.folder / "lock").open("a+") as file:
            deadline = time.monotonic() + self.settings.lock_wait_seconds
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise LakeError(
                            f"the lake of {self.study_id} is busy: another run has been writing for"
                            f" {self.settings.lock_wait_seconds:.0f} s (TRIALHOUSE_LOCK_WAIT_SECONDS)"
                        ) from None
                    time.sleep(0.2)
            yield


def report_file(lake: Lake, version: int) -> Path:
    return lake.folder / "reports" / f"{lake.study_id}-v{version}.html"


def open_lake(study_id: str, settings: Settings | None = None) -> Lake:
    return Lake(study_id, settings or load_settings())


def connect(settings: Settings, *, spill: Path | None = None) -> duckdb.DuckDBPyConnection:
    """Open an in-memory DuckDB with the lake's extensions, loaded from the installed packages only."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "memory_limit": settings.memory_limit,
        "preserve_insertion_order": True,
    }
    if settings.threads:
        config["threads"] = settings.threads
    if spill:
        config["temp_directory"] = str(spill)
    connection = duckdb.connect(":memory:", config=config)
    scanner = "sqlite_scanner" if settings.catalog == "sqlite" else "postgres_scanner"
    for name in (scanner, "ducklake"):
        connection.execute(f"load {literal(str(_extension(name)))}")
    connection.execute("set TimeZone = 'UTC'")
    return connection


def newest_version(connection: duckdb.DuckDBPyConnection) -> int:
    row = connection.execute(f"select max(snapshot_id) from {LAKE}.snapshots()").fetchone()
    return int(row[0]) if row and row[0] is not None else 0


def tables(connection: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """Return the lake's tables as `schema.table`."""
    rows = connection.execute(
        "select schema_name || '.' || table_name from duckdb_tables() where database_name = ?", [LAKE]
    ).fetchall()
    return frozenset(name for (name,) in rows)


@cache
def _extension(name: str) -> Path:
    package = f"duckdb_extension_{name}"
    spec = importlib.util.find_spec(package)
    found = (
        sorted(Path(next(iter(spec.submodule_search_locations))).rglob(f"{name}.duckdb_extension"))
        if spec and spec.submodule_search_locations
        else []
    )
    matching = [file for file in found if f"v{duckdb.__version__}" in file.parts]
    if not matching:
        raise LakeError(
            f"DuckDB extension {name}: not found for DuckDB {duckdb.__version__}:"
            f" install {package.replace('_', '-')}=={duckdb.__version__}"
        )
    return matching[0]


def as_json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
