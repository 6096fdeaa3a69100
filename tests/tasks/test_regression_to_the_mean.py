from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError
from scipy import stats as scipy_stats

from tasks.clinical.ard import SCHEMA
from tasks.clinical.regression_to_the_mean import (
    ANALYSIS,
    RegressionToTheMeanParameters,
    regression_to_the_mean,
)
from warehouse.errors import AnalysisError

OUTSIDE = {"population_mean": 6.0, "population_sd": 3.0, "source": "a registry"}


@pytest.fixture
def run(make_trial, falling, estimand):
    def compute(arms=None, **changes):
        trial = make_trial(arms or {"Cream": falling})
        parameters = RegressionToTheMeanParameters.model_validate(
            {"estimands": [estimand()], **OUTSIDE, **changes}
        )
        return regression_to_the_mean(trial.adsl, trial.adqs, parameters=parameters)

    return compute


def _untreated(n=4000, reliability=0.6):
    """Scores of people selected for a bad first reading and read again, with nothing done in between."""
    random = np.random.default_rng(7)
    true = random.normal(6, 3 * np.sqrt(reliability), 6 * n)
    first, second = (true + random.normal(0, 3 * np.sqrt(1 - reliability), 6 * n) for _ in range(2))
    chosen = np.flatnonzero(first > 8)[:n]
    return [[first[i], first[i], first[i], second[i]] for i in chosen]


def test_record():
    assert ANALYSIS.fills == "results.regression_to_the_mean"
    assert ANALYSIS.reads == ("adam.adsl", "adam.adqs")


def test_a_treated_arm_falls_beyond_the_expected(run, falling, stat):
    result = run(cutoff=5)
    assert dict(result.schema) == SCHEMA
    here = {"context": "expected_of_sample", "variable_level": "reliability=0.8"}
    # Davis: (1 - 0.8) (6 - 9), the mean baseline being 9.
    assert stat(result, "expected_change", **here) == pytest.approx(-0.6)
    assert stat(result, "mean_change", **here) == pytest.approx(-16 / 3)
    assert stat(result, "share", **here) == pytest.approx(0.6 / (16 / 3))
    assert stat(result, "p.value", context="mee_chua") < 0.01
    assert stat(result, "estimate", context="mee_chua") < 0


def test_untreated_people_who_were_selected_regress_as_expected(run, stat):
    # Three standard errors of a mean of 4000 changes with SD 3 * sqrt(2 * 0.4) are 0.13.
    result = run({"Watched": _untreated()}, reliability=[0.6], cutoff=8)
    here = {"variable_level": "reliability=0.6"}
    for context in ("expected_of_sample", "expected_of_cutoff"):
        expected = stat(result, "expected_change", context=context, **here)
        assert stat(result, "mean_change", context=context, **here) == pytest.approx(expected, abs=0.13)
        assert expected < -1
    assert stat(result, "p.value", context="mee_chua") > 0.01
    assert stat(result, "selected_share", context="expected_of_cutoff", **here) == pytest.approx(
        scipy_stats.norm.sf(2 / 3)
    )


def test_a_reliable_score_does_not_regress(run, stat):
    here = {"context": "expected_of_sample", "variable_level": "reliability=1"}
    assert stat(run(reliability=[1]), "expected_change", **here) == 0


def test_change_is_related_to_the_mean_of_both_and_not_to_the_baseline(run, falling, stat):
    before = np.array([scores[0] for scores in falling])
    after = np.array([scores[3] for scores in falling])
    expected = scipy_stats.pearsonr(after - before, (after + before) / 2)
    result = run()
    assert stat(result, "correlation", context="oldham") == pytest.approx(expected.statistic)
    assert stat(result, "p.value", context="oldham") == pytest.approx(expected.pvalue)
    assert stat(result, "p.value", context="pitman_morgan") == pytest.approx(expected.pvalue)
    assert stat(result, "ratio", context="pitman_morgan") == pytest.approx(
        after.var(ddof=1) / before.var(ddof=1)
    )


def test_each_arm_stands_alone_and_the_missing_are_named(run, falling, steady):
    falling[0][3] = None
    result = run({"Placebo": steady, "Active": falling})
    assert set(result.filter(context="oldham")["group1_level"]) == {"Placebo", "Active"}
    warnings = dict(
        result.filter(context="mee_chua", stat_name="p.value").select("group1_level", "warning").iter_rows()
    )
    assert warnings == {"Placebo": None, "Active": "1 of 12 without AVAL and BASE left out: A01"}


def test_what_cannot_be_estimated_is_said(run):
    failed = run({"Cream": [[5.0, 5, 5, 4]] * 4}).filter(stat_name="p.value")
    assert failed["stat"].null_count() == failed.height == 3
    assert failed["error"].str.starts_with("not estimable: ").all()
    with pytest.raises(AnalysisError, match="nobody of the population has SCORE"):
        run({"Cream": [[5.0, 5, 5, None]]})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reliability": [1.2]}, "reliability: 1.2: must lie between 0 and 1"),
        ({"reliability": [0.5, 0.5]}, "each at most once"),
        ({"population_sd": 0}, "greater than 0"),
        ({"source": ""}, "at least 1 character"),
    ],
)
def test_parameters_are_checked(run, changes, message):
    with pytest.raises(ValidationError, match=message):
        run(**changes)


def test_output_meets_its_suite(run, falling, steady, unmet):
    assert unmet(run({"Placebo": steady, "Active": falling}, cutoff=5), "regression_to_the_mean") == []
    assert unmet(run({"Cream": [[5.0, 5, 5, 4]] * 4}), "regression_to_the_mean") == []


def test_suite_rejects_a_broken_copy(run, unmet, broken):
    broken(run(), unmet, "regression_to_the_mean")


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("in_set(is_confirmatory)", {"is_confirmatory": pl.lit(value=True)}),
        ("between(stat) where stat_name in ['reliability'", {"stat": pl.lit(2.0)}),
        ("between(stat) where stat_name == 'correlation'", {"stat": pl.lit(2.0)}),
        ("between(stat) where stat_name == 'ratio'", {"stat": pl.lit(-1.0)}),
        ("not_be_null(variable_level)", {"variable_level": pl.lit(None, pl.String)}),
    ],
)
def test_suite_rejects_rows_that_readers_would_not_find(run, unmet, rule, change):
    wrong = unmet(run().with_columns(**change), "regression_to_the_mean")
    assert any(rule in name for name in wrong), wrong
