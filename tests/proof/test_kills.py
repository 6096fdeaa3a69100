"""`kill -9` at any moment of a run: the lake opens, holds whole versions only, and the next run mends all.

The delivery is the simulated study with 500 genes, the fewest that the simulation writes. Half of the kills
hit the first run of a fresh lake, half a run that lands a second delivery in a lake of three versions. Most
moments are spread over the whole duration of a run; the others are aimed at publishing, at the moment between
a commit and its seal, and at the making of the catalog. The last kills hit upgrades of lakes of older code.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from warehouse.catalog import open_catalog
from warehouse.errors import LakeError, LakeFormatError
from warehouse.lake import Lake, open_lake
from warehouse.migrations import upgrade
from warehouse.seal import read_seals, refuse_damage
from warehouse.settings import Settings
from warehouse.storage import MARKER
from warehouse.verification import verify
from warehouse.versions import versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import duckdb

pytestmark = pytest.mark.proof

STUDY = "nl_ruxolitinib"
KILLS, UPGRADES = 40, 10
GENES = 500
# The last delivery's seed decides the results; the first only has to differ from it.
FIRST_SEED, SECOND_SEED = 1, 2
SCHEMAS = ("staging", "sdtm", "omics", "adam", "results", "reports")
STAGES = ("ingest", "build", "analyze", "report")
GIVE_UP_SECONDS = 600
OLD_LAKES = (("14df529", STUDY, 8), ("duckdb_1_4", "small_trial", 3), ("6132e38", STUDY, 8))
UPGRADE = """
import sys
from pathlib import Path
from warehouse.lake import open_lake
from warehouse.migrations import upgrade
from warehouse.settings import Settings

print("ready", flush=True)
upgrade(open_lake(sys.argv[1], Settings(home=Path(sys.argv[2]), catalog="sqlite", storage=None)))
"""

Contents = dict[str, tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What lands in which lake, and what an undisturbed run makes of it."""

    name: str
    data: Path
    start: Path | None
    versions_before: dict[int, Contents]
    expected: Contents


@dataclass(frozen=True, slots=True)
class Ground:
    """What all kills share: the deliveries, a warm process for undisturbed runs, and the figures."""

    first: Delivery
    second: Delivery
    seconds: float
    run_undisturbed: Callable[[Path, Path], None]
    launch: Callable[[Path, Path], subprocess.Popen[bytes]]
    hits: Counter[str] = field(default_factory=Counter)


def lake_at(home: Path) -> Lake:
    return open_lake(STUDY, Settings(home=home, catalog="sqlite", storage=None))


def contents(connection: duckdb.DuckDBPyConnection, version: int) -> Contents:
    """Return a hash and the number of rows of every table at a version, whatever the order of the rows."""
    names = connection.execute(
        """
        select schema_name, table_name from duckdb_tables()
        where database_name = 'lake' and list_contains(?, schema_name)
        """,
        [list(SCHEMAS)],
    ).fetchall()
    found = {}
    for schema, name in names:
        rows = f"from lake.{schema}.{name} at (version => {version})"
        columns = connection.execute(f"describe {rows}").fetchall()
        total, count = connection.execute(
            f"select coalesce(sum(hash(t)::hugeint), 0)::varchar, count(*) from ({rows}) as t"
        ).fetchall()[0]
        found[f"{schema}.{name}"] = (f"{[column[:2] for column in columns]} {total}", count)
    return found


def refuse_unwhole(lake: Lake) -> list[int]:
    """Check every version of a lake against what it says of itself; return their numbers."""
    with lake.read() as connection:
        listed = versions(connection)
        for row in listed.iter_rows(named=True):
            at = f"at (version => {row['version']})"
            made = dict(
                connection.execute(
                    f"select distinct target, rows from lake.meta.lineage {at} where run_id = ?",
                    [row["run_id"]],
                ).fetchall()
            )
            landed = dict(
                connection.execute(
                    f"select 'raw.' || source, sum(rows)::bigint from lake.meta.source_file {at}"
                    " where status = 'delivered' group by all"
                ).fetchall()
            )
            assert row["tables"], row
            for table in row["tables"].split(", "):
                (count,) = connection.execute(f"select count(*) from lake.{table} {at}").fetchall()[0]
                # Raw tables keep every load; the others hold just what this version made.
                expected = landed[table] if table.startswith("raw.") else made[table]
                assert count == expected, (row["version"], table)
            (ran,) = connection.execute(
                f"select count(*) from lake.meta.run {at}"
                " where run_id = ? and stage = ? and status = 'published'",
                [row["run_id"], row["stage"]],
            ).fetchall()[0]
            assert ran == 1, row
    return listed["version"].to_list()


def has_catalog(lake: Lake) -> bool:
    """Tell whether a fresh lake has a catalog; while it is half made, the lake says that it is not there."""
    try:
        with lake.read():
            return True
    except LakeError as error:
        if "makes its first version" not in str(error):
            raise
        return False


