"""Erase one participant: from every version and file of a lake, with a row in `meta.erasure` that says so.

History stays readable. Each data file with rows of the participant is written again without them, and the
catalog names the new file in the place of the old one, in every version; rows that the catalog holds itself
are deleted there. The hashes that the ledgers recorded are made anew from the rows that stay. The erasure is
a version of its own, whose seal covers the lake as it is then.

`erasing.json` stands from before the first change to the end: an erasure that was interrupted is finished by
the next one.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from warehouse.amending import amend
from warehouse.catalog import open_catalog
from warehouse.errors import LakeError
from warehouse.lake import STORE, Writer, as_json, newest_version, read_format
from warehouse.leftovers import clean_up, find_reports
from warehouse.lineage import code_version
from warehouse.locking import hold_lock
from warehouse.meta import FORMAT
from warehouse.participant import Keys, find_keys, normalise, rows_to_erase, texts_to_change
from warehouse.publish import Note, append, publish
from warehouse.rehashing import RECORDED, changes_of, hash_loads, hash_tables, keep_hashes
from warehouse.rewriting import Holding, list_holdings, rewrite
from warehouse.seal import refuse_damage, seal_interrupted
from warehouse.storage import claim_storage, mark_writing, remove_orphans, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import duckdb

    from warehouse.catalog import Catalog
    from warehouse.lake import Lake, Store

STAGE = "erasure"
MESSAGE = "erased a participant from all versions"


@dataclass(frozen=True, slots=True)
class Plan:
    """What an erasure removes, and what it cannot reach."""

    keys: Keys
    rows: Mapping[str, int]
    holdings: tuple[Holding, ...]
    versions: tuple[int, ...]
    reports: tuple[Path, ...]
    delivered: tuple[str, ...]

    @property
    def files(self) -> int:
        return sum(holding.path is not None for holding in self.holdings)


@dataclass(frozen=True, slots=True)
class Pending:
    """An erasure that has begun: what the next call needs to finish it. It names the participant."""

    participant: str
    reason: str
    anywhere: list[str]
    as_subject: list[str]
    old_files: list[str] = field(default_factory=list)

    @property
    def keys(self) -> Keys:
        return Keys(tuple(self.anywhere), tuple(self.as_subject))


def plan_erasure(lake: Lake, participant: str) -> Plan:
    """Tell what `erase` would remove; nothing is changed."""
    lake.require()
    with open_catalog(lake) as catalog:
        holdings = list_holdings(lake, catalog)
        pending = _read_pending(lake)
        if pending is not None and pending.participant == normalise(participant):
            return _plan(lake, catalog, holdings, pending.keys)
        return _plan(lake, catalog, holdings, _find_keys(catalog, holdings, participant))


def erase(lake: Lake, participant: str, reason: str) -> list[str]:
    """Erase a participant from all versions; return what was done, a line for each.

    Raises
    ------
    LakeError
        If no version knows the participant, the reason is empty or names it, or the lake is damaged.
    """
    if not reason.strip():
        raise LakeError("--reason: is empty: say why the participant is erased, without naming anybody")
    lake.require()
    lake.scratch.mkdir(parents=True, exist_ok=True)
    done: list[str] = []
    with hold_lock(lake):
        _prepare(lake)
        pending = _read_pending(lake)
        if pending is not None:
            done.append("an erasure that was interrupted is finished")
            done += _carry_out(lake, pending)
        if pending is None or pending.participant != normalise(participant):
            with open_catalog(lake) as catalog:
                keys = _find_keys(catalog, list_holdings(lake, catalog), participant)
            if keys.is_in(reason) or normalise(participant) in normalise(reason):
                raise LakeError("--reason: names the participant, and is kept for good: leave the name out")
            done += _carry_out(
                lake, Pending(normalise(participant), reason, list(keys.anywhere), list(keys.as_subject))
            )
    return done


def _prepare(lake: Lake) -> None:
    with lake.open_store() as store, open_catalog(lake, is_writable=True) as catalog:
        found = read_format(store.connection, STORE)
        if found != FORMAT:
            raise LakeError(
                f"the lake of {lake.study_id} has format {found}, and this trialhouse writes format {FORMAT}:"
                f" `trialhouse upgrade {lake.study_id}` upgrades it first"
            )
        claim_storage(lake, catalog)
        seal_interrupted(lake, catalog)
        remove_orphans(lake, store.connection)
    refuse_damage(lake)


def _find_keys(catalog: Catalog, holdings: Sequence[Holding], participant: str) -> Keys:
    def find(prefix: str) -> list[tuple[str, Mapping[str, str]]]:
        return [(each.relation, each.columns) for each in holdings if each.table.startswith(prefix)]

    return find_keys(catalog.connection, find, participant)


def _plan(lake: Lake, catalog: Catalog, holdings: Sequence[Holding], keys: Keys) -> Plan:
    connection = catalog.connection
    _gather_source_rows(connection, holdings, keys)
    rows: dict[str, int] = {}
    delivered: set[str] = set()
    affected: list[Holding] = []
    for holding in holdings:
        gone = rows_to_erase(holding.table, holding.columns, keys)
        named = [keys.contained_in(name) for name in texts_to_change(holding.table, holding.columns, keys)]
        count, changed = connection.execute(
            f"select count(*) filter ({gone}), count(*) filter ({' or '.join(named) or 'false'})"
            f" from {holding.relation}"
        ).fetchone() or (0, 0)
        if not count and not changed:
            continue
        affected.append(holding)
        rows[holding.table] = rows.get(holding.table, 0) + count
        if holding.table.startswith("raw.") and "_source_file" in holding.columns:
            delivered |= {
                str(name)
                for (name,) in connection.execute(
                    f"select distinct _source_file from {holding.relation} where {gone}"
                ).fetchall()
            }
    versions = sorted(
        int(version)
        for (version,) in catalog.read("ducklake_snapshot", "snapshot_id")
        if any(holding.is_in(int(version)) for holding in affected)
    )
    return Plan(
        keys,
        rows,
        tuple(affected),
        tuple(versions),
        tuple(find_reports(lake, keys)),
        tuple(sorted(delivered)),
    )


def _gather_source_rows(
    connection: duckdb.DuckDBPyConnection, holdings: Sequence[Holding], keys: Keys
) -> None:
    """Note the delivered rows that are the participant's alone: ledgers name rows by file and number only."""
    connection.execute("create or replace temp table erased_row (source_file varchar, source_row bigint)")
    for holding in holdings:
        if holding.table.startswith("raw.") and {"_source_file", "_source_row"} <= holding.columns.keys():
            # A line of a matrix holds cells of many participants.
            gone = rows_to_erase(holding.table, holding.columns, keys)
            connection.execute(
                f"insert into erased_row select _source_file, _source_row::bigint from {holding.relation}"
                f" group by all having bool_and({gone})"
            )


