from __future__ import annotations

import polars as pl
import pytest
from pydantic import ValidationError
from scipy.stats import hypergeom

from tasks.omics.module_enrichment import (
    ANALYSIS,
    SCHEMA,
    ModuleEnrichmentParameters,
    module_enrichment,
)


@pytest.fixture(scope="module")
def run(network, network_results):
    def enriched(**changes):
        return module_enrichment(
            network_results[1],
            network.gene_set,
            network.feature,
            parameters=ModuleEnrichmentParameters.model_validate(
                {"expression": network.declared(), **changes}
            ),
        )

    return enriched


@pytest.fixture(scope="module")
def planted(run):
    return run()


def test_record_and_contract(planted, unmet):
    assert ANALYSIS.fills == "results.module_enrichment"
    assert dict(planted.schema) == SCHEMA
    assert unmet(planted, "module_enrichment") == []
    assert unmet(planted.with_columns(p_value=pl.lit(0.0)), "module_enrichment") != []


def test_a_set_is_found_in_the_module_of_its_genes_only(network_results, planted):
    by_gene = dict(network_results[1].select("feature_id", "module").iter_rows())
    called = planted.filter(pl.col("p_adjusted") < 0.01).select("module", "gene_set")
    assert set(called.iter_rows()) == {(by_gene["F000"], "FALLING_INTERFERON"), (by_gene["F090"], "OTHER")}


def test_the_background_is_the_network(network, planted):
    row = planted.filter(pl.col("gene_set") == "OTHER").sort("p_value").row(0, named=True)
    assert row["n_genes"] == network.GENES
    expected = hypergeom.sf(
        row["n_in_module"] - 1, network.GENES, row["size_in_network"], row["n_genes_of_module"]
    )
    assert row["p_value"] == pytest.approx(expected)
    assert row["n_expected"] == pytest.approx(30 * row["n_genes_of_module"] / network.GENES)


def test_interferon_stands_first(planted):
    for (_,), own in planted.group_by("module"):
        assert own["gene_set"][0] == "FALLING_INTERFERON"
        assert own["is_interferon"].to_list() == [True, False, False]


def test_sets_of_another_size_are_not_tested(run):
    result = run(min_size=35)
    assert set(result.filter(pl.col("gene_set") == "OTHER")["status"]) == {"too_small"}
    assert (
        result.filter(pl.col("status") != "tested")["p_value"].null_count() == result["p_value"].null_count()
    )


def test_sizes_must_be_in_order(run):
    with pytest.raises(ValidationError, match="must be min_size"):
        run(min_size=10, max_size=5)
