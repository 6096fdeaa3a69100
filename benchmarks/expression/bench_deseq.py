"""Differential expression: ours against PyDESeq2 and R's DESeq(), growth with genes and samples, a profile.

Each side runs in a process of its own. The seconds are of the fit alone, counts in memory: ours with the Wald
test of a contrast on two threads, DESeq() with its Wald tests on one, PyDESeq2's default backend on one
processor and without a test. The peak memory is that of the process.
"""

from __future__ import annotations

import cProfile
import csv
import gzip
import json
import os
import pstats
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import measuring
from tasks.stats.deseq.model import fit_deseq
from tasks.stats.deseq.wald import wald_test

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
DATA = Path(os.environ.get("TRIALHOUSE_TEST_DATA", HERE.parents[2] / "shared" / "data"))
THREADS = 2
GENES = 20_000
GOAL_PYDESEQ2, GOAL_R, GOAL_MEMORY = 1 / 10, 1 / 3, 1.0
# Of the genes with small p-values, those called by one of two engines alone.
MAY_DIFFER = 0.02

Factors = tuple[np.ndarray, np.ndarray]
Case = tuple[str, np.ndarray, Factors]


def main() -> None:
    options = measuring.arguments(__doc__)
    measuring.begin(__doc__)
    genes = 1000 if options.quick else GENES
    with measuring.scratch() as folder:
        against_peers(folder, genes, quick=options.quick)
        growth(folder, quick=options.quick)
    profile(genes)


def paired(samples: int) -> Factors:
    half = samples // 2
    return np.tile(np.arange(half), 2), np.repeat([0, 1], half)


def two_groups_in_batches(samples: int) -> Factors:
    return np.arange(samples) % 4, np.arange(samples) * 2 // samples


def simulated(genes: int, factors: Factors) -> np.ndarray:
    """Return counts that vary with the levels of the first factor; a tenth of the genes with the last."""
    first, last = factors
    random = np.random.default_rng(genes + len(first))
    counts = np.empty((genes, len(first)), dtype=np.int32)
    depth = np.exp(random.normal(0, 0.3, len(first)))
    for gene in range(genes):
        mean = np.exp(random.normal(4.5, 2))
        size = 1 / min((0.05 + 2 / mean) * np.exp(random.normal(0, 0.5)), 5.0)
        level = random.normal(0, 0.4, first.max() + 1)[first]
        change = random.normal(0, 0.8) if random.random() < 0.1 else 0.0
        expected = depth * mean * np.exp(level + change * last)
        counts[gene] = random.negative_binomial(size, size / (size + expected))
    return counts


def design_of(factors: Factors) -> np.ndarray:
    first, last = factors
    dummies = (first[:, None] == np.arange(1, first.max() + 1)).astype(float)
    return np.column_stack([np.ones(len(first)), dummies, last.astype(float)])


def synovium() -> Case | None:
    """Return the public biopsies before and after therapy, two of each patient."""
    path = DATA / "gse97165_ra_synovium" / "GSE97165_GEO_count_matrix.txt.gz"
    if not path.exists():
        print(f"{path} is not here: no comparison on GSE97165")
        return None
    with gzip.open(path, "rt") as file:
        reader = csv.reader(file, delimiter="\t")
        names = [name for name in next(reader) if name]
        counts = np.array([np.rint(np.array(row[1:], dtype=float)) for row in reader], dtype=np.int32)
    first = np.unique([name.rpartition("_")[2] for name in names], return_inverse=True)[1]
    last = np.array([int("post" in name) for name in names])
    return f"GSE97165 x {len(names)}", counts[counts.sum(axis=1) >= 10], (first, last)


def written(folder: Path, counts: np.ndarray, factors: Factors) -> Path:
    folder.mkdir(exist_ok=True)
    counts.tofile(folder / "counts.bin")
    lists = [factor.tolist() for factor in factors]
    (folder / "samples.json").write_text(
        json.dumps({"factors": lists, "design": design_of(factors).tolist()})
    )
    rows = "\n".join(f"{first},{last}" for first, last in zip(*lists, strict=True))
    (folder / "samples.csv").write_text(f"first,last\n{rows}\n")
    return folder


def run(engine: str, folder: Path, threads: int) -> tuple[float, float]:
    """Return the seconds of the fit and the peak memory of its process."""
    if engine == "R":
        command = ["Rscript", str(HERE / "fit_deseq.R"), str(folder)]
    else:
        command = [sys.executable, str(HERE / "deseq_side.py"), engine, str(folder), str(threads)]
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parents[1])}
    measured = measuring.measure(command, folder, **one_thread)
    return float(measured.stdout.split()[-1]), measured.peak_mb