def orphans(lake: Lake) -> set[str]:
    """Return what lies in a lake's folder and belongs to no version, asking the catalog without DuckLake."""
    with open_catalog(lake) as catalog:
        named = {file.path for file in catalog.list_files()}
        named |= {path for (path,) in catalog.read("ducklake_files_scheduled_for_deletion", "path")}
    found = {file.relative_to(lake.data_folder) for file in lake.data_folder.rglob("*") if file.is_file()}
    stray = {file.as_posix() for file in found} - named - {MARKER}
    spilled = {str(file) for file in lake.scratch.rglob("*")}
    # A page and the note of the last run are written under a name with a dot and then put in place.
    unfinished = {
        file.name for folder in (lake.folder, lake.folder / "reports") for file in folder.glob(".*")
    }
    unfinished |= {file.name for file in lake.folder.glob("*.unfinished")}
    marker = {file.name for file in lake.folder.glob("writing")}
    return stray | spilled | unfinished | marker


def run_in_this_process(home: str, data: str, api: str, secret: str) -> int:
    """Run the command in a process that has its libraries loaded already, which saves most of the time."""
    from flows.cli import main  # takes seconds, and only here

    logging.getLogger("trialhouse").handlers.clear()
    os.environ |= {"TRIALHOUSE_HOME": home, "PREFECT_API_URL": api, "PREFECT_API_AUTH_STRING": secret}
    try:
        main(["run", STUDY, "--data", data])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.fixture(scope="module")
