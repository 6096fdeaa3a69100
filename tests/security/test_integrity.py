"""Damages and forgeries of a small lake: each is found and named, and repaired or said to be lost."""

from __future__ import annotations

import random
import re
import shutil
from pathlib import Path

import pytest

from tests.security.damages import (
    damage,
    delete_file,
    edit,
    flip,
    read_logically,
    schedule,
)
from tests.security.small_lake import make_small_lake, put_stage
from warehouse.errors import LakeError
from warehouse.lake import Lake, open_lake
from warehouse.repair import repair
from warehouse.seal import refuse_damage
from warehouse.settings import Settings
from warehouse.verification import find_damage, find_head, verify

STUDY = "small"
# One of each of many kinds, as fast as continuous integration needs it; the proof tries 500.
SAMPLE = [(number, kind) for number, kind in schedule(72) if "bit of any" not in kind and number % 4 == 0]
# What the check before a run does not look at, for nothing that is read depends on it.
NOT_READ = {"stranger", "copy of the catalog"}
SPOILED = b"\0" * 4096


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("whole")
    make_small_lake(lake_at(home))
    return home


@pytest.fixture
def lake(whole: Path, tmp_path: Path) -> Lake:
    shutil.copytree(whole, tmp_path / "home")
    return lake_at(tmp_path / "home")


def lake_at(home: Path) -> Lake:
    return open_lake(STUDY, Settings(home=home, catalog="sqlite", storage=None, author="tester"))


def texts(lake: Lake) -> str:
    return "\n".join(map(str, verify(lake)))


def test_a_whole_lake_has_nothing_to_be_found(lake: Lake) -> None:
    assert verify(lake) == []
    refuse_damage(lake)
    version, seal = find_head(lake) or (0, "")
    assert version == 4
    assert verify(lake, anchor=seal) == []
    assert "is in no version" in str(verify(lake, anchor="0" * 64)[0])
    assert repair(lake) == []


@pytest.mark.parametrize(("number", "kind"), SAMPLE)
def test_a_damage_is_found_named_and_refused(lake: Lake, number: int, kind: str) -> None:
    place = damage(lake, number, kind)
    found = []
    for finding in find_damage(lake):
        found.append(str(finding))
        if re.search(place, found[-1]):
            break
    else:
        pytest.fail(f"{kind}: {place} is named by none of {found}")
    if kind in NOT_READ:
        refuse_damage(lake)
    elif number % 6 == 0:
        with pytest.raises(LakeError):
            refuse_damage(lake)


