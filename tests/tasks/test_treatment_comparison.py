from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from tasks.clinical.ard import SCHEMA
from tasks.clinical.treatment_comparison import (
    ANALYSIS,
    TreatmentComparisonParameters,
    treatment_comparison,
)
from warehouse.errors import AnalysisError

ORDINAL = ["cmh_row_mean_scores", "cmh_general_association", "rank_sum", "van_elteren"]


@pytest.fixture
def run(make_trial, falling, steady, estimand):
    def compute(arms=None, *, about=None, trial=None, **changes):
        trial = trial or make_trial(arms or {"Placebo": steady, "Active": falling})
        parameters = TreatmentComparisonParameters.model_validate(
            {"estimands": [estimand(**(about or {}))], **changes}
        )
        return treatment_comparison(trial.adsl, trial.adqs, parameters=parameters)

    return compute


def test_record():
    assert ANALYSIS.fills == "results.treatment_comparison"
    assert ANALYSIS.reads == ("adam.adsl", "adam.adqs")


def test_a_planted_difference_is_found_with_its_direction(run, stat):
    result = run()
    assert dict(result.schema) == SCHEMA
    difference = {"context": "difference", "group1_level": "Active", "group1_reference": "Placebo"}
    assert stat(result, "p.value", **difference) < 0.001
    assert stat(result, "conf.low", **difference) < stat(result, "estimate", **difference) < -3
    assert stat(result, "conf.high", **difference) < 0
    means = {
        arm: stat(result, "estimate", context="ls_means", group1_level=arm) for arm in ("Placebo", "Active")
    }
    assert means["Active"] - means["Placebo"] == pytest.approx(stat(result, "estimate", **difference))


def test_the_model_is_that_of_r(run, stat, falling, steady):
    # Both arms have the same baselines, so the ANCOVA difference is that of the mean changes exactly.
    result = run()
    change = [np.mean([scores[-1] - scores[0] for scores in arm]) for arm in (falling, steady)]
    assert stat(result, "estimate", context="difference") == pytest.approx(change[0] - change[1], abs=1e-12)
    # F of two arms is the square of t, on the same degrees of freedom: 24 - 3.
    t = stat(result, "statistic", context="difference")
    assert stat(result, "statistic", context="ancova") == pytest.approx(t**2)
    assert stat(result, "df", context="difference") == stat(result, "df2", context="ancova") == 21
    assert stat(result, "p.value", context="covariate", variable_level="BASE") > 0


def test_no_difference_is_not_found(run, steady, stat):
    assert stat(run({"Placebo": steady, "Active": steady}), "p.value", context="ancova") == 1


def test_exchanging_the_reference_turns_the_sign(run, stat):
    one = run()
    other = run(about={"reference": "Active"})
    assert stat(one, "estimate", context="difference") == pytest.approx(
        -stat(other, "estimate", context="difference")
    )
    assert stat(other, "p.value", context="difference") == pytest.approx(
        stat(one, "p.value", context="difference")
    )


def test_three_arms_have_all_pairs_and_a_dose_response(run, falling, steady, stat):
    half = [[(a + b) / 2 for a, b in zip(f, s, strict=True)] for f, s in zip(falling, steady, strict=True)]
    result = run(
        {"Placebo": steady, "Low": half, "High": falling},
        has_all_pairs=True,
        has_dose_response=True,
        covariates=["base", "sitegr1"],
    )
    pairs = result.filter(context="difference", stat_name="estimate")
    assert pairs.select("group1_level", "group1_reference").rows() == [
        ("Low", "Placebo"),
        ("High", "Placebo"),
        ("High", "Low"),
    ]
    # The low arm lies halfway: the slope per unit of dose (0, 10, 20) is the outer difference over 20.
    assert stat(result, "estimate", context="dose_response") == pytest.approx(
        stat(result, "estimate", context="difference", group1_level="High", group1_reference="Placebo") / 20
    )
    assert set(result.filter(context="covariate")["variable_level"]) == {"SITEGR1", "BASE"}


def test_counts_add_up_and_the_missing_are_counted(run, falling, steady, stat, reconciles):
    falling[0][-1] = None
    steady[3][0] = None
    result = run({"Placebo": steady, "Active": falling})
    reconciles(result)
    chg = {"context": "continuous", "variable": "CHG"}
    assert stat(result, "N_miss", group1_level="Active", **chg) == 1
    assert stat(result, "n", context="residual") == 22
    warning = result.filter(context="difference")["warning"].unique().item()
    assert warning == "2 of 24 without CHG and BASE left out: A01, P04"


def test_carried_values_enter_only_where_the_estimand_imputes(run, falling, steady, stat):
    falling[0][-1] = None
    arms = {"Placebo": steady, "Active": falling}
    assert stat(run(arms), "n", context="residual") == 23
    assert stat(run(arms, about={"imputation": "LOCF"}), "n", context="residual") == 24


def test_ordered_categories_are_compared_within_strata(run, falling, steady, stat):
    result = run(tests=ORDINAL, stratum="sitegr1")
    for test in ("cmh_row_mean_scores", "rank_sum", "van_elteren"):
        assert 0 < stat(result, "p.value", context=test) < 0.01
    # Any association at all, over a dozen changes of 24 participants: hardly any power, by design.
    assert stat(result, "p.value", context="cmh_general_association") > 0.01
    assert stat(result, "n_strata_used", context="van_elteren") == 2
    counted = result.filter(context="categorical", stat_name="n", group1_level="Active")
    assert counted["stat"].sum() == 12
    assert "Missing" in counted["variable_level"].to_list()