def ground(
    tmp_path_factory: pytest.TempPathFactory,
    up: Any,
    command: Path,
    environment: Callable[..., dict[str, str]],
    trialhouse: Callable[..., subprocess.CompletedProcess[str]],
) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("kills")
    data = {seed: folder / f"delivery_{seed}" for seed in (FIRST_SEED, SECOND_SEED)}
    for seed, out in data.items():
        written = trialhouse(
            folder, "simulate", STUDY, "--seed", str(seed), "--genes", str(GENES), "--out", str(out)
        )
        assert written.returncode == 0, written.stderr

    def launch(home: Path, delivery: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [command, "run", STUDY, "--data", delivery],
            env=environment(home, PREFECT_API_URL=up.api, PREFECT_API_AUTH_STRING=up.secret),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def expected(home: Path) -> tuple[dict[int, Contents], Contents]:
        numbers = refuse_unwhole(lake_at(home))
        assert orphans(lake_at(home)) == set()
        with lake_at(home).read() as connection:
            newest = contents(connection, numbers[-1])
        return {numbers[-1]: newest}, newest

    # The killed runs start cold, so the time that they take is measured cold.
    undisturbed = folder / "undisturbed"
    started = time.monotonic()
    assert launch(undisturbed, data[SECOND_SEED]).wait(GIVE_UP_SECONDS) == 0
    seconds = time.monotonic() - started
    _, of_first_run = expected(undisturbed)

    with multiprocessing.get_context("spawn").Pool(1) as pool:

        def run_undisturbed(home: Path, delivery: Path) -> None:
            done = pool.apply_async(run_in_this_process, (str(home), str(delivery), up.api, up.secret))
            assert done.get(GIVE_UP_SECONDS) == 0

        start = folder / "start"
        run_undisturbed(start, data[FIRST_SEED])
        before, _ = expected(start)
        again = folder / "again"
        shutil.copytree(start, again)
        run_undisturbed(again, data[SECOND_SEED])
        _, of_second_run = expected(again)
        shared = Ground(
            Delivery("first run", data[SECOND_SEED], None, {}, of_first_run),
            Delivery("second delivery", data[SECOND_SEED], start, before, of_second_run),
            seconds,
            run_undisturbed,
            launch,
        )
        yield shared
    lines = [f"  {hits:3d}  {what}" for what, hits in sorted(shared.hits.items())]
    print(  # noqa: T201 - the figures are what the proof is for
        f"\n{shared.hits.total()} kills of a run of {GENES} genes that takes {seconds:.1f} s undisturbed:",
        *lines,
        sep="\n",
    )


def test_an_undisturbed_second_delivery_gives_what_a_fresh_lake_gives(ground: Ground) -> None:
    assert {table.partition(".")[0] for table in ground.first.expected} == set(SCHEMAS)
    assert ground.second.expected == ground.first.expected


@pytest.mark.parametrize("number", range(KILLS))
def test_a_killed_run_leaves_whole_versions_and_the_next_ends_as_if_undisturbed(
    number: int, ground: Ground, tmp_path: Path
) -> None:
    chance = random.Random(number)
    aim = ("any", "any", "any", "publish", "seal", "any", "any", "seal", "publish", "catalog")[number % 10]
    delivery = ground.first if number % 2 or aim == "catalog" else ground.second
    home = tmp_path / "home"
    hit = None
    for attempt in range(5):
        shutil.rmtree(home, ignore_errors=True)
        if delivery.start:
            shutil.copytree(delivery.start, home)
        # Each tenth of the duration gets its share, wherever the dice fall.
        part = (number // 10 + chance.random()) / (KILLS // 10) * 0.95**attempt
        hit = kill(ground, delivery, home, aim=aim, part=part, chance=chance)
        if hit:
            break
    assert hit, "every attempt ended before its kill"

    lake = lake_at(home)
    before = max(delivery.versions_before, default=0)
    numbers: list[int] = []
    if delivery.start or has_catalog(lake):
        numbers = refuse_unwhole(lake)
        refuse_damage(lake)
        if len(numbers) > count_seals(lake):
            hit += ", before its seal"
        with lake.read() as connection:
            for version, content in delivery.versions_before.items():
                assert contents(connection, version) == content
    stage = STAGES[max(numbers, default=0) - before]
    ground.hits[f"{delivery.name}, {'starting' if not lake.folder.exists() else stage}, {hit}"] += 1

    ground.run_undisturbed(home, delivery.data)
    assert refuse_unwhole(lake) == list(range(1, before + len(STAGES)))
    with lake.read() as connection:
        assert contents(connection, before + len(STAGES) - 1) == delivery.expected
    assert orphans(lake) == set()
    assert count_seals(lake) == before + len(STAGES) - 1
    assert verify(lake) == []
    assert (lake.folder / "reports" / f"{STUDY}-v{before + len(STAGES) - 1}.html").is_file()
    shutil.rmtree(home)


def kill(
    ground: Ground, delivery: Delivery, home: Path, *, aim: str, part: float, chance: random.Random
) -> str | None:
    """Start a run and kill its whole process group; return what it was doing, or None if it was done."""
    folder = lake_at(home).folder
    marker = folder / "writing"
    process = ground.launch(home, delivery.data)
    try:
        if aim == "any":
            time.sleep(part * ground.seconds)
        elif aim == "catalog":
            await_file(process, folder / "catalog.sqlite")
            time.sleep(chance.uniform(0, 0.05))
        else:
            for _ in range(chance.randrange(3)):
                await_file(process, marker)
                while marker.exists():
                    time.sleep(0.001)
            await_file(process, marker)
            if aim == "seal":  # the commit is what makes the log of the catalog grow
                await_growth(process, folder / "catalog.sqlite-wal")
            time.sleep(chance.uniform(0, 0.1 if aim == "seal" else 0.5))
    finally:
        ended = process.poll() is not None
        if not ended:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if ended:
        return None
    return (
        "while publishing"
        if marker.exists()
        else "while making the catalog"
        if aim == "catalog"
        else "working"
    )


def await_file(process: subprocess.Popen[bytes], file: Path) -> None:
    while not file.exists() and process.poll() is None:
        time.sleep(0.001)


def await_growth(process: subprocess.Popen[bytes], file: Path) -> None:
    def size() -> int:
        return file.stat().st_size if file.exists() else 0

    before = size()
    while size() <= before and process.poll() is None:
        time.sleep(0.001)


def count_seals(lake: Lake) -> int:
    with open_catalog(lake) as catalog:
        return len(read_seals(catalog))


@pytest.mark.parametrize("number", range(UPGRADES))
def test_a_killed_upgrade_leaves_an_older_or_an_upgraded_lake_and_the_next_finishes(
    number: int, tmp_path: Path
) -> None:
    name, study, before = OLD_LAKES[number % len(OLD_LAKES)]
    whole = tmp_path / "whole"
    with tarfile.open(Path(__file__).parents[1] / "warehouse" / "old_lakes" / f"{name}.tar.xz") as archive:
        archive.extractall(whole, filter="data")
    command = [sys.executable, "-c", UPGRADE, study]

    def start(home: Path) -> subprocess.Popen[bytes]:
        shutil.copytree(whole, home)
        process = subprocess.Popen(
            [*command, str(home)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
        assert process.stdout
        with process.stdout as said:
            assert said.readline() == b"ready\n"
        return process

    started = time.monotonic()
    assert start(tmp_path / "undisturbed").wait(GIVE_UP_SECONDS) == 0
    seconds = time.monotonic() - started
    process = start(tmp_path / "home")
    chance = random.Random(number)
    time.sleep(seconds * (number + chance.random()) / UPGRADES)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()

    lake = open_lake(study, Settings(home=tmp_path / "home", catalog="sqlite", storage=None))
    try:
        with lake.read() as connection:
            assert versions(connection).height in (before, before + 1)
    except LakeFormatError as error:
        assert "trialhouse upgrade" in str(error)  # noqa: PT017 - a lake of an older DuckLake cannot be read
    upgrade(lake)
    assert upgrade(lake) == []
    with lake.read() as connection:
        assert versions(connection).height == before + 1
    assert verify(lake) == []
    assert orphans(lake) == set()
