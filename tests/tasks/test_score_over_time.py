from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from tasks.clinical.ard import SCHEMA
from tasks.clinical.score_over_time import ANALYSIS, ScoreOverTimeParameters, score_over_time
from tasks.stats.location import paired_t
from warehouse.errors import AnalysisError

AT_12 = {"group3_level": "Week 12", "variable": "CHG"}


@pytest.fixture
def run(make_trial, falling, estimand):
    def compute(arms=None, *, about=None, adqs=None, **changes):
        trial = make_trial(arms or {"Cream": falling})
        parameters = ScoreOverTimeParameters.model_validate(
            {"estimands": [estimand(**(about or {}))], **changes}
        )
        return score_over_time(trial.adsl, trial.adqs if adqs is None else adqs, parameters=parameters)

    return compute


def test_record():
    assert ANALYSIS.fills == "results.score_over_time"
    assert ANALYSIS.reads == ("adam.adsl", "adam.adqs")


def test_a_planted_change_is_found_at_every_visit(run, stat):
    result = run()
    assert dict(result.schema) == SCHEMA
    means = [
        stat(result, "estimate", context="ls_means", group3_level=visit)
        for visit in ("Week 4", "Week 8", "Week 12")
    ]
    assert means == sorted(means, reverse=True)
    assert stat(result, "p.value", context="ls_means", **AT_12) < 0.001
    assert stat(result, "structure", context="mmrm") == "us"
    assert stat(result, "status", context="mmrm_attempt", variable_level="us") == "converged"


def test_complete_data_without_baseline_in_the_model_give_the_paired_t_test(run, make_trial, falling, stat):
    # An unstructured model of visit alone has the visits' own means, and with nothing missing its
    # Kenward-Roger test of one mean is the paired t-test on n - 1 degrees of freedom.
    trial = make_trial({"Cream": falling})
    adqs = trial.adqs.with_columns(base=pl.lit(None, pl.Float64))
    result = run(adqs=adqs)
    test = paired_t(np.array([scores[-1] - scores[0] for scores in falling]))
    here = {"context": "ls_means", **AT_12}
    assert stat(result, "estimate", **here) == pytest.approx(test.estimate, abs=1e-9)
    assert stat(result, "std.error", **here) == pytest.approx(test.standard_error, rel=1e-6)
    assert stat(result, "df", **here) == pytest.approx(11, rel=1e-4)
    assert stat(result, "p.value", **here) == pytest.approx(test.p_value, rel=1e-3)


def test_no_change_is_not_found(run, steady, stat):
    assert stat(run({"Cream": steady}), "p.value", context="ls_means", **AT_12) > 0.3


def test_missed_visits_are_left_to_the_model(run, falling, stat, reconciles):
    # Those who fall least miss the end: observed cases alone would exaggerate, the model sees the start.
    order = np.argsort([scores[2] - scores[0] for scores in falling])[::-1]
    for place in order[:4]:
        falling[place][-1] = None
    result = run({"Cream": falling})
    reconciles(result)
    observed = stat(result, "mean", context="continuous", group3_level="Week 12", variable="CHG")
    modelled = stat(result, "estimate", context="ls_means", **AT_12)
    assert modelled > observed
    assert stat(result, "n_observations", context="mmrm") == 32
    assert stat(result, "N_miss", context="continuous", group3_level="Week 12", variable="CHG") == 4


def test_arms_are_compared_visit_by_visit(run, falling, steady, stat):
    result = run({"Placebo": steady, "Active": falling}, about={"family": "main"})
    difference = {"context": "difference", "group1_level": "Active", "group1_reference": "Placebo"}
    assert stat(result, "p.value", **difference, **AT_12) < 0.001
    assert stat(result, "conf.high", **difference, **AT_12) < 0
    decided = result.filter("is_confirmatory")
    assert decided.select("context", "group3_level", "stat_name").rows() == [
        ("difference", "Week 12", "p.value")
    ]
    assert result.filter(context="ls_means", stat_name="p.value").is_empty()


def test_a_single_arm_decides_by_its_own_mean(run):
    decided = run(about={"family": "main"}).filter("is_confirmatory")
    assert decided.select("context", "group3_level").rows() == [("ls_means", "Week 12")]
    assert run(about={"family": "main"}, decides=False).filter("is_confirmatory").is_empty()


