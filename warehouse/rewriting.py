"""Find the rows of a participant in data files and in the catalog, and write the files without them."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from warehouse.errors import LakeError
from warehouse.lake import LAKE
from warehouse.lineage import content_of, content_of_load
from warehouse.participant import PERSON, Participant, gather_keys
from warehouse.quoting import identifier, literal, qualified

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import duckdb

    from warehouse.catalog import Catalog
    from warehouse.lake import Lake

FOOTER_END = 8  # length of the footer, and "PAR1"
# Tables that say which delivered row a participant came from.
_ROOTS = ("sdtm.dm", "omics.sample")
_HOUSEKEEPING = ("row_id", "begin_snapshot", "end_snapshot")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows of a table in one place: a data file, or a table of the catalog."""

    table: str
    path: str | None
    inlined: str | None
    relation: str
    columns: Mapping[str, str]
    first_version: int
    last_version: int


@dataclass(frozen=True, slots=True)
class Held:
    """A chunk that holds rows of the participant, how many, and the file that will take its place."""

    chunk: Chunk
    removed: int
    masked: int
    new_path: str | None

    @property
    def rows(self) -> int:
        return self.removed + self.masked


def list_chunks(lake: Lake, catalog: Catalog) -> Iterator[Chunk]:
    """Return every place that holds rows of any version."""
    newest = max(int(version) for (version,) in catalog.read("ducklake_snapshot", "snapshot_id"))
    for file in catalog.list_files():
        relation = f"read_parquet({literal(str(lake.data_folder / file.path))})"
        last = newest if file.last_version is None else file.last_version
        columns = _describe(catalog, relation)
        yield Chunk(file.table, file.path, None, relation, columns, file.first_version, last)
    schemas = dict(catalog.read("ducklake_schema", "schema_id", "schema_name"))
    names = {
        table: f"{schemas[schema]}.{name}"
        for table, schema, name in catalog.read("ducklake_table", "table_id", "schema_id", "table_name")
        if schema in schemas
    }
    present = catalog.list_columns()
    for table, inlined in catalog.read("ducklake_inlined_data_tables", "table_id", "table_name"):
        if inlined not in present or table not in names:
            continue
        relation = f"catalog.{catalog.name(inlined)}"
        columns = {
            name: kind for name, kind in _describe(catalog, relation).items() if name not in _HOUSEKEEPING
        }
        (first, last) = catalog.connection.execute(
            f"select min(begin_snapshot::bigint), max(coalesce(end_snapshot::bigint - 1, {newest}))"
            f" from {relation}"
        ).fetchone() or (None, None)
        if first is not None:
            yield Chunk(names[table], None, inlined, relation, columns, int(first), int(last))


def _describe(catalog: Catalog, relation: str) -> dict[str, str]:
    return {
        name: kind for name, kind, *_ in catalog.connection.execute(f"describe from {relation}").fetchall()
    }


def identify(catalog: Catalog, chunks: Iterable[Chunk], name: str) -> Participant:
    """Find every identifier of the participant that one of theirs names."""
    chunks = list(chunks)
    rows: set[tuple[tuple[str, str], ...]] = set()
    delivered: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {}
    for chunk in chunks:
        people = _people(chunk)
        if not people or chunk.table.startswith(("meta.", "results.", "reports.")):
            continue
        places = [c for c in ("source_file", "source_row") if chunk.table in _ROOTS and c in chunk.columns]
        for cells, place in _read_cells(catalog, chunk, people, places):
            rows.add(cells)
            if len(place) == len(("file", "row")):
                delivered[place] = cells
    for chunk in chunks:
        people, places = _people(chunk), ["_source_file", "_source_row"]
        if not chunk.table.startswith("raw.") or not people or not chunk.columns.keys() >= set(places):
            continue
        for cells, place in _read_cells(catalog, chunk, people, places):
            if place in delivered:
                rows.add((*cells, *delivered[place]))
    # A cell that stands alone tells nothing of another.
    linked = {value for row in rows if len({value for _, value in row}) > 1 for _, value in row}
    return gather_keys(
        name,
        [row for row in rows if len({value for _, value in row}) > 1 or row[0][1] not in linked],
    )


def _people(chunk: Chunk) -> list[str]:
    return [
        name
        for name in chunk.columns
        if PERSON.fullmatch(name.lower()) and not name.lower().startswith("other_")
    ]


def _read_cells(
    catalog: Catalog, chunk: Chunk, people: list[str], places: list[str]
) -> Iterator[tuple[tuple[tuple[str, str], ...], tuple[str, str]]]:
    kinds = chunk.columns
    shown = ", ".join(
        f"decode({identifier(name)})" if kinds[name] == "BLOB" else f"{identifier(name)}::varchar"
        for name in (*people, *places)
    )
    for row in catalog.connection.execute(f"select distinct {shown} from {chunk.relation}").fetchall():
        cells = tuple(
            (name.lower(), value.strip())
            for name, value in zip(people, row[: len(people)], strict=True)
            if value is not None and value.strip()
        )
        if cells:
            yield cells, tuple(row[len(people) :])


