from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from expectations.judge import judge
from expectations.suite import find_suites
from tasks.omics.counts import count_matrix
from tasks.omics.normalised import most_variable, vst
from tasks.omics.principal_components import (
    ANALYSIS,
    SCHEMA,
    PrincipalComponentsParameters,
    principal_components,
)
from tasks.simulation import simulated_frames
from warehouse.errors import AnalysisError
from warehouse.expression_plan import Expression

HOUSE = Path(__file__).parents[2]
SUITE = find_suites(HOUSE / "expectations")["results.principal_components"]
ASSUMPTIONS = HOUSE / "studies" / "nl_ruxolitinib" / "simulation.toml"


def _run(frames, **changes):
    return principal_components(*frames, parameters=PrincipalComponentsParameters.model_validate(changes))


@pytest.fixture(scope="module")
def simulated():
    return simulated_frames(ASSUMPTIONS, seed=12, patients=8, genes=2000)


@pytest.fixture(scope="module")
def frames(simulated):
    return simulated.expression, simulated.sample, simulated.feature


@pytest.fixture(scope="module")
def found(frames):
    return _run(frames)


def test_record_and_contract(found):
    assert ANALYSIS.reads == ("omics.expression", "omics.sample", "omics.feature")
    assert ANALYSIS.fills == "results.principal_components"
    assert dict(found.schema) == SCHEMA
    assert not judge(found, SUITE, lambda *_: ()).is_stopped


def test_a_row_for_each_sample_and_top_gene_of_each_component(found, frames):
    counted = found.group_by("component", "kind").len().sort("component", "kind")
    assert counted["len"].to_list() == [20, frames[1].height] * 10


def test_scores_are_those_of_the_decomposition_of_the_most_variable_genes(found, frames):
    value = vst(count_matrix(*frames, declared=Expression()))
    value = value[most_variable(value, 500)]
    _, strength, right = np.linalg.svd(value - value.mean(axis=1, keepdims=True), full_matrices=False)
    first = found.filter(pl.col("component") == 1, pl.col("kind") == "score")
    assert np.allclose(np.abs(first["value"]), np.abs(right[0] * strength[0]))
    assert first["variance_pct"][0] == pytest.approx(100 * strength[0] ** 2 / (strength**2).sum())


def test_the_planted_modules_make_the_first_components(found, simulated):
    module = dict(simulated.truth.select("gene_id", "module").iter_rows())
    top = found.filter(pl.col("kind") == "loading", pl.col("component") <= 2)
    shares = [
        pl.Series([module[gene] or "none" for gene in part["feature_id"]]).value_counts(sort=True)["count"][0]
        for part in top.partition_by("component")
    ]
    # The first is fat (depth of the biopsy) alone, of the second one module makes more than half.
    assert shares[0] >= 18
    assert shares[1] > 10


def test_the_largest_loading_is_positive_and_ranks_are_in_order(found):
    loading = found.filter(pl.col("kind") == "loading")
    first = loading.filter(pl.col("rank") == 1)
    assert (first["value"] > 0).all()
    for part in loading.partition_by("component"):
        assert part["rank"].to_list() == list(range(1, 21))
        assert part["value"].abs().is_sorted(descending=True)


def test_shares_add_up(found):
    shares = found.unique("component", maintain_order=True)
    assert np.allclose(shares["variance_pct"].cum_sum(), shares["cumulative_variance_pct"])
    assert shares["cumulative_variance_pct"][-1] < 100


def test_three_samples_have_two_components_and_two_have_none(frames):
    expression, sample, feature = frames
    few = sample.head(3)
    kept = expression.filter(pl.col("sample_id").is_in(few["sample_id"].to_list()))
    result = _run((kept, few.select("sample_id"), feature))
    assert result["component"].unique().to_list() == [1, 2]
    assert result["usubjid"].null_count() == result.height
    two = sample.head(2)
    with pytest.raises(AnalysisError, match="at least 3 are needed"):
        _run((kept.filter(pl.col("sample_id").is_in(two["sample_id"].to_list())), two, feature))


def test_nothing_that_differs_is_refused(frames):
    with pytest.raises(AnalysisError, match="no gene differs"):
        _run((frames[0].with_columns(count=pl.lit(9)), *frames[1:]))


@pytest.mark.parametrize(
    "change",
    [
        pl.lit("place").alias("kind"),
        pl.lit(101.0).alias("variance_pct"),
        pl.when(pl.col("kind") == "loading").then(2.0).otherwise("value").alias("value"),
        pl.lit(1).cast(pl.Int64).alias("component"),
        pl.lit(None, dtype=pl.Float64).alias("value"),
    ],
    ids=str,
)
def test_the_suite_rejects_a_broken_copy(found, change):
    assert judge(found.with_columns(change), SUITE, lambda *_: ()).is_stopped
