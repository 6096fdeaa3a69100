"""Let a lake's catalog name rewritten files in the place of the old ones, in every version."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from warehouse.quoting import identifier, literal
from warehouse.rewriting import INLINED_DELETES, name_of
from warehouse.seal import chain, read_seals
from warehouse.storage import read_marker, write_marker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from warehouse.catalog import Catalog
    from warehouse.lake import Lake
    from warehouse.participant import Keys
    from warehouse.rewriting import Rewritten


def amend(lake: Lake, catalog: Catalog, keys: Keys, written: Sequence[Rewritten]) -> None:
    """Let the catalog name the new files and hold none of the rows that go, in one transaction."""
    catalog.execute("begin")
    for each in written:
        if each.holding.path is None:
            _amend_inlined(catalog, each)
        elif each.path is None:
            _drop_file(catalog, each)
        else:
            _exchange_file(catalog, each)
        _amend_count(catalog, each)
    for table_id in sorted({each.holding.table_id for each in written}):
        _amend_ranges(catalog, table_id)
    is_changed = _take_out_of_notes(catalog, keys)
    catalog.execute("commit")
    if is_changed:
        seal = read_seals(catalog)[-1]
        write_marker(lake, {**(read_marker(lake) or {}), "version": seal.version, "seal": seal.hash})


def _amend_inlined(catalog: Catalog, each: Rewritten) -> None:
    place = each.holding.place
    catalog.execute(f"delete from {place} where {each.gone}")
    if each.changes:
        changes = ", ".join(f"{identifier(name)} = {text}" for name, text in each.changes.items())
        catalog.execute(f"update {place} set {changes}")


def _own(catalog: Catalog, table: str) -> str:
    return f"catalog.{catalog.name(table)}"


def _drop_file(catalog: Catalog, each: Rewritten) -> None:
    """Forget a file of which no row stays: a table may have none."""
    for table, columns in catalog.list_columns().items():
        if table.startswith("ducklake_") and "data_file_id" in columns:
            catalog.execute(f"delete from {_own(catalog, table)} {_of_file(each)}")
    _move_inlined_deletes(catalog, each, ())
    for path in (each.holding.path, *(path for _, path in each.holding.deletes)):
        _forget_hash(catalog, path)


def _of_file(each: Rewritten) -> str:
    return f"where data_file_id = {literal(str(each.holding.file_id))}"


def _forget_hash(catalog: Catalog, path: str | None) -> None:
    # The seal hashes each file that it does not know.
    catalog.execute(f"delete from {_own(catalog, 'trialhouse_file')} where path = ?", [path])


def _exchange_file(catalog: Catalog, each: Rewritten) -> None:
    _exchange(catalog, "ducklake_data_file", "record_count", each, _of_file(each))
    for column, values in each.statistics:
        said = {
            "column_size_bytes": values.get("column_size_bytes"),
            "value_count": values.get("num_values"),
            "null_count": values.get("null_count"),
            "min_value": values.get("min"),
            "max_value": values.get("max"),
        }
        changes = ", ".join(
            f"{name} = {'null' if value is None else literal(value)}" for name, value in said.items()
        )
        catalog.execute(
            f"update {_own(catalog, 'ducklake_file_column_stats')} set {changes} {_of_file(each)}"
            f" and column_id = {literal(str(column))}"
        )
    for moved in each.deletes:
        where = f"where delete_file_id = {literal(str(moved.holding.file_id))}"
        if moved.path is None:
            catalog.execute(f"delete from {_own(catalog, 'ducklake_delete_file')} {where}")
            _forget_hash(catalog, moved.holding.path)
        else:
            _exchange(catalog, "ducklake_delete_file", "delete_count", moved, where)
    _move_inlined_deletes(catalog, each, each.inlined_deletes)


def _exchange(catalog: Catalog, table: str, count: str, each: Rewritten, where: str) -> None:
    old, new = (literal(name_of(path)) for path in (each.holding.path, each.path))
    catalog.execute(
        f"update {_own(catalog, table)} set path = replace(path, {old}, {new}),"
        f" {count} = {literal(str(each.rows))}, file_size_bytes = {literal(str(each.size))},"
        f" footer_size = {literal(str(each.footer))} {where}"
    )
    _forget_hash(catalog, each.holding.path)


def _move_inlined_deletes(catalog: Catalog, each: Rewritten, moved: Sequence[tuple[int, int]]) -> None:
    if each.holding.inlined_deletes:
        table = f"{INLINED_DELETES}{each.holding.table_id}"
        catalog.execute(
            f"delete from {_own(catalog, table)} where file_id = {literal(str(each.holding.file_id))}"
        )
        for place, version in moved:
            catalog.insert(table, each.holding.file_id, str(place), str(version))


def _amend_count(catalog: Catalog, each: Rewritten) -> None:
    if each.holding.last_version is None:
        catalog.execute(
            f"update {_own(catalog, 'ducklake_table_stats')} set"
            f" record_count = greatest(record_count::bigint - {each.rows_gone}, 0)"
            f" where table_id = {literal(each.holding.table_id)}"
        )


def _amend_ranges(catalog: Catalog, table_id: str) -> None:
    """Find the range of each column of text anew: it may end with a value of a row that is gone.

    The ranges of numbers and dates stay: they may be wider than the values, and DuckLake takes a range that
    is missing for one that the next rows make.
    """
    where = f"where table_id = {literal(table_id)}"
    columns = catalog.list_columns()
    inlined = [
        name
        for key, name in catalog.read("ducklake_inlined_data_tables", "table_id", "table_name")
        if str(key) == table_id
    ]
    texts = catalog.ask(
        f"select distinct column_id, column_name from {catalog.name('ducklake_column')} {where}"
        " and column_type = 'varchar' and parent_column is null"
    )
    for column_id, name in texts:
        of_column = f"{where} and column_id = {literal(str(column_id))}"
        bounds = catalog.ask(
            f"select min_value, max_value from {catalog.name('ducklake_file_column_stats')} {of_column}"
        )
        values = [value for pair in bounds for value in pair]
        for table in inlined:
            if name in columns[table]:
                rows = catalog.ask(f"select distinct {identifier(name)} from {catalog.name(table)}")
                values += [value for (value,) in rows]
        found = sorted((str(value) for value in values if value is not None), key=str.encode)
        lowest, highest = (literal(found[0]), literal(found[-1])) if found else ("null", "null")
        catalog.execute(
            f"update {_own(catalog, 'ducklake_table_column_stats')}"
            f" set min_value = {lowest}, max_value = {highest} {of_column}"
        )


def _take_out_of_notes(catalog: Catalog, keys: Keys) -> bool:
    """Take the identifiers out of what older versions say of themselves, and out of the seals that repeat it.

    Only then are the seals made anew, each on the one before.
    """
    table = _own(catalog, "ducklake_snapshot_changes")
    for column in ("author", "commit_message", "commit_extra_info"):
        catalog.execute(
            f"update {table} set {column} = {keys.taken_out_of(column)} where {keys.contained_in(column)}"
        )
    seals = read_seals(catalog)
    if not any(keys.is_in(seal.body) for seal in seals):
        return False
    previous = ""
    for seal in seals:
        body = seal.content
        if keys.is_in(seal.body):
            body["snapshot"] = {
                name: keys.take_out(value) if isinstance(value, str) else value
                for name, value in (body["snapshot"] or {}).items()
            }
        text = json.dumps(body, sort_keys=True)
        catalog.execute(
            f"update {_own(catalog, 'trialhouse_seal')} set previous = ?, body = ?, hash = ?"
            f" where version = {literal(str(seal.version))}",
            [previous, text, hashed := chain(previous, seal.version, seal.sealed_at, text)],
        )
        previous = hashed
    return True