def find_rows(catalog: Catalog, chunks: Iterable[Chunk], participant: Participant) -> list[Held]:
    """Count the participant's rows in each place that has any."""
    found: list[Held] = []
    for chunk in chunks:
        is_removed = participant.is_removed(chunk.table, chunk.columns)
        is_masked = participant.is_masked(chunk.table, chunk.columns)
        removed, masked = catalog.connection.execute(
            f"select count(*) filter ({is_removed}), count(*) filter ({is_masked} and not {is_removed})"
            f" from {chunk.relation} as t"
        ).fetchone() or (0, 0)
        if removed or masked:
            new = None
            if chunk.path is not None:
                folder = chunk.path.rpartition("/")[0]
                new = f"{folder}/ducklake-{uuid.uuid4()}.parquet"
            found.append(Held(chunk, removed, masked, new))
    return found


def refuse_deletions(catalog: Catalog, held: Iterable[Held]) -> None:
    """Refuse files of which single rows were deleted: their deletions name rows by place."""
    present = catalog.list_columns()
    tables = {key for (key,) in catalog.read("ducklake_delete_file", "table_id")}
    tables |= {
        name.rpartition("_")[2]
        for name in present
        if name.startswith("ducklake_inlined_delete_")
        and catalog.ask(f"select 1 from {catalog.name(name)} limit 1")
    }
    names = {str(key): name for key, name in catalog.read("ducklake_table", "table_id", "table_name")}
    deleted = {names.get(str(key)) for key in tables}
    for each in held:
        if each.chunk.path is not None and each.chunk.table.rpartition(".")[2] in deleted:
            raise LakeError(
                f"{each.chunk.table}: single rows of it were changed by an upgrade, so its files cannot be"
                " written anew: nothing was erased: see docs/operations.md"
            )


def rewrite_file(lake: Lake, catalog: Catalog, held: Held, participant: Participant) -> None:
    """Write a data file without the participant, each column under the number that DuckLake knows it by."""
    if held.new_path is None:
        return
    chunk, new = held.chunk, lake.data_folder / held.new_path
    old = literal(str(lake.data_folder / str(chunk.path)))
    numbers = catalog.connection.execute(
        f"select name, field_id, num_children from parquet_schema({old})"
    ).fetchall()
    fields = _fields(iter(numbers[1:]), int(numbers[0][2]))
    select = participant.select_kept(chunk.table, chunk.columns, chunk.relation)
    catalog.connection.execute(f"copy ({select}) to {literal(str(new))} (format parquet, field_ids {fields})")
    new.chmod(0o666 & ~lake.settings.umask)


def _fields(numbers: Iterator[tuple[str, int | None, int | None]], count: int) -> str:
    """Write the numbers of columns, and of what is nested in them, as COPY takes them."""
    parts = []
    for _ in range(count):
        name, number, children = next(numbers)
        inner = ""
        if children:
            # A list is a group of a group of its element.
            nested = _fields(numbers, int(children))
            inner = nested[1:-1]
        own = [] if number is None else [f"__duckdb_field_id: {number}"]
        if not children:
            parts += [f"{identifier(name)}: {number}"] if number is not None else []
        elif number is None:
            parts += [inner] if inner else []
        else:
            parts.append(f"{identifier(name)}: {{{', '.join([*own, *([inner] if inner else [])])}}}")
    return f"{{{', '.join(parts)}}}"


def swap_rows(lake: Lake, catalog: Catalog, held: Iterable[Held], participant: Participant) -> None:
    """Let the catalog name the new files, and hold no row and no bound of the participant."""
    catalog.execute("begin")
    for each in held:
        if each.new_path is None:
            _change_inlined(catalog, each, participant)
        else:
            _swap_file(lake, catalog, each)
    for table in ("ducklake_tag", "ducklake_column_tag"):
        columns = {"value": "VARCHAR"}
        mask, found = (
            participant.masks("meta.run", columns)["value"],
            participant.is_masked("meta.run", columns),
        )
        catalog.execute(f"update catalog.{catalog.name(table)} set value = {mask} where {found}")
    catalog.execute("commit")


def _change_inlined(catalog: Catalog, held: Held, participant: Participant) -> None:
    chunk = held.chunk
    if held.removed:
        catalog.execute(
            f"delete from {chunk.relation} as t where {participant.is_removed(chunk.table, chunk.columns)}"
        )
    if held.masked:
        masks = participant.masks(chunk.table, chunk.columns)
        changes = ", ".join(f"{identifier(name)} = {sql}" for name, sql in masks.items())
        catalog.execute(
            f"update {chunk.relation} set {changes} where {participant.is_masked(chunk.table, chunk.columns)}"
        )
    _forget_bounds(catalog, str(chunk.inlined).split("_")[3])


