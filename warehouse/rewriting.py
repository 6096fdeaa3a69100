"""Find where the rows of a lake lie, and write data files again with fewer of them."""

from __future__ import annotations

import dataclasses
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from warehouse.quoting import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import duckdb

    from warehouse.catalog import Catalog
    from warehouse.lake import Lake

INLINED_DELETES = "ducklake_inlined_delete_"
_OF_CATALOG = ("row_id", "begin_snapshot", "end_snapshot")


@dataclass(frozen=True, slots=True)
class Holding:
    """Rows of a table where they lie: in a data file, or in a table of the catalog itself."""

    table: str
    table_id: str
    place: str  # what a query reads them from
    columns: Mapping[str, str]
    first_version: int
    last_version: int | None
    path: str | None = None
    file_id: str | None = None
    deletes: tuple[tuple[str, str], ...] = ()  # delete files: id and path
    inlined_deletes: tuple[tuple[int, int], ...] = ()  # place in the file, and version from which it is gone

    @property
    def relation(self) -> str:
        return self.place

    def is_in(self, version: int) -> bool:
        return self.first_version <= version and (self.last_version is None or version <= self.last_version)


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A holding without the rows that go; `path` is that of the new file, None where no row stays."""

    holding: Holding
    gone: str
    changes: Mapping[str, str]
    rows_gone: int = 0
    path: str | None = None
    rows: int = 0
    size: int = 0
    footer: int = 0
    statistics: tuple[tuple[int, Mapping[str, str | None]], ...] = ()
    deletes: tuple[Rewritten, ...] = ()
    inlined_deletes: tuple[tuple[int, int], ...] = ()


NOTHING = Rewritten(Holding("", "", "", {}, 0, None), "false", {})


def list_holdings(lake: Lake, catalog: Catalog) -> list[Holding]:
    """Return everything that holds rows of any version, and is there to be read."""
    connection = catalog.connection
    holdings: list[Holding] = []
    tables = {str(key): name for key, name in _tables(catalog).items()}
    ids = {
        name_of(path): (str(file_id), str(table_id))
        for file_id, table_id, path in catalog.read("ducklake_data_file", "data_file_id", "table_id", "path")
    }
    files = catalog.list_files()
    paths = {name_of(file.path): file.path for file in files}
    deletes = [
        (str(delete), str(file_id), name_of(path))
        for delete, file_id, path in catalog.read(
            "ducklake_delete_file", "delete_file_id", "data_file_id", "path"
        )
    ]
    for file in files:
        name = name_of(file.path)
        path = lake.data_folder / file.path
        if name not in ids or not path.is_file():  # a delete file, or a damaged past that verify tells
            continue
        place = _read(lake, file.path)
        file_id, table_id = ids[name]
        holdings.append(
            Holding(
                file.table, table_id, place, _describe(connection, place),
                file.first_version, file.last_version, file.path, file_id,
                tuple((delete, paths[name]) for delete, of, name in deletes if of == file_id),
                _read_inlined_deletes(catalog, table_id, file_id),
            )
        )  # fmt: skip
    for table_id, name in catalog.read("ducklake_inlined_data_tables", "table_id", "table_name"):
        place = f"catalog.{catalog.name(name)}"
        columns = _describe(connection, place)
        columns = {column: kind for column, kind in columns.items() if column not in _OF_CATALOG}
        first, last, open_ends = connection.execute(
            f"select min(begin_snapshot::bigint), max(end_snapshot::bigint), count(*) - count(end_snapshot)"
            f" from {place}"
        ).fetchone() or (None, None, 0)
        if first is not None and str(table_id) in tables:
            holdings.append(
                Holding(
                    tables[str(table_id)], str(table_id), place, columns,
                    int(first), None if open_ends else int(last) - 1,
                )
            )  # fmt: skip
    return sorted(holdings, key=lambda each: (each.table, each.place))


def _tables(catalog: Catalog) -> dict[Any, str]:
    schemas = dict(catalog.read("ducklake_schema", "schema_id", "schema_name"))
    return {
        key: f"{schemas[schema]}.{name}"
        for key, schema, name in catalog.read("ducklake_table", "table_id", "schema_id", "table_name")
        if schema in schemas
    }


def name_of(path: object) -> str:
    return str(path).rpartition("/")[2]


def _read_inlined_deletes(catalog: Catalog, table_id: str, file_id: str) -> tuple[tuple[int, int], ...]:
    rows = catalog.read(f"{INLINED_DELETES}{table_id}", "file_id", "row_id", "begin_snapshot")
    return tuple((int(place), int(version)) for of, place, version in rows if str(of) == file_id)


def _describe(connection: duckdb.DuckDBPyConnection, place: str) -> dict[str, str]:
    return {name: kind for name, kind, *_ in connection.execute(f"describe from {place}").fetchall()}


def rewrite(
    lake: Lake, connection: duckdb.DuckDBPyConnection, holding: Holding, gone: str, changes: Mapping[str, str]
) -> Rewritten:
    """Write the rows that stay into a new file beside the old one, as DuckLake itself writes them."""
    (rows_gone,) = connection.execute(f"select count(*) from {holding.place} where {gone}").fetchone() or (0,)
    if holding.path is None:
        return Rewritten(holding, gone, changes, rows_gone)
    select = f"select *{replacing(changes)} from {holding.place} where not ({gone})"
    written = _write(lake, connection, select, holding.path, ".parquet")
    done = dataclasses.replace(written, holding=holding, gone=gone, changes=changes, rows_gone=rows_gone)
    if not (rows_gone and written.path and (holding.deletes or holding.inlined_deletes)):
        return dataclasses.replace(done, inlined_deletes=holding.inlined_deletes)
    # What names rows by their place in the file names them by the new one.
    connection.execute(
        f"create or replace temp table place as select file_row_number as old,"
        f" row_number() over (order by file_row_number) - 1 as new"
        f" from {_read(lake, holding.path, 'file_row_number = true')} where not ({gone})"
    )
    places = dict(connection.execute("from place").fetchall()) if holding.inlined_deletes else {}
    return dataclasses.replace(
        done,
        deletes=tuple(
            _move_deletes(lake, connection, done, file_id, path) for file_id, path in holding.deletes
        ),
        inlined_deletes=tuple(
            (places[place], version) for place, version in holding.inlined_deletes if place in places
        ),
    )


def _move_deletes(
    lake: Lake, connection: duckdb.DuckDBPyConnection, data: Rewritten, file_id: str, path: str
) -> Rewritten:
    of_file = literal(str(lake.data_folder / str(data.path)))
    select = (
        f"select deleted.* replace ({of_file} as file_path, place.new as pos)"
        f" from {_read(lake, path)} as deleted join place on deleted.pos = place.old order by place.new"
    )
    written = _write(lake, connection, select, path, "-delete.parquet")
    return dataclasses.replace(written, holding=dataclasses.replace(data.holding, path=path, file_id=file_id))


def replacing(changes: Mapping[str, str]) -> str:
    replaced = ", ".join(f"{text} as {identifier(name)}" for name, text in changes.items())
    return f" replace ({replaced})" if replaced else ""


def _read(lake: Lake, path: str, *options: str) -> str:
    file = literal(str(lake.data_folder / path))
    return f"read_parquet({', '.join([file, 'hive_partitioning = false', *options])})"


def _write(
    lake: Lake, connection: duckdb.DuckDBPyConnection, select: str, path: str, ending: str
) -> Rewritten:
    """Write a file beside an old one, with its field ids; a file without rows is none."""
    old = lake.data_folder / path
    schema = connection.execute(
        f"select name, field_id, num_children from parquet_schema({literal(str(old))})"
    ).fetchall()
    fields, by_name = _read_fields(schema)
    new = old.with_name(f"ducklake-{uuid.uuid4()}{ending}")
    _, rows, size, footer, statistics, *_ = connection.execute(
        f"copy ({select}) to {literal(str(new))} (format parquet, return_stats true, field_ids {fields})"
    ).fetchone() or (None, 0, 0, 0, {})
    if not rows:
        new.unlink()
        return NOTHING
    return dataclasses.replace(
        NOTHING,
        path=new.relative_to(lake.data_folder).as_posix(),
        rows=rows,
        size=size,
        footer=footer,
        statistics=tuple((by_name[name], values) for name, values in statistics.items() if name in by_name),
    )


def _read_fields(schema: Sequence[tuple[str, int | None, int | None]]) -> tuple[str, dict[str, int]]:
    """Return the field ids of a Parquet file as COPY takes them, and by the names in its statistics."""
    rows = iter(schema)
    by_name: dict[str, int] = {}

    def children(count: int, path: str) -> Iterator[str]:
        for _ in range(count):
            name, field_id, inner = next(rows)
            if field_id is None:  # what Parquet puts between a list and its elements
                yield from children(inner or 0, path)
                continue
            below = f"{path}.{identifier(name)}" if path else identifier(name)
            by_name[below] = field_id
            within = list(children(inner or 0, below))
            value = (
                f"{{{', '.join([f'__duckdb_field_id: {field_id}', *within])}}}" if within else str(field_id)
            )
            yield f"{identifier(name)}: {value}"

    _, _, count = next(rows)
    return f"{{{', '.join(children(count or 0, ''))}}}", by_name
