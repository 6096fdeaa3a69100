"""Build: correct and check what arrived, then make each SQL model, judge it, and hand it on."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import duckdb
import polars as pl

from tasks.gate import judge_table, record_outcome, references
from tasks.identifiers import follow_identifying, hidden_corrections, note_carried, note_identifying
from warehouse.corrections import Correction, apply, load_corrections
from warehouse.errors import LakeError, ModelError
from warehouse.identifying import handling_of
from warehouse.lake import LAKE, tables
from warehouse.lineage import fingerprint
from warehouse.masking import MASK, mask
from warehouse.query_limit import OverTimeError, limit_time
from warehouse.quoting import identifier, qualified

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from expectations.suite import Suite
    from tasks.stage import Stage
    from warehouse.models import Model
    from warehouse.study import Study

log = logging.getLogger("trialhouse")

PROVENANCE = ("_source_file", "_source_row", "_sha256", "_loaded_at")
COMMON_COMMENTS: Mapping[str, str] = {
    "_source_file": "delivered file of the row, below the data root",
    "_source_row": "row in that file as a spreadsheet shows it (header = 1)",
}
TYPES: Mapping[str, str] = {
    "integer": "try_cast({} as bigint) is not null and not contains({}, '.')",
    "number": "try_cast({} as double) is not null and isfinite(try_cast({} as double))",
    "date": "try_cast({} as date) is not null",
    "datetime": "try_cast({} as timestamp) is not null",
}


def source_fingerprint(study: Study, name: str, files: Mapping[str, str], suite: Suite | None) -> str:
    """Hash what staging will see of a source: its current files as read, corrected, checked."""
    source = study.sources[name]
    decisive = {"format", "encoding", "separator", "columns"} | (
        {"identifying"} if source.identifying else set()
    )
    return fingerprint(
        "source",
        {
            "source": source.model_dump(include=decisive),
            "corrections": [correction.model_dump() for correction in corrections_of(study, name)],
            "suite": _suite(suite),
        },
        files,
    )


def model_fingerprint(model: Model, suite: Suite | None, content: Mapping[str, str]) -> str:
    """Hash what decides a model's table: its SQL, its suite, and the content of all that they read."""
    return fingerprint(
        "model", {"select": model.select, "suite": _suite(suite)}, inputs_of(model.reads, suite, content)
    )


def inputs_of(reads: Collection[str], suite: Suite | None, content: Mapping[str, str]) -> dict[str, str]:
    """Return the content of each table that is read, by the query or by its suite."""
    return {table: content[table] for table in {*reads, *references(suite)} if table in content}


def corrections_of(study: Study, name: str) -> tuple[Correction, ...]:
    return tuple(correction for correction in load_corrections(study) if correction.source == name)


def provide_sources(stage: Stage) -> None:
    """Find what each source's current delivery is; check at once those that changed since last checked."""
    files = current_files(stage.connection, stage.input_version)
    for name in stage.study.sources:
        if name not in files:
            raise LakeError(
                f"{stage.study.id}: source {name} has not arrived: run `trialhouse ingest {stage.study.id}`"
            )
        table = f"raw.{name}"
        own = source_fingerprint(
            stage.study,
            name,
            {file: sha256 for file, (sha256, _) in files[name].items()},
            stage.suites.get(table),
        )
        stage.content[table] = own
        if not stage.is_current(table, own):
            provide_source(stage, name)


def provide_source(stage: Stage, name: str) -> None:
    """Show the usable rows of `raw.<name>`: newest delivery of each file, corrected, checked, judged."""
    table = f"raw.{name}"
    files = current_files(stage.connection, stage.input_version)[name]
    corrections = corrections_of(stage.study, name)
    select = _current_rows(stage, name, files)
    if corrections or table in stage.suites:
        # A copy, for values will change or rows leave; a source that stays as it is is only looked at.
        stage.connection.execute(f"create or replace table {qualified(table)} as {select}")
        audit = apply(stage.connection, table, corrections)
        stage.ledgers["correction"] += [
            {"run_id": stage.run.run_id, **row} for row in hidden_corrections(stage, table, audit)
        ]
    else:
        stage.connection.execute(f"create or replace view {qualified(table)} as {select}")
    stage.provided.add(table)
    note_identifying(stage, name)
    _check_types(stage, table)
    judge_table(stage, table, reference_tables=())
    own = stage.content[table]
    stage.made(table, own, {file: sha256 for file, (sha256, _) in files.items()}, content=own)


def current_files(
    connection: duckdb.DuckDBPyConnection, version: int
) -> dict[str, dict[str, tuple[str, object]]]:
    """Return, by source, the files of the current delivery: sha256 and time of loading."""
    if "meta.source_file" not in tables(connection):
        return {}
    rows = connection.execute(
        f"""
        select source, source_file, sha256, loaded_at
        from {LAKE}.meta.source_file at (version => {version})
        qualify row_number() over (partition by source, source_file order by version desc) = 1
            and status = 'delivered'
        """
    ).fetchall()
    files: dict[str, dict[str, tuple[str, object]]] = {}
    for source, file, sha256, loaded_at in rows:
        files.setdefault(source, {})[file] = (sha256, loaded_at)
    return files


