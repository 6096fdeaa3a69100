"""Land what was delivered: find the files, tell new from known, read them into `raw`, lose nothing."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tasks.erased import keep_out_erased
from tasks.identifiers import withhold
from tasks.modelling import PROVENANCE, count, current_files
from tasks.readers import PREFIX, check_sha256, find_pieces, not_declared, pin_archive, read, sha256_of
from tasks.stage import now
from warehouse.errors import SourceError, joined
from warehouse.lake import LAKE, STORE, as_json
from warehouse.lineage import content_of_load
from warehouse.publish import describe, keep_out_of_catalog
from warehouse.quoting import identifier, literal, qualified

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import duckdb

    from tasks.readers import Delivered, Piece
    from tasks.stage import Stage
    from warehouse.lake import Store
    from warehouse.study import Study

log = logging.getLogger("trialhouse")


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a source's path holds now, against what the lake has of it."""

    source: str
    new: tuple[tuple[Piece, str], ...]
    known: Mapping[str, str]
    withdrawn: tuple[str, ...]

    @property
    def files(self) -> dict[str, str]:
        """Return the sha256 of each file that is current once this delivery has landed."""
        return {**self.known, **{piece.source_file: sha256 for piece, sha256 in self.new}}


def find_deliveries(
    study: Study, root: Path, landed: Mapping[str, Mapping[str, str]]
) -> tuple[Delivery, ...]:
    """Compare the files under the data root with those of the lake.

    Raises
    ------
    SourceError
        Naming every source that has no file or not the file that study.toml declares.
    """
    deliveries: list[Delivery] = []
    problems: list[SourceError] = []
    for name, source in study.sources.items():
        before = landed.get(name, {})
        try:
            pieces = find_pieces(root, name, source)
            check_sha256(name, source, pieces)
            found = [(piece, sha256_of(piece)) for piece in pieces]
        except SourceError as error:
            problems.append(error)
            continue
        present = {piece.source_file for piece, _ in found}
        deliveries.append(
            Delivery(
                source=name,
                new=tuple((piece, sha) for piece, sha in found if before.get(piece.source_file) != sha),
                known={
                    piece.source_file: sha for piece, sha in found if before.get(piece.source_file) == sha
                },
                withdrawn=tuple(sorted(before.keys() - present)),
            )
        )
    if problems:
        raise joined(problems)
    return tuple(deliveries)


def landed_files(connection: duckdb.DuckDBPyConnection, version: int) -> dict[str, dict[str, str]]:
    """Return, by source, the sha256 of each file that is current in the lake."""
    return {
        source: {file: sha256 for file, (sha256, _) in files.items()}
        for source, files in current_files(connection, version).items()
    }


def land_source(stage: Stage, delivery: Delivery) -> bool:
    """Read a source's new files and prepare their landing; return whether there is anything to land."""
    landed = _read_new(stage, delivery)
    # Written down only now: reading may fail and be tried again.
    for file in delivery.withdrawn:
        log.warning(
            "%s: %s is no longer delivered: its rows stay in raw, but are no longer current",
            delivery.source,
            file,
        )
        stage.ledgers["source_file"].append(
            {
                "run_id": stage.run.run_id,
                "source": delivery.source,
                "source_file": file,
                "status": "withdrawn",
                "loaded_at": stage.started_at,
            }
        )
    if not landed:
        if delivery.withdrawn:
            stage.will_write(f"raw.{delivery.source}", _nothing_to_append)
        return bool(delivery.withdrawn)
    landed = [
        keep_out_erased(stage, delivery.source, withhold(stage, delivery.source, delivered))
        for delivered in landed
    ]
    loaded_at = _next_moment(stage)
    for delivered in landed:
        for remark in delivered.remarks:
            log.info("%s: %s: %s", delivery.source, delivered.source_file, remark)
    stage.will_write(
        f"raw.{delivery.source}",
        lambda store: _land(stage, store.connection, delivery.source, landed, loaded_at),
    )
    return True


def _next_moment(stage: Stage) -> datetime:
    """Return now, or the first moment after the last landing of a clock that went ahead.

    The time of its landing tells the rows of one delivery from those of another, so no two may share it.
    """
    if "meta.source_file" not in stage.in_lake:
        return now()
    (last,) = stage.connection.execute(f"select max(loaded_at) from {LAKE}.meta.source_file").fetchone() or (
        None,
    )
    return now() if last is None else max(now(), last + timedelta(microseconds=1))


