"""Synovial biopsies before and after therapy (GSE97165): agreement with R, and the published biology."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tasks.omics.enriched_gene_sets import EnrichedGeneSetsParameters, enriched_gene_sets
from tasks.omics.treatment_effect_on_expression import (
    TreatmentEffectOnExpressionParameters,
    treatment_effect_on_expression,
)

pytestmark = pytest.mark.acceptance
GOLDEN = Path(__file__).parent / "golden_deseq2"
HOUSE_SETS = Path(__file__).parents[2] / "tasks" / "omics" / "interferon.gmt"


def _sample(series_matrix):
    """Return the samples; each cell of the misaligned characteristics is read by its own key."""
    lines = [line.split("\t") for line in series_matrix.read_text(encoding="latin-1").splitlines()]
    title = next(cells[1:] for cells in lines if cells[0] == "!Sample_title")
    about = [{"sample_id": cell.partition("(")[2].rstrip(')"')} for cell in title]
    for cells in lines:
        if cells[0] == "!Sample_characteristics_ch1":
            for sample, cell in zip(about, cells[1:], strict=True):
                key, _, value = cell.strip('"').partition(": ")
                sample[key] = value
    return pl.DataFrame(about).select(
        "sample_id", usubjid="subject number", visit="time point", tissue=pl.lit("synovium")
    )


def _expression(matrix):
    with gzip.open(matrix, "rt", encoding="latin-1") as lines:
        wide = pl.read_csv(lines.read().encode(), separator="\t", infer_schema_length=None)
    return (
        wide.rename({wide.columns[0]: "feature_id"})
        .unpivot(index="feature_id", variable_name="sample_id", value_name="delivered")
        .select("feature_id", "sample_id", count=(pl.col("delivered") + 0.5).floor().cast(pl.Int64))
    )


def _gene_set(collection, gmt):
    rows = [line.split("\t") for line in gmt.read_text(encoding="utf-8").splitlines()]
    return pl.DataFrame(
        [(collection, name, gene, about) for name, about, *genes in rows for gene in genes],
        schema=["collection", "gene_set", "symbol", "description"],
        orient="row",
    )


@pytest.fixture(scope="module")
def effect(test_data):
    folder = test_data / "gse97165_ra_synovium"
    expression = _expression(folder / "GSE97165_GEO_count_matrix.txt.gz")
    feature = expression.select("feature_id").unique().with_columns(symbol="feature_id")
    return treatment_effect_on_expression(
        expression,
        _sample(folder / "meta_treatment_GSE97165.txt"),
        feature,
        parameters=TreatmentEffectOnExpressionParameters(
            reference_visit="Baseline", contrast_visit="6 mo tDMARD", protected_genes=("IFNG", "CXCL9")
        ),
    )


@pytest.fixture(scope="module")
def enrichment(effect, test_data):
    gene_set = pl.concat(
        [
            _gene_set("hallmark", test_data / "genesets" / "h.all.v7.4.symbols.gmt"),
            _gene_set("interferon", HOUSE_SETS),
        ]
    )
    return enriched_gene_sets(effect, gene_set, parameters=EnrichedGeneSetsParameters(min_size=5))


def test_all_nineteen_pairs_take_part(effect):
    assert (effect["n_subjects"][0], effect["n_samples"][0], effect["excluded_samples"][0]) == (19, 38, "")
    assert effect.height == effect["feature_id"].n_unique() == 25227


def test_nearly_every_expressed_gene_is_tested(effect):
    status = dict(effect["status"].value_counts().iter_rows())
    assert status["tested"] + status.get("independent_filtering", 0) + status["not_converged"] == 17473
    assert status["not_converged"] <= 5


def test_agrees_with_deseq2_gene_by_gene(effect):
    golden = pl.read_csv(GOLDEN / "genes.csv").join(effect, left_on="symbol", right_on="feature_id")
    fitted = golden.filter(pl.col("wald_statistic").is_not_null())
    assert fitted.height >= 300
    np.testing.assert_allclose(fitted["base_mean"], fitted["baseMean"], rtol=1e-5)
    # The two stop at other points of flat dispersion likelihoods, R up to a tenth short of the maximum.
    assert np.corrcoef(fitted["log2_fold_change"], fitted["log2FoldChange"])[0, 1] > 0.9999
    difference = (fitted["log2_fold_change"] - fitted["log2FoldChange"]).abs()
    assert difference.median() < 1e-4
    assert difference.max() < 0.05
    assert np.corrcoef(fitted["wald_statistic"], fitted["stat"])[0, 1] > 0.999
    assert np.median(np.abs(np.log(fitted["dispersion"] / fitted["dispersion_right"]))) < 0.02


def test_calls_the_genes_that_deseq2_calls(effect):
    theirs = set((GOLDEN / "called.txt").read_text(encoding="utf-8").split())
    ours = set(effect.filter(pl.col("p_adjusted") < 0.05)["feature_id"])
    # .993 when written; PyDESeq2 with its own trend reaches .991.
    assert len(ours & theirs) / len(ours | theirs) > 0.985


def test_interferon_gamma_is_kept_and_falls(effect):
    row = effect.row(by_predicate=pl.col("symbol") == "IFNG", named=True)
    assert row["is_protected"]
    assert row["status"] == "tested"
    assert row["log2_fold_change"] < -1
    assert row["p_adjusted"] < 0.05


@pytest.mark.parametrize(
    "gene_set",
    [
        "HALLMARK_INTERFERON_GAMMA_RESPONSE",
        "HALLMARK_INTERFERON_ALPHA_RESPONSE",
        "HALLMARK_ALLOGRAFT_REJECTION",
        "TYPE_II_IFN_CORE",
        "T_CELL_INFLAMED_18",
    ],
)
def test_immune_activation_falls(enrichment, gene_set):
    row = enrichment.row(by_predicate=pl.col("gene_set") == gene_set, named=True)
    assert (row["status"], row["direction"]) == ("tested", "lower")
    assert row["nes"] < -2
    assert row["p_adjusted"] < 1e-6


def test_type_ii_interferon_falls_further_than_type_i(enrichment):
    nes = dict(enrichment.select("gene_set", "nes").iter_rows())
    assert nes["TYPE_II_IFN_CORE"] < nes["TYPE_I_IFN_CORE"] < nes["TYPE_I_IFN_SCORE_6"] < 0


def test_every_house_set_finds_all_its_members_in_an_old_matrix(enrichment):
    house = enrichment.filter(pl.col("collection") == "interferon")
    assert house.filter(pl.col("size_ranked") < pl.col("size_in_collection")).is_empty()
    assert (house["status"] == "tested").all()
