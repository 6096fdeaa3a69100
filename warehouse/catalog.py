"""The rows of a lake's catalog themselves, beside DuckLake: what it says of versions, tables and files.

They are read and written through DuckDB, never through Python's own SQLite: two copies of SQLite in one
process would lose each other's locks on the file, and with them the file.

Three tables of ours stand among DuckLake's own: `trialhouse_lake`, who this catalog is, `trialhouse_seal` and
`trialhouse_file`, what it held, and what each data file was, when each version was published.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb

from warehouse.connection import connect_scanner
from warehouse.errors import LakeError
from warehouse.masking import mask_error
from warehouse.quoting import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from warehouse.lake import Lake

OWN_TABLES = {
    "trialhouse_lake": "name varchar, value varchar",
    "trialhouse_seal": "version bigint, sealed_at varchar, previous varchar, body varchar, hash varchar",
    "trialhouse_file": "path varchar, bytes bigint, sha256 varchar, version bigint",
}
TABLES_AT_A_TIME = 100  # SQLite joins no more than 500 selects
_FILES = ("table_id", "path", "path_is_relative", "begin_snapshot", "end_snapshot")


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file that the catalog names: where it lies, whose rows it holds, how many, and in which versions."""

    path: str
    table: str
    rows: int
    first_version: int
    last_version: int | None

    def is_in(self, version: int) -> bool:
        return self.first_version <= version and (self.last_version is None or version <= self.last_version)


