"""Gene sets: multilevel enrichment of 3,000 sets against gseapy alone, sample scores against R's GSVA.

Data are drawn: 15,000 genes, sets of 10 to 300 genes of which one in twenty moves. gseapy alone gets the
ranking and the sets ready made; ours is the whole analysis, from result tables to the table it fills. Both
have two threads. fgsea, whose algorithm gseapy has, is not run: its authors say "minutes or even seconds" of
collections of hundreds and thousands of sets (Korotkevich et al. 2021, bioRxiv 060012).
"""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import gseapy
import numpy as np
import pandas as pd
import polars as pl
from scipy.stats import norm

from benchmarks import measuring
from tasks.omics.enriched_gene_sets import EnrichedGeneSetsParameters, enriched_gene_sets
from tasks.stats.gene_sets.gsva import gsva
from tasks.stats.gene_sets.mean_z import mean_z
from tasks.stats.gene_sets.over_representation import over_representation
from tasks.stats.gene_sets.ssgsea import ssgsea

SCORE_GSVA = Path(__file__).with_name("score_gsva.R")
GENES, SETS = 15_000, 3_000
QUICK_GENES, QUICK_SETS = 2_000, 100
SAMPLES = (24, 48)
THREADS = 2
GOAL_BESIDE_GSEAPY = 1.1
GOAL_AGAINST_R = 1.0
LEAST_CORRELATION = 0.9999


def main() -> None:
    options = measuring.arguments(__doc__)
    measuring.begin(__doc__)
    genes, sets = (QUICK_GENES, QUICK_SETS) if options.quick else (GENES, SETS)
    random = np.random.default_rng(20261123)
    statistic = random.normal(0, 1.3, genes)
    members = drawn_sets(random, statistic, sets)
    enrichment(statistic, members)
    over(random, members, genes)
    for samples in SAMPLES[:1] if options.quick else SAMPLES:
        scores(random.normal(random.uniform(2, 12, (genes, 1)), 1, (genes, samples)), members)


def drawn_sets(random: np.random.Generator, statistic: np.ndarray, sets: int) -> list[np.ndarray]:
    """Return sets at random; one in twenty leans to the falling genes."""
    falling = np.exp(-statistic) / np.exp(-statistic).sum()
    sizes = random.integers(10, min(300, statistic.size // 4), sets)
    return [
        np.sort(random.choice(statistic.size, size, replace=False, p=None if number % 20 else falling))
        for number, size in enumerate(sizes)
    ]


def enrichment(statistic: np.ndarray, members: list[np.ndarray]) -> None:
    symbols = np.array([f"GENE{number}" for number in range(statistic.size)])
    effect = pl.DataFrame(
        {
            "contrast": "one",
            "contrast_title": "One",
            "feature_id": symbols,
            "symbol": symbols,
            "base_mean": 100.0,
            "statistic": statistic,
            "p_value": 2 * norm.sf(np.abs(statistic)),
            "test": "wald",
            "n_subjects": 12,
            "n_samples": 24,
        }
    )
    gene_set = pl.concat(
        [
            pl.DataFrame({"gene_set": f"SET{number:05}", "symbol": symbols[rows]})
            for number, rows in enumerate(members)
        ]
    ).with_columns(collection=pl.lit("drawn"), description=pl.lit(None, dtype=pl.String))
    parameters = EnrichedGeneSetsParameters(min_size=5)
    order = np.argsort(-statistic)
    rank = pd.DataFrame({"gene": symbols[order], "statistic": statistic[order]})
    named = {f"SET{number}": symbols[rows].tolist() for number, rows in enumerate(members)}
    seconds, cpu = {}, {}
    for who in ("gseapy alone", "ours"):
        clock, processor = time.perf_counter(), time.process_time()
        if who == "ours":
            found = enriched_gene_sets(effect, gene_set, effect, parameters=parameters)
            assert (found["status"] == "tested").all()
            assert found["p_value"].min() > 0  # type: ignore[operator]
        else:
            gseapy.prerank(
                rnk=rank,
                gene_sets=named,
                method="multilevel",
                min_size=5,
                max_size=500,
                eps=parameters.smallest_p_value,
                seed=parameters.seed,
                threads=THREADS,
                ascending=None,
                no_plot=True,
                outdir=None,
            )
        seconds[who], cpu[who] = time.perf_counter() - clock, time.process_time() - processor
    measuring.show(
        ["multilevel enrichment", "sets", "s", "cpu s"],
        [[who, len(members), seconds[who], cpu[who]] for who in seconds],
    )
    measuring.judge(
        "enrichment beside gseapy alone, cpu", cpu["ours"] / cpu["gseapy alone"], GOAL_BESIDE_GSEAPY
    )


def over(random: np.random.Generator, members: list[np.ndarray], genes: int) -> None:
    sizes = np.array([rows.size for rows in members])
    found = random.hypergeometric(genes // 10, genes - genes // 10, sizes)
    clock = time.perf_counter()
    over_representation(found, sizes, genes // 10, genes)
    seconds = time.perf_counter() - clock
    measuring.show(["over-representation with intervals", "sets", "s"], [["ours", len(members), seconds]])


def scores(expression: np.ndarray, members: list[np.ndarray]) -> None:
    """Time the scorers, and hold them to R's where R has GSVA."""
    rows: list[list[object]] = []
    for name, scorer, theirs in (
        ("gsva", gsva, "gsva"),
        ("ssgsea", ssgsea, "ssgsea"),
        ("mean z", mean_z, "zscore"),
    ):
        clock = time.perf_counter()
        result = scorer(expression, members)
        seconds = time.perf_counter() - clock
        answer = by_r(expression, members, theirs)
        rows.append([name, expression.shape[1], seconds, None, None])
        if answer is None:
            continue
        r_seconds, r_scores = answer
        unit = np.sqrt(result.size)[:, np.newaxis] if theirs == "zscore" else 1.0
        correlation = float(np.corrcoef((result.score * unit).ravel(), r_scores.ravel())[0, 1])
        assert correlation >= LEAST_CORRELATION, (name, correlation)
        rows[-1][3:] = [r_seconds, correlation]
        measuring.judge(
            f"{name}, {expression.shape[1]} samples, against R", seconds / r_seconds, GOAL_AGAINST_R
        )
    measuring.show(["sample scores", "samples", "ours s", "R s", "correlation"], rows)


def by_r(expression: np.ndarray, members: list[np.ndarray], method: str) -> tuple[float, np.ndarray] | None:
    if shutil.which("Rscript") is None:
        return None
    with measuring.scratch() as folder:
        np.savetxt(folder / "expression.csv", expression, delimiter=",", fmt="%.17g")
        lines = [",".join([f"SET{number}", *map(str, rows + 1)]) for number, rows in enumerate(members)]
        (folder / "sets.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        files = [str(folder / name) for name in ("expression.csv", "sets.csv")]
        done = subprocess.run(
            ["Rscript", str(SCORE_GSVA), *files, method, str(folder / "scores.csv")],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            print(f"R's GSVA does not run here, {method} is not compared: {done.stderr.strip()[-200:]}")
            return None
        return float(done.stdout.split()[-1]), np.loadtxt(folder / "scores.csv", delimiter=",", ndmin=2)


if __name__ == "__main__":
    main()
