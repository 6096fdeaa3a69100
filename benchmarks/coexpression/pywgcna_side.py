"""PyWGCNA's side of the benchmark, run by a Python that has it: the steps of its `findModules` without plots.

`pywgcna_side.py <value.f64> <genes> <samples>` prints JSON.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PyWGCNA.wgcna import WGCNA
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

POWERS = [*range(1, 11), *range(12, 21, 2)]


def main() -> None:
    file, genes, samples = sys.argv[1:]
    value = np.fromfile(file).reshape(int(genes), int(samples))
    frame = pd.DataFrame(value.T, columns=[f"G{number}" for number in range(int(genes))])
    with contextlib.redirect_stdout(io.StringIO()):
        began = time.perf_counter()
        modules = find(frame)
        course = time.perf_counter() - began
        began = time.perf_counter()
        WGCNA.pickSoftThreshold(frame, powerVector=POWERS, networkType="signed hybrid")
        table = time.perf_counter() - began
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
    print(json.dumps({"course": course, "table": table, "peak_mb": peak, "modules": modules}))


def find(frame: pd.DataFrame) -> int:
    adjacency = WGCNA.adjacency(frame, power=8, adjacencyType="signed hybrid")
    overlap = WGCNA.TOMsimilarity(np.asarray(adjacency), TOMType="signed")
    overlap.columns = overlap.index = frame.columns
    distance = (1 - overlap).round(decimals=8)
    tree = linkage(squareform(distance.values, checks=False), method="average")
    cut = WGCNA.cutreeHybrid(
        dendro=tree, distM=distance, minClusterSize=30, deepSplit=2, pamRespectsDendro=True
    )
    colours = WGCNA.labels2colors(labels=cut)
    merged = WGCNA.mergeCloseModules(frame, pd.Series(colours, index=frame.columns), cutHeight=0.25)
    return len(set(merged["colors"]) - {"grey"})


if __name__ == "__main__":
    main()