def build_model(stage: Stage, model: Model) -> bool:
    """Make one model's table, judge it, and hand it on; return whether anything had to be done."""
    table, suite = model.table, stage.suites.get(model.table)
    blocked = sorted((model.reads | references(suite)) & stage.stopped.keys())
    if blocked:
        stage.stopped[table] = f"not made, for it reads {', '.join(blocked)}"
        return False
    own = model_fingerprint(model, suite, stage.content)
    if stage.is_current(table, own):
        follow_identifying(stage, model)
        stage.content[table] = stage.last_made[table].content
        return False
    inputs = inputs_of(model.reads, suite, stage.content)
    for name in sorted(inputs):
        provide(stage, name)
    for name in sorted(model.optional.keys() - inputs.keys()):
        stage.connection.execute(f"create or replace table {qualified(name)} ({model.optional[name]})")
    try:
        with limit_time(stage.connection, stage.lake.settings.query_seconds):
            stage.connection.execute(f"create or replace table {qualified(table)} as {model.select}")
    except (duckdb.Error, OverTimeError) as error:
        raise ModelError(f"{model.place} of {_owner(stage, model)}: {mask(_first_lines(error))}") from error
    for name in sorted(model.optional.keys() - inputs.keys()):
        stage.connection.execute(f"drop table {qualified(name)}")
    stage.provided.add(table)
    note_carried(stage, model)
    judge_table(stage, table, reference_tables=inputs)
    rows = stage.made(table, own, inputs)
    stage.will_replace(table, model.comment, _column_comments(stage, model))
    log.info("%s: %s", table, count(rows, "row"))
    return True


def provide(stage: Stage, table: str) -> None:
    """Make sure that the workbench shows a table, from the lake where this run has not made it."""
    if table in stage.provided:
        return
    if table.startswith("raw."):
        provide_source(stage, table.removeprefix("raw."))
    else:
        stage.read_from_lake(table)


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _current_rows(stage: Stage, name: str, files: Mapping[str, tuple[str, object]]) -> str:
    """Select a source's current rows with the columns that its current files delivered, and no others."""
    delivered = stage.connection.execute(
        f"""
        select distinct unnest(from_json(columns, '["varchar"]')) as name
        from {LAKE}.meta.source_file where source = ?
            and (source_file, loaded_at) in (select unnest(?::varchar[]), unnest(?::timestamp[]))
        """,
        [name, list(files), [loaded_at for _, loaded_at in files.values()]],
    ).fetchall()
    present = {column for (column,) in delivered}
    in_order = [
        column
        for column, *_ in stage.connection.execute(f"describe {qualified(f'{LAKE}.raw.{name}')}").fetchall()
        if column in present or column in PROVENANCE
    ]
    current = pl.DataFrame(
        {"_source_file": list(files), "_loaded_at": [loaded_at for _, loaded_at in files.values()]},
        schema={"_source_file": pl.String, "_loaded_at": pl.Datetime("us")},
    )
    stage.connection.register("current_frame", current)
    stage.connection.execute(
        f"create or replace temp table {identifier(f'current_{name}')} as from current_frame"
    )
    stage.connection.unregister("current_frame")
    columns = ", ".join(map(identifier, in_order))
    return (
        f"select {columns} from {qualified(f'{LAKE}.raw.{name}')} at (version => {stage.input_version})"
        f" semi join {qualified(f'temp.current_{name}')} using (_source_file, _loaded_at)"
    )


def _check_types(stage: Stage, table: str) -> None:
    """Record every value that does not convert to the type that study.toml declares for its column."""
    declared = stage.study.sources[table.removeprefix("raw.")].columns
    handling = handling_of(stage.study.sources[table.removeprefix("raw.")], declared)
    checks = {
        column: TYPES[kind]
        for column, kind in declared.items()
        # What was kept out of raw, or is a pseudonym there, has no type to check.
        if kind in TYPES and handling.get(column, "keep") == "keep"
    }
    if not checks:
        return
    (rows,) = stage.connection.execute(f"select count(*) from {qualified(table)}").fetchone() or (0,)
    for column, condition in checks.items():
        value = f"trim({identifier(column)})"
        failing = stage.connection.execute(
            f"select {identifier(column)}, _source_file, _source_row from {qualified(table)}"
            f" where {value} <> '' and not coalesce({condition.format(value, value)}, false)"
        ).fetchall()
        if column in handling:
            failing = [(MASK, *place) for _, *place in failing]
        examples = ", ".join(sorted({repr(text) for text, *_ in failing})[:3])
        record_outcome(
            stage,
            table,
            expectation="column_type",
            column=column,
            severity="warning",
            observed=f"{len(failing)} of {rows} are no {declared[column]}"
            + (f": {examples}" if failing else ""),
            notes=f"study.toml declares {column} as {declared[column]}; another value is read as missing.",
            rows_in=rows,
            rows_set_aside=0,
            failures=[
                {"column_name": column, "value": text, "source_file": file, "source_row": row}
                for text, file, row in failing
            ],
        )


def _column_comments(stage: Stage, model: Model) -> dict[str, str]:
    """Return a table's column comments: its header's, else the delivered label of a column of that name."""
    labels: dict[str, str] = {}
    for table in sorted(model.reads):
        if table.startswith("raw."):
            rows = stage.connection.execute(
                "select lower(column_name), comment from duckdb_columns()"
                " where database_name = ? and schema_name = 'raw' and table_name = ? and comment is not null",
                [LAKE, table.removeprefix("raw.")],
            ).fetchall()
            labels |= dict(rows)
    return {**labels, **COMMON_COMMENTS, **model.column_comments}


def _owner(stage: Stage, model: Model) -> str:
    return "the house" if model.is_house else f"study {stage.study.id}"


def _first_lines(error: Exception) -> str:
    return " ".join(line.strip() for line in str(error).splitlines()[:4] if line.strip())


def _suite(suite: Suite | None) -> object:
    return suite.model_dump(mode="json") if suite is not None else None
