from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tasks.omics.gene_modules import ANALYSIS, SCHEMA, GeneModulesParameters, gene_modules
from warehouse.errors import AnalysisError


@pytest.fixture(scope="module")
def planted(network_results):
    return network_results[1]


def _again(network, threshold, former, **changes):
    parameters = GeneModulesParameters.model_validate({"expression": network.declared(**changes)})
    return gene_modules(*network.omics, threshold, parameters=parameters, former=former)


def test_record_and_contract(planted, unmet):
    assert ANALYSIS.fills == "results.gene_modules"
    assert ANALYSIS.recalls
    assert dict(planted.schema) == SCHEMA
    assert unmet(planted, "gene_modules") == []
    broken = planted.with_columns(kme=pl.lit(None, dtype=pl.Float64))
    assert unmet(broken, "gene_modules") != []


def test_planted_modules_are_found(network, planted):
    by_gene = dict(planted.select("feature_id", "module").iter_rows())
    names = []
    for members in network.MODULES:
        found = np.array([by_gene[f"F{number:03}"] for number in members])
        module = np.bincount(found).argmax()
        assert module > 0
        assert (found == module).mean() > 0.95
        names.append(module)
    assert len(set(names)) == 3
    rest = np.array([by_gene[f"F{number:03}"] for number in range(190, network.GENES)])
    assert (rest == 0).mean() > 0.9


def test_a_gene_of_no_module_has_no_membership_and_a_protected_one_stays_in(network, planted):
    lone = planted.row(by_predicate=pl.col("feature_id") == network.LONE, named=True)
    assert (lone["module"], lone["colour"], lone["kme"], lone["is_protected"]) == (0, "grey", None, True)


def test_no_module_is_found_where_genes_are_independent(make_network):
    lonely = make_network()
    rng = np.random.default_rng(1)
    shuffled = lonely.expression.with_columns(count=pl.Series(rng.permutation(lonely.expression["count"])))
    lonely.expression = shuffled
    _, modules, eigengenes = lonely.results()
    assert (modules["module"] == 0).all()
    assert eigengenes.is_empty()


def test_numbers_stay_from_version_to_version(network, network_results, planted):
    threshold = network_results[0]
    swapped = planted.with_columns(module=pl.col("module").replace({1: 7, 2: 1, 7: 2}))
    again = _again(network, threshold, swapped)
    assert set(again.filter(pl.col("module") > 0)["label_status"]) == {"kept"}
    was = dict(swapped.select("feature_id", "module").iter_rows())
    assert all(was[gene] == module for gene, module in again.select("feature_id", "module").iter_rows())
    forgotten = planted.with_columns(module=pl.lit(0))
    assert set(_again(network, threshold, forgotten).filter(pl.col("module") > 0)["label_status"]) == {"new"}


def test_a_lost_module_is_told(network, network_results, planted):
    more = planted.with_columns(module=pl.when(pl.col("module") == 0).then(9).otherwise("module"))
    again = _again(network, network_results[0], more)
    assert again.filter(pl.col("module") == 0)["label_note"][0] == "former module(s) 9 not found again"


def test_a_network_without_a_chosen_power_is_refused(network, network_results):
    with pytest.raises(AnalysisError, match="must have a power chosen"):
        _again(network, network_results[0].filter(pl.lit(value=False)), None)


def test_what_differs_between_patients_is_taken_out(make_network):
    patients = make_network()
    shift = pl.Series(np.random.default_rng(3).uniform(-3, 3, patients.SUBJECTS))
    of_patient = dict(zip(patients.sample["usubjid"].unique().sort(), shift, strict=True))
    factor = patients.sample.select("sample_id", factor=pl.col("usubjid").replace_strict(of_patient))
    is_shifted = pl.col("feature_id") >= "F200"
    patients.expression = (
        patients.expression.join(factor, on="sample_id")
        .with_columns(
            count=pl.when(is_shifted).then(pl.col("count") * 2.0 ** pl.col("factor")).otherwise("count")
        )
        .with_columns(pl.col("count").round().cast(pl.Int64))
        .drop("factor")
    )
    together = patients.results()[1].filter(is_shifted, pl.col("module") > 0)
    apart = patients.results(adjust_for=["usubjid"])[1].filter(is_shifted, pl.col("module") > 0)
    assert together.height > 100
    assert apart.height < 30
