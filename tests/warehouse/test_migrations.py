"""Lakes of an older shape, of an older DuckLake and of a newer trialhouse: read, upgraded, or refused."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import warehouse.migrations
import warehouse.publish
from tests.security.small_lake import put_stage
from warehouse.errors import LakeError, LakeFormatError
from warehouse.lake import Lake, open_lake, read_format
from warehouse.meta import FORMAT, VIEWS
from warehouse.migrations import read_migrations, upgrade
from warehouse.seal import refuse_damage
from warehouse.settings import Settings
from warehouse.verification import verify
from warehouse.versions import versions

if TYPE_CHECKING:
    import polars as pl

LAKES = Path(__file__).parent / "old_lakes"
STUDIES = {"14df529": "nl_ruxolitinib", "6132e38": "nl_ruxolitinib", "duckdb_1_4": "small_trial"}
OF_OTHER_DUCKLAKE = "duckdb_1_4"
STEPS = (
    "back_up_catalog",
    "_run",
    "claim_storage",
    "remove_orphans",
    "record_format",
    "make_views",
    "_record_run",
    "seal_version",
)
# Kills the process that upgrades a lake as it comes to a step, or as it leaves it.
KILLED = """
import os, sys
from pathlib import Path
import warehouse.migrations as migrations
from warehouse.lake import open_lake
from warehouse.settings import Settings

home, study, step, moment = sys.argv[1:]
whole = getattr(migrations, step)

def die(*arguments, **more):
    if moment == "after":
        whole(*arguments, **more)
    os._exit(9)

setattr(migrations, step, die)
migrations.upgrade(open_lake(study, Settings(home=Path(home), catalog="sqlite", storage=None)))
"""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    homes = {}
    for name in STUDIES:
        homes[name] = tmp_path_factory.mktemp(name)
        with tarfile.open(LAKES / f"{name}.tar.xz") as archive:
            archive.extractall(homes[name], filter="data")
    return homes


@pytest.fixture(scope="module")
def upgraded(unpacked: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Upgrade a copy of each lake, below `upgraded` beside it; return what was said."""
    return {
        name: upgrade(lake_at(Path(shutil.copytree(home, home.with_name(f"{home.name}-upgraded"))), name))
        for name, home in unpacked.items()
    }


def lake_at(home: Path, name: str) -> Lake:
    settings = Settings(home=home, catalog="sqlite", storage=None, author="tester")
    return open_lake(STUDIES[name], settings)


def upgraded_lake(unpacked: dict[str, Path], name: str) -> Lake:
    return lake_at(unpacked[name].with_name(f"{unpacked[name].name}-upgraded"), name)


def copy_of(unpacked: dict[str, Path], name: str, folder: Path) -> Lake:
    return lake_at(Path(shutil.copytree(unpacked[name], folder / "home")), name)


def list_versions(lake: Lake) -> pl.DataFrame:
    with lake.read() as connection:
        return versions(connection)


def count_rows(lake: Lake, version: int) -> dict[str, int]:
    with lake.read(version) as connection:
        names = connection.execute(
            "select schema_name || '.' || table_name from duckdb_tables()"
            " where database_name = 'lake' and schema_name <> 'meta' order by 1"
        ).fetchall()
        return {
            name: connection.execute(f"select count(*) from lake.{name}").fetchall()[0][0]
            for (name,) in names
        }


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_an_older_lake_is_not_written_and_one_line_names_the_command(
    unpacked: dict[str, Path], tmp_path: Path, name: str
) -> None:
    lake = copy_of(unpacked, name, tmp_path)
    before = lake.catalog_file.read_bytes()
    with pytest.raises(LakeFormatError, match="`trialhouse upgrade ") as refused, lake.write():
        pass
    assert "\n" not in str(refused.value)
    assert lake.catalog_file.read_bytes() == before
    if name == OF_OTHER_DUCKLAKE:
        with pytest.raises(
            LakeFormatError, match=r"format 0\.3 of DuckLake.*`trialhouse upgrade small_trial`"
        ):
            list_versions(lake)
    else:
        assert list_versions(lake).height == 8


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_an_upgraded_lake_answers_as_it_did(
    unpacked: dict[str, Path], upgraded: dict[str, list[str]], name: str
) -> None:
    lake = upgraded_lake(unpacked, name)
    listed = list_versions(lake)
    assert listed["stage"].to_list()[-1] == "upgrade"
    assert listed["author"].to_list()[-1] == "tester"
    made = listed.filter(listed["stage"] != "upgrade")
    if name != OF_OTHER_DUCKLAKE:
        old = lake_at(unpacked[name], name)
        assert made.equals(list_versions(old))
        for version in (2, 8):
            assert count_rows(lake, version) == count_rows(old, version)
    assert count_rows(lake, listed.height) == count_rows(lake, made.height)
    with lake.read() as connection:
        assert read_format(connection) == FORMAT
        ordered = connection.execute(
            "select version, stage from lake.meta.run where stage <> 'upgrade' order by version"
        ).fetchall()
        unordered = connection.execute(
            "select count(*) from lake.meta.source_file where version is null"
        ).fetchall()
    published = [(row["version"], row["stage"]) for row in made.iter_rows(named=True)]
    assert ordered == published
    assert unordered == [(0,)]
    assert verify(lake) == []