def _read_new(stage: Stage, delivery: Delivery) -> list[Delivered]:
    """Read the new files out of private copies, so that what is recorded is of the bytes that were read."""
    source = stage.study.sources[delivery.source]
    scratch = stage.lake.scratch
    # This run holds the lake's lock: what lies there was left by one that was killed.
    for left in scratch.glob(f"{PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)
    found = dict(delivery.new)
    landed: list[Delivered] = []
    problems: list[SourceError] = []
    with pin_archive(source, tuple(found), scratch) as (pieces, archive_sha256):
        for piece, seen in zip(pieces, found.values(), strict=True):
            try:
                delivered = read(stage.connection, piece, source, seen=seen, scratch=scratch)
                if source.sha256 not in (None, archive_sha256, delivered.sha256):
                    raise not_declared(delivery.source, source, archive_sha256 or delivered.sha256)
            except SourceError as error:
                problems.append(error)
            else:
                landed.append(delivered)
    if problems:
        raise joined(problems)
    return landed


def _land(
    stage: Stage,
    connection: duckdb.DuckDBPyConnection,
    source: str,
    landed: Sequence[Delivered],
    loaded_at: datetime,
) -> None:
    """Append the files' rows to `raw.<source>` in one statement, and say what arrived."""
    table = qualified(f"{STORE}.raw.{source}")
    _fit_table(stage, connection, source, landed)
    selects = [
        f"select *, {literal(delivered.source_file)} as _source_file, {literal(delivered.sha256)} as _sha256,"
        f" {literal(loaded_at.isoformat())}::timestamp as _loaded_at from {delivered.relation}"
        for delivered in landed
    ]
    connection.execute(f"insert into {table} by name {' union all by name '.join(selects)}")
    rows = dict(
        connection.execute(
            f"select _source_file, count(*) from {table} where _loaded_at = ? group by all",
            [loaded_at],
        ).fetchall()
    )
    for delivered in landed:
        stage.ledgers["source_file"].append(
            {
                "run_id": stage.run.run_id,
                "source": source,
                "source_file": delivered.source_file,
                "status": "delivered",
                "format": stage.study.sources[source].format,
                "sha256": delivered.sha256,
                "bytes": delivered.size,
                "rows": rows.get(delivered.source_file, 0),
                "columns": as_json(list(delivered.columns)),
                "encoding": delivered.encoding,
                "separator": delivered.separator,
                "has_bom": delivered.has_bom,
                "remarks": "; ".join(delivered.remarks) or None,
                "loaded_at": loaded_at,
                "content": content_of_load(connection, delivered.relation, delivered.columns),
            }
        )
    log.info("raw.%s: %s from %s", source, count(sum(rows.values()), "row"), count(len(landed), "file"))


def _fit_table(
    stage: Stage, connection: duckdb.DuckDBPyConnection, source: str, landed: Sequence[Delivered]
) -> None:
    """Make the raw table, or widen it by columns that no earlier delivery had."""
    table = qualified(f"{STORE}.raw.{source}")
    columns = list(dict.fromkeys(column for delivered in landed for column in delivered.columns))
    labels = {column: text for delivered in landed for column, text in delivered.labels.items() if text}
    keep_out_of_catalog(connection, columns)
    if f"raw.{source}" in stage.in_lake:
        present = [name for name, *_ in connection.execute(f"describe {table}").fetchall()]
        known = {name.lower() for name in present}
        added = [column for column in columns if column.lower() not in known]
        for column in added:
            connection.execute(f"alter table {table} add column {identifier(column)} varchar")
        describe(connection, table, None, {name: text for name, text in labels.items() if name in added})
        return
    declared = ", ".join(
        f"{identifier(column)} {'bigint' if column == '_source_column' else 'varchar'}" for column in columns
    )
    connection.execute(
        f"create table {table} ({declared}, _source_file varchar, _source_row bigint,"
        " _sha256 varchar, _loaded_at timestamp)"
    )
    about = stage.study.sources[source].description or next(
        (delivered.table_label for delivered in landed if delivered.table_label), None
    )
    simulated = "SIMULATED DATA. " if stage.study.study.simulated else ""
    text = (
        f"{simulated}{about or source}. As delivered, every value as text. grain: one row per delivered row"
    )
    describe(connection, table, text, labels | dict(zip(PROVENANCE, _PROVENANCE_COMMENTS, strict=True)))


_PROVENANCE_COMMENTS = (
    "delivered file, below the data root; archive.zip!member inside a zip",
    "row in that file as a spreadsheet shows it (header = 1); observation number in a transport file",
    "of the file's bytes",
    "when it was landed, UTC",
)


def _nothing_to_append(_: Store) -> None:
    """Do nothing: a withdrawal changes what is current, which the ledger of source files says."""
