"""What a stage does about identifying columns: withhold them from raw, follow them, tell what is open."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tasks.gate import record_outcome
from tasks.readers.delivery import new_name
from warehouse.errors import SourceError
from warehouse.identifying import EXPECTATION, handling_of, plain_values
from warehouse.lake import LAKE
from warehouse.masking import MASK
from warehouse.pseudonyms import CHECK, open_pseudonyms
from warehouse.quoting import identifier, qualified

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tasks.readers import Delivered
    from tasks.stage import Stage
    from warehouse.models import Model

UNDECIDED = (
    "The name of the column suggests that it identifies a person, and study.toml says neither that nor the"
    ' contrary: declare it under identifying, as "keep", "drop", "pseudonymise" or "no".'
)
LEFT = (
    "study.toml keeps these values out of raw, but they landed before it said so: `trialhouse erase` removes"
    " them, from old versions too."
)
SETTLED = "What study.toml had to decide of identifying columns is decided."
CARRIED = (
    "A model hands on what identifies a person: values are masked in ledgers, messages and reports, but they"
    " stand in this table and whatever is exported of it."
)


def withhold(stage: Stage, source: str, delivered: Delivered) -> Delivered:
    """Return a delivered file without what study.toml keeps out of raw, or with pseudonyms in its place."""
    declared = stage.study.sources[source].identifying
    _refuse_absent(declared, delivered)
    found = stage.identifiers.learn_source(stage.connection, source, delivered.columns, delivered.relation)
    dropped = [column for column, handling in found.items() if handling == "drop"]
    replaced = [column for column, handling in found.items() if handling == "pseudonymise"]
    if not dropped and not replaced:
        return delivered
    relation = new_name()
    without = f" exclude ({', '.join(map(identifier, dropped))})" if dropped else ""
    stage.connection.execute(
        f"create temp view {relation} as select *{without}{_pseudonyms(stage, source, replaced)}"
        f" from {delivered.relation}"
    )
    kept = tuple(column for column in delivered.columns if column not in dropped)
    labels = {column: text for column, text in delivered.labels.items() if column not in dropped}
    return replace(delivered, relation=relation, columns=kept, labels=labels)


def _refuse_absent(declared: Mapping[str, str], delivered: Delivered) -> None:
    present = {column.lower() for column in delivered.columns}
    absent = [name for name, handling in declared.items() if handling != "no" and name.lower() not in present]
    if absent:
        raise SourceError(
            f"{delivered.source_file}: identifying column {', '.join(map(repr, absent))} is missing: under"
            f" another name it would land in raw. The file has: {', '.join(map(repr, delivered.columns))}"
        )


def _pseudonyms(stage: Stage, source: str, columns: Sequence[str]) -> str:
    """Return the part of a SELECT that puts pseudonyms in place, and record whose key they are of."""
    if not columns:
        return ""
    function = f"pseudonym_{stage.study.id}"
    if stage.pseudonyms is None:
        stage.pseudonyms = open_pseudonyms(stage.lake, stage.study.folder, stage.connection)
        stage.connection.create_function(function, stage.pseudonyms.of, ["VARCHAR"], "VARCHAR")
    for column in columns:
        recorded = ((row["table_name"], row["column_name"]) for row in stage.ledgers["check_result"])
        if (f"raw.{source}", column) in recorded:  # another file of the source
            continue
        record_outcome(
            stage,
            f"raw.{source}",
            expectation=CHECK,
            column=column,
            severity="warning",
            observed=stage.pseudonyms.fingerprint,
            notes="Fingerprint of the key of the pseudonyms: with another key one person would have two.",
            rows_in=0,
            rows_set_aside=0,
            failures=(),
        )
    parts = (f"{function}({identifier(column)}) as {identifier(column)}" for column in columns)
    return f" replace ({', '.join(parts)})"


def note_identifying(stage: Stage, name: str) -> None:
    """Record what study.toml must still decide of a source's columns, and what it decided too late."""
    table, source = f"raw.{name}", stage.study.sources[name]
    declared = {column.lower() for column in source.identifying}
    stored = f"{LAKE}.{table}"
    for column, handling in handling_of(source, _columns(stage, stored)).items():
        if column.lower() not in declared:
            _note(stage, table, column, "guessed by its name, and masked outside raw", UNDECIDED)
        elif handling != "keep" and plain_values(stage.connection, column, qualified(stored), handling):
            _note(stage, table, column, "raw holds values of earlier deliveries", LEFT)
    _settle(stage, table)


def follow_identifying(stage: Stage, model: Model) -> None:
    """Know the identifying columns of a table that the lake holds already."""
    stage.identifiers.follow(model, lambda: _columns(stage, f"{LAKE}.{model.table}"))


def note_carried(stage: Stage, model: Model) -> None:
    """Record the columns of a new table that hold what identifies."""
    for column in stage.identifiers.follow(model, lambda: _columns(stage, model.table)):
        _note(stage, model.table, column, "holds an identifying column", CARRIED)
    _settle(stage, model.table)


def hidden_corrections(
    stage: Stage, table: str, audit: Sequence[Mapping[str, object]]
) -> list[dict[str, object]]:
    """Return audit rows of corrections without the values of identifying columns."""
    names = [str(row["column_name"]) for row in audit]
    hidden = set(stage.identifiers.columns(table, names))
    stage.identifiers.learn(
        str(row["new_value"]) for row in audit if row["column_name"] in hidden and row["new_value"]
    )
    return [
        {
            **row,
            **{
                key: MASK
                for key in ("old_value", "new_value")
                if row["column_name"] in hidden and row[key] is not None
            },
        }
        for row in audit
    ]


def _settle(stage: Stage, table: str) -> None:
    """Record that nothing is open any more, where something was."""
    noted = ((row["table_name"], row["expectation"]) for row in stage.ledgers["check_result"])
    if table in stage.identifiers.flagged and (table, EXPECTATION) not in noted:
        _note(stage, table, None, "nothing is open any more", SETTLED, is_met=True)


def _note(
    stage: Stage, table: str, column: str | None, observed: str, notes: str, *, is_met: bool = False
) -> None:
    (rows,) = stage.connection.execute(f"select count(*) from {qualified(table)}").fetchone() or (0,)
    record_outcome(
        stage,
        table,
        expectation=EXPECTATION,
        column=column,
        severity="warning",
        observed=observed,
        notes=notes,
        rows_in=int(rows),
        rows_set_aside=0,
        failures=(),
        is_met=is_met,
    )


def _columns(stage: Stage, table: str) -> list[str]:
    return [name for name, *_ in stage.connection.execute(f"describe {qualified(table)}").fetchall()]
