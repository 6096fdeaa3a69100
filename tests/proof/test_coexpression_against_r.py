"""Networks, modules and their preservation against R's WGCNA, on real and on simulated expression.

`pytest -m proof -s tests/proof/test_coexpression_against_r.py` prints the largest differences.
"""

from __future__ import annotations

import gzip
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tasks.omics.counts import count_matrix
from tasks.omics.normalised import most_variable, vst
from tasks.simulation import simulated_frames
from tasks.stats.coexpression.adjacency import adjacency
from tasks.stats.coexpression.network import find_modules
from tasks.stats.coexpression.overlap import topological_overlap
from tasks.stats.coexpression.preservation_statistics import STATISTICS, ReferenceModules, Samples
from tasks.stats.coexpression.settings import NetworkSettings
from tests.proof.test_coexpression_truth import ASSUMPTIONS, adjusted_rand_index
from warehouse.expression_plan import Expression

pytestmark = [pytest.mark.proof, pytest.mark.acceptance]
ROWS = 300
SETTINGS = {
    "signed hybrid, bicor, power 8": NetworkSettings(power=8),
    "signed, Pearson, power 12, unsigned overlap, cut not bound to the tree": NetworkSettings(
        power=12,
        correlation="pearson",
        network="signed",
        overlap="unsigned",
        pam_respects_dendrogram=False,
    ),
    "unsigned, signed overlap, bicor, power 6": NetworkSettings(power=6, network="unsigned"),
}
R_SCRIPT = """
suppressPackageStartupMessages(library(WGCNA))
given <- commandArgs(trailingOnly = TRUE)
folder <- given[1]
x <- t(as.matrix(read.csv(file.path(folder, "value.csv"), header = FALSE)))
colnames(x) <- paste0("G", seq_len(ncol(x)))
capture.output(enableWGCNAThreads(2))
base <- file.path(folder, "overlap")
found <- blockwiseModules(x, maxBlockSize = 20000, corType = given[2], maxPOutliers = 0.1,
  networkType = given[3], TOMType = given[4], power = as.numeric(given[5]), minModuleSize = 30,
  mergeCutHeight = 0.25, pamRespectsDendro = given[6] == "TRUE", numericLabels = TRUE, saveTOMs = TRUE,
  saveTOMFileBase = base)
load(paste0(base, "-block.1.RData"))
writeBin(as.vector(as.matrix(TOM)[seq_len(as.integer(given[7])), ]), file.path(folder, "overlap.f64"))
writeBin(found$dendrograms[[1]]$height, file.path(folder, "height.f64"))
write.csv(cbind(found$unmergedColors, found$colors), file.path(folder, "labels.csv"), row.names = FALSE)
half <- seq_len(nrow(x) %/% 2)
varies <- apply(x[half, ], 2, sd) > 0 & apply(x[-half, ], 2, sd) > 0
sets <- list(a = list(data = x[half, varies]), b = list(data = x[-half, varies]))
kept <- modulePreservation(sets, list(a = found$colors[varies]), networkType = given[3],
  corFnc = if (given[2] == "bicor") "bicor" else "cor",
  corOptions = if (given[2] == "bicor") "use = 'p', maxPOutliers = 0.1" else "use = 'p'",
  nPermutations = 0, maxModuleSize = 5000, verbose = 0)$observed[[1]]
table <- cbind(module = rownames(kept$intra[[2]]), kept$intra[[2]], kept$inter[[2]])
write.csv(format(table, digits = 17), file.path(folder, "preservation.csv"), row.names = FALSE, quote = FALSE)
"""
# cor_kme_all is also over genes that R draws at random.
OF_R = {
    "variance_explained": "propVarExplained.pres",
    "mean_kme": "meanSignAwareKME.pres",
    "mean_correlation": "meanSignAwareCorDat.pres",
    "mean_adjacency": "meanAdj.pres",
    "cor_connectivity": "{}.kIM",
    "cor_kme": "{}.kME",
    "cor_correlation": "{}.{}",
    "mean_mar": "meanMAR.pres",
    "cor_mar": "{}.MAR",
    "separability": "separability.pres",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FromR:
    """What R made of the same expression."""

    overlap: np.ndarray
    height: np.ndarray
    labels: np.ndarray
    preservation: pl.DataFrame


def _synovium(folder):
    with gzip.open(
        folder / "gse97165_ra_synovium" / "GSE97165_GEO_count_matrix.txt.gz", "rt", encoding="latin-1"
    ) as lines:
        wide = pl.read_csv(lines.read().encode(), separator="\t", infer_schema_length=None)
    samples = [name for name in wide.columns if name.startswith(("RA_pre_", "RA_post_"))]
    count = wide.select(samples).to_numpy().astype(np.float64)
    value = np.log2(1e6 * count / count.sum(axis=0) + 1)
    value = value[(count >= 10).sum(axis=1) >= count.shape[1] / 3]
    return value[np.sort(most_variable(value, 5000))]


def _simulated(_folder):
    frames = simulated_frames(ASSUMPTIONS, seed=4, patients=12, genes=20_000)
    value = vst(count_matrix(frames.expression, frames.sample, frames.feature, declared=Expression()))
    return value[np.sort(most_variable(value, 5000))]


SETS = {"GSE97165": _synovium, "simulated study": _simulated}


@pytest.fixture(scope="module")
def wgcna(tmp_path_factory):
    if shutil.which("Rscript") is None:
        pytest.skip("no R")
    if subprocess.run(["Rscript", "-e", "library(WGCNA)"], capture_output=True, check=False).returncode:
        pytest.skip("no WGCNA in R")

    def run(value, settings):
        folder: Path = tmp_path_factory.mktemp("r")
        (folder / "script.R").write_text(R_SCRIPT, encoding="utf-8")
        np.savetxt(folder / "value.csv", value, fmt="%.17g", delimiter=",")
        ended = subprocess.run(
            [
                "Rscript",
                str(folder / "script.R"),
                str(folder),
                settings.correlation,
                settings.network.replace("_", " "),
                settings.overlap,
                f"{settings.power:g}",
                str(settings.pam_respects_dendrogram).upper(),
                str(ROWS),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        overlap = np.fromfile(folder / "overlap.f64").reshape(len(value), ROWS).T
        preservation = pl.read_csv(folder / "preservation.csv", infer_schema_length=None)
        return FromR(
            overlap=overlap,
            height=np.fromfile(folder / "height.f64"),
            labels=pl.read_csv(folder / "labels.csv").to_numpy(),
            preservation=preservation.with_columns(
                pl.col(pl.String).str.strip_chars().cast(pl.Float64, strict=False)
            ),
        )

    return run


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("data", SETS)
def test_networks_are_those_of_r(data, name, test_data, wgcna):
    value = SETS[data](test_data)
    settings = SETTINGS[name]
    given = wgcna(value, settings)
    found = find_modules(value, settings)
    overlap = topological_overlap(adjacency(value, settings))[:ROWS]
    # R leaves its own diagonal at 0 in the triangle that it keeps.
    off = ~np.eye(ROWS, len(value), dtype=bool)
    apart = {
        "overlap": float(np.abs(overlap - given.overlap)[off].max()),
        "heights": float(np.abs(found.dendrograms[0].height - given.height).max()),
        "statistics of preservation": _preservation(value, given, settings),
    }
    index = adjusted_rand_index(given.labels[:, 1], found.label)
    told = ", ".join(f"{what} {difference:.0e}" for what, difference in apart.items())
    print(f"{data}; {name}: {told}; {found.label.max()} modules, index {index:.4f}")  # noqa: T201 - the figures
    assert apart["overlap"] < 1e-6
    assert apart["heights"] < 1e-6
    assert apart["statistics of preservation"] < 1e-8
    np.testing.assert_array_equal(found.unmerged_label, given.labels[:, 0])
    assert index >= 0.999


def _preservation(value, given, settings):
    """Return the largest difference in modules of the first half of samples, looked for in the second."""
    half = value.shape[1] // 2
    varies = (np.ptp(value[:, :half], axis=1) > 0) & (np.ptp(value[:, half:], axis=1) > 0)
    first, second, label = (
        value[varies, :half],
        value[varies, half:],
        given.labels[varies, 1].astype(np.int64),
    )
    rows = np.arange(len(label))
    modules = ReferenceModules(first, rows, label, settings)
    found = modules.statistics_in(Samples(second, settings), rows)
    kind = "bicor" if settings.correlation == "bicor" else "cor"
    expected = given.preservation.filter(pl.col("module") != 0.1).sort("module")
    assert expected["module"].to_list() == modules.module.tolist()
    return max(
        float(np.abs(found[:, STATISTICS.index(ours)] - expected[theirs.format(kind, kind)].to_numpy()).max())
        for ours, theirs in OF_R.items()
    )
