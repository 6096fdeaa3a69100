"""Hash anew what the ledgers recorded of tables and landed files, from the rows that an erasure leaves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import duckdb

from warehouse.lake import LAKE
from warehouse.lineage import content_of, content_of_load
from warehouse.participant import rows_to_erase, texts_to_change
from warehouse.quoting import identifier, literal, qualified
from warehouse.rewriting import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from warehouse.participant import Keys
    from warehouse.rewriting import Holding

RECORDED = ("meta.lineage", "meta.source_file")


def changes_of(holding: Holding, keys: Keys) -> dict[str, str]:
    """Return what takes the place of each changed column: texts without identifiers, hashes made anew."""
    changes = texts_to_change(holding.table, holding.columns, keys)
    if holding.table in RECORDED and "content" in holding.columns:  # the first format has none of files
        for name in {"content", "input_content", "rows"} & holding.columns.keys():
            changes[name] = _fresh(holding.table, name)
    return changes


def _fresh(ledger: str, column: str) -> str:
    if ledger == "meta.source_file":
        key = "concat_ws('|', source, source_file, epoch_us(loaded_at::timestamp))"
        place = "content"
    else:
        key = "input" if column == "input_content" else "target"
        place = "input_content" if column == "input_content" else "content"
    value = "rows::varchar" if column == "rows" else "fresh"
    name = identifier(column)
    kind = "::bigint" if column == "rows" else ""
    return (
        f"coalesce((select any_value({value}) from fresh_content"
        f" where of_what = {key} and stale = {place}){kind}, {name}{kind})"
    )


def keep_hashes(connection: duckdb.DuckDBPyConnection, contents: Sequence[tuple[str, str, str, int]]) -> None:
    connection.execute(
        "create or replace temp table fresh_content"
        " (of_what varchar, stale varchar, fresh varchar, rows bigint)"
    )
    if contents:
        connection.executemany("insert into fresh_content values (?, ?, ?, ?)", contents)


def _kept(connection: duckdb.DuckDBPyConnection, table: str, relation: str, keys: Keys) -> str:
    columns = {name: kind for name, kind, *_ in connection.execute(f"describe {relation}").fetchall()}
    changes = texts_to_change(table, columns, keys)
    gone = rows_to_erase(table, columns, keys)
    return f"(select *{replacing(changes)} from ({relation}) where not ({gone}))"


def hash_tables(
    connection: duckdb.DuckDBPyConnection, affected: set[str], keys: Keys
) -> Iterator[tuple[str, str, str, int]]:
    made = connection.execute(
        f"""
        select distinct target, content, run.version
        from {LAKE}.meta.lineage join {LAKE}.meta.run using (run_id)
        where status = 'published' and split_part(target, '.', 1) not in ('raw', 'meta')
            and stage = if(split_part(target, '.', 1) in ('results', 'reports'), 'analyze', 'build')
        """
    ).fetchall()
    for target, content, version in made:
        if target in affected:
            relation = f"from {qualified(f'{LAKE}.{target}')} at (version => {int(version)})"
            try:
                fresh, rows = content_of(
                    connection, _kept(connection, target, relation, keys), is_quoted=True
                )
            except duckdb.CatalogException:  # not in that version: verify tells
                continue
            yield target, content, fresh, rows


def hash_loads(
    connection: duckdb.DuckDBPyConnection, affected: set[str], keys: Keys
) -> Iterator[tuple[str, str, str, int]]:
    loads = connection.execute(
        f"""
        select source, source_file, loaded_at, epoch_us(loaded_at), columns, content
        from {LAKE}.meta.source_file where content is not null
        """
    ).fetchall()
    for source, source_file, loaded_at, moment, columns, content in loads:
        if f"raw.{source}" not in affected:
            continue
        relation = (
            f"from {qualified(f'{LAKE}.raw.{source}')} where _source_file = {literal(source_file)}"
            f" and _loaded_at = {literal(loaded_at.isoformat())}::timestamp"
        )
        kept = _kept(connection, f"raw.{source}", relation, keys)
        (rows,) = connection.execute(f"select count(*) from {kept}").fetchone() or (0,)
        fresh = content_of_load(connection, kept, json.loads(columns))
        yield f"{source}|{source_file}|{moment}", content, fresh, rows
