"""Orchestration overhead: `trialhouse run` against the same steps called as plain functions.

Both sides begin from an empty home and end with the same tables, which is checked. Prefect's fixed start is
measured by a flow of one empty step; what `trialhouse run` costs beyond it is the overhead.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from benchmarks import measuring
from benchmarks.measuring import STUDY, Measured

GOAL = 1.15
GENES = (5_000, 20_000)
REPEATS = 3
HERE = Path(__file__).parent


def main() -> None:
    options = measuring.arguments(__doc__)
    measuring.begin(__doc__)
    repeats = 1 if options.quick else REPEATS
    with measuring.scratch() as folder:
        new, migrated = fixed_start(folder, repeats)
        print(f"Every figure is the median of {repeats}; memory is that of all processes together.")
        ratio = 0.0
        rows: list[list[object]] = []
        for genes in (500,) if options.quick else GENES:
            delivery = measuring.simulate(folder, genes=genes)
            orchestrated, plain, until_step = compare(folder, delivery, repeats)
            beyond = orchestrated.seconds - new - plain.seconds
            ratio = (orchestrated.seconds - new) / plain.seconds
            figures = [
                ("trialhouse run", *_costs(orchestrated)),
                ("plain functions", *_costs(plain)),
                (
                    "ratio",
                    *(a / b for a, b in zip(_costs(orchestrated), _costs(plain), strict=True)),
                ),
                ("trialhouse run until its first step", until_step, None, None),
                ("beyond the fixed start and the work", beyond, None, None),
                ("ratio without the fixed start", ratio, None, None),
            ]
            rows += [[genes, *line] for line in figures]
        measuring.show(["genes", "what", "seconds", "cpu s", "peak MB"], rows)
    print(f"With a migrated database the fixed start is {new - migrated:.1f} s shorter.")
    measuring.judge("trialhouse run less its fixed start, against plain functions", ratio, GOAL)


def fixed_start(folder: Path, repeats: int) -> tuple[float, float]:
    """Return Prefect's start until the first step begins, with a new and with a migrated database."""
    starts: dict[str, list[dict[str, float]]] = {"new database": [], "migrated database": []}
    for repeat in range(repeats):
        for before in starts.values():
            done = measuring.measure(
                [sys.executable, str(HERE / "empty_flow.py")], folder / f"home-empty-{repeat}"
            )
            said = json.loads(done.stdout)
            start = said["server"] + said["flow"]
            before.append({**said, "start": start, "total": done.seconds, "peak": done.peak_mb})
    figures = ("server", "flow", "start", "total", "peak")
    measuring.show(
        ["Prefect's fixed start, s", "server", "flow", "until first step", "whole empty flow", "peak MB"],
        [[kind, *(median(one[key] for one in seen) for key in figures)] for kind, seen in starts.items()],
    )
    new, migrated = (median(one["start"] for one in seen) for seen in starts.values())
    return new, migrated


def compare(folder: Path, delivery: Path, repeats: int) -> tuple[Measured, Measured, float]:
    """Run both sides alternately, each in a home of its own."""
    orchestrated: list[Measured] = []
    plain: list[Measured] = []
    until_step: list[float] = []
    for repeat in range(repeats):
        homes = {side: folder / f"{delivery.name}-{side}-{repeat}" for side in ("orchestrated", "plain")}
        # The side that goes first changes, for it finds the machine and its caches in another state.
        for side in sorted(homes, reverse=bool(repeat % 2)):
            if side == "plain":
                command = [sys.executable, str(HERE / "plain_run.py"), STUDY, str(delivery)]
                plain.append(measuring.measure(command, homes[side]))
            else:
                began = datetime.now(UTC)
                orchestrated.append(measuring.run_study(homes[side], delivery))
                until_step.append((first_step(homes[side]) - began) / timedelta(seconds=1))
        _refuse_different(homes["orchestrated"], homes["plain"])
    return measuring.typical(orchestrated), measuring.typical(plain), median(until_step)


def first_step(home: Path) -> datetime:
    """Return when the first step of the run began, by Prefect's own record."""
    with sqlite3.connect(home / "prefect" / "prefect.db") as database:
        (text,) = database.execute(
            "select min(start_time) from task_run where name like 'prepare study%'"
        ).fetchone()
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _refuse_different(left: Path, right: Path) -> None:
    contents = [_contents(home) for home in (left, right)]
    if contents[0] != contents[1]:
        differing = sorted({table for table, _ in set(contents[0].items()) ^ set(contents[1].items())})
        sys.exit(f"the two sides made different tables: {', '.join(differing)}: their times say nothing")


def _contents(home: Path) -> dict[str, str]:
    from warehouse.lake import Lake
    from warehouse.lineage import last_made
    from warehouse.settings import Settings

    with Lake(STUDY, Settings(home=home)).read() as connection:
        return {table: made.content for table, made in last_made(connection).items()}


def _costs(run: Measured) -> tuple[float, float, float]:
    return run.seconds, run.cpu_seconds, run.peak_mb


if __name__ == "__main__":
    main()
