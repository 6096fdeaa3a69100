"""Airway cells with and without dexamethasone: agreement with R at three degrees of freedom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tasks.omics.differential_expression import DifferentialExpressionParameters, differential_expression

pytestmark = pytest.mark.acceptance
GOLDEN = Path(__file__).parent / "golden_deseq2_airway"
DECLARED = {
    "designs": [{"id": "cells", "formula": "~ usubjid + dex"}],
    "contrasts": [
        {
            "id": "dexamethasone",
            "title": "With dexamethasone against without",
            "design": "cells",
            "variable": "dex",
            "level": "trt",
            "reference": "untrt",
        }
    ],
}


@pytest.fixture(scope="module")
def frames(test_data):
    folder = test_data / "airway"
    wide = pl.read_csv(folder / "airway_counts.csv.gz")
    expression = (
        wide.rename({wide.columns[0]: "feature_id"})
        .filter(~pl.col("feature_id").str.starts_with("LRG"))
        .unpivot(index="feature_id", variable_name="sample_id", value_name="count")
    )
    sample = pl.read_csv(folder / "airway_coldata.csv").select(sample_id="Run", usubjid="cell", dex="dex")
    feature = expression.select("feature_id").unique().with_columns(symbol="feature_id")
    return expression, sample, feature


def _run(frames, **parameters):
    given = DifferentialExpressionParameters.model_validate({"expression": DECLARED, **parameters})
    return differential_expression(*frames, parameters=given)


@pytest.fixture(scope="module")
def effect(frames):
    return _run(frames, outlier_rules=[])


def test_agrees_with_deseq2_gene_by_gene(effect):
    golden = pl.read_csv(GOLDEN / "genes.csv").join(effect, on="feature_id")
    assert golden.height == 270
    np.testing.assert_allclose(golden["base_mean"], golden["baseMean"], rtol=1e-8)
    difference = (golden["log2_fold_change"] - golden["log2FoldChange"]).abs()
    assert difference.median() < 1e-4
    # A dispersion found elsewhere on a flat likelihood moves an estimate by a small part of its error.
    assert (difference / golden["lfcSE"]).max() < 0.01
    assert np.abs(np.log(golden["dispersion"] / golden["dispersion_right"])).median() < 0.01


def test_the_same_genes_have_no_adjusted_p_value(effect):
    golden = pl.read_csv(GOLDEN / "genes.csv").join(effect, on="feature_id")
    assert golden["p_adjusted"].is_null().equals(golden["padj"].is_null())
    assert (effect["status"] == "independent_filtering").sum() == 313


def test_calls_the_genes_that_deseq2_calls(effect):
    theirs = {f"ENSG00000{number}" for number in (GOLDEN / "called.txt").read_text(encoding="utf-8").split()}
    ours = set(effect.filter(pl.col("p_adjusted") < 0.05)["feature_id"])
    # .999 when written; PyDESeq2 reaches .907.
    assert len(ours & theirs) / len(ours | theirs) > 0.995


def test_sparcl1_rises_as_published(effect):
    row = effect.row(by_predicate=pl.col("feature_id") == "ENSG00000152583", named=True)
    assert row["log2_fold_change"] == pytest.approx(4.57, abs=0.03)
    assert row["lfc_shrunken"] == pytest.approx(row["log2_fold_change"], abs=0.1)


def test_the_outlier_rule_sets_aside_few_genes_and_names_the_library(frames, effect):
    ruled = _run(frames)
    outlier = ruled.filter(pl.col("status") == "outlier")
    assert outlier.height < 0.01 * (ruled["p_value"].is_not_null().sum() + outlier.height)
    assert outlier["reason"].str.contains("differs from all others").all()
    assert set(outlier["outlier_sample"]) <= set(frames[1]["sample_id"])
    kept = ruled["p_value"].is_not_null()
    assert ruled.filter(kept)["p_value"].equals(effect.filter(kept)["p_value"])