def _carry_out(lake: Lake, pending: Pending) -> list[str]:
    keys = pending.keys
    with open_catalog(lake) as catalog:
        holdings = list_holdings(lake, catalog)
        _refuse_names(catalog, keys)
        plan = _plan(lake, catalog, holdings, keys)
        old_files = sorted({*pending.old_files, *_paths(plan.holdings)})
        pending = Pending(**{**asdict(pending), "old_files": old_files})
        replace_file(_pending_file(lake), json.dumps(asdict(pending)))
        done: list[str] = []
        if plan.holdings:
            with mark_writing(lake):
                version = _rewrite_and_publish(lake, catalog, plan, holdings, pending)
            rows = sum(plan.rows.values())
            done = [
                *(f"{table}: {count} rows" for table, count in sorted(plan.rows.items())),
                f"version {version}: {rows} rows and {plan.files} data files erased from all versions",
            ]
    with open_catalog(lake) as catalog:
        current = {file.path for file in catalog.list_files()}
    old_files = sorted({*_require_pending(lake).old_files} - current)
    done += clean_up(lake, keys, old_files)
    _pending_file(lake).unlink()
    return done


def _paths(holdings: Iterable[Holding]) -> Iterator[str]:
    for each in holdings:
        if each.path is not None:
            yield each.path
        yield from (path for _, path in each.deletes)