@pytest.mark.parametrize("name", [OF_OTHER_DUCKLAKE])
def test_an_upgrade_keeps_the_catalog_as_it_was_and_happens_once(
    unpacked: dict[str, Path], upgraded: dict[str, list[str]], name: str
) -> None:
    lake = upgraded_lake(unpacked, name)
    kept = Path(re.sub(".* kept in ", "", upgraded[name][0]))
    home = lake.folder.parent
    older = lake_at(home.with_name(f"{home.name}-back"), name)
    shutil.copytree(lake.folder, older.folder)
    shutil.copyfile(kept, older.catalog_file)
    with pytest.raises(LakeFormatError), older.write():
        pass
    assert upgrade(lake) == []
    assert list_versions(lake).height == {OF_OTHER_DUCKLAKE: 5}.get(name, 10)


def test_a_newer_format_is_refused(
    unpacked: dict[str, Path], upgraded: dict[str, list[str]], tmp_path: Path
) -> None:
    lake = lake_at(
        Path(shutil.copytree(upgraded_lake(unpacked, "6132e38").folder.parent, tmp_path / "home")), "6132e38"
    )
    with lake.open_store() as store:
        store.connection.execute("insert into store.meta.format (format) values (99)")
    for use in (lambda: list_versions(lake), lambda: upgrade(lake), lambda: lake.write().__enter__()):
        with pytest.raises(
            LakeFormatError, match=r"format 99, made by a newer trialhouse.*install the newer one"
        ):
            use()


def test_a_corrected_view_reaches_the_lake_with_the_next_publication(
    unpacked: dict[str, Path],
    upgraded: dict[str, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = upgraded_lake(unpacked, OF_OTHER_DUCKLAKE).folder.parent
    lake = lake_at(Path(shutil.copytree(home, tmp_path / "home")), OF_OTHER_DUCKLAKE)
    corrected = {**VIEWS, "current_source_file": "select 'corrected' as said from meta.run limit 1"}
    monkeypatch.setattr(warehouse.publish, "VIEWS", corrected)
    version = put_stage(lake, "run-5", "build", {"sdtm.lb": "i as v"})
    with lake.read() as connection:
        view = "lake.meta.current_source_file"
        assert connection.execute(f"from {view}").fetchall() == [("corrected",)]
    with lake.read(version - 1) as connection:
        assert connection.execute(f"select count(*) from {view}").fetchall() == [(4,)]
    assert verify(lake) == []


@pytest.mark.parametrize("name", ["6132e38", OF_OTHER_DUCKLAKE])
def test_a_step_that_fails_leaves_the_lake_as_it_was(
    unpacked: dict[str, Path], tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = copy_of(unpacked, name, tmp_path)
    migrations = {2: ("0002_order_by_version", read_migrations()[2][1] + "; select * from missing;")}
    with monkeypatch.context() as patch:
        patch.setattr(warehouse.migrations, "read_migrations", lambda: migrations)
        with pytest.raises(LakeError, match="the upgrade to format 2 failed, the lake is as it was"):
            upgrade(lake)
    assert list_versions(lake).height == (3 if name == OF_OTHER_DUCKLAKE else 8)
    with lake.read() as connection:
        assert read_format(connection) == 1
    assert upgrade(lake)
    assert verify(lake) == []


@pytest.mark.parametrize(
    ("step", "moment"),
    [
        pytest.param("back_up_catalog", "after", marks=pytest.mark.proof),
        ("seal_version", "before"),
    ],
)
def test_an_upgrade_that_is_killed_is_finished_by_the_next(
    unpacked: dict[str, Path], tmp_path: Path, step: str, moment: str
) -> None:
    lake = copy_of(unpacked, OF_OTHER_DUCKLAKE, tmp_path)
    kill_upgrade(lake, step, moment)
    upgrade(lake)
    assert list_versions(lake).height == 5
    assert verify(lake) == []
    refuse_damage(lake)
    assert put_stage(lake, "run-6", "build", {"sdtm.lb": "i as v"}) == 6


def kill_upgrade(lake: Lake, step: str, moment: str) -> None:
    command = [sys.executable, "-c", KILLED, str(lake.folder.parent), lake.study_id, step, moment]
    assert subprocess.run(command, check=False, env=dict(os.environ)).returncode == 9


@pytest.mark.proof
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", sorted(STUDIES))
def test_an_upgrade_that_is_killed_at_any_step_is_finished_by_the_next(
    unpacked: dict[str, Path], tmp_path: Path, name: str, step: str, moment: str
) -> None:
    lake = copy_of(unpacked, name, tmp_path)
    kill_upgrade(lake, step, moment)
    upgrade(lake)
    assert list_versions(lake).height == {OF_OTHER_DUCKLAKE: 5}.get(name, 10)
    assert verify(lake) == []
    assert upgrade(lake) == []


def test_the_lake_of_an_older_duckdb_names_no_place_and_no_person(unpacked: dict[str, Path]) -> None:
    for file in unpacked[OF_OTHER_DUCKLAKE].rglob("*"):
        if file.is_file():
            assert not re.search(rb"/(?:home|root|Users|work)/", file.read_bytes()), file