def test_the_covariance_used_is_a_symmetric_table_of_the_visits(run, stat):
    result = run(structures=["cs"])
    assert stat(result, "structure", context="mmrm") == "cs"
    correlations = result.filter(context="covariance", stat_name="correlation")
    assert correlations.height == 6
    apart = correlations.filter(pl.col("variable_level") != "Week 4, Week 4")["stat"].unique().sort()
    assert apart[-1] == pytest.approx(1)


def test_too_few_for_one_structure_fall_back_to_the_next_and_say_so(run, falling, stat):
    result = run({"Cream": falling[:4]})
    assert stat(result, "structure", context="mmrm") == "ar1h"
    tried = result.filter(context="mmrm_attempt", stat_name="status")
    assert tried["variable_level"].to_list() == ["us", "toeph", "ar1h"]
    assert tried["stat_text"].str.starts_with("not converged: ").to_list() == [True, True, False]
    (warning,) = result.filter(context="ls_means")["warning"].unique()
    assert warning.startswith("covariance ar1h, since us: ")


def test_when_no_structure_converges_the_attempts_remain(run, falling):
    result = run({"Cream": falling[:4]}, structures=["us", "toeph"], about={"family": "main"})
    assert result.filter(context="mmrm_attempt", stat_name="status").height == 2
    assert result.filter(context="ls_means").select("stat_name", "stat").rows() == [("p.value", None)]
    assert result.filter("is_confirmatory")["error"].item().startswith("no structure converged")


def test_a_model_that_cannot_be_fitted_says_why_and_keeps_the_description(run, stat):
    same = [[5.0, 5, 5, 5]] * 4
    result = run({"Cream": same}, about={"family": "main"})
    assert stat(result, "mean", context="continuous", group3_level="Week 12", variable="CHG") == 0
    failed = result.filter("is_confirmatory")
    assert failed["stat"].to_list() == [None]
    assert failed["error"].str.contains("not estimable|no structure converged").all()


def test_visits_can_be_chosen(run):
    result = run(visits=["Week 8", "Week 12"])
    assert set(result.filter(context="ls_means")["group3_level"]) == {"Week 8", "Week 12"}
    assert set(result.filter(context="continuous")["group3_level"]) == {"Baseline", "Week 8", "Week 12"}


def test_what_cannot_be_modelled_is_refused(run):
    with pytest.raises(AnalysisError, match="imputation LOCF: the model takes observed values"):
        run(about={"imputation": "LOCF"})
    with pytest.raises(AnalysisError, match="visits Week 99: after baseline are Week 4, Week 8"):
        run(visits=["Week 99"])
    with pytest.raises(AnalysisError, match="covariate weight: neither"):
        run(covariates=["weight"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"covariates": ["base"]}, "base: in the model already"),
        ({"structures": ["us", "us"]}, "each at most once"),
        ({"structures": ["un"]}, "Input should be 'us'"),
        ({"df_method": "residual"}, "df_method"),
    ],
)
def test_parameters_are_checked(run, changes, message):
    with pytest.raises(ValidationError, match=message):
        run(**changes)


def test_output_meets_its_suite(run, falling, steady, unmet):
    assert unmet(run({"Placebo": steady, "Active": falling}), "score_over_time") == []
    assert unmet(run({"Cream": [[5.0, 5, 5, 5]] * 4}), "score_over_time") == []


def test_suite_rejects_a_broken_copy(run, unmet, broken):
    broken(run(), unmet, "score_over_time")


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("not_be_null(group3_level)", {"group3_level": pl.lit(None, pl.String)}),
        ("in_set(stat_text)", {"stat_text": pl.lit("unstructured")}),
        ("not_be_null(variable_level)", {"variable_level": pl.lit(None, pl.String)}),
        ("between(stat) where stat_name == 'correlation'", {"stat": pl.lit(2.0)}),
        ("between(stat) where stat_name == 'df'", {"stat": pl.lit(0.0)}),
    ],
)
def test_suite_rejects_rows_that_readers_would_not_find(run, unmet, rule, change):
    wrong = unmet(run().with_columns(**change), "score_over_time")
    assert any(rule in name for name in wrong), wrong
