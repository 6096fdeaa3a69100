"""A study's lake: where it lies, how it is read at a version, and how one writer works at it."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from warehouse.connection import confine, connect, sweep_spilled
from warehouse.errors import LakeError, LakeFormatError, NoLakeError
from warehouse.locking import hold_lock
from warehouse.masking import masked_errors
from warehouse.meta import FORMAT
from warehouse.quoting import identifier, literal, qualified
from warehouse.settings import Settings, keep_files_private, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The catalog that is read, at one version, and the catalog that a publication writes.
LAKE = "lake"
STORE = "store"
ROWS_AT_A_TIME = 122_880  # a row group of DuckDB
# What Arrow has no type for that keeps every value.
_TEXT_IN_ARROW = frozenset({"HUGEINT", "UHUGEINT", "BIT", "TIME WITH TIME ZONE", "UUID"})
_MISMATCH = re.compile(r"catalog version is (\d+\.\d+), but the extension requires version (\d+\.\d+)")


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
        return self.settings.is_sqlite

    @property
    def catalog_file(self) -> Path:
        return self.folder / "catalog.sqlite"

    @property
    def data_folder(self) -> Path:
        return self.settings.data_folder(self.study_id)

    @property
    def scratch(self) -> Path:
        return self.folder / "tmp"

    @contextlib.contextmanager
    def read(
        self, version: int | None = None, *, is_checked: bool = False
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open the lake read-only, at its newest version or at the one named, as catalog `lake`.

        The connection can read the lake's files and nothing else. With `is_checked` a catalog or a file that
        is not as it was published is refused first.
        """
        self.require()
        if is_checked:
            from warehouse.seal import refuse_damage

            refuse_damage(self, version)
        connection = connect(self.settings, spill=self.scratch)
        try:
            # DuckDB repeats the connection string, at the opening and whenever the connection is lost.
            with masked_errors():
                self.attach(connection, LAKE, version=version)
                self._refuse_other_format(read_format(connection), may_be_older=True)
                confine(connection, (self.folder, self.data_folder))
                yield connection
        finally:
            connection.close()

    @contextlib.contextmanager
    def write(self, *, reads_files: bool = False) -> Iterator[Writer]:
        """Open the lake for one writer; every other process can go on reading.

        With `reads_files` the writer's workbench reads delivered files; without it, it is as confined as a
        reader's, for the SQL of a study runs on it.
        """
        self.scratch.mkdir(parents=True, exist_ok=True)
        with masked_errors(), hold_lock(self), contextlib.ExitStack() as opened:
            version = self._prepare()
            self._keep_private()
            opened.callback(self._keep_private)  # SQLite makes its files readable by all
            connection = connect(self.settings, spill=self.scratch)
            opened.callback(connection.close)
            self.attach(connection, LAKE, version=version)
            if reads_files:
                self.attach(connection, STORE, is_writable=True)
            else:
                confine(connection, (self.folder, self.data_folder))
            yield Writer(self, connection, version, is_store_attached=reads_files)

    def _prepare(self) -> int:
        """Make the catalog if there is none, sweep up after a killed writer; return the newest version."""
        # Imported late: they build on the lake.
        from warehouse.catalog import open_catalog
        from warehouse.seal import seal_interrupted
        from warehouse.storage import claim_storage, remove_orphans

        with self.open_store() as store, open_catalog(self, is_writable=True) as catalog:
            version = newest_version(store.connection, STORE)
            self._refuse_other_format(read_format(store.connection, STORE), may_be_older=not version)
            claim_storage(self, catalog)
            seal_interrupted(self, catalog)
            remove_orphans(self, store.connection)
            sweep_spilled(self.scratch)
            return version

    def _keep_private(self) -> None:
        """Close to others what an earlier version, or another program, left open to them."""
        for folder in (self.folder, self.data_folder):
            folder.mkdir(parents=True, exist_ok=True)
            keep_files_private(folder, self.settings.umask)

    @contextlib.contextmanager
    def open_store(
        self, source: duckdb.DuckDBPyConnection | None = None, *, may_migrate: bool = False
    ) -> Iterator[Store]:
        """Open the catalog for writing, beside the workbench that holds what will be written.

        With `may_migrate` a catalog of an older DuckLake is brought to today's form.
        """
        connection = connect(self.settings, spill=self.scratch)
        try:
            with masked_errors():
                self.attach(connection, STORE, is_writable=True, may_migrate=may_migrate)
                yield Store(connection, source)
        finally:
            connection.close()

    def attach(
        self,
        connection: duckdb.DuckDBPyConnection,
        name: str,
        *,
        is_writable: bool = False,
        may_migrate: bool = False,
        version: int | None = None,
    ) -> None:
        """Attach the lake's catalog under a name; what goes wrong says what to do."""
        options = [f"data_path {literal(f'{self.data_folder}/')}", "override_data_path true"]
        if self.is_sqlite:
            target = f"ducklake:sqlite:{self.catalog_file}"
            # Readers never wait for the writer in WAL mode; in the default mode some reads fail.
            options += ["meta_journal_mode 'WAL'"] if is_writable else []
        else:
            target = f"ducklake:postgres:{self.settings.postgres}"
            options.append(f"metadata_schema {literal(self.study_id)}")
        if not is_writable:
            options.append("read_only")
        if may_migrate:
            options.append("automatic_migration true")
        if version is not None:
            options.append(f"snapshot_version {int(version)}")
        try:
            connection.execute(f"attach {literal(target)} as {identifier(name)} ({', '.join(options)})")
        except duckdb.Error as error:
            if version is not None and (version < 0 or "napshot" in str(error)):
                raise LakeError(
                    f"version {version}: the lake of {self.study_id} has no such version:"
                    f" see `trialhouse versions {self.study_id}`"
                ) from error
            if not is_writable and "does not exist" in str(error):
                raise self._nothing_yet() from error
            if found := _MISMATCH.search(str(error)):
                raise self._other_ducklake(*found.groups()) from error
            raise LakeError(f"the lake of {self.study_id} cannot be opened: {error}") from error

    def _refuse_other_format(self, found: int, *, may_be_older: bool) -> None:
        if found > FORMAT:
            raise LakeFormatError(
                f"the lake of {self.study_id} has format {found}, made by a newer trialhouse, and this one"
                f" knows formats up to {FORMAT}: install the newer one"
            )
        if found < FORMAT and not may_be_older:
            raise LakeFormatError(
                f"the lake of {self.study_id} has format {found}, and this trialhouse writes format {FORMAT}:"
                f" `trialhouse upgrade {self.study_id}` upgrades it, and keeps the catalog as it was"
            )

    def _other_ducklake(self, found: str, expected: str) -> LakeError:
        is_older = [int(part) for part in found.split(".")] < [int(part) for part in expected.split(".")]
        return LakeFormatError(
            f"the catalog of {self.study_id} has the format {found} of DuckLake, and DuckDB"
            f" {duckdb.__version__} reads format {expected}: "
            + (
                f"`trialhouse upgrade {self.study_id}` upgrades it, and keeps the catalog as it was"
                if is_older
                else "install the newer trialhouse that wrote it"
            )
        )

    def require(self) -> None:
        """Refuse a study that has no lake yet."""
        if self.is_sqlite and not self.catalog_file.is_file():
            raise self._nothing_yet()

    def _nothing_yet(self) -> NoLakeError:
        return NoLakeError(
            f"{self.study_id}: no lake at {self.folder}:"
            f" `trialhouse run {self.study_id}` makes its first version"
        )


