"""Limma-voom with duplicate correlation against R's limma: seconds, and how near the results are.

Both sides take counts in memory to moderated t-tests, on one thread: normalisation factors, weights and
correlation twice in turn, generalised least squares, empirical Bayes. Two subjects have one sample only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import measuring
from tasks.stats.limma import contrast_test, voom_fit

LIMMA = Path(__file__).with_name("voom_limma.R")
SIZES = ((5_000, 12), (20_000, 12), (20_000, 24))
GOAL = 0.1


def main() -> None:
    options = measuring.arguments(__doc__)
    measuring.begin(__doc__)
    if shutil.which("Rscript") is None:
        sys.exit("Rscript: not found: R with limma, edgeR and statmod is the other side of this benchmark")
    sizes = ((1_000, 6),) if options.quick else SIZES
    rows = []
    with measuring.scratch() as folder, threadpool_limits(1):
        for genes, subjects in sizes:
            rows.append(compared(folder, genes, subjects))
    measuring.show(
        (
            "genes",
            "samples",
            "ours s",
            "R s",
            "of it in duplicateCorrelation",
            "ratio",
            "correlation off by",
            "largest difference of t",
        ),
        rows,
    )
    measuring.judge("ours against R's limma, largest data", rows[-1][5], GOAL)


def compared(folder: Path, genes: int, subjects: int) -> tuple[float | str, ...]:
    count, design, block = simulated(genes, subjects)
    np.savetxt(folder / "counts.csv", count, fmt="%d", delimiter=",")
    np.savetxt(folder / "design.csv", np.column_stack([design, block]), fmt="%g", delimiter=",")
    one_thread = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        ["Rscript", LIMMA, folder / "counts.csv", folder / "design.csv", folder / "out.csv"],
        env=one_thread,
        check=True,
        capture_output=True,
        text=True,
    )
    theirs, in_search, correlation = (float(figure) for figure in ended.stdout.split())
    # What is loaded at the first use is not what is measured.
    voom_fit(count[:200], design, block=block)
    began = time.perf_counter()
    fit = voom_fit(count, design, block=block)
    test = contrast_test(fit, np.eye(design.shape[1])[-1])
    ours = time.perf_counter() - began
    their_t = np.loadtxt(folder / "out.csv", delimiter=",")[:, 1]
    return (
        genes,
        count.shape[1],
        ours,
        theirs,
        in_search,
        ours / theirs,
        f"{abs(fit.correlation - correlation):.1e}",
        f"{np.abs(test.statistic - their_t).max():.1e}",
    )


def simulated(genes: int, subjects: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return counts of pairs, two of them broken, with their design and subjects."""
    random = np.random.default_rng(genes + subjects)
    subject, visit = (part.ravel() for part in np.mgrid[:subjects, :2])
    level = random.normal(4.5, 1.6, (genes, 1))
    spread = np.sqrt(0.05 * 8 / random.chisquare(8, (genes, 1)))
    effect = np.where(random.random((genes, 1)) < 0.1, random.normal(0, 0.7, (genes, 1)), 0.0)
    of_subject = random.normal(size=(genes, subjects))[:, subject]
    log_mean = level + spread * (of_subject + random.normal(size=(genes, 2 * subjects))) + effect * visit
    kept = np.delete(np.arange(2 * subjects), [3, 8])
    count = random.poisson(np.exp(log_mean)).astype(float)[:, kept]
    is_expressed = count.sum(axis=1) >= 15
    design = np.column_stack([np.ones(2 * subjects), visit])
    return count[is_expressed], design[kept], subject[kept]


if __name__ == "__main__":
    main()