def test_with_one_stratum_the_row_mean_scores_test_is_the_analysis_of_variance_of_its_scores(run, stat):
    # Without strata the statistic is (n - 1) R^2 of the one-way analysis of variance (Landis et al. 1978).
    result = run(tests=["cmh_row_mean_scores"], covariates=[])
    share = stat(result, "r.squared", context="residual")
    assert stat(result, "statistic", context="cmh_row_mean_scores") == pytest.approx(23 * share)


def test_only_the_deciding_p_value_of_a_family_is_confirmatory(run, falling, steady):
    about = {"family": "main"}
    default = run(about=about).filter("is_confirmatory")
    assert default.select("context", "family", "stat_name").rows() == [("difference", "main", "p.value")]
    overall = run(about=about, decides="overall").filter("is_confirmatory")
    assert overall["context"].to_list() == ["ancova"]
    elteren = run(about=about, tests=ORDINAL, stratum="sitegr1", decides="van_elteren")
    assert elteren.filter("is_confirmatory")["context"].to_list() == ["van_elteren"]
    assert run(about=about, decides="none").filter("is_confirmatory").is_empty()
    assert run().filter("is_confirmatory").is_empty()


def test_options_of_one_estimand_leave_the_others_alone(make_trial, falling, steady, estimand):
    trial = make_trial({"Placebo": steady, "Active": falling})
    parameters = TreatmentComparisonParameters.model_validate(
        {
            "estimands": [estimand(), estimand(id="week_8", visit="Week 8")],
            "covariates": ["base", "sitegr1"],
            "specific": {"week_8": {"covariates": ["base"], "has_all_pairs": True}},
        }
    )
    result = treatment_comparison(trial.adsl, trial.adqs, parameters=parameters)
    terms = {
        name: set(result.filter(estimand=name, context="covariate")["variable_level"])
        for name in ("primary", "week_8")
    }
    assert terms == {"primary": {"BASE", "SITEGR1"}, "week_8": {"BASE"}}


def test_a_score_without_baseline_is_compared_without_it(make_trial, falling, steady, estimand, stat):
    trial = make_trial({"Placebo": steady, "Active": falling})
    nothing = [pl.lit(None, pl.Float64).alias(name) for name in ("base", "chg", "pchg")]
    adqs = trial.adqs.filter(pl.col("avisit") != "Baseline").with_columns(nothing)
    parameters = TreatmentComparisonParameters.model_validate({"estimands": [estimand(variable="aval")]})
    result = treatment_comparison(trial.adsl, adqs, parameters=parameters)
    assert result.filter(context="covariate").is_empty()
    assert stat(result, "p.value", context="ancova") < 0.01
    assert set(result.filter(context="continuous")["variable"]) == {"AVAL"}


def test_what_cannot_be_compared_is_said(run, make_trial, falling, steady):
    with pytest.raises(AnalysisError, match="Active is the only arm: a treatment comparison needs two"):
        run({"Active": falling})
    with pytest.raises(AnalysisError, match="covariate weight: neither"):
        run(covariates=["weight"])
    with pytest.raises(AnalysisError, match="stratum region: "):
        run(tests=["rank_sum"], stratum="region")
    with pytest.raises(AnalysisError, match="visit: this analysis needs one"):
        run(about={"visit": None})
    trial = make_trial({"Placebo": steady, "Active": falling}, columns={"trt01pn": [None] * 24})
    with pytest.raises(AnalysisError, match=r"has_dose_response: .* no trt01pn for every participant"):
        run(trial=trial, has_dose_response=True)


def test_a_model_that_cannot_be_fitted_is_an_error_row_and_no_crash(run, stat):
    same = [[5.0, 5, 5, 5]] * 3
    result = run({"Placebo": same, "Active": same}, covariates=[])
    failed = result.filter(context="ancova")
    assert failed["stat"].null_count() == failed.height == 4
    assert failed["error"].str.contains("fits every value exactly").all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decides": "dose_response"}, "decides: dose_response: must be one of difference, none, overall"),
        ({"tests": ["van_elteren"]}, "van_elteren: needs a stratum"),
        ({"covariates": ["trt01p"]}, "the arm is in the model already"),
        ({"specific": {"other": {}}}, "specific: other: must be one of primary"),
        ({"estimands": []}, "at least 1 item"),
        ({"weights": "some"}, "'equal' or 'observed'"),
    ],
)
def test_parameters_are_checked(run, changes, message):
    with pytest.raises(ValidationError, match=message):
        run(**changes)


def test_output_meets_its_suite(run, falling, unmet):
    falling[0][-1] = None
    full = run(tests=ORDINAL, stratum="sitegr1", has_dose_response=True, has_all_pairs=True)
    assert unmet(full, "treatment_comparison") == []


def test_suite_rejects_a_broken_copy(run, unmet, broken):
    broken(run(), unmet, "treatment_comparison")


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("in_set(group2)", {"group2": pl.lit("AVISIT")}),
        ("not_be_null(group1_reference)", {"group1_reference": pl.lit(None, pl.String)}),
        ("in_set(variable)", {"variable": pl.lit("AGE")}),
        ("in_set(stat_name) where is_confirmatory", {"is_confirmatory": pl.lit(value=True)}),
        ("in_set(stat_name) where context == 'ancova'", {"context": pl.lit("ancova")}),
    ],
)
def test_suite_rejects_rows_that_readers_would_not_find(run, unmet, rule, change):
    wrong = unmet(run().with_columns(**change), "treatment_comparison")
    assert any(rule in name for name in wrong), wrong
