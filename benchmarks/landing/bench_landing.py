"""Landing a large CSV: `trialhouse ingest` against DuckDB's own reader into the same kind of lake.

Ingest also hashes the file, refuses what is no text or has a row of the wrong length, numbers every row
and records what it did; DuckDB's side reads and writes. Both in a process of their own, on the same threads,
after the file was read once; the time is that of the landing, without the start of Python.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import duckdb

from benchmarks import measuring
from benchmarks.landing.deliver import SOURCE, STUDY_TOML

if TYPE_CHECKING:
    from collections.abc import Mapping

GOAL = 1.5
ROWS = (1_000_000, 3_000_000, 10_000_000)
REPEATS = 3
THREADS = 2
LAND = Path(__file__).parent / "deliver.py"
SIDES = ("ingest", "duckdb")


def main() -> None:
    options = measuring.arguments(__doc__)
    measuring.begin(__doc__)
    repeats = 1 if options.quick else REPEATS
    rows: list[list[object]] = []
    ratio = 0.0
    with measuring.scratch() as folder:
        for count in (20_000,) if options.quick else ROWS:
            study = folder / f"study-{count}"
            megabytes = write_export(study, count)
            figures = land(folder, study, count, repeats)
            rows += [[count, megabytes, side, *_figures(figures[side])] for side in SIDES]
            ratios = [a / b for a, b in zip(*(_figures(figures[side]) for side in SIDES), strict=True)]
            rows.append([count, megabytes, "ratio", *ratios])
            ratio = ratios[0]
            shutil.rmtree(study)
    print(f"Every figure is the median of {repeats}, on {THREADS} threads.")
    measuring.show(["rows", "file MB", "side", "seconds", "cpu s", "peak MB"], rows)
    measuring.judge("landing by ingest, against DuckDB's own reader, at the largest size", ratio, GOAL)


def write_export(study: Path, rows: int) -> float:
    """Write a laboratory export of the usual mix of columns, with quotes and separators in its texts."""
    study.mkdir()
    (study / "study.toml").write_text(STUDY_TOML, encoding="utf-8")
    file = study / f"{SOURCE}.csv"
    with duckdb.connect(config={"threads": THREADS}) as connection:
        connection.execute(
            f"""
            copy (
                select
                    'NL-' || lpad((i % 400)::varchar, 4, '0') as USUBJID,
                    i as LBSEQ,
                    ['ALT', 'AST', 'CRP', 'HGB', 'WBC'][1 + i % 5] as LBTESTCD,
                    ['Alanine aminotransferase, serum', 'Aspartate aminotransferase, serum',
                        'C reactive protein ("high sensitivity")', 'Haemoglobin', 'Leucocytes'][1 + i % 5]
                        as LBTEST,
                    case when hash(i) % 20 > 0 then round((hash(i) % 1000000) / 1000.0, 3) end as LBORRES,
                    ['U/L', 'U/L', 'mg/L', 'g/L', '10^9/L'][1 + i % 5] as LBORRESU,
                    (date '2024-01-01' + (hash(i, 1) % 700)::integer)::varchar as LBDTC,
                    case when hash(i, 2) % 10 = 0 then 'haemolysed, repeated as ' || (hash(i) % 100000) end
                        as COVAL
                from range({rows}) as t (i)
            ) to '{file}' (header)
            """
        )
    return file.stat().st_size / measuring.MEGABYTE


def land(
    folder: Path, study: Path, count: int, repeats: int
) -> Mapping[str, list[tuple[float, float, float]]]:
    """Land the file by both sides alternately; return seconds, processor seconds and memory of each."""
    figures: dict[str, list[tuple[float, float, float]]] = {side: [] for side in SIDES}
    for repeat in range(repeats):
        # The side that goes first changes, for it finds the disk and its caches in another state.
        for side in SIDES[:: -1 if repeat % 2 else 1]:
            _read_once(study / f"{SOURCE}.csv")
            home = folder / f"home-{side}"
            done = measuring.measure(
                [sys.executable, str(LAND), side, str(study)], home, TRIALHOUSE_THREADS=str(THREADS)
            )
            said = json.loads(done.stdout)
            if said["rows"] != count:
                sys.exit(f"{side}: landed {said['rows']} of {count} rows: its time says nothing")
            figures[side].append((said["seconds"], said["cpu"], done.peak_mb))
            shutil.rmtree(home)
    return figures


def _read_once(file: Path) -> None:
    with file.open("rb") as stream:
        while stream.read(measuring.MEGABYTE):
            pass


def _figures(runs: list[tuple[float, float, float]]) -> list[float]:
    return [median(figure) for figure in zip(*runs, strict=True)]


if __name__ == "__main__":
    main()
