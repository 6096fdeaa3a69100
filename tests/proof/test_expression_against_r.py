"""Gene by gene against R's DESeq2 on real and simulated counts; each call that only one makes has its cause.

The cause is found by putting R's own numbers in place of ours, one step of the course after another, until
the call becomes R's: trend and prior, dispersion of the gene alone, coefficients, threshold of the filter.
`pytest -m proof -s tests/proof/test_expression_against_r.py` prints the table.
"""

from __future__ import annotations

import gzip
import shutil
import subprocess
from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest

from tasks.stats.deseq.dispersion import gene_wise_dispersion, map_dispersion
from tasks.stats.deseq.glm import fit_glm
from tasks.stats.deseq.independent_filtering import independent_filtering
from tasks.stats.deseq.model import fit_deseq
from tasks.stats.deseq.wald import wald_test

pytestmark = [pytest.mark.proof, pytest.mark.acceptance]
LEVEL = 0.05
R_SCRIPT = """
suppressPackageStartupMessages(library(DESeq2))
given <- commandArgs(trailingOnly = TRUE)
counts <- as.matrix(read.csv(given[1], header = FALSE))
storage.mode(counts) <- "integer"
about <- read.csv(given[2], colClasses = "factor")
dds <- suppressMessages(DESeq(DESeqDataSetFromMatrix(counts, about, ~ subject + cell), quiet = TRUE))
found <- as.data.frame(results(dds, contrast = c("cell", "b", "a"), alpha = 0.05))
found$gene_wise <- mcols(dds)$dispGeneEst
found$fitted <- mcols(dds)$dispFit
found$dispersion <- dispersions(dds)
found$prior_variance <- attr(dispersionFunction(dds), "dispPriorVar")
found$residual_variance <- attr(dispersionFunction(dds), "varLogDispEsts")
write.csv(format(found, digits = 17, trim = TRUE), given[3], row.names = FALSE, quote = FALSE)
factors <- data.frame(size_factor = sizeFactors(dds))
write.csv(format(factors, digits = 17), given[4], row.names = FALSE, quote = FALSE)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Counts of genes by samples, the subject of each sample, and whether it is on the side of the effect."""

    count: np.ndarray
    subject: np.ndarray
    is_after: np.ndarray

    @property
    def design(self):
        others = np.unique(self.subject)[1:]
        return np.column_stack(
            [np.ones(len(self.subject)), self.subject[:, None] == others, self.is_after]
        ).astype(np.float64)


def _wide(file, separator):
    with gzip.open(file, "rt", encoding="latin-1") as lines:
        wide = pl.read_csv(lines.read().encode(), separator=separator, infer_schema_length=None)
    return wide.rename({wide.columns[0]: "feature_id"})


def _airway(folder, *, keep):
    wide = _wide(folder / "airway" / "airway_counts.csv.gz", ",")
    about = pl.read_csv(folder / "airway" / "airway_coldata.csv")
    samples = wide.columns[1:]
    about = pl.DataFrame({"Run": samples}).join(about, on="Run", maintain_order="left")
    # Later releases of the data set have no LRG_ pseudo-genes.
    count = wide.filter(~pl.col("feature_id").str.starts_with("LRG")).select(samples).to_numpy()
    return Counts(
        count=count[keep(count)],
        subject=about["cell"].to_numpy(),
        is_after=(about["dex"] == "trt").to_numpy(),
    )


def _synovium(folder, *, pairs=19):
    wide = _wide(folder / "gse97165_ra_synovium" / "GSE97165_GEO_count_matrix.txt.gz", "\t")
    samples = [f"RA_{time}_{number}" for time in ("pre", "post") for number in range(1, pairs + 1)]
    # Rounded as delivered counts are in the study: a half away from zero.
    count = np.floor(wide.select(samples).to_numpy() + 0.5)
    count = count[(count >= 10).sum(axis=1) >= pairs]
    return Counts(count=count, subject=np.tile(np.arange(pairs), 2), is_after=np.repeat([False, True], pairs))


