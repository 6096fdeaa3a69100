"""What of an erased participant lies beside the versions: pages, backups, free space in databases."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from warehouse.connection import sweep_spilled
from warehouse.errors import LakeError
from warehouse.seal import keep_copy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from warehouse.lake import Lake
    from warehouse.participant import Keys

_SPILLED = re.compile(r".+-\d+-\d+")
# Deleted rows stay in a SQLite file, and in its log, until it is written anew.
_VACUUM = """
import sqlite3, sys
catalog = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
catalog.execute("vacuum")
busy = catalog.execute("pragma wal_checkpoint(truncate)").fetchone()[0]
sys.exit("another program reads it" if busy else 0)
"""
_PREFECT = """
import re, sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
pattern = re.compile(sys.stdin.read(), re.IGNORECASE)
database.create_function("names", 1, lambda text: pattern.search(str(text)) is not None)
gone = 0
for table in ("log", "artifact", "artifact_collection"):
    columns = [row[1] for row in database.execute(f"pragma table_info({table})")]
    if columns:
        where = " or ".join(f'names("{column}")' for column in columns)
        gone += database.execute(f"delete from {table} where {where}").rowcount
if gone:
    database.execute("vacuum")
    database.execute("pragma wal_checkpoint(truncate)")
print(gone)
"""


def find_reports(lake: Lake, keys: Keys) -> Iterator[Path]:
    """Return the pages in the lake's folder that name the participant."""
    for page in sorted((lake.folder / "reports").glob("*")):
        if page.is_file() and keys.is_in(page.read_text(encoding="utf-8", errors="replace")):
            yield page


def clean_up(lake: Lake, keys: Keys, old_files: Sequence[str]) -> list[str]:
    """Remove what is left of the participant outside the versions; return what was done."""
    for path in old_files:
        (lake.data_folder / path).unlink(missing_ok=True)
    done = [_remove(page) for page in find_reports(lake, keys)]
    backups = [
        file
        for file in sorted(lake.folder.glob("catalog.*"))
        if not file.name.startswith(("catalog.sealed.", "catalog.sqlite"))
    ]
    done += [f"{_remove(backup)}: an older state of the catalog" for backup in backups]
    (lake.folder / "last_run.json").unlink(missing_ok=True)
    sweep_spilled(lake.scratch)
    for left in lake.scratch.iterdir():
        if not _SPILLED.fullmatch(left.name):  # of a reader that is at work
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    if lake.is_sqlite:
        _run(_VACUUM, lake.catalog_file)
        keep_copy(lake)
    database = lake.settings.home.expanduser().resolve() / "prefect" / "prefect.db"
    if database.is_file():
        rows = int(_run(_PREFECT, database, keys.pattern) or 0)
        done += [f"{database}: {rows} lines of logs and artifacts removed"] if rows else []
    return done


def _remove(file: Path) -> str:
    file.unlink()
    return f"{file}: removed"


def _run(program: str, file: Path, given: str = "") -> str:
    # In a process of its own, for the sake of the locks that this one may hold on the file.
    done = subprocess.run(  # noqa: S603 - our own interpreter and fixed programs
        [sys.executable, "-I", "-S", "-c", program, str(file)],
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        why = done.stderr.strip().rpartition("\n")[2]
        raise LakeError(
            f"{file}: what was erased is still in its free pages: {why}: run `trialhouse erase` again"
        )
    return done.stdout.strip()
