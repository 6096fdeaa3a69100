"""A second run when nothing changed, against the full run.

`note lost` is the second run without the note in which a lake's folder says what its last run depended on:
then Prefect starts and every stage finds for itself that there is nothing to do.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from benchmarks import measuring
from benchmarks.measuring import STUDY, Measured

if TYPE_CHECKING:
    from pathlib import Path

GOAL = 0.10
GENES = (5_000, 20_000, 40_000)
REPEATS = 3


def main() -> None:
    options = measuring.arguments(__doc__)
    measuring.begin(__doc__)
    repeats = 1 if options.quick else REPEATS
    rows = []
    ratio = 0.0
    with measuring.scratch() as folder:
        for genes in (500,) if options.quick else GENES:
            delivery = measuring.simulate(folder, genes=genes)
            home = folder / f"home-{genes}"
            full = measuring.run_study(home, delivery)
            again = measuring.typical([_unchanged(home, delivery) for _ in range(repeats)])
            (home / STUDY / "last_run.json").unlink()
            lost = _unchanged(home, delivery)
            ratio = max(ratio, again.seconds / full.seconds)
            rows += [
                [genes, "full run", full.seconds, 1.0, full.peak_mb],
                [genes, "nothing changed", again.seconds, again.seconds / full.seconds, again.peak_mb],
                [
                    genes,
                    "nothing changed, note lost",
                    lost.seconds,
                    lost.seconds / full.seconds,
                    lost.peak_mb,
                ],
            ]
    print(f"Nothing changed is the median of {repeats}, the other rows are one run each.")
    measuring.show(["genes", "run", "seconds", "of full", "peak MB"], rows)
    measuring.judge("a run when nothing changed, of a full run, at its worst size", ratio, GOAL)


def _unchanged(home: Path, delivery: Path) -> Measured:
    done = measuring.run_study(home, delivery)
    if "nothing changed" not in done.stderr:
        sys.exit(f"the second run did work, so it says nothing:\n{done.stderr}")
    return done


if __name__ == "__main__":
    main()