def against_peers(folder: Path, genes: int, *, quick: bool) -> None:
    cases: list[Case] = []
    for samples in (12,) if quick else (24, 48):
        factors = paired(samples)
        cases.append((f"{genes:,} genes x {samples}", simulated(genes, factors), factors))
    real = None if quick else synovium()
    peers = [peer for peer, is_here in (("pydeseq2", find_spec("pydeseq2")), ("R", has_deseq2())) if is_here]
    for missing in {"pydeseq2", "R"} - set(peers):
        print(f"{missing} is not here: no comparison with it")
    rows: list[list[object]] = []
    ratios: dict[tuple[str, str], tuple[float, float]] = {}
    for name, counts, factors in [*cases, *([real] if real else [])]:
        place = written(folder / "case", counts, factors)
        seconds, peak = run("ours", place, THREADS)
        rows.append([name, "ours", seconds, 1.0, peak])
        for peer in peers:
            their_seconds, their_peak = run(peer, place, 1)
            rows.append([name, peer, their_seconds, seconds / their_seconds, their_peak])
            ratios[name, peer] = seconds / their_seconds, peak / their_peak
        if "R" in peers:
            same_genes(place)
    measuring.show(["data", "engine", "s", "ours / engine", "peak MB"], rows)
    for (name, peer), (time_ratio, memory_ratio) in ratios.items():
        measuring.judge(f"{name}: time against {peer}", time_ratio, GOAL_R if peer == "R" else GOAL_PYDESEQ2)
        if peer == "pydeseq2":
            measuring.judge(f"{name}: peak memory against {peer}", memory_ratio, GOAL_MEMORY)


def has_deseq2() -> bool:
    if shutil.which("Rscript") is None:
        return False
    command = ["Rscript", "-e", 'cat(requireNamespace("DESeq2", quietly = TRUE))']
    return measuring.measure(command, Path.home()).stdout.strip() == "TRUE"


def same_genes(folder: Path) -> None:
    """Refuse to compare engines that do not do the same work."""
    ours, theirs = np.load(folder / "ours.npy"), np.fromfile(folder / "r.bin")
    with np.errstate(invalid="ignore"):
        called, called_by_r = ours < 0.01, theirs < 0.01
    differ, called_by_any = (called ^ called_by_r).sum(), (called | called_by_r).sum()
    assert differ <= max(2, MAY_DIFFER * called_by_any), (differ, called_by_any)


def growth(folder: Path, *, quick: bool) -> None:
    sizes: list[tuple[str, Callable[[int], Factors], int, int]] = [("paired", paired, 2000, 24)]
    if not quick:
        sizes += [("paired", paired, genes, 24) for genes in (5000, 10_000, 20_000, 40_000)]
        sizes += [("paired", paired, 2000, samples) for samples in (48, 100, 250, 1000)]
        sizes += [
            ("groups in batches", two_groups_in_batches, 2000, samples) for samples in (24, 100, 250, 1000)
        ]
    rows: list[list[object]] = []
    for name, layout, genes, samples in sizes:
        factors = layout(samples)
        place = written(folder / "case", simulated(genes, factors), factors)
        seconds, peak = run("ours", place, THREADS)
        rows.append(
            [
                name,
                genes,
                samples,
                design_of(factors).shape[1],
                seconds,
                1e6 * seconds / genes / samples,
                peak,
            ]
        )
    print("\nGrowth of ours")
    measuring.show(["design", "genes", "samples", "coefficients", "s", "us per count", "peak MB"], rows)


# What a fit consists of: the functions whose time is shown, from the outermost inwards.
PARTS = (
    ("gene-wise dispersions", "dispersion.py", "gene_wise_dispersion"),
    ("shrunken dispersions", "dispersion.py", "map_dispersion"),
    ("final coefficients", "glm.py", "fit_glm"),
    ("Cook's distances", "cooks.py", "cooks_distance"),
    ("trend", "trend.py", "dispersion_trend"),
    ("prior", "prior.py", "dispersion_prior"),
    ("of these: slopes of the adjusted likelihood", "cox_reid.py", "slope"),
    ("of these: reweighted least squares", "glm.py", "fit_block"),
    ("of these: bounded optimiser", "bounded_glm.py", "bounded_fit"),
    ("of these: centring within strata", "strata.py", "centred"),
)


def profile(genes: int) -> None:
    factors = paired(24)
    counts, design = simulated(genes, factors), design_of(factors)
    profiler = cProfile.Profile()
    profiler.enable()
    fit = fit_deseq(counts, design, threads=1)
    wald_test(fit, np.eye(design.shape[1])[-1], threads=1)
    profiler.disable()
    stats = pstats.Stats(profiler)
    total = stats.total_tt
    rows: list[list[object]] = []
    for label, file, function in PARTS:
        spent = [
            (entry[3], entry[0])
            for (path, _, name), entry in stats.stats.items()
            if path.endswith(f"deseq/{file}") and name == function
        ]
        seconds = sum(seconds for seconds, _ in spent)
        rows.append([label, seconds, 100 * seconds / total, sum(calls for _, calls in spent)])
    print(f"\nWhat bounds it: {genes:,} genes x 24 paired samples, one thread, {total:.2f} s in all")
    measuring.show(["part", "s", "percent", "calls"], rows)


if __name__ == "__main__":
    main()
