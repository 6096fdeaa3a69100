from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from expectations.judge import judge
from expectations.suite import find_suites
from tasks.omics.counts import count_matrix
from tasks.omics.normalised import most_variable, vst
from tasks.omics.sample_correlation import (
    ANALYSIS,
    SCHEMA,
    SampleCorrelationParameters,
    sample_correlation,
)
from tasks.simulation import simulated_frames
from warehouse.errors import AnalysisError
from warehouse.expression_plan import Expression

HOUSE = Path(__file__).parents[2]
SUITE = find_suites(HOUSE / "expectations")["results.sample_correlation"]
ASSUMPTIONS = HOUSE / "studies" / "nl_ruxolitinib" / "simulation.toml"


def _run(frames, **changes):
    return sample_correlation(*frames, parameters=SampleCorrelationParameters.model_validate(changes))


@pytest.fixture(scope="module")
def frames():
    made = simulated_frames(ASSUMPTIONS, seed=12, patients=8, genes=2000)
    return made.expression, made.sample, made.feature


@pytest.fixture(scope="module")
def pairs(frames):
    return _run(frames)


def test_record_and_contract(pairs):
    assert ANALYSIS.reads == ("omics.expression", "omics.sample", "omics.feature")
    assert ANALYSIS.fills == "results.sample_correlation"
    assert dict(pairs.schema) == SCHEMA
    assert not judge(pairs, SUITE, lambda *_: ()).is_stopped


def test_each_pair_stands_once(pairs, frames):
    n = frames[1].height
    assert pairs.height == n * (n - 1) // 2
    assert (pairs["sample_id"] < pairs["other_sample_id"]).all()


def test_correlation_is_that_of_the_centred_most_variable_genes(pairs, frames):
    counts = count_matrix(*frames, declared=Expression())
    value = vst(counts)
    value = value[most_variable(value, 500)]
    expected = np.corrcoef((value - value.mean(axis=1, keepdims=True)).T)
    row = pairs.row(17, named=True)
    names = counts.sample["sample_id"].to_list()
    place = names.index(row["sample_id"]), names.index(row["other_sample_id"])
    assert row["correlation"] == pytest.approx(expected[place])


def test_people_show_once_the_groups_are_taken_out(pairs):
    within = pairs.group_by("is_same_subject").agg(pl.col("correlation_within_groups").mean())
    by = dict(within.rows())
    assert by[True] - by[False] > 0.2
    assert pairs.filter("is_same_tissue", "is_same_visit").filter(pl.col("is_same_subject")).is_empty()


def test_one_group_has_no_correlation_within_groups(frames):
    expression, sample, feature = frames
    result = _run((expression, sample.select("sample_id", "sex"), feature))
    assert result["correlation_within_groups"].null_count() == result.height
    assert result["is_same_subject"].null_count() == result.height


def test_biweight_is_another_number_of_the_same_kind(frames, pairs):
    robust = _run(frames, correlation="biweight")
    assert robust["method"][0].startswith("biweight midcorrelation")
    assert np.corrcoef(robust["correlation"], pairs["correlation"])[0, 1] > 0.9
    assert not np.allclose(robust["correlation"], pairs["correlation"])


def test_samples_left_out_are_named(frames):
    plan = Expression.model_validate({"exclude_samples": [{"sample_id": "NLSIM001_L_BL", "reason": "torn"}]})
    result = _run(frames, expression=plan)
    assert "NLSIM001_L_BL" not in {*result["sample_id"], *result["other_sample_id"]}
    assert result["excluded_samples"][0] == "NLSIM001_L_BL (left out by decision: torn)"


def test_one_sample_or_nothing_that_differs_is_refused(frames):
    expression, sample, feature = frames
    one = sample.head(1)
    kept = expression.filter(pl.col("sample_id") == one["sample_id"][0])
    with pytest.raises(AnalysisError, match="two are needed to compare"):
        _run((kept, one, feature))
    same = expression.with_columns(count=pl.lit(50))
    with pytest.raises(AnalysisError, match="nothing to correlate"):
        _run((same, sample, feature))


@pytest.mark.parametrize(
    "change",
    [
        pl.lit("A").alias("sample_id"),
        pl.lit(1.01).alias("correlation"),
        pl.lit(-1.01).alias("correlation_within_groups"),
        pl.lit(None, dtype=pl.String).alias("method"),
    ],
    ids=str,
)
def test_the_suite_rejects_a_broken_copy(pairs, change):
    broken = (
        pairs.with_columns(change, other_sample_id=pl.lit("B"))
        if "A" in str(change)
        else pairs.with_columns(change)
    )
    assert judge(broken, SUITE, lambda *_: ()).is_stopped


def test_parameters_that_cannot_be():
    with pytest.raises(ValidationError):
        SampleCorrelationParameters.model_validate({"correlation": "kendall"})
