from __future__ import annotations

import polars as pl
import pytest

from tasks.omics.hub_genes import ANALYSIS, SCHEMA, HubGenesParameters, hub_genes
from warehouse.errors import AnalysisError


@pytest.fixture(scope="module")
def run(network, network_results):
    def hubs(*, sample=None, **changes):
        return hub_genes(
            network_results[1],
            network.expression,
            network.sample if sample is None else sample,
            network.feature,
            parameters=HubGenesParameters.model_validate(
                {"expression": network.declared(), "trait": "treatment", "n_resamples": 8, **changes}
            ),
        )

    return hubs


@pytest.fixture(scope="module")
def planted(run):
    return run()


def test_record_and_contract(planted, unmet):
    assert ANALYSIS.fills == "results.hub_genes"
    assert dict(planted.schema) == SCHEMA
    assert unmet(planted, "hub_genes") == []
    assert unmet(planted.with_columns(kme=pl.lit(None, dtype=pl.Float64)), "hub_genes") != []


def test_the_first_of_each_module_and_the_protected_are_listed(network, network_results, planted):
    modules = network_results[1]
    expected = modules.filter((pl.col("rank_in_module") <= 10) | pl.col("is_protected"))["feature_id"]
    assert set(planted["feature_id"]) == set(expected)
    lone = planted.row(by_predicate=pl.col("feature_id") == network.LONE, named=True)
    assert (lone["is_hub"], lone["rank_in_module"], lone["rank_median"]) == (False, None, None)


def test_planted_modules_are_found_again_with_other_patients(planted):
    own = planted.filter(pl.col("module") > 0)
    assert (own["module_found_again"] == 1).all()
    assert own["share_in_module"].min() > 0.9
    assert (own["rank_low"] <= own["rank_median"]).all()
    assert (own["rank_median"] <= own["rank_high"]).all()


def test_gene_significance_is_of_the_contrast_within_patients(network_results, planted):
    falling = network_results[1].row(by_predicate=pl.col("feature_id") == "F000", named=True)["module"]
    own = planted.filter(pl.col("module") == falling)
    assert (own["gene_significance"] < -0.7).all()
    # Hardly a patient rises: few of the 4,096 patterns of signs are as far out.
    assert (own["gene_significance_p_value"] < 0.01).all()
    others = planted.filter(pl.col("module") != falling)
    assert (others["gene_significance"].abs() < 0.8).all()


def test_the_same_seed_gives_the_same_and_another_other_patients(run, planted):
    assert run().equals(planted)
    assert not run(seed=1)["rank_median"].equals(planted["rank_median"])


def test_without_resamples_there_is_no_stability(run):
    result = run(n_resamples=0)
    assert result["rank_median"].null_count() == result.height
    assert "not resampled" in result["method"][0]


def test_without_patients_samples_are_drawn(run, network):
    result = run(sample=network.sample.drop("usubjid"), n_resamples=2)
    assert "samples, no patient being known" in result["method"][0]
    assert result["gene_significance"].null_count() == result.height


def test_an_unknown_contrast_is_refused(run):
    with pytest.raises(AnalysisError, match="'nothing': must be one of treatment, disease"):
        run(trait="nothing")
