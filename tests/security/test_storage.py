"""The folder of data files belongs to one catalog; newest is what was published last, by no clock."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

import warehouse.storage
from tasks.modelling import current_files
from tests.security.small_lake import LANDED, put_stage
from warehouse.errors import LakeError
from warehouse.lake import Lake, open_lake
from warehouse.lineage import last_made
from warehouse.settings import Settings
from warehouse.verification import verify

STUDY = "shared"
TABLES = {"sdtm.lb": "i as v"}


def lake_at(home: Path, storage: Path | None) -> Lake:
    settings = Settings(
        home=home, catalog="sqlite", storage=None if storage is None else str(storage), author="tester"
    )
    return open_lake(STUDY, settings)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the home `one` and the storage of its lake of one version."""
    folder = tmp_path_factory.mktemp("made")
    put_stage(lake_at(folder / "one", folder / "storage"), "run-1", "build", TABLES)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "folder")


@pytest.fixture
def lake(folder: Path) -> Lake:
    return lake_at(folder / "one", folder / "storage")


def listing(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()
    }


def leave_behind(lake: Lake, name: str) -> Path:
    file = lake.data_folder / "sdtm" / "lb" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute(f"copy (select 1 as v) to '{file}' (format parquet)")
    return file


def test_a_second_home_with_the_same_storage_is_refused(folder: Path, lake: Lake) -> None:
    before = listing(lake.data_folder)
    other = lake_at(folder / "two", folder / "storage")
    with pytest.raises(LakeError, match=r"belongs to another lake: shared, .*TRIALHOUSE_STORAGE"):
        put_stage(other, "run-1", "build", TABLES)
    assert listing(lake.data_folder) == before
    assert verify(lake) == []
    assert put_stage(lake, "run-2", "build", TABLES) == 2


def test_a_home_that_claims_the_folder_at_the_same_moment_is_refused(
    folder: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is still free when the second looks, and taken when it writes its own marker."""
    said = [None]
    whole = warehouse.storage.read_marker
    monkeypatch.setattr(warehouse.storage, "read_marker", lambda lake: said.pop() if said else whole(lake))
    monkeypatch.setattr(warehouse.storage, "_refuse_foreign_files", lambda *_: None)
    before = listing(lake.data_folder)
    with pytest.raises(LakeError, match="belongs to another lake"):
        put_stage(lake_at(folder / "two", folder / "storage"), "run-1", "build", TABLES)
    assert listing(lake.data_folder) == before


def test_files_without_a_marker_are_nobodys_to_claim(folder: Path, lake: Lake) -> None:
    (lake.data_folder / "lake.json").unlink()
    before = listing(lake.data_folder)
    with pytest.raises(LakeError, match=r"a data file that the catalog of .* does not know"):
        put_stage(lake_at(folder / "two", folder / "storage"), "run-1", "build", TABLES)
    assert listing(lake.data_folder) == before


def test_only_the_orphans_of_a_killed_writer_go(lake: Lake) -> None:
    before = leave_behind(lake, "ducklake-before.parquet")
    marker = lake.folder / "writing"
    known = sorted(
        file.relative_to(lake.data_folder).as_posix() for file in lake.data_folder.rglob("*.parquet")
    )
    marker.write_text(json.dumps(known), encoding="utf-8")
    orphan = leave_behind(lake, "ducklake-orphan.parquet")
    own = leave_behind(lake, "my own table.parquet")
    notes = lake.data_folder / "notes.txt"
    notes.write_text("mine")
    put_stage(lake, "run-2", "build", TABLES)
    assert not orphan.exists()
    assert before.exists()
    assert own.exists()
    assert notes.read_text() == "mine"
    assert not marker.exists()
    said = {finding.place for finding in verify(lake)}
    assert said == {f"sdtm/lb/{name}" for name in ("ducklake-before.parquet", "my own table.parquet")}


@pytest.mark.parametrize("written", ["{", "\udcff"], ids=["cut", "bytes"])
def test_a_mark_that_cannot_be_read_removes_nothing(lake: Lake, written: str) -> None:
    (lake.folder / "writing").write_bytes(written.encode("utf-8", "surrogateescape"))
    kept = leave_behind(lake, "ducklake-orphan.parquet")
    with lake.write():
        pass
    assert kept.exists()


def test_an_orphan_that_is_a_link_to_elsewhere_is_left(lake: Lake, tmp_path: Path) -> None:
    (lake.folder / "writing").write_text("[]")
    outside = tmp_path / "outside.parquet"
    outside.write_bytes(b"mine")
    (lake.data_folder / "sdtm" / "lb" / "ducklake-link.parquet").symlink_to(outside)
    with lake.write():
        pass
    assert outside.read_bytes() == b"mine"


def test_a_copied_lake_lives_its_own_life(tmp_path: Path) -> None:
    one = lake_at(tmp_path / "one", None)
    put_stage(one, "run-1", "build", TABLES)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    two = lake_at(tmp_path / "two", None)
    assert put_stage(two, "run-2", "build", TABLES) == 2
    assert verify(one) == verify(two) == []
    assert len([*one.data_folder.rglob("*.parquet")]) < len([*two.data_folder.rglob("*.parquet")])


def test_a_copied_home_that_shares_the_storage_is_refused_once_they_differ(folder: Path, lake: Lake) -> None:
    shutil.copytree(folder / "one", folder / "two")
    put_stage(lake, "run-2", "build", TABLES)
    before = listing(lake.data_folder)
    with pytest.raises(LakeError, match="version 2: was published and sealed, says the data folder"):
        put_stage(lake_at(folder / "two", folder / "storage"), "run-2", "build", TABLES)
    assert listing(lake.data_folder) == before
    assert verify(lake) == []


def test_newest_is_what_was_published_last_whatever_the_clocks_say(tmp_path: Path) -> None:
    lake = lake_at(tmp_path / "one", None)
    for number, days in enumerate((0, -1), start=1):
        at = LANDED + timedelta(days=days)
        put_stage(lake, f"ingest-{number}", "ingest", {"raw.lab": f"{number} as v"}, at)
        put_stage(lake, f"build-{number}", "build", {"sdtm.lb": f"{number} as v"}, at)
        with lake.read() as connection:
            files = current_files(connection, 2 * number)
            assert files["lab"]["lab.csv"][1] == at
            view = connection.execute("select run_id, version from lake.meta.current_source_file").fetchall()
            assert view == [(f"ingest-{number}", 2 * number - 1)]
            content = connection.execute(
                "select content from lake.meta.lineage where run_id = ? limit 1", [f"build-{number}"]
            ).fetchall()[0][0]
            assert last_made(connection)["sdtm.lb"].content == content
