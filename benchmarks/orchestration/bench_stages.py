"""Where the time of the demo goes: its stages and longest steps, and its memory, as genes and patients grow.

The times are Prefect's own record of the run, read from its database when the run has ended.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from benchmarks import measuring

if TYPE_CHECKING:
    from pathlib import Path

GENES = (5_000, 20_000, 40_000)
PATIENTS = (12, 24)
STAGES = ("ingest", "build", "analyze", "report")
LONGEST = 12


def main() -> None:
    options = measuring.arguments(__doc__)
    measuring.begin(__doc__)
    sizes = [(500, 12)] if options.quick else [(genes, patients) for patients in PATIENTS for genes in GENES]
    totals = []
    steps: dict[str, dict[tuple[int, int], float]] = {}
    with measuring.scratch() as folder:
        for genes, patients in sizes:
            delivery = measuring.simulate(folder, genes=genes, patients=patients)
            home = folder / f"home-{genes}-{patients}"
            done = measuring.run_study(home, delivery)
            spent = seconds(home, "flow_run")
            stages = [spent[stage] for stage in STAGES]
            around = done.seconds - sum(stages)
            totals.append([genes, patients, done.seconds, around, *stages, done.peak_mb])
            for step, cost in seconds(home, "task_run").items():
                steps.setdefault(step, {})[genes, patients] = cost
    print("One run of each size. `around` is the start and the end of Python, of Prefect and its server.")
    measuring.show(["genes", "patients", "total s", "around", *STAGES, "peak MB"], totals)
    longest = sorted(steps, key=lambda step: -max(steps[step].values()))[:LONGEST]
    print(f"\nThe {LONGEST} longest steps, s, by genes x patients")
    measuring.show(
        ["step", *(f"{genes:,} x {patients}" for genes, patients in sizes)],
        [[step, *(steps[step].get(size, 0.0) for size in sizes)] for step in longest],
    )
    print(measuring.load())


def seconds(home: Path, table: str) -> dict[str, float]:
    """Return the seconds of each step or stage of the run, those of the same name together."""
    spent: dict[str, float] = {}
    with sqlite3.connect(home / "prefect" / "prefect.db") as database:
        rows = database.execute(
            "select name, (julianday(end_time) - julianday(start_time)) * 86400 from " + table
        ).fetchall()
    for name, cost in rows:
        spent[_plain(name)] = spent.get(_plain(name), 0.0) + cost
    return {name: cost for name, cost in spent.items() if not name.endswith("-0")}


def _plain(name: str) -> str:
    """Cut what makes a name unique from the name of a step, and the study from that of a stage."""
    head, _, tail = name.rpartition("-")
    if head and len(tail) == 3:
        return head
    return name.removesuffix(f" {measuring.STUDY}")


if __name__ == "__main__":
    main()
