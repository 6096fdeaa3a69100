"""Damages and forgeries of a lake: what a disk, a clumsy hand or a forger does to it.

Each damages one lake at random and returns a pattern for the place that a finding has to name. The catalog is
edited by a process of its own: two copies of SQLite in one process would damage it by themselves.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from warehouse.quoting import literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from warehouse.lake import Lake

    Damage = Callable[[Lake, random.Random], str]

EDIT = """
import json, sqlite3, sys
catalog = sqlite3.connect(sys.argv[1], isolation_level=None)
rows = [catalog.execute(statement).fetchall() for statement in json.loads(sys.argv[2])]
catalog.close()
print(json.dumps(rows[-1], default=repr))
"""
# The newest content is in the WAL, as a killed process leaves it.
LEAVE_IN_WAL = """
import os, sqlite3, sys
catalog = sqlite3.connect(sys.argv[1], isolation_level=None)
catalog.execute("pragma journal_mode = wal")
catalog.execute("pragma wal_autocheckpoint = 0")
catalog.execute("begin immediate")
for statement in sys.argv[2:]:
    catalog.execute(statement)
catalog.execute("commit")
os._exit(0)
"""
DUMP = """
import hashlib, sqlite3, sys
catalog = sqlite3.connect(sys.argv[1])
catalog.text_factory = bytes
state = hashlib.sha256()
try:
    objects = catalog.execute("select name, type, sql from sqlite_master order by name").fetchall()
    for name, kind, sql in objects:
        state.update(repr((name, kind, sql)).encode())
        if kind == b"table":
            rows = catalog.execute(f'select * from "{name.decode()}"').fetchall()
            state.update(repr(sorted(map(repr, rows))).encode())
except Exception as error:
    state.update(repr(error).encode())
