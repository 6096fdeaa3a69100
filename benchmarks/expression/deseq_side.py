"""Fit one model with one engine; print the seconds of the fit alone, its data being in memory."""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np


def main() -> None:
    engine, folder, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    samples = json.loads((folder / "samples.json").read_text())
    counts = np.fromfile(folder / "counts.bin", dtype=np.int32).reshape(-1, len(samples["factors"][0]))
    p_value, seconds = (by_ours if engine == "ours" else by_pydeseq2)(counts, samples, threads)
    np.save(folder / f"{engine}.npy", p_value)
    print(json.dumps(seconds))


def by_ours(counts: np.ndarray, samples: dict, threads: int) -> tuple[np.ndarray, float]:
    from tasks.stats.deseq.model import fit_deseq
    from tasks.stats.deseq.wald import wald_test

    design = np.array(samples["design"])
    contrast = np.eye(design.shape[1])[-1]
    started = time.perf_counter()
    fit = fit_deseq(counts, design, threads=threads)
    test = wald_test(fit, contrast, threads=threads)
    return test.p_value, time.perf_counter() - started


def by_pydeseq2(counts: np.ndarray, samples: dict, threads: int) -> tuple[np.ndarray, float]:
    import pandas as pd
    from pydeseq2.dds import DeseqDataSet

    warnings.simplefilter("ignore")
    first, last = samples["factors"]
    sheet = pd.DataFrame({"first": [f"s{code}" for code in first], "last": [f"v{code}" for code in last]})
    table = pd.DataFrame(counts.T)
    table.index = sheet.index = sheet.index.astype(str)
    table.columns = table.columns.astype(str)
    started = time.perf_counter()
    data = DeseqDataSet(
        counts=table, metadata=sheet, design="~first + last", n_cpus=threads, quiet=True, refit_cooks=True
    )
    data.deseq2()
    return np.empty(0), time.perf_counter() - started


main()
