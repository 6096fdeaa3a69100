"""Modules of co-expressed genes against R's WGCNA with its threads on, PyWGCNA and one matrix product.

Both sides take the same expression in memory to modules: correlation, adjacency, overlap, linkage, cut and
merging; the table of powers is measured apart. The overlap's stage is set against one general product of two
matrices of its size and precision. The largest memory is that of each process at the end of its course.
PyWGCNA runs up to 5,000 genes if PYWGCNA_PYTHON names a Python that has it. Labels that differ from R's
before merging are an error.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks import measuring

HERE = Path(__file__).parent
SAMPLES = 48
SIZES = (2_000, 5_000, 10_000, 20_000)
GOALS = {2_000: 0.1, 5_000: 0.2, 10_000: 0.3, 20_000: 0.3}
GOAL_PRODUCT, GOAL_REST, GOAL_SQUARES = 0.8, 3.0, 2.2
PEER_SIZES = (1_000, 2_000, 5_000)
# At 20,000 genes double precision needs another quarter of an hour and 7 GB to say the same.
PRECISIONS = {20_000: ("single",)}
PRODUCTS = ("adjacency", "overlap_dissimilarity")


def main() -> None:
    options = measuring.arguments(__doc__)
    measuring.begin(__doc__)
    if shutil.which("Rscript") is None:
        sys.exit("Rscript: not found: R with WGCNA is the other side of this benchmark")
    sizes = (1_000,) if options.quick else SIZES
    rows, stages = [], []
    with measuring.scratch() as folder:
        for genes in sizes:
            for precision in PRECISIONS.get(genes, ("double", "single")):
                row, stage = compared(folder, genes, precision)
                rows.append(row)
                stages.append(stage)
        peers = [peer(folder, genes) for genes in sizes if genes in PEER_SIZES]
    measuring.show(
        (
            "genes",
            "precision",
            "ours s",
            "R s",
            "ratio",
            "power table s",
            "R s ",
            "ratio ",
            "ours MB",
            "squares",
            "R MB",
            "same label before merging",
        ),
        rows,
    )
    measuring.show(
        (
            "genes",
            "precision",
            "adjacency",
            "overlap",
            "product",
            "ratio",
            "linkage",
            "cut",
            "trim, merge",
            "rest",
        ),
        stages,
    )
    if any(peers):
        measuring.show(
            ("genes", "PyWGCNA s", "power table s", "MB", "modules"), [found for found in peers if found]
        )
    for row, stage in zip(rows, stages, strict=True):
        if row[1] == "single" and not options.quick:
            genes = int(row[0])
            measuring.judge(f"{genes} genes: modules against R", row[4], GOALS[genes])
            measuring.judge(f"{genes} genes: overlap against one product", stage[5], GOAL_PRODUCT)
            measuring.judge(f"{genes} genes: memory in float32 squares", row[9], GOAL_SQUARES)
            if genes == 10_000:
                measuring.judge("10000 genes: seconds beside the products", stage[9], GOAL_REST)
    different = [f"{row[0]} {row[1]}" for row in rows if row[11] != "1.0000"]
    if different:
        sys.exit(f"labels before merging differ from R's: {', '.join(different)}")


_theirs: dict[int, tuple[float, float, float]] = {}


def compared(folder: Path, genes: int, precision: str) -> tuple[tuple[object, ...], tuple[object, ...]]:
    file = folder / f"{genes}.f64"
    if genes not in _theirs:
        simulated(genes).tofile(file)
        ended = subprocess.run(
            ["Rscript", HERE / "wgcna.R", file, str(genes), str(SAMPLES), folder / f"{genes}.csv"],
            check=True,
            capture_output=True,
            text=True,
        )
        _theirs[genes] = tuple(float(figure) for figure in ended.stdout.split()[-3:])
    r_course, r_table, r_peak = _theirs[genes]
    labels = folder / "ours.csv"
    ended = subprocess.run(
        [sys.executable, HERE / "our_side.py", file, str(genes), str(SAMPLES), precision, labels],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
    )
    ours = json.loads(ended.stdout)
    same = (
        np.loadtxt(labels, delimiter=",")[:, 0]
        == np.loadtxt(folder / f"{genes}.csv", delimiter=",", skiprows=1)[:, 0]
    )
    rest = ours["course"] - sum(ours[stage] for stage in PRODUCTS)
    squares = ours["peak_mb"] * measuring.MEGABYTE / (4 * genes**2)
    return (
        (
            genes,
            precision,
            ours["course"],
            r_course,
            ours["course"] / r_course,
            ours["table"],
            r_table,
            ours["table"] / r_table,
            ours["peak_mb"],
            squares,
            r_peak,
            f"{same.mean():.4f}",
        ),
        (
            genes,
            precision,
            ours["adjacency"],
            ours["overlap_dissimilarity"],
            ours["product"],
            ours["overlap_dissimilarity"] / ours["product"],
            ours["average_linkage"],
            ours["cut_tree_hybrid"],
            ours["trim_modules"] + ours["merge_modules"],
            rest,
        ),
    )


def peer(folder: Path, genes: int) -> tuple[object, ...] | None:
    python = os.environ.get("PYWGCNA_PYTHON")
    if python is None:
        print(f"PyWGCNA at {genes} genes: left out, for PYWGCNA_PYTHON names no Python that has it")
        return None
    ended = subprocess.run(
        [python, HERE / "pywgcna_side.py", folder / f"{genes}.f64", str(genes), str(SAMPLES)],
        check=False,
        capture_output=True,
        text=True,
    )
    if ended.returncode:
        lines = ended.stderr.strip().splitlines()
        print(f"PyWGCNA at {genes} genes: failed: {lines[-1] if lines else ended.returncode}")
        return None
    theirs = json.loads(ended.stdout.splitlines()[-1])
    return genes, theirs["course"], theirs["table"], theirs["peak_mb"], theirs["modules"]


def simulated(genes: int) -> np.ndarray:
    """Return expression of modules of falling size, half of the genes in none."""
    rng = np.random.default_rng(genes)
    value = rng.normal(size=(genes, SAMPLES))
    start = 0
    for share in (0.15, 0.1, 0.08, 0.06, 0.04, 0.03, 0.02, 0.01, 0.01):
        end = start + int(share * genes)
        value[start:end] += rng.uniform(0.5, 1.8, (end - start, 1)) * rng.normal(size=SAMPLES)
        start = end
    return value


if __name__ == "__main__":
    main()
