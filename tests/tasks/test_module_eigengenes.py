from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tasks.omics.module_eigengenes import (
    ANALYSIS,
    SCHEMA,
    ModuleEigengenesParameters,
    module_eigengenes,
)
from warehouse.errors import AnalysisError


@pytest.fixture(scope="module")
def planted(network_results):
    return network_results[2]


def test_record_and_contract(planted, unmet):
    assert ANALYSIS.fills == "results.module_eigengenes"
    assert dict(planted.schema) == SCHEMA
    assert unmet(planted, "module_eigengenes") == []
    assert unmet(planted.with_columns(module=pl.lit(0)), "module_eigengenes") != []


def test_each_has_length_one_and_goes_with_its_genes(network, planted):
    for (_,), own in planted.group_by("module"):
        assert own.height == network.sample.height
        value, average = own["eigengene"].to_numpy(), own["average_expression"].to_numpy()
        assert (value**2).sum() == pytest.approx(1)
        assert value.sum() == pytest.approx(0, abs=1e-9)
        assert np.corrcoef(value, average)[0, 1] > 0.95
        assert 0.5 < own["variance_explained"][0] < 1


def test_the_module_of_the_lesion_is_high_in_untreated_lesions(network_results, planted):
    module = network_results[1].row(by_predicate=pl.col("feature_id") == "F000", named=True)["module"]
    means = dict(
        planted.filter(pl.col("module") == module)
        .group_by("tissue", "visit")
        .agg(pl.col("eigengene").mean())
        .select(pl.concat_str("tissue", "visit", separator=" "), "eigengene")
        .iter_rows()
    )
    assert means["LESIONAL BASELINE"] > means["LESIONAL WEEK 12"] > means["SKIN BASELINE"]


def test_modules_of_other_genes_are_refused(network, network_results):
    parameters = ModuleEigengenesParameters.model_validate({"expression": network.declared()})
    with pytest.raises(AnalysisError, match="F000 and 0 more: must be the genes"):
        module_eigengenes(*network.omics, _without(network_results[1], "F000"), parameters=parameters)


def _without(modules, gene):
    return modules.filter(pl.col("feature_id") != gene)