def test_a_bit_that_nothing_reads_is_no_damage(lake: Lake) -> None:
    edit(lake, "create table gone as select randomblob(20000) as v", "drop table gone")
    free = int(edit(lake, "pragma freelist_count")[0][0])
    assert free > 2
    before, content = read_logically(lake.catalog_file), bytearray(lake.catalog_file.read_bytes())
    for page in range(len(content) // 4096):
        content[page * 4096 + 2000] ^= 1
        lake.catalog_file.write_bytes(content)
        if read_logically(lake.catalog_file) == before:
            break
        content[page * 4096 + 2000] ^= 1
    assert read_logically(lake.catalog_file) == before
    assert verify(lake) == []


def test_the_rows_of_a_table_are_held_against_their_own_hash(lake: Lake) -> None:
    """A forger who seals anew what was changed has changed the rows all the same."""
    from warehouse.catalog import open_catalog
    from warehouse.seal import read_snapshots, seal_version

    with lake.open_store() as store:
        store.connection.execute("update store.results.primary set v = v + 1")
    edit(lake, "delete from trialhouse_seal")
    with open_catalog(lake, is_writable=True) as catalog:
        for version in sorted(read_snapshots(catalog))[1:]:
            seal_version(lake, catalog, version)
    edit(lake, "update ducklake_snapshot_changes set author = 'tester'")
    refuse = texts(lake)
    assert "meta.run, version 5: is missing" in refuse


# Repair


def version_of(lake: Lake) -> int:
    return int(edit(lake, "select max(snapshot_id) from ducklake_snapshot")[0][0])


CATALOG = ("edited SQL of a view", "broken catalog", "tables of ours dropped")


@pytest.mark.parametrize("kind", CATALOG)
def test_a_damaged_catalog_is_put_back(lake: Lake, kind: str) -> None:
    damage(lake, 0, kind)
    done = "\n".join(repair(lake))
    assert "the catalog was put back as it was sealed" in done
    assert verify(lake) == []


def test_a_damaged_marker_is_written_again(lake: Lake) -> None:
    (lake.data_folder / "lake.json").write_text("{}")
    assert "written again from the newest seal" in repair(lake)[0]
    assert verify(lake) == []


def test_a_table_that_a_run_makes_is_dropped_and_named(lake: Lake) -> None:
    newest = max((lake.data_folder / "sdtm" / "lb").glob("*.parquet"), key=lambda file: file.name)
    flip(newest, random.Random(1))
    done = repair(lake)
    assert done == ["sdtm.lb: dropped; `trialhouse run small` makes it again from raw"]
    refuse_damage(lake)
    assert {finding.kind for finding in verify(lake)} == {"file"}
    assert "(versions 4 to 4)" in texts(lake)
    put_stage(lake, "run-6", "build", {"sdtm.lb": "i % 13 as v"})
    refuse_damage(lake)
    with lake.read() as connection:
        assert connection.execute("select count(*) from lake.sdtm.lb").fetchall() == [(2000,)]


@pytest.mark.parametrize("schema", ["raw", "meta"])
def test_rows_that_no_run_makes_are_lost_and_counted(lake: Lake, schema: str) -> None:
    files = (lake.data_folder / schema).rglob("*.parquet")
    file = max(files, key=lambda path: path.name)
    rows = 3000 if schema == "raw" else 12
    file.write_bytes(b"damaged")
    done = repair(lake)
    assert len(done) == 1
    assert f"{rows} rows of version" in done[0]
    assert file.name in done[0]
    refuse_damage(lake)
    with lake.read() as connection:
        table = "raw.lab" if schema == "raw" else "meta.lineage"
        left = connection.execute(f"select count(*) from lake.{table}").fetchall()[0][0]
        files = connection.execute("select source from lake.meta.current_source_file order by 1").fetchall()
    assert left == (0 if schema == "raw" else 48)
    # The delivery counts as withdrawn: the next ingest lands the file again.
    assert files == ([("notes",)] if schema == "raw" else [("lab",), ("notes",)])


def test_a_deleted_folder_of_results_is_repaired(lake: Lake) -> None:
    shutil.rmtree(lake.data_folder / "results")
    assert "results.effect: dropped" in repair(lake)[0]
    refuse_damage(lake)


def test_catalog_and_files_damaged_together_are_both_mended(lake: Lake) -> None:
    delete_file(lake, random.Random(5))
    lake.catalog_file.write_bytes(SPOILED)
    done = "\n".join(repair(lake))
    assert "the catalog was put back" in done
    refuse_damage(lake)


def test_what_cannot_be_repaired_is_one_message(lake: Lake) -> None:
    lake.catalog_file.write_bytes(SPOILED)
    (lake.folder / "catalog.sealed.sqlite").write_bytes(SPOILED)
    with pytest.raises(LakeError, match="restore it from a backup"):
        repair(lake)
    (lake.folder / "catalog.sealed.sqlite").unlink()
    with pytest.raises(LakeError, match="no copy of it here: restore it from a backup"):
        repair(lake)
    assert lake.catalog_file.read_bytes() == SPOILED


def test_an_older_copy_of_the_catalog_is_not_put_in_place(lake: Lake) -> None:
    """The newest version would be lost without a word: the marker in the data folder knows it."""
    copy = lake.folder / "catalog.sealed.sqlite"
    older = copy.read_bytes()
    put_stage(lake, "run-5", "build", {"sdtm.lb": "i as v"})
    copy.write_bytes(older)
    lake.catalog_file.write_bytes(SPOILED)
    with pytest.raises(LakeError, match="restore it from a backup"):
        repair(lake)


# A writer that was killed between its commit and the end of its seal


def test_a_version_without_a_seal_is_sealed_by_the_next_writer(lake: Lake) -> None:
    marker = lake.data_folder / "lake.json"
    before = marker.read_bytes()
    put_stage(lake, "run-5", "build", {"sdtm.lb": "i as v"})
    edit(
        lake, "delete from trialhouse_seal where version = 5", "delete from trialhouse_file where version = 5"
    )
    marker.write_bytes(before)
    (lake.folder / "writing").write_text("[]")
    refuse_damage(lake)
    assert "version 5: was published by a writer that was killed" in texts(lake)
    with lake.write() as writer:
        assert writer.version == 5
    assert verify(lake) == []


def test_a_seal_that_is_not_yet_in_the_marker_is_written_there_by_the_next_writer(lake: Lake) -> None:
    marker, copy = lake.data_folder / "lake.json", lake.folder / "catalog.sealed.sqlite"
    before = marker.read_bytes(), copy.read_bytes()
    put_stage(lake, "run-5", "build", {"sdtm.lb": "i as v"})
    marker.write_bytes(before[0])
    copy.write_bytes(before[1])
    assert "is the newest: it is not" in texts(lake)
    (lake.folder / "writing").write_text("[]")
    assert verify(lake) == []
    with lake.write():
        pass
    assert not (lake.folder / "writing").exists()
    assert verify(lake) == []


def test_a_version_that_is_not_ours_is_sealed_by_nobody(lake: Lake) -> None:
    with lake.open_store() as store:
        store.connection.execute("update store.results.primary set v = 0")
    (lake.folder / "writing").write_text("[]")
    for _ in range(2):
        with pytest.raises(LakeError, match="version 5 was not published by trialhouse"), lake.write():
            pass
    assert "version 5: was not published by trialhouse" in texts(lake)
    assert "put back as it was sealed" in repair(lake)[0]
    with lake.read() as connection:
        assert connection.execute("select min(v) from lake.results.primary").fetchall()[0][0] > 0
