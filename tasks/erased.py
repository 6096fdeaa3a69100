"""Keep the rows of an erased participant out of what lands."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from tasks.gate import record_outcome
from tasks.readers.delivery import new_name
from warehouse.errors import SourceError
from warehouse.lake import LAKE
from warehouse.participant import is_subject_column, normal, normalise
from warehouse.quoting import literal

if TYPE_CHECKING:
    import duckdb

    from tasks.readers import Delivered
    from tasks.stage import Stage

EXPECTATION = "erased_participant"
NOTES = "A participant who was erased from the lake does not come back with a later delivery."


def keep_out_erased(stage: Stage, source: str, delivered: Delivered) -> Delivered:
    """Return a delivered file without the rows in which a cell is an identifier of an erased participant.

    Raises
    ------
    SourceError
        If the file is named after an erased participant.
    """
    if "meta.erasure" not in stage.in_lake:
        return delivered
    connection = stage.connection
    erasures = connection.execute(
        f"select distinct salt, keys, subject_keys from {LAKE}.meta.erasure"
    ).fetchall()
    erased: list[str] = []
    for salt, *lists in erasures:
        anywhere, as_subject = map(json.loads, lists)
        _refuse_name(connection, source, delivered.source_file, salt, {*anywhere, *as_subject})
        for column in delivered.columns:
            hashes = [*anywhere, *(as_subject if is_subject_column(column) else ())]
            if column != "_source_column" and hashes:
                erased += _find(connection, delivered.relation, column, salt, hashes)
    if not erased:
        return delivered
    relation = new_name()
    connection.execute(
        f"create temp view {relation} as select * from {delivered.relation} where not ({' or '.join(erased)})"
    )
    before, after = (
        (connection.execute(f"select count(*) from {each}").fetchone() or (0,))[0]
        for each in (delivered.relation, relation)
    )
    record_outcome(
        stage,
        f"raw.{source}",
        expectation=EXPECTATION,
        column=None,
        severity="warning",
        observed=f"{before - after} rows of an erased participant were kept out",
        notes=NOTES,
        rows_in=before,
        rows_set_aside=before - after,
        failures=(),
        is_met=False,
    )
    return replace(delivered, relation=relation, rows=after)


def _find(
    connection: duckdb.DuckDBPyConnection, relation: str, column: str, salt: str, hashes: list[str]
) -> list[str]:
    """Return the condition that a cell of a column is erased; only distinct values are hashed."""
    found = connection.execute(
        f"with cells as materialized (select distinct {normal(column)} as cell from {relation})"
        f" select cell from cells where sha256(? || cell) in (select unnest(?))",
        [salt, hashes],
    ).fetchall()
    if not found:
        return []
    return [f"coalesce({normal(column)} in ({', '.join(literal(cell) for (cell,) in found)}), false)"]


def _refuse_name(
    connection: duckdb.DuckDBPyConnection, source: str, name: str, salt: str, hashes: set[str]
) -> None:
    """Refuse a file named after the participant, whose name the ledgers would keep; it is not said here."""
    words = [(word.start(), word.end()) for word in re.finditer(r"[^\W_]+", name)]
    parts = {
        normalise(name[start:end]) for (start, _), (_, end) in itertools.product(words, words) if start < end
    }
    rows = connection.execute(
        "select sha256(? || part) from (select unnest(?) as part)", [salt, sorted(parts)]
    )
    if hashes & {hashed for (hashed,) in rows.fetchall()}:
        raise SourceError(
            f"{source}: a delivered file is named after a participant who was erased from the lake: take it"
            " out of the delivery"
        )
