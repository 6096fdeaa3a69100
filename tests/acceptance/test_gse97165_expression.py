"""Synovial biopsies before and after therapy (GSE97165): agreement with R, and the published biology."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tasks.omics.differential_expression import DifferentialExpressionParameters, differential_expression
from tasks.omics.enriched_gene_sets import EnrichedGeneSetsParameters, enriched_gene_sets

pytestmark = pytest.mark.acceptance
GOLDEN = Path(__file__).parent / "golden_deseq2"
DECLARED = {
    "protected_genes": ["IFNG", "CXCL9"],
    "designs": [{"id": "synovium", "formula": "~ usubjid + visit"}],
    "contrasts": [
        {
            "id": "treatment",
            "title": "Six months of therapy against baseline",
            "design": "synovium",
            "variable": "visit",
            "level": "6 mo tDMARD",
            "reference": "Baseline",
        }
    ],
}
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
def frames(test_data):
    folder = test_data / "gse97165_ra_synovium"
    expression = _expression(folder / "GSE97165_GEO_count_matrix.txt.gz")
    feature = expression.select("feature_id").unique().with_columns(symbol="feature_id")
    return expression, _sample(folder / "meta_treatment_GSE97165.txt"), feature


def _run(frames, **parameters):
    given = DifferentialExpressionParameters.model_validate({"expression": DECLARED, **parameters})
    return differential_expression(*frames, parameters=given)


@pytest.fixture(scope="module")
def effect(frames):
    return _run(frames, outlier_rules=[])


@pytest.fixture(scope="module")
def enrichment(effect, frames, test_data):
    gene_set = pl.concat(
        [
            _gene_set("hallmark", test_data / "genesets" / "h.all.v7.4.symbols.gmt"),
            _gene_set("interferon", HOUSE_SETS),
        ]
    )
    return enriched_gene_sets(effect, gene_set, frames[2], parameters=EnrichedGeneSetsParameters(min_size=5))


def test_all_nineteen_pairs_take_part(effect):
    assert (effect["n_subjects"][0], effect["n_samples"][0], effect["excluded_samples"][0]) == (19, 38, "")
    assert effect.height == effect["feature_id"].n_unique() == 25227


def test_every_expressed_gene_is_tested_and_the_protected_one_beside_them(effect):
    status = dict(effect["status"].value_counts().iter_rows())
    assert status == {"tested": 17473, "filtered_low_count": 7631, "all_zero": 123}


def test_agrees_with_deseq2_gene_by_gene(effect):
    golden = pl.read_csv(GOLDEN / "genes.csv").join(effect, left_on="symbol", right_on="feature_id")
    fitted = golden.filter(pl.col("status") == "tested")
    assert fitted.height >= 300
    np.testing.assert_allclose(fitted["base_mean"], fitted["baseMean"], rtol=1e-8)
    difference = (fitted["log2_fold_change"] - fitted["log2FoldChange"]).abs()
    assert difference.median() < 1e-4
    assert (difference / fitted["lfcSE"]).quantile(0.99) < 0.01
    # R's iterations end short of the optimum for a few genes without a read in half of the libraries. One of
    # them is among these: a numerical optimiser on the same likelihood and dispersion gives 1.3863.
    far = fitted.filter(difference > 0.05).select("symbol", "log2_fold_change").rows()
    assert [(symbol, round(value, 4)) for symbol, value in far] == [("CDRT4", 1.3863)]
    assert np.corrcoef(fitted["statistic"], fitted["stat"])[0, 1] > 0.9999
    assert np.median(np.abs(np.log(fitted["dispersion"] / fitted["dispersion_right"]))) < 0.01


def test_calls_the_genes_that_deseq2_calls(effect):
    theirs = set((GOLDEN / "called.txt").read_text(encoding="utf-8").split())
    ours = set(effect.filter(pl.col("p_adjusted") < 0.05)["feature_id"])
    # .992 when written; PyDESeq2 reaches .981.
    assert len(ours & theirs) / len(ours | theirs) > 0.985


def test_the_outlier_rule_sets_aside_few_genes_and_moves_no_other_p_value(frames, effect):
    ruled = _run(frames)
    outlier = ruled.filter(pl.col("status") == "outlier")
    # Per gene the rule errs with the chance of Cook's limit, one in a hundred at most.
    assert 0 < outlier.height < 0.01 * 17473
    assert set(outlier["outlier_sample"]) <= set(frames[1]["sample_id"])
    kept = ruled["p_value"].is_not_null()
    assert ruled.filter(kept)["p_value"].equals(effect.filter(kept)["p_value"])


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
