"""Erase a participant beyond the lake's tables, and keep them out of what is delivered later."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from tasks.gate import record_outcome
from tasks.readers.delivery import new_name
from warehouse.erasure import compact
from warehouse.errors import LakeError
from warehouse.lake import LAKE, tables
from warehouse.participant import ERASED, PERSON, hash_bare, hash_key
from warehouse.quoting import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import duckdb

    from tasks.readers import Delivered
    from tasks.stage import Stage
    from warehouse.participant import Participant

log = logging.getLogger("trialhouse")

EXPECTATION = "erased_participant"
MOST_WORDS = 8  # of an identifier within the name of a file
NOTES = "The participant was erased from this lake: what is delivered of them later does not land."
_CLEAN = """
import re, sqlite3, sys
pattern, erased = sys.stdin.read().split("\\0")
def mentions(value):
    value = value.decode("latin-1") if isinstance(value, bytes) else value
    return isinstance(value, str) and re.search(pattern, value) is not None
def masked(value):
    for _ in range(2):
        value = re.sub(pattern, rf"\\g<1>{erased}\\g<3>", value) if isinstance(value, str) else None
    return value
database = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
database.create_function("mentions", 1, mentions)
database.create_function("masked", 1, masked)
database.execute("begin immediate")
changed = 0
for (table,) in database.execute("select name from sqlite_master where type = 'table'").fetchall():
    for _, column, *_ in database.execute(f'pragma table_info("{table}")').fetchall():
        do = (
            f'delete from "{table}"'
            if table in ("log", "artifact", "artifact_collection")
            else f'update "{table}" set "{column}" = masked("{column}")'
        )
        changed += database.execute(f'{do} where mentions("{column}")').rowcount
database.execute("commit")
print(changed)
"""


def clean_prefect(folder: Path, participant: Participant) -> int:
    """Remove logs and artifacts that hold the participant, and mask them elsewhere in Prefect's database."""
    database = folder / "prefect.db"
    changed = 0
    if database.is_file():
        done = subprocess.run(  # noqa: S603 - our own interpreter and fixed arguments
            [sys.executable, "-I", "-S", "-c", _CLEAN, str(database)],
            input=f"{participant.pattern}\0{ERASED}",
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            why = done.stderr.strip().rpartition("\n")[2]
            raise LakeError(f"{database}: cannot be cleaned: {why}: end every run and `trialhouse up`")
        changed = int(done.stdout)
        compact(database)
    for file in sorted(folder.rglob("*")):
        is_ours = file.name == "secret" or file.name.startswith(database.name)
        if file.is_file() and not is_ours and participant.is_in(file.read_bytes().decode("latin-1")):
            file.unlink()
            changed += 1
    return changed


def find_delivered(root: Path, participant: Participant) -> list[str]:
    """Return the delivered files that name the participant in their name or in plain text."""
    if not root.is_dir():
        return []
    return [
        file.relative_to(root).as_posix()
        for file in sorted(root.rglob("*"))
        if file.is_file() and (participant.is_in(file.name) or participant.is_in_file(file))
    ]


def keep_out_erased(stage: Stage, source: str, landed: Sequence[Delivered]) -> list[Delivered]:
    """Return what may land of the files of a source: no row of an erased participant, and no file of one."""
    kept = (set_aside_erased(stage, source, delivered) for delivered in landed)
    return [delivered for delivered in kept if delivered is not None]


def set_aside_erased(stage: Stage, source: str, delivered: Delivered) -> Delivered | None:
    """Return a delivered file without the rows of erased participants; None if the file is one of theirs.

    How many rows are set aside is recorded, and nothing that names the participant.
    """
    connection = stage.connection
    hashes = read_hashes(connection)
    if not hashes:
        return delivered
    rows = _count(connection, delivered.relation)
    if _is_erased(delivered.source_file, hashes):
        _record(stage, source, rows, rows)
        return None
    conditions = [*_conditions(connection, delivered, hashes)]
    if not conditions:
        return delivered
    relation = new_name()
    connection.execute(
        f"create temp view {relation} as select * from {delivered.relation}"
        f" where not coalesce({' or '.join(conditions)}, false)"
    )
    kept = _count(connection, relation)
    _record(stage, source, rows, rows - kept)
    return replace(delivered, relation=relation, rows=kept)


def read_hashes(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, frozenset[str]]]:
    """Return salt and hashes of each erasure."""
    if "meta.erasure" not in tables(connection):
        return []
    rows = connection.execute(f"select salt, key_hashes from {LAKE}.meta.erasure").fetchall()
    return [(salt, frozenset(json.loads(hashes))) for salt, hashes in rows]


def _conditions(
    connection: duckdb.DuckDBPyConnection, delivered: Delivered, hashes: list[tuple[str, frozenset[str]]]
) -> Iterator[str]:
    for column in delivered.columns:
        cell = identifier(column)
        found = connection.execute(
            f"select distinct {cell} from {delivered.relation} where {cell} is not null"
        )
        names_people = PERSON.fullmatch(column.lower()) is not None
        theirs = [
            value
            for (value,) in found.fetchall()
            if isinstance(value, str)
            and (
                _is_erased(value, hashes)
                or (names_people and any(hash_bare(salt, value) in known for salt, known in hashes))
            )
        ]
        if theirs:
            yield f"{cell} in ({', '.join(map(literal, theirs))})"


def _is_erased(text: str, hashes: list[tuple[str, frozenset[str]]]) -> bool:
    """Tell whether a text is, or holds between two signs, an identifier that was erased."""
    words = [found.span() for found in re.finditer("[A-Za-z0-9]+", text)]
    spans = {text} | {
        text[first:last]
        for place, (first, _) in enumerate(words)
        for _, last in words[place : place + MOST_WORDS]
    }
    return any(hash_key(salt, span) in known for salt, known in hashes for span in spans)


def _count(connection: duckdb.DuckDBPyConnection, relation: str) -> int:
    (rows,) = connection.execute(f"select count(*) from {relation}").fetchone() or (0,)
    return int(rows)


def _record(stage: Stage, source: str, rows: int, set_aside: int) -> None:
    log.warning("raw.%s: %d rows of an erased participant were set aside", source, set_aside)
    record_outcome(
        stage,
        f"raw.{source}",
        expectation=EXPECTATION,
        column=None,
        severity="set_aside",
        observed=f"{set_aside} rows of an erased participant",
        notes=NOTES,
        rows_in=rows,
        rows_set_aside=set_aside,
        failures=(),
        is_met=False,
    )