def _refuse_names(catalog: Catalog, keys: Keys) -> None:
    """Refuse tables and columns that are named after the participant: a name cannot be erased."""
    for table, column in (("ducklake_column", "column_name"), ("ducklake_table", "table_name")):
        if any(keys.is_in(str(name)) for (name,) in catalog.read(table, column)):
            raise LakeError(
                "a column or a table of the lake is named after the participant, which `erase` cannot change:"
                " nothing was erased"
            )


def _rewrite_and_publish(
    lake: Lake, catalog: Catalog, plan: Plan, holdings: Sequence[Holding], pending: Pending
) -> int:
    keys = plan.keys
    contents = _hash_anew(lake, catalog, plan)
    connection = catalog.connection
    keep_hashes(connection, contents)
    touched = [each for each in holdings if each in plan.holdings or (contents and each.table in RECORDED)]
    old_files = sorted({*pending.old_files, *_paths(touched)})
    replace_file(_pending_file(lake), json.dumps({**asdict(pending), "old_files": old_files}))
    written = [rewrite(lake, connection, each, _gone(each, keys), changes_of(each, keys)) for each in touched]
    now = datetime.now(UTC).replace(tzinfo=None)
    run_id = f"{now:%Y%m%dT%H%M%S}-erasure"
    extra: dict[str, Any] = {"run_id": run_id, "stage": STAGE, "status": "published"}
    author = lake.settings.author

    def write(store: Store) -> None:
        version = newest_version(store.connection, STORE) + 1
        run = {**extra, "version": version, "author": author, "message": MESSAGE}
        run |= {"started_at": now, "finished_at": now, "input_version": version - 1}
        append(store, "run", [{**run, "code_version": code_version()}])
        row = {"run_id": run_id, "version": version, "erased_at": now, "author": author}
        row |= {"reason": pending.reason, "rows": sum(plan.rows.values()), "files": plan.files}
        append(store, "erasure", [{**row, **_hash_keys(store.connection, keys)}])

    def change(writable: Catalog) -> None:
        keep_hashes(writable.connection, contents)
        pairs = connection.execute("from erased_row").fetchall()
        writable.connection.execute("create temp table erased_row (source_file varchar, source_row bigint)")
        if pairs:
            writable.connection.executemany("insert into erased_row values (?, ?)", pairs)
        amend(lake, writable, keys, written)

    with lake.open_store() as store:
        writer = Writer(
            lake, store.connection, newest_version(store.connection, STORE), is_store_attached=True
        )
        return publish(writer, write, Note(author, MESSAGE, {**extra, "tables": []}), amend=change)


def _gone(holding: Holding, keys: Keys) -> str:
    return rows_to_erase(holding.table, holding.columns, keys)


def _hash_anew(lake: Lake, catalog: Catalog, plan: Plan) -> list[tuple[str, str, str, int]]:
    """Hash what stays of each table and landed file: of what, old hash, new hash, rows."""
    affected = {holding.table for holding in plan.holdings}
    pairs = catalog.connection.execute("from erased_row").fetchall()
    with lake.read() as connection:
        connection.execute("create temp table erased_row (source_file varchar, source_row bigint)")
        if pairs:
            connection.executemany("insert into erased_row values (?, ?)", pairs)
        return [
            *hash_tables(connection, affected, plan.keys),
            *hash_loads(connection, affected, plan.keys),
        ]


def _hash_keys(connection: duckdb.DuckDBPyConnection, keys: Keys) -> dict[str, str]:
    """Return a salt and the salted hashes by which a later delivery of the participant is known."""
    salt = secrets.token_hex(16)

    def hashed(values: Sequence[str]) -> str:
        rows = [connection.execute("select sha256(? || ?)", [salt, value]).fetchone() for value in values]
        return as_json(sorted(row[0] for row in rows if row))

    return {"salt": salt, "keys": hashed(keys.anywhere), "subject_keys": hashed(keys.as_subject)}


def _pending_file(lake: Lake) -> Path:
    return lake.folder / "erasing.json"


def _require_pending(lake: Lake) -> Pending:
    pending = _read_pending(lake)
    if pending is None:
        raise LakeError(f"{_pending_file(lake)}: is gone: another program removed it")
    return pending


def _read_pending(lake: Lake) -> Pending | None:
    try:
        return Pending(**json.loads(_pending_file(lake).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise LakeError(f"{_pending_file(lake)}: cannot be read: {error}: remove it") from error