def _swap_file(lake: Lake, catalog: Catalog, held: Held) -> None:
    old, new = str(held.chunk.path), str(held.new_path)
    path = lake.data_folder / new
    content = path.read_bytes()
    footer = int.from_bytes(content[-FOOTER_END:-4], "little")
    name, new_name = old.rpartition("/")[2], new.rpartition("/")[2]
    files = catalog.name("ducklake_data_file")
    ((number, table, kept),) = catalog.connection.execute(
        f"select data_file_id, table_id, path from catalog.{files} where path = ? or ends_with(path, ?)",
        [name, f"/{name}"],
    ).fetchall()
    counts = catalog.connection.execute(
        f"select count(*), {', '.join(f'count({identifier(c)})' for c in held.chunk.columns)}"
        f" from read_parquet({literal(str(path))})"
    ).fetchone() or (0,)
    values = [counts[0], len(content), footer]
    catalog.execute(
        f"update catalog.{files} set path = ?, record_count = ?, file_size_bytes = ?, footer_size = ?"
        f" where data_file_id = ?",
        [kept.replace(name, new_name), *(_given(catalog, value) for value in values), number],
    )
    stats = catalog.name("ducklake_file_column_stats")
    catalog.execute(
        f"update catalog.{stats} set min_value = null, max_value = null, extra_stats = null"
        " where data_file_id = ?",
        [number],
    )
    fields = dict(
        catalog.connection.execute(
            f"select name, field_id from parquet_schema({literal(str(path))}) where field_id is not null"
        ).fetchall()
    )
    for column, count in zip(held.chunk.columns, counts[1:], strict=True):
        if column in fields:
            catalog.execute(
                f"update catalog.{stats} set value_count = ?, null_count = ?"
                " where data_file_id = ? and column_id = ?",
                [
                    *(_given(catalog, value) for value in (counts[0], counts[0] - count)),
                    number,
                    _given(catalog, fields[column]),
                ],
            )
    catalog.execute(f"delete from catalog.{catalog.name('trialhouse_file')} where path = ?", [old])
    _forget_bounds(catalog, table)


def _forget_bounds(catalog: Catalog, table: object) -> None:
    """Forget the least and greatest value of each column: a date of birth may be one of them."""
    catalog.execute(
        f"update catalog.{catalog.name('ducklake_table_column_stats')}"
        " set min_value = null, max_value = null, extra_stats = null where table_id::varchar = ?",
        [str(table)],
    )


def _given(catalog: Catalog, value: int) -> int | str:
    return str(value) if catalog.is_sqlite else value


def kept_contents(
    connection: duckdb.DuckDBPyConnection, held: Iterable[Held], participant: Participant
) -> Iterator[dict[str, object]]:
    """Return the hash of what stays of each table that verification knows, version by version."""
    changed: dict[str, list[Chunk]] = {}
    for each in held:
        changed.setdefault(each.chunk.table, []).append(each.chunk)
    made = connection.execute(
        f"select distinct target, run.version from {LAKE}.meta.lineage join {LAKE}.meta.run using (run_id)"
        " where status = 'published' and split_part(target, '.', 1) not in ('raw', 'meta')"
        " and stage = if(split_part(target, '.', 1) in ('results', 'reports'), 'analyze', 'build')"
    ).fetchall()
    for target, version in made:
        if any(chunk.first_version <= version <= chunk.last_version for chunk in changed.get(target, ())):
            at = f"{qualified(f'{LAKE}.{target}')} at (version => {int(version)})"
            kept = _kept(connection, participant, target, at)
            content, _ = content_of(connection, kept, is_quoted=True)
            yield {"target": target, "version": version, "content": content}
    loads = connection.execute(
        f"select source, source_file, loaded_at, columns, version from {LAKE}.meta.source_file"
        " where content is not null"
    ).fetchall()
    for source, file, loaded_at, columns, version in loads:
        target = f"raw.{source}"
        if target not in changed or participant.is_in(file):
            continue
        where = f"_source_file = {literal(file)} and _loaded_at = {literal(loaded_at.isoformat())}::timestamp"
        kept = _kept(connection, participant, target, f"{qualified(f'{LAKE}.{target}')}", where)
        content = content_of_load(connection, kept, json.loads(columns))
        yield {"target": target, "version": version, "source_file": file, "content": content}


def _kept(
    connection: duckdb.DuckDBPyConnection,
    participant: Participant,
    table: str,
    relation: str,
    where: str = "true",
) -> str:
    rows = connection.execute(f"describe from {relation}").fetchall()
    columns = {name: kind for name, kind, *_ in rows}
    return f"({participant.select_kept(table, columns, f'(from {relation} where {where})')})"