@dataclass(frozen=True, slots=True)
class Store:
    """A connection with the catalog attached for writing, and the workbench that rows are brought from."""

    connection: duckdb.DuckDBPyConnection
    source: duckdb.DuckDBPyConnection | None = None

    @contextlib.contextmanager
    def bring(self, table: str) -> Iterator[str]:
        """Offer the rows of a table of the workbench as a relation of this connection, each type as it is."""
        if self.source is None or self.source is self.connection:
            yield qualified(f"memory.{table}")
            return
        # A connection of its own: another statement on this one would end the result half read.
        source = self.source.cursor()
        columns = source.execute(f"describe {qualified(f'memory.{table}')}").fetchall()
        kinds = {identifier(name): kind for name, kind, *_ in columns}
        leaving = ", ".join(
            f"{name}::varchar as {name}" if kind in _TEXT_IN_ARROW else name for name, kind in kinds.items()
        )
        arriving = ", ".join(f"{name}::{kind} as {name}" for name, kind in kinds.items())
        rows = source.execute(f"select {leaving} from {qualified(f'memory.{table}')}")
        self.connection.register("brought", rows.to_arrow_reader(ROWS_AT_A_TIME))
        try:
            yield f"(select {arriving} from brought)"
        finally:
            self.connection.unregister("brought")
            source.close()


@dataclass(frozen=True, slots=True)
class Writer:
    """One writer's stay at a lake: a workbench beside the version that it found and builds on."""

    lake: Lake
    connection: duckdb.DuckDBPyConnection
    version: int
    is_store_attached: bool

    @contextlib.contextmanager
    def open_store(self) -> Iterator[Store]:
        """Open the catalog for writing: on the workbench where that may, else on a connection of its own."""
        if self.is_store_attached:
            yield Store(self.connection)
        else:
            with self.lake.open_store(self.connection) as store:
                yield store


def report_file(lake: Lake, version: int) -> Path:
    return lake.folder / "reports" / f"{lake.study_id}-v{version}.html"


def open_lake(study_id: str, settings: Settings | None = None) -> Lake:
    return Lake(study_id, settings or load_settings())


def newest_version(connection: duckdb.DuckDBPyConnection, catalog: str = LAKE) -> int:
    row = connection.execute(f"select max(snapshot_id) from {identifier(catalog)}.snapshots()").fetchone()
    return int(row[0]) if row and row[0] is not None else 0


def read_format(connection: duckdb.DuckDBPyConnection, catalog: str = LAKE) -> int:
    """Return the number of the shape that a lake has; the first recorded none."""
    try:
        row = connection.execute(f"select max(format) from {identifier(catalog)}.meta.format").fetchone()
    except duckdb.CatalogException:
        return 1
    return int(row[0]) if row and row[0] is not None else 1


def tables(connection: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """Return the lake's tables as `schema.table`."""
    rows = connection.execute(
        "select schema_name || '.' || table_name from duckdb_tables() where database_name = ?", [LAKE]
    ).fetchall()
    return frozenset(name for (name,) in rows)


def as_json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