def _simulated(pairs, *, depth, seed, lost=0):
    random = np.random.default_rng([97, seed])
    genes = 8000
    level = depth * 2 ** random.normal(6, 2, (genes, 1))
    effect = np.where(random.random((genes, 1)) < 0.1, random.normal(0, 1.2, (genes, 1)), 0.0)
    subject, is_after = np.tile(np.arange(pairs), 2), np.repeat([False, True], pairs)
    own = random.normal(0, 0.4, (genes, pairs))[:, subject]
    mean = level * 2 ** (own + effect * is_after) * random.lognormal(0, 0.25, 2 * pairs)
    dispersion = (0.04 + 1.5 / level) * np.exp(random.normal(0, 0.5, (genes, 1)))
    count = random.poisson(random.gamma(1 / dispersion, mean * dispersion))
    kept = np.arange(2 * pairs) >= lost
    # The sample left of a lost pair says nothing within a subject: neither program gets it.
    kept &= subject >= lost
    count = count[:, kept]
    count = count[(count >= 10).sum(axis=1) >= kept.sum() // 2]
    return Counts(count=count, subject=subject[kept], is_after=is_after[kept])


SETS = {
    "airway, 10 reads in sum": lambda folder: _airway(folder, keep=lambda count: count.sum(axis=1) >= 10),
    "airway, 10 reads in 4 samples": lambda folder: _airway(
        folder, keep=lambda count: (count >= 10).sum(axis=1) >= 4
    ),
    "GSE97165": _synovium,
    "GSE97165, 6 pairs": lambda folder: _synovium(folder, pairs=6),
    "simulated, 3 pairs": lambda _: _simulated(3, depth=4.0, seed=1),
    "simulated, 8 shallow pairs": lambda _: _simulated(8, depth=0.15, seed=2),
    "simulated, 12 pairs, one lost": lambda _: _simulated(12, depth=1.0, seed=3, lost=1),
}


@pytest.fixture(scope="module")
def deseq2(tmp_path_factory):
    if shutil.which("Rscript") is None:
        pytest.skip("no R")
    if subprocess.run(["Rscript", "-e", "library(DESeq2)"], capture_output=True, check=False).returncode:
        pytest.skip("no DESeq2 in R")

    def run(counts):
        folder = tmp_path_factory.mktemp("r")
        (folder / "script.R").write_text(R_SCRIPT, encoding="utf-8")
        np.savetxt(folder / "counts.csv", counts.count, fmt="%d", delimiter=",")
        pl.DataFrame(
            {
                "subject": [f"s{name}" for name in counts.subject],
                "cell": np.where(counts.is_after, "b", "a"),
            }
        ).write_csv(folder / "about.csv")
        files = [str(folder / name) for name in ("counts.csv", "about.csv", "genes.csv", "factors.csv")]
        ended = subprocess.run(
            ["Rscript", str(folder / "script.R"), *files], capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr
        genes = pl.read_csv(files[2], null_values=["NA"], infer_schema_length=None)
        numbers = {name: genes[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in genes.columns}
        return numbers, pl.read_csv(files[3])["size_factor"].to_numpy()

    return run


def _called(p_adjusted):
    return np.nan_to_num(p_adjusted, nan=1.0) < LEVEL


def _calls_step_by_step(counts, fit, wald, theirs, contrast):
    """Return what is called after each step at which R's numbers take the place of ours."""
    own = gene_wise_dispersion(counts.count, fit.size_factor, fit.structure)

    def p_of(dispersion):
        again = fit_glm(counts.count, fit.size_factor, fit.structure, dispersion)
        moved = type(fit)(
            **{name: getattr(fit, name) for name in fit.__dataclass_fields__}
            | {"coefficient": again.coefficient, "mean": again.mean, "dispersion": dispersion}
        )
        return wald_test(moved, contrast).p_value

    shrunken = map_dispersion(
        counts.count,
        own.mean,
        fit.structure,
        own.dispersion,
        theirs["fitted"],
        float(theirs["prior_variance"][0]),
        residual_variance=float(theirs["residual_variance"][0]),
    )

    def filtered(p_value):
        return _called(independent_filtering(fit.base_mean, p_value, alpha=LEVEL).p_adjusted)

    return {
        "ours": filtered(wald.p_value),
        "trend and prior": filtered(p_of(shrunken.dispersion)),
        "dispersion of the gene alone": filtered(p_of(theirs["dispersion"])),
        "coefficients and their errors": filtered(theirs["pvalue"]),
        "threshold of the filter": _called(theirs["padj"]),
    }


@pytest.mark.parametrize("name", SETS)
def test_agrees_with_deseq2_and_every_other_call_has_its_cause(name, test_data, deseq2):
    counts = SETS[name](test_data)
    contrast = np.zeros(counts.design.shape[1])
    contrast[-1] = 1.0
    theirs, size_factor = deseq2(counts)
    fit = fit_deseq(counts.count, counts.design)
    wald = wald_test(fit, contrast)
    np.testing.assert_allclose(fit.size_factor, size_factor, rtol=1e-8)
    np.testing.assert_allclose(fit.base_mean, theirs["baseMean"], rtol=1e-8)
    difference = np.abs(wald.estimate / np.log(2) - theirs["log2FoldChange"])
    assert np.median(difference) < 1e-4
    np.testing.assert_array_equal(np.isnan(wald.p_value), np.isnan(theirs["pvalue"]))
    calls = _calls_step_by_step(counts, fit, wald, theirs, contrast)
    ours, r = calls["ours"], calls["threshold of the filter"]
    jaccard = (ours & r).sum() / (ours | r).sum()
    steps = list(calls)
    causes = {}
    unexplained = ours ^ r
    for step in steps[1:]:
        # The first step at which the call is R's, and stays so to the end.
        rest = [calls[later] for later in steps[steps.index(step) :]]
        settled = unexplained & np.all([call == r for call in rest], axis=0)
        causes[step] = int(settled.sum())
        unexplained &= ~settled
    print(  # noqa: T201 - the figures are what the proof is for
        f"\n{name}: {len(r)} genes, called by both {(ours & r).sum()}, by ours alone {(ours & ~r).sum()},"
        f" by R alone {(r & ~ours).sum()}, Jaccard {jaccard:.4f}; median difference of log2 fold changes"
        f" {np.median(difference):.1e}, largest {difference.max():.2g}; causes: {causes}"
    )
    assert not unexplained.any()
    assert causes["coefficients and their errors"] <= 2
    assert jaccard >= 0.98
