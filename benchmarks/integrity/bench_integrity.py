"""What integrity costs: sealing a publication, and the check before a run against reading the same files.

Lakes of about 10 MB, 100 MB and 1 GB, in one process, on two threads, after the files were read once. A run
reads what it checks, so the check is compared with DuckDB reading every column of the same tables.
"""

from __future__ import annotations

import shutil
import time
from statistics import median
from typing import TYPE_CHECKING

import warehouse.publish
from benchmarks import measuring
from warehouse.lake import Lake, Store, open_lake
from warehouse.publish import Note, append, publish, replace
from warehouse.seal import refuse_damage, seal_version
from warehouse.settings import Settings
from warehouse.verification import verify

if TYPE_CHECKING:
    from collections.abc import Callable

GOAL_OF_SEAL = 0.2
GOAL_OF_CHECK = 1.0
MEGABYTES = (10, 100, 1000)
BYTES_OF_A_ROW = 29  # compressed, of the columns below
TABLES = 10
REPEATS = 3
GIGABYTE = 1 << 30


def main() -> None:
    options = measuring.arguments(__doc__)
    measuring.begin(__doc__)
    repeats = 1 if options.quick else REPEATS
    rows: list[list[object]] = []
    seal = check = 0.0
    with measuring.scratch() as folder:
        for megabytes in MEGABYTES[:1] if options.quick else MEGABYTES:
            lake = open_lake(
                "measured",
                Settings(home=folder / str(megabytes), catalog="sqlite", storage=None, threads=2),
            )
            published, sealed = fill(lake, megabytes)
            size = sum(file.stat().st_size for file in lake.data_folder.rglob("*.parquet"))
            read, checked, verified = (
                median(take(work, lake) for _ in range(repeats)) for work in (read_all, refuse_damage, verify)
            )
            seal, check = sealed / published, checked / read
            shown = size / measuring.MEGABYTE
            rows.append([shown, published, sealed, seal, read, checked, check, verified / size * GIGABYTE])
            shutil.rmtree(folder / str(megabytes))
    print(f"Every figure but the first two is the median of {repeats}.")
    measuring.show(
        ["MB", "publish s", "seal s", "share", "read s", "check s", "check/read", "verify s/GB"], rows
    )
    measuring.judge("the seal, of the time of a publication, at the largest size", seal, GOAL_OF_SEAL)
    measuring.judge("the check, against reading, at the largest size", check, GOAL_OF_CHECK)


def fill(lake: Lake, megabytes: int) -> tuple[float, float]:
    """Publish tables of about that size as one version; return the seconds of it all and of its seal."""
    count = megabytes * measuring.MEGABYTE // TABLES // BYTES_OF_A_ROW
    seconds: list[float] = []

    def seal_timed(*arguments: object) -> object:
        return_value, took = timed(lambda: seal_version(*arguments))  # type: ignore[arg-type]
        seconds.append(took)
        return return_value

    warehouse.publish.seal_version = seal_timed  # type: ignore[assignment]
    with lake.write() as writer:
        writer.connection.execute("create schema if not exists results")
        for number in range(TABLES):
            writer.connection.execute(
                f"""
                create table results.t{number} as select
                    i as row, 'GENE' || (hash(i) % 20000) as gene, random() as p_value,
                    random() * 10 as estimate, random() as standard_error, (hash(i, 1) % 40)::integer as visit
                from range({count}) as t (i)
                """
            )

        def write(store: Store) -> None:
            for number in range(TABLES):
                replace(store, f"results.t{number}", None, {})
            run = {"run_id": "run", "stage": "analyze", "status": "published", "version": 1}
            append(store, "run", [{**run, "author": "bench", "message": "fill"}])

        note = Note("bench", "fill", {"run_id": "run", "stage": "analyze"})
        _, took = timed(lambda: publish(writer, write, note))
    warehouse.publish.seal_version = seal_version
    return took, sum(seconds)


def read_all(lake: Lake) -> None:
    with lake.read() as connection:
        for number in range(TABLES):
            connection.execute(
                f"""
                select max(row), max(gene), sum(p_value), sum(estimate), sum(standard_error), sum(visit)
                from lake.results.t{number}
                """
            ).fetchall()


def take(work: Callable[[Lake], object], lake: Lake) -> float:
    return timed(lambda: work(lake))[1]


def timed(work: Callable[[], object]) -> tuple[object, float]:
    started = time.perf_counter()
    said = work()
    return said, time.perf_counter() - started


if __name__ == "__main__":
    main()
