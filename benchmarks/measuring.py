"""Run a command, take its time and its memory; print figures as a table with the goal beside them."""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

STUDY = "nl_ruxolitinib"
SAMPLE_SECONDS = 0.05
MEGABYTE = 1 << 20
TRIALHOUSE = (sys.executable, "-m", "flows.cli")
# Settings of the person who runs the benchmark would be measured too.
FOREIGN = ("TRIALHOUSE_", "PREFECT_")


@dataclass(frozen=True, slots=True)
class Measured:
    """What one command cost: wall time, processor time and the largest memory of all its processes together.

    Memory is the resident set summed over the process and its children; pages that they share count
    for each of them.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: float
    stdout: str
    stderr: str


def measure(command: Sequence[str], home: Path, **environment: str) -> Measured:
    """Run a command to its end in a home of its own; a command that fails ends the benchmark."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        before = _cpu_of_ended_children()
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr, env=_environment(home, environment))
        peak = 0
        while process.poll() is None:
            peak = max(peak, _resident(process.pid))
            time.sleep(SAMPLE_SECONDS)
        seconds = time.monotonic() - started
        cpu = _cpu_of_ended_children() - before
        texts = []
        for stream in (stdout, stderr):
            stream.seek(0)
            texts.append(stream.read().decode(errors="replace"))
    if process.returncode:
        sys.exit(f"{' '.join(command)}: exit code {process.returncode}\n{texts[1][-2000:]}")
    return Measured(seconds, cpu, peak / MEGABYTE, texts[0], texts[1])


def _environment(home: Path, more: Mapping[str, str]) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return {**own, "TRIALHOUSE_HOME": str(home), **more}


def _cpu_of_ended_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _resident(pid: int) -> int:
    total = 0
    try:
        process = psutil.Process(pid)
        tree = [process, *process.children(recursive=True)]
    except psutil.Error:  # it has just ended
        return 0
    for one in tree:
        try:
            total += one.memory_info().rss
        except psutil.Error:
            continue
    return total


@contextmanager
def scratch() -> Iterator[Path]:
    """Offer a folder for data and lakes; TMPDIR says on which disk."""
    with tempfile.TemporaryDirectory(prefix="trialhouse-bench-") as folder:
        yield Path(folder)


def simulate(folder: Path, *, genes: int, patients: int | None = None) -> Path:
    """Write the demo study's delivery in the size asked for; return its folder."""
    out = folder / f"delivery-{genes}-{patients or 'study'}"
    size = ["--genes", str(genes), *(["--patients", str(patients)] if patients else [])]
    measure([*TRIALHOUSE, "simulate", STUDY, *size, "--out", str(out)], folder / "home-simulate")
    return out


def run_study(home: Path, delivery: Path) -> Measured:
    return measure([*TRIALHOUSE, "run", STUDY, "--data", str(delivery)], home)


def typical(runs: Sequence[Measured]) -> Measured:
    """Return the median of each figure."""
    return Measured(
        median(run.seconds for run in runs),
        median(run.cpu_seconds for run in runs),
        median(run.peak_mb for run in runs),
        runs[-1].stdout,
        runs[-1].stderr,
    )


def arguments(about: str | None) -> argparse.Namespace:
    """Read the one option that every benchmark has."""
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="the smallest size once: does it run at all")
    return parser.parse_args()


def begin(about: str | None) -> None:
    """Say what is measured, where, and how busy the machine is with other work."""
    print(f"\n{(about or '').partition(chr(10))[0]}")
    memory = psutil.virtual_memory().total / (1 << 30)
    libraries = ", ".join(f"{name} {version(name)}" for name in ("duckdb", "prefect"))
    python = sys.version.partition(" ")[0]
    print(f"Python {python}, {libraries}; {os.cpu_count()} cores, {memory:.0f} GB; {load()}")


def load() -> str:
    return "load average {:.1f} {:.1f} {:.1f}".format(*os.getloadavg())


def show(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table: text to the left, figures to the right."""
    texts = [[_text(cell) for cell in row] for row in rows]
    widths = [max(len(line[column]) for line in [list(header), *texts]) for column in range(len(header))]
    is_number = [
        all(isinstance(row[column], int | float) or row[column] is None for row in rows)
        for column in range(len(header))
    ]
    for line in [list(header), ["-" * width for width in widths], *texts]:
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, is_number, strict=True)
        ]
        print("  ".join(cells).rstrip())


def _text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.2f}"
    if isinstance(cell, int):
        return f"{cell:,}"
    return str(cell)


def judge(what: str, ratio: float, goal: float) -> None:
    """Say whether a goal is met; a missed one is a finding, not an error of the benchmark."""
    verdict = "goal met" if ratio <= goal else "GOAL MISSED"
    print(f"{verdict}: {what}: {ratio:.3g}, goal at most {goal:g} ({load()})")
