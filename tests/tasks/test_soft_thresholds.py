from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tasks.omics.network_expression import network_expressions
from tasks.omics.soft_thresholds import ANALYSIS, SCHEMA, SoftThresholdsParameters, soft_thresholds
from tasks.stats.coexpression.correlation import correlation
from warehouse.errors import AnalysisError
from warehouse.expression_plan import Expression


def _run(network, **changes):
    parameters = SoftThresholdsParameters.model_validate({"expression": network.declared(**changes)})
    return soft_thresholds(*network.omics, parameters=parameters)


def test_record_and_contract(network, network_results, unmet):
    assert ANALYSIS.fills == "results.soft_thresholds"
    assert dict(network_results[0].schema) == SCHEMA
    assert unmet(network_results[0], "soft_thresholds") == []
    twice = pl.concat([network_results[0], network_results[0]])
    assert unmet(twice, "soft_thresholds") != []


def test_connectivity_is_the_sum_of_powers_of_positive_correlations(network, network_results):
    given = next(iter(network_expressions(*network.omics, declared=_declared(network))))
    r = correlation(given.value, kind="bicor", max_p_outliers=0.1)
    np.fill_diagonal(r, 0)
    table = network_results[0]
    for power in (1, 6):
        expected = (np.maximum(r, 0) ** power).sum(axis=1).mean()
        row = table.row(by_predicate=pl.col("power") == power, named=True)
        assert row["mean_connectivity"] == pytest.approx(expected, rel=1e-9)


def _declared(network):
    return Expression.model_validate(network.declared())


def test_a_declared_power_is_chosen_also_between_the_usual_ones(network):
    table = _run(network, power=6.5)
    (chosen,) = table.filter("is_chosen").to_dicts()
    assert (chosen["power"], chosen["rule"]) == (6.5, "declared")


def test_without_one_a_power_is_chosen_and_the_reason_told(network):
    table = _run(network, power=None)
    (chosen,) = table.filter("is_chosen").to_dicts()
    assert chosen["rule"] in {"scale_free_fit", "sample_size_table"}
    assert len(chosen["reason"]) > 20
    assert table.height == 15


def test_few_samples_are_warned_of(network):
    table = _run(network, samples={"tissue": ["LESIONAL"], "visit": ["BASELINE"]})
    assert table["warning"][0].startswith("12 samples, fewer than 15")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"samples": {"tissue": ["LIVER"]}}, "network skin: samples: tissue: LIVER"),
        ({"samples": {"organ": ["SKIN"]}}, "network skin: samples: organ: must be a column"),
        ({"adjust_for": ["batch"]}, "network skin: adjust_for: batch: must be a column"),
    ],
)
def test_what_the_study_does_not_have_is_refused(network, changes, says):
    with pytest.raises(AnalysisError, match=says):
        _run(network, **changes)


def test_a_network_must_be_declared(network):
    with pytest.raises(AnalysisError, match=r"\[\[expression.networks\]\]"):
        soft_thresholds(*network.omics, parameters=SoftThresholdsParameters())
