"""Our side of the benchmark, in a process of its own so that its largest memory is its own.

`our_side.py <value.f64> <genes> <samples> <precision> <labels.csv>` prints JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from tasks.stats.coexpression import network as course
from tasks.stats.coexpression.adjacency import adjacency
from tasks.stats.coexpression.linkage import average_linkage
from tasks.stats.coexpression.merging import merge_modules
from tasks.stats.coexpression.overlap import overlap_dissimilarity
from tasks.stats.coexpression.scale_free import soft_threshold
from tasks.stats.coexpression.settings import NetworkSettings
from tasks.stats.coexpression.tree_cut import cut_tree_hybrid
from tasks.stats.coexpression.trimming import trim_modules

STAGES = (
    adjacency,
    overlap_dissimilarity,
    average_linkage,
    cut_tree_hybrid,
    trim_modules,
    merge_modules,
)


def main() -> None:
    file, genes, samples, precision, labels = sys.argv[1:]
    value = np.fromfile(file).reshape(int(genes), int(samples))
    settings = NetworkSettings(power=8, correlation="pearson", precision=precision)
    seconds: dict[str, float] = {}
    for stage in STAGES:
        setattr(course, stage.__name__, timed(stage, seconds))
    began = time.perf_counter()
    found = course.find_modules(value, settings)
    seconds["course"] = time.perf_counter() - began
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
    np.savetxt(labels, np.column_stack([found.unmerged_label, found.label]), fmt="%d", delimiter=",")
    del found
    began = time.perf_counter()
    soft_threshold(value, network="signed_hybrid")
    seconds["table"] = time.perf_counter() - began
    square = np.random.default_rng(0).random((int(genes), int(genes)), dtype=np.float32)
    square = square if precision == "single" else square.astype(np.float64)
    other = square[::-1].copy()
    # Once before it is timed: the overlap too runs on a BLAS that the adjacency has woken.
    square[:64] @ other
    began = time.perf_counter()
    square @ other
    seconds["product"] = time.perf_counter() - began
    print(json.dumps({"peak_mb": peak, **seconds}))


def timed(stage, seconds):  # noqa: ANN001, ANN201 - any stage
    def run(*given, **more):  # noqa: ANN002, ANN003, ANN202
        began = time.perf_counter()
        result = stage(*given, **more)
        seconds[stage.__name__] = seconds.get(stage.__name__, 0.0) + time.perf_counter() - began
        return result

    return run


if __name__ == "__main__":
    main()