print(state.hexdigest())
"""


def run_python(code: str, *arguments: str) -> str:
    command = [sys.executable, "-I", "-S", "-c", code, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def edit(lake: Lake, *statements: str) -> list[list[Any]]:
    """Change the catalog as any program with SQLite can; return the rows of the last statement."""
    return list(json.loads(run_python(EDIT, str(lake.catalog_file), json.dumps(statements))))


def read_logically(file: Path) -> str:
    """Hash all that SQLite reads in a catalog: a bit in a free page changes none of it, and is no damage."""
    return run_python(DUMP, str(file)).strip()


def newest(lake: Lake) -> int:
    return int(edit(lake, "select max(snapshot_id) from ducklake_snapshot")[0][0])


def choose_file(lake: Lake, chance: random.Random, schemas: tuple[str, ...] = ()) -> Path:
    files = [
        file
        for file in sorted(lake.data_folder.rglob("*.parquet"))
        if not schemas or file.relative_to(lake.data_folder).parts[0] in schemas
    ]
    return chance.choice(files)


def named(lake: Lake, file: Path) -> str:
    return re.escape(file.relative_to(lake.data_folder).as_posix())


def flip(file: Path, chance: random.Random) -> None:
    content = bytearray(file.read_bytes())
    place = chance.randrange(len(content))
    content[place] ^= 1 << chance.randrange(8)
    file.write_bytes(content)


# Files of rows


def flip_bit(lake: Lake, chance: random.Random, *schemas: str) -> str:
    file = choose_file(lake, chance, schemas)
    flip(file, chance)
    return named(lake, file)


def truncate(lake: Lake, chance: random.Random) -> str:
    file = choose_file(lake, chance)
    file.write_bytes(file.read_bytes()[: chance.randrange(file.stat().st_size)])
    return named(lake, file)


def lengthen(lake: Lake, chance: random.Random) -> str:
    file = choose_file(lake, chance)
    file.write_bytes(file.read_bytes() + chance.randbytes(chance.randint(1, 99)))
    return named(lake, file)


def delete_file(lake: Lake, chance: random.Random) -> str:
    file = choose_file(lake, chance)
    file.unlink()
    return named(lake, file)


def put_folder_in_place(lake: Lake, chance: random.Random) -> str:
    file = choose_file(lake, chance)
    file.unlink()
    file.mkdir()
    return named(lake, file)


def write_noise(lake: Lake, chance: random.Random) -> str:
    file = choose_file(lake, chance)
    file.write_bytes(chance.randbytes(file.stat().st_size))
    return named(lake, file)


def write_again_with_other_rows(lake: Lake, chance: random.Random) -> str:
    """A good Parquet file of the same columns, with one row less."""
    file = choose_file(lake, chance)
    new = file.with_suffix(".new")
    with contextlib.closing(duckdb.connect()) as connection:
        connection.execute(
            f"copy (from read_parquet({literal(str(file))}) offset 1) to {literal(str(new))} (format parquet)"
        )
    new.replace(file)
    return named(lake, file)


def swap_files(lake: Lake, chance: random.Random) -> str:
    files = sorted(lake.data_folder.rglob("*.parquet"))
    while True:
        one, other = chance.sample(files, 2)
        kept = one.read_bytes()
        if kept != other.read_bytes():
            break
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept)
    return named(lake, one)


def put_other_table_in_place(lake: Lake, chance: random.Random) -> str:
    files = sorted(lake.data_folder.rglob("*.parquet"))
    while True:
        one, other = chance.sample(files, 2)
        if one.parent != other.parent and one.read_bytes() != other.read_bytes():
            break
    shutil.copyfile(one, other)
    return named(lake, other)


def add_stranger(lake: Lake, chance: random.Random) -> str:
    file = choose_file(lake, chance)
    new = file.with_name(f"ducklake-{chance.getrandbits(64):x}.parquet")
    shutil.copyfile(file, new)
    return named(lake, new)


def forge_file_and_its_hash(lake: Lake, chance: random.Random) -> str:
    """Change a file, and the SHA-256 that the catalog has of it."""
    from warehouse.seal import hash_file

    file = choose_file(lake, chance)
    flip(file, chance)
    path = file.relative_to(lake.data_folder).as_posix()
    _, digest = hash_file(file)
    edit(lake, f"update trialhouse_file set sha256 = {literal(digest)} where path = {literal(path)}")
    return "trialhouse_file"


# The marker in the data folder, and the copy of the catalog


def damage_marker(lake: Lake, chance: random.Random) -> str:
    marker = lake.data_folder / "lake.json"
    said = json.loads(marker.read_text())
    how = chance.randrange(7)
    if how == 0:
        while marker.read_text(errors="replace") == json.dumps(said):
            flip(marker, chance)
    elif how == 1:
        marker.unlink()
    elif how == 2:
        marker.write_text(chance.choice(["", "{}", "[]", "null", "{" * 99]))
    elif how == 3:
        marker.write_bytes(marker.read_bytes()[: chance.randrange(marker.stat().st_size)])
    else:
        key = chance.choice(["lake", "study", "version", "seal"])
        if how == 4:
            said.pop(key)
        else:
            said[key] = said["version"] + chance.choice([-1, 1, 7]) if key == "version" else "0" * 64
        marker.write_text(json.dumps(said))
    return r"lake\.json|version \d+"


def damage_copy(lake: Lake, chance: random.Random) -> str:
    copy = lake.folder / "catalog.sealed.sqlite"
    how = chance.randrange(3)
    if how == 0:
        copy.unlink()
    elif how == 1:
        copy.write_bytes(b"")
    else:
        flip_until_read(copy, chance)
    return r"catalog\.sealed\.sqlite"


# The bytes of the catalog


def flip_until_read(file: Path, chance: random.Random) -> None:
    """Flip bits, one at a time, until one changes what SQLite reads."""
    before, whole = read_logically(file), file.read_bytes()
    for _ in range(200):
        flip(file, chance)
        if read_logically(file) != before:
            return
        file.write_bytes(whole)
    raise AssertionError(f"{file}: no bit of it is read")


def flip_catalog(lake: Lake, chance: random.Random) -> str:
    flip_until_read(lake.catalog_file, chance)
    return ""


def break_catalog(lake: Lake, chance: random.Random) -> str:
    file = lake.catalog_file
    content = bytearray(file.read_bytes())
    how = chance.randrange(5)
    if how == 0:
        file.write_bytes(content[: chance.randrange(len(content) - 4096)])
    elif how == 1:
        before = read_logically(file)
        while read_logically(file) == before:
            page = chance.randrange(len(content) // 4096) * 4096
            content[page : page + 4096] = bytes(4096)
            file.write_bytes(content)
    elif how == 2:
        file.unlink()
    elif how == 3:
        file.write_bytes(b"")
    else:
        file.write_text("no catalog at all")
    return ""


def damage_wal(lake: Lake, chance: random.Random) -> str:
    """Write the newest seal and snapshot anew so that they lie in the WAL alone, then damage the WAL."""
    file, wal = lake.catalog_file, lake.catalog_file.with_name("catalog.sqlite-wal")
    tables = ("trialhouse_seal", "trialhouse_file", "ducklake_snapshot")
    rows = {table: edit(lake, f"select * from {table}")[-1] for table in tables}
    keys = {table: edit(lake, f"select max(rowid) from {table}")[0][0] for table in tables}
    for table in tables:
        edit(lake, f"delete from {table} where rowid = {keys[table]}")
    edit(lake, "pragma wal_checkpoint(truncate)")
    values = {
        table: ", ".join("null" if cell is None else literal(str(cell)) for cell in row)
        for table, row in rows.items()
    }
    whole = [
        f"insert into {table} (rowid, {columns(lake, table)}) values ({keys[table]}, {values[table]})"
        for table in tables
    ]
    run_python(LEAVE_IN_WAL, str(file), *whole)
    how = chance.randrange(3)
    if how == 0:
        content = bytearray(wal.read_bytes())
        content[chance.randrange(24, len(content))] ^= 1 << chance.randrange(8)  # its checksum ends the WAL
        wal.write_bytes(content)
    elif how == 1:
        wal.write_bytes(wal.read_bytes()[: chance.randrange(wal.stat().st_size)])
    else:
        wal.unlink()
    return ""


def columns(lake: Lake, table: str) -> str:
    return ", ".join(name for (name,) in edit(lake, f"select name from pragma_table_info('{table}')"))


def restore_older_catalog(lake: Lake, chance: random.Random) -> str:
    """Put the catalog back to what it was some versions ago: whole, sealed, and old."""
    back = chance.randint(1, newest(lake) - 1)
    forget(lake, newest(lake) - back + 1)
    return r"version \d+"


# Rows of the catalog, by any program with SQLite


def update_catalog(lake: Lake, chance: random.Random, table: str, column: str, value: str) -> str:
    """Change one value of one row."""
    rows = edit(lake, f"select rowid from {table} where {column} is not ({value})")
    if not rows:
        return edit_seal(lake, chance)
    edit(lake, f"update {table} set {column} = {value} where rowid = {chance.choice(rows)[0]}")
    return table if "snapshot" not in table else rf"{table}|version \d+"


def edit_inlined(lake: Lake, chance: random.Random) -> str:
    tables = [
        (name, edit(lake, f"select name, type from pragma_table_info('{name}')"))
        for (name,) in edit(
            lake, "select name from sqlite_master where name like 'ducklake_inlined_data_%_%' order by name"
        )
        if edit(lake, f"select count(*) from {name}")[0][0]
    ]
    name, listed = chance.choice(tables)
    column = chance.choice(listed)[0]
    if chance.random() < 0.3:
        edit(lake, f"delete from {name} where rowid = (select min(rowid) from {name})")
    else:
        edit(
            lake,
            f'update {name} set "{column}" = coalesce("{column}", 0) || \'1\''
            f" where rowid = (select max(rowid) from {name})",
        )
    return re.escape(name)


def delete_row(lake: Lake, chance: random.Random, table: str) -> str:
    rows = edit(lake, f"select rowid from {table}")
    if not rows:
        return edit_seal(lake, chance)
    edit(lake, f"delete from {table} where rowid = {chance.choice(rows)[0]}")
    return table


def forget(lake: Lake, since: int, *, seals: bool = True) -> None:
    """Take out versions from the catalog with all that they brought, as if they had never been."""
    tables = {
        name: [column for (column,) in edit(lake, f"select name from pragma_table_info('{name}')")]
        for (name,) in edit(lake, "select name from sqlite_master where type = 'table'")
    }
    statements = []
    for name, found in tables.items():
        if "begin_snapshot" in found:
            statements.append(f"delete from {name} where begin_snapshot >= {since}")
        if "end_snapshot" in found:
            statements.append(f"update {name} set end_snapshot = null where end_snapshot >= {since}")
        if "snapshot_id" in found:
            statements.append(f"delete from {name} where snapshot_id >= {since}")
    if seals:
        statements += [
            f"delete from {name} where version >= {since}" for name in ("trialhouse_seal", "trialhouse_file")
        ]
    edit(lake, *statements)


def remove_newest(lake: Lake, chance: random.Random, *, seals: bool) -> str:
    version = newest(lake)
    forget(lake, version, seals=seals)
    return rf"version {version}\b"


def remove_snapshot(lake: Lake, chance: random.Random) -> str:
    version = chance.randint(1, newest(lake) - 1)
    statements = [
        f"delete from {table} where snapshot_id = {version}"
        for table in ("ducklake_snapshot", "ducklake_snapshot_changes")
    ]
    if chance.random() < 0.5:
        statements.append(f"delete from trialhouse_seal where version = {version}")
    edit(lake, *statements)
    return rf"version {version + 1}\b|version {version}\b"


def add_version_again(lake: Lake, chance: random.Random) -> str:
    """Add a version that says of itself what the newest does."""
    version = newest(lake)
    for table in ("ducklake_snapshot", "ducklake_snapshot_changes"):
        names = columns(lake, table)
        chosen = names.replace("snapshot_id", str(version + 1), 1)
        edit(
            lake, f"insert into {table} ({names}) select {chosen} from {table} where snapshot_id = {version}"
        )
    return rf"version {version + 1}\b"


def edit_seal(lake: Lake, chance: random.Random) -> str:
    version = chance.randint(1, newest(lake))
    table, where = "trialhouse_seal", f"where version = {version}"
    how = chance.choice(
        [
            f"update {table} set body = replace(body, 'tester', 'forger'), hash = lower(hash) || 'x' {where}",
            f"update {table} set body = body || ' ' {where}",
            f"update {table} set body = '{{}}' {where}",
            f"update {table} set body = null {where}",
            f"update {table} set hash = replace(hash, substr(hash, 1, 2), 'zz') {where}",
            f"update {table} set previous = 'a' || previous {where}",
            f"update {table} set sealed_at = '2020-01-01T00:00:00+00:00' {where}",
            f"update {table} set version = 'first' {where}",
            f"update {table} set version = 99 {where}",
            f"delete from {table} {where}",
            f"insert into {table} select * from {table} {where}",
        ]
    )
    edit(lake, how)
    return r"version \d+|lake\.json|the catalog|the lake|catalog\.sealed"


def drop_own_tables(lake: Lake, chance: random.Random) -> str:
    dropped = chance.choice(
        [
            ("trialhouse_seal",),
            ("trialhouse_file",),
            ("trialhouse_lake",),
            ("trialhouse_seal", "trialhouse_file", "trialhouse_lake"),
        ]
    )
    edit(lake, *(f"drop table {table}" for table in dropped))
    return "seal|trialhouse_|lake"


def add_to_catalog(lake: Lake, chance: random.Random) -> str:
    edit(
        lake,
        chance.choice(
            [
                "create trigger lose after insert on trialhouse_seal begin delete from ducklake_tag; end",
                "create table notes (text)",
                "create view ducklake_extra as select 1",
                "create unique index one_author on ducklake_snapshot_changes (author, snapshot_id)",
                "alter table ducklake_tag add column note",
            ]
        ),
    )
    return "definitions|ducklake_tag|notes"


# The lake, by any program with DuckLake


def change_with_ducklake(lake: Lake, chance: random.Random, *, is_signed: bool, is_marked: bool) -> str:
    """Change the lake as a user of DuckLake does; signed as one of our authors, or beside a killed writer's
    mark."""
    with lake.open_store() as store:
        connection = store.connection
        tables = connection.execute(
            "select schema_name, table_name from duckdb_tables() where database_name = 'store'"
            " and estimated_size > 0 order by all"
        ).fetchall()
        schema, table = chance.choice(tables)
        target = f'store.{schema}."{table}"'
        (column, *_), *_ = connection.execute(f"describe {target}").fetchall()
        statement = chance.choice(
            [
                f"delete from {target} where rowid = (select min(rowid) from {target})",
                f'update {target} set "{column}" = null',
                f"insert into {target} (from {target} limit 1)",
                f"comment on table {target} is 'forged'",
                f'comment on column {target}."{column}" is $$forged$$',
                f"create table store.{schema}.forged as select 1 as v",
                f"drop table {target}",
                f"alter table {target} add column forged integer",
                f'alter table {target} rename column "{column}" to forged',
                "create or replace view store.meta.current_check_result as select 1 as v",
            ]
        )
        connection.execute("begin")
        connection.execute(statement)
        if is_signed:
            connection.execute("call store.set_commit_message('tester', 'build of run-4')")
        connection.execute("commit")
    if is_marked:
        (lake.folder / "writing").write_text("[]")
    return rf"version {newest(lake)}\b"


ROW_EDITS = {
    "author": ("ducklake_snapshot_changes", "author", "'somebody'"),
    "message": ("ducklake_snapshot_changes", "commit_message", "'all is well'"),
    "extra information": ("ducklake_snapshot_changes", "commit_extra_info", "'{}'"),
    "changes": ("ducklake_snapshot_changes", "changes_made", "''"),
    "time": ("ducklake_snapshot", "snapshot_time", "'2020-01-01 00:00:00+00'"),
    "schema version": ("ducklake_snapshot", "schema_version", "0"),
    "least value of a table": ("ducklake_table_column_stats", "min_value", "'-1'"),
    "greatest value of a table": ("ducklake_table_column_stats", "max_value", "'99999'"),
    "whether there are nulls": ("ducklake_table_column_stats", "contains_null", "not contains_null"),
    "least value of a file": ("ducklake_file_column_stats", "min_value", "'99999'"),
    "number of nulls": ("ducklake_file_column_stats", "null_count", "77"),
    "rows of a file": ("ducklake_data_file", "record_count", "record_count + 1"),
    "size of a file": ("ducklake_data_file", "file_size_bytes", "file_size_bytes + 1"),
    "first version of a file": ("ducklake_data_file", "begin_snapshot", "begin_snapshot + 1"),
    "last version of a file": ("ducklake_data_file", "end_snapshot", "1"),
    "path of a file": ("ducklake_data_file", "path", "'../../' || path"),
    "table of a file": ("ducklake_data_file", "table_id", "table_id + 1"),
    "rows of a table": ("ducklake_table_stats", "record_count", "record_count - 1"),
    "name of a table": ("ducklake_table", "table_name", "'forged'"),
    "folder of a table": ("ducklake_table", "path", "'/tmp/forged/'"),
    "name of a column": ("ducklake_column", "column_name", "'forged'"),
    "type of a column": ("ducklake_column", "column_type", "'blob'"),
    "default of a column": ("ducklake_column", "initial_default", "'1'"),
    "comment of a table": ("ducklake_tag", "value", "'forged'"),
    "comment of a column": ("ducklake_column_tag", "value", "'forged'"),
    "SQL of a view": ("ducklake_view", "sql", "'select 1 as v'"),
    "metadata": ("ducklake_metadata", "value", "'forged'"),
    "identity of the lake": ("trialhouse_lake", "value", "'00000000-0000-0000-0000-000000000000'"),
    "recorded hash of a file": ("trialhouse_file", "sha256", "upper(sha256)"),
    "recorded version of a file": ("trialhouse_file", "version", "version + 1"),
    "recorded path of a file": ("trialhouse_file", "path", "path || 'x'"),
}  # fmt: skip
ROWS_TO_DELETE = (
    "ducklake_data_file",
    "ducklake_table",
    "ducklake_column",
    "ducklake_view",
    "ducklake_tag",
    "ducklake_schema",
    "ducklake_file_column_stats",
    "ducklake_snapshot_changes",
    "trialhouse_file",
    "trialhouse_lake",
)

DAMAGES: dict[str, Damage] = {
    "bit of a file of raw": lambda lake, chance: flip_bit(lake, chance, "raw"),
    "bit of a file of results": lambda lake, chance: flip_bit(lake, chance, "results"),
    "bit of a file of a ledger": lambda lake, chance: flip_bit(lake, chance, "meta"),
    "bit of any file": flip_bit,
    "truncated file": truncate,
    "lengthened file": lengthen,
    "deleted file": delete_file,
    "folder in place of a file": put_folder_in_place,
    "noise in place of a file": write_noise,
    "file of other rows": write_again_with_other_rows,
    "swapped files": swap_files,
    "file of another table": put_other_table_in_place,
    "stranger": add_stranger,
    "file and its recorded hash": forge_file_and_its_hash,
    "marker": damage_marker,
    "copy of the catalog": damage_copy,
    "bit of the catalog": flip_catalog,
    "broken catalog": break_catalog,
    "WAL": damage_wal,
    "older catalog": restore_older_catalog,
    "inlined value": edit_inlined,
    "newest version without its seal": partial(remove_newest, seals=False),
    "newest version with its seal": partial(remove_newest, seals=True),
    "older version": remove_snapshot,
    "version added again": add_version_again,
    "seal": edit_seal,
    "tables of ours dropped": drop_own_tables,
    "trigger, view, index or table added": add_to_catalog,
    "change with DuckLake": partial(change_with_ducklake, is_signed=False, is_marked=False),
    "signed change with DuckLake": partial(change_with_ducklake, is_signed=True, is_marked=False),
    "change with DuckLake beside a mark": partial(change_with_ducklake, is_signed=True, is_marked=True),
    **{
        f"edited {name}": partial(update_catalog, table=table, column=column, value=value)
        for name, (table, column, value) in ROW_EDITS.items()
    },
    **{f"deleted row of {table}": partial(delete_row, table=table) for table in ROWS_TO_DELETE},
}


def schedule(count: int) -> Iterator[tuple[int, str]]:
    """Number so many damages, each kind as often as any other."""
    kinds = list(DAMAGES)
    for number in range(count):
        yield number, kinds[number % len(kinds)]


def damage(lake: Lake, number: int, kind: str) -> str:
    """Damage a lake; the number decides how."""
    return DAMAGES[kind](lake, random.Random(f"{number} {kind}"))