@dataclass(frozen=True, slots=True)
class Catalog:
    """A connection to the catalog as a plain database, of SQLite or PostgreSQL."""

    connection: duckdb.DuckDBPyConnection
    schema: str
    is_sqlite: bool

    def name(self, table: str) -> str:
        return f"{identifier(self.schema)}.{identifier(table)}"

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Put a query to the database itself, in its own SQL."""
        function = "sqlite_query" if self.is_sqlite else "postgres_query"
        return self.connection.execute(f"from {function}('catalog', ?)", [query]).fetchall()

    def execute(self, statement: str, values: Sequence[object] = ()) -> None:
        """Change the database through DuckDB, where its tables are `catalog.<schema>.<table>`."""
        self.connection.execute(statement, list(values))

    def insert(self, table: str, *values: object) -> None:
        marks = ", ".join("?" * len(values))
        self.execute(f"insert into catalog.{self.name(table)} values ({marks})", values)

    def read(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        """Return columns of all rows of a table; a table that is not there has none."""
        if table not in self.list_columns():
            return []
        return self.ask(f"select {', '.join(map(identifier, columns))} from {self.name(table)}")

    def list_columns(self) -> dict[str, list[str]]:
        """Return the columns of each table, by name of the table."""
        query = (
            "select t.name as name, c.name as col from sqlite_master as t"
            " join pragma_table_info(t.name) as c where t.type = 'table' order by t.name, c.cid"
            if self.is_sqlite
            else "select table_name as name, column_name as col from information_schema.columns"
            f" where table_schema = {literal(self.schema)} order by table_name, ordinal_position"
        )
        columns: dict[str, list[str]] = {}
        for table, column in self.ask(query):
            columns.setdefault(table, []).append(column)
        return columns

    def make_own_tables(self) -> None:
        for name, columns in OWN_TABLES.items():
            self.execute(f"create table if not exists catalog.{self.name(name)} ({columns})")

    def read_digests(self) -> dict[str, str]:
        """Hash the rows of each table but the seals, whatever their order, and what defines the tables."""
        lines: dict[str, list[str]] = {"definitions": [line for (line,) in self.ask(self._definitions)]}
        selects = []
        for table, columns in self.list_columns().items():
            if table != "trialhouse_seal":
                lines[table] = []
                text = self._as_text(columns)
                selects.append(
                    f"select {literal(table)} as name, {text} as line from {self.name(table)} as t"
                )
        for start in range(0, len(selects), TABLES_AT_A_TIME):
            for name, line in self.ask(" union all ".join(selects[start : start + TABLES_AT_A_TIME])):
                lines[name].append(line)
        return {
            name: f"{len(rows)}:{hashlib.sha256(chr(10).join(sorted(rows)).encode()).hexdigest()}"
            for name, rows in lines.items()
        }

    @property
    def _definitions(self) -> str:
        """Query what says how tables look and what happens when they are written, such as a trigger."""
        if self.is_sqlite:
            return "select type || ',' || name || ',' || coalesce(sql, '') as line from sqlite_master"
        schema = literal(self.schema)
        return (
            "select concat_ws(',', table_name, column_name, data_type, column_default) as line"
            f" from information_schema.columns where table_schema = {schema} union all"
            " select concat_ws(',', trigger_name, event_object_table, action_statement)"
            f" from information_schema.triggers where trigger_schema = {schema} union all"
            f" select concat_ws(',', table_name, table_type) from information_schema.tables"
            f" where table_schema = {schema}"
        )

    def _as_text(self, columns: Sequence[str]) -> str:
        if not self.is_sqlite:
            return "row_to_json(t)::text"
        return " || ',' || ".join(f"quote({identifier(column)})" for column in columns)

    def list_files(self) -> list[DataFile]:
        """Return every data file and delete file that any version needs, by path below the data folder."""
        schemas = {
            key: (name, path if _is_true(is_relative) else f"/{path}")
            for key, name, path, is_relative in self.read(
                "ducklake_schema", "schema_id", "schema_name", "path", "path_is_relative"
            )
        }
        folders = {
            key: (
                f"{schemas[schema][0]}.{name}",
                f"{schemas[schema][1]}{path}" if _is_true(is_relative) else f"/{path}",
            )
            for key, schema, name, path, is_relative in self.read(
                "ducklake_table", "table_id", "schema_id", "table_name", "path", "path_is_relative"
            )
            if schema in schemas
        }
        files = [
            *self.read("ducklake_data_file", *_FILES, "record_count"),
            *((*row, 0) for row in self.read("ducklake_delete_file", *_FILES)),
        ]
        return sorted(
            (
                DataFile(
                    path=f"{folders[table][1]}{path}" if _is_true(is_relative) else f"/{path}",
                    table=folders[table][0],
                    rows=int(rows),
                    first_version=int(begin),
                    last_version=None if end is None else int(end) - 1,
                )
                for table, path, is_relative, begin, end, rows in files
                if table in folders
            ),
            key=lambda file: (file.table, file.path),
        )


def _is_true(value: object) -> bool:
    # SQLite has no truth values.
    return str(value).lower() in ("1", "true")


@contextlib.contextmanager
def open_catalog(lake: Lake, *, is_writable: bool = False, file: Path | None = None) -> Iterator[Catalog]:
    """Open a lake's catalog, or the copy of one in `file`, as a plain database."""
    try:
        with contextlib.closing(connect_scanner(lake.settings)) as connection:
            if lake.is_sqlite:
                # A damaged value is a value that differs, and not one that cannot be read.
                connection.execute("set sqlite_all_varchar = true")
                target, options = str(file or lake.catalog_file), "type sqlite"
            else:
                target = lake.settings.postgres
                options = f"type postgres, schema {literal(lake.study_id)}"
            options += "" if is_writable else ", read_only"
            connection.execute(f"attach {literal(target)} as catalog ({options})")
            yield Catalog(connection, "main" if lake.is_sqlite else lake.study_id, lake.is_sqlite)
    # A damaged catalog answers with values that cannot be what they stand for.
    except (duckdb.Error, ValueError, TypeError, KeyError, AttributeError) as error:
        # DuckDB repeats the connection string.
        why = " ".join(str(mask_error(error)).split())
        raise LakeError(
            f"the catalog of {lake.study_id} cannot be read: {why}: see `trialhouse verify {lake.study_id}`"
        ) from error
