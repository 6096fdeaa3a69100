from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from tasks.clinical.ard import SCHEMA
from tasks.clinical.population import population_of
from tasks.clinical.primary_endpoint_sensitivity import (
    ANALYSIS,
    PrimaryEndpointSensitivityParameters,
    primary_endpoint_sensitivity,
)
from tasks.clinical.scores import records_at_visit
from tasks.clinical.sensitivity_effects import Setting, effects, leave_one_out
from tasks.stats.location import paired_t
from warehouse.errors import AnalysisError
from warehouse.study import Estimand

SCENARIOS = {
    "primary", "complete_cases", "locf", "bocf", "per_protocol", "without_rescue", "log_ratio", "ancova",
    "nri_responders", "multiple_imputation", "tipping_point", "leave_one_out",
}  # fmt: skip


@pytest.fixture
def run(make_trial, falling, estimand):
    def compute(arms=None, *, about=None, columns=None, adqs=None, **changes):
        trial = make_trial(arms or {"Cream": falling}, columns=columns)
        parameters = PrimaryEndpointSensitivityParameters.model_validate(
            {"estimands": [estimand(**(about or {}))], "better": "lower", "n_imputations": 10, **changes}
        )
        return primary_endpoint_sensitivity(
            trial.adsl, trial.adqs if adqs is None else adqs, parameters=parameters
        )

    return compute


@pytest.fixture
def gapped(falling):
    """Two participants lack the last visit."""
    falling[0][3] = falling[5][3] = None
    return falling


def test_record():
    assert ANALYSIS.fills == "results.primary_endpoint_sensitivity"
    assert ANALYSIS.reads == ("adam.adsl", "adam.adqs")


def test_every_scenario_gives_the_same_statistics(run, gapped):
    result = run({"Cream": gapped}, columns={"pprotfl": ["Y"] * 11 + ["N"], "rescuefl": ["Y"] + [None] * 11})
    assert dict(result.schema) == SCHEMA
    levels = set(result["variable_level"].drop_nulls())
    assert levels >= SCENARIOS
    forest = result.filter(
        pl.col("context").is_in(["paired_t", "signed_rank_exact"]), variable="CHG", stat_name="p.value"
    )
    assert forest["stat"].null_count() == 0
    whole = forest.filter(~pl.col("variable_level").str.contains("^without C|delta="))
    expected = {"primary", "complete_cases", "locf", "bocf", "per_protocol", "without_rescue"}
    for context in ("paired_t", "signed_rank_exact"):
        assert expected <= set(whole.filter(context=context)["variable_level"])
    assert not result["is_confirmatory"].any()


def test_without_missing_values_every_completion_is_the_paired_t_test(run, falling, stat):
    test = paired_t(np.array([scores[3] - scores[0] for scores in falling]))
    result = run()
    for scenario in ("primary", "complete_cases", "locf", "bocf", "multiple_imputation"):
        here = {"context": "paired_t", "variable_level": scenario}
        assert stat(result, "estimate", **here) == pytest.approx(test.estimate)
        assert stat(result, "std.error", **here) == pytest.approx(test.standard_error)
    assert stat(result, "p.value", context="paired_t", variable_level="primary") == test.p_value
    tipping = result.filter(variable_level="tipping_point")
    assert tipping["warning"].unique().item() == "nobody lacks the value: no delta changes the result"


def test_each_rule_fills_the_gap_in_its_own_way(run, gapped, stat):
    result = run({"Cream": gapped})
    change = [scores[3] - scores[0] for scores in gapped if scores[3] is not None]
    carried = [gapped[place][2] - gapped[place][0] for place in (0, 5)]
    expected = {
        "complete_cases": np.mean(change),
        "locf": np.mean([*change, *carried]),
        "bocf": np.mean([*change, 0, 0]),
    }
    for scenario, mean in expected.items():
        found = stat(result, "estimate", context="paired_t", variable_level=scenario)
        assert found == pytest.approx(mean), scenario
    # Imputed from the visits before, the estimate lies between no change and the best of all.
    imputed = stat(result, "estimate", context="paired_t", variable_level="multiple_imputation")
    assert expected["complete_cases"] - 1 < imputed < expected["bocf"]
    assert "2 imputed: C01, C06" in result.filter(variable_level="bocf")["warning"][0]


def test_the_tipping_point_is_where_significance_ends(run, gapped, stat):
    for place in range(6):
        gapped[place][3] = None
    low = run({"Cream": gapped}, n_imputations=20)
    tip = stat(low, "delta_significance", variable_level="tipping_point")
    zero = stat(low, "delta_zero", variable_level="tipping_point")
    assert 0 < tip < zero
    around = run({"Cream": gapped}, n_imputations=20, deltas=[tip - 0.01, tip, tip + 0.01, zero])
    p_values = [
        stat(around, "p.value", context="paired_t", variable_level=f"delta={delta:g}")
        for delta in (tip - 0.01, tip, tip + 0.01)
    ]
    assert p_values[0] < 0.05 < p_values[2]
    assert p_values[1] == pytest.approx(0.05, abs=1e-6)
    assert stat(around, "estimate", context="paired_t", variable_level=f"delta={zero:g}") == pytest.approx(
        0, abs=1e-6
    )


def test_leaving_each_out_gives_its_row_and_the_range(run, falling, stat):
    result = run()
    change = np.array([scores[3] - scores[0] for scores in falling])
    means = [np.delete(change, i).mean() for i in range(12)]
    here = {"context": "paired_t", "variable_level": "leave_one_out"}
    assert stat(result, "estimate.min", **here) == pytest.approx(min(means))
    assert stat(result, "estimate.max", **here) == pytest.approx(max(means))
    assert stat(result, "n_significant", **here) == stat(result, "n_analyses", **here) == 12
    each = result.filter(pl.col("variable_level").str.starts_with("without C"), stat_name="estimate")
    assert each.filter(context="paired_t")["stat"].to_list() == pytest.approx(means)
    assert run(named_up_to=5).filter(pl.col("variable_level").str.starts_with("without C")).is_empty()


def test_updating_a_model_without_a_participant_is_fitting_it_again(make_trial, falling, steady):
    steady[0][3] = None
    trial = make_trial({"Placebo": steady, "Low": falling[:3], "High": falling[3:]})
    estimand = Estimand(id="e", title="t", population="fasfl", score="SCORE", visit="Week 12", summary="s")
    population = population_of(trial.adsl, estimand)
    records = records_at_visit(trial.adqs, population)
    setting = Setting(population, "chg", ("base", "sitegr1"), 0.95)
    left = list(leave_one_out(records, setting))
    assert len(left) == 23
    for subject, updated in left:
        refitted = effects(records.filter(pl.col("usubjid") != subject), setting)
        for one, other in zip(updated, refitted, strict=True):
            assert one.estimate == pytest.approx(other.estimate, rel=1e-9, abs=1e-12)
            assert one.standard_error == pytest.approx(other.standard_error, rel=1e-9)
            assert one.p_value == pytest.approx(other.p_value, rel=1e-8)
            assert one.interval.low == pytest.approx(other.interval.low, rel=1e-8, abs=1e-10)
            assert (one.df, one.n) == (other.df, other.n)


def test_the_only_one_at_a_site_leaves_the_difference_as_it_was(make_trial, falling, steady):
    trial = make_trial({"Placebo": steady, "Active": falling}, columns={"sitegr1": ["a"] + ["b"] * 23})
    estimand = Estimand(id="e", title="t", population="fasfl", score="SCORE", visit="Week 12", summary="s")
    population = population_of(trial.adsl, estimand)
    records = records_at_visit(trial.adqs, population)
    setting = Setting(population, "chg", ("base", "sitegr1"), 0.95)
    first = dict(leave_one_out(records, setting))["P01"][0]
    (refitted,) = effects(records.filter(pl.col("usubjid") != "P01"), setting)
    assert first.estimate == pytest.approx(refitted.estimate)
    assert (first.standard_error, first.df) == (pytest.approx(refitted.standard_error), refitted.df)


def test_a_zero_gets_half_the_smallest_positive_value_before_logarithms(run, falling, stat):
    falling[0][3] = 0.0
    result = run({"Cream": falling})
    logs = [np.log((scores[3] + 0.5) / (scores[0] + 0.5)) for scores in falling]
    here = {"context": "paired_t", "variable": "LOGRATIO"}
    assert stat(result, "estimate", **here) == pytest.approx(np.mean(logs))
    assert stat(result, "ratio", **here) == pytest.approx(np.exp(np.mean(logs)))
    assert "0.5 (half the smallest positive value) added" in result.filter(variable="LOGRATIO")["method"][0]


def test_scores_below_zero_have_no_ratio(run, falling):
    falling[0][3] = -1.0
    trial = {"Cream": falling}
    failed = run(trial, about={}, columns=None).filter(variable="LOGRATIO", stat_name="p.value")
    assert failed["error"].str.contains("below zero: no ratio").all()


def test_the_change_at_the_mean_baseline_has_less_spread(run, stat):
    result = run()
    plain, adjusted = (
        {"context": "paired_t", "variable_level": "primary"},
        {"context": "ancova", "variable_level": "ancova"},
    )
    assert stat(result, "estimate", **adjusted) == pytest.approx(stat(result, "estimate", **plain))
    assert stat(result, "df", **adjusted) == stat(result, "df", **plain) - 1


def test_arms_are_compared_in_every_scenario(run, falling, steady, stat):
    falling[0][3] = steady[1][3] = None
    result = run({"Placebo": steady, "Active": falling}, covariates=["base", "sitegr1"])
    against = {"group1_level": "Active", "group1_reference": "Placebo", "variable": "CHG"}
    for scenario in ("primary", "locf", "bocf", "unadjusted", "multiple_imputation"):
        here = {"context": "ancova", "variable_level": scenario, **against}
        assert stat(result, "conf.high", **here) < 0, scenario
        assert stat(result, "p.value", **here) < 0.01
    responders = {"context": "responders", "group1_level": "Active"}
    shares = [
        sum(scores[3] is not None and scores[3] <= scores[0] / 2 for scores in arm) / 12
        for arm in (falling, steady)
    ]
    assert stat(result, "estimate", **responders) == pytest.approx(shares[0] - shares[1])
    assert stat(result, "conf.low", **responders) > 0
    # Only the treated are made worse, so the difference shrinks by delta times their imputed share.
    zero, one = (
        stat(result, "estimate", context="ancova", variable_level=f"delta={delta}", **against)
        for delta in (0, 1)
    )
    assert 0 < one - zero < 0.2


def test_without_an_effect_no_scenario_invents_one(run, steady, stat):
    result = run({"Cream": steady})
    for scenario in ("primary", "bocf", "multiple_imputation"):
        assert stat(result, "p.value", context="paired_t", variable_level=scenario) > 0.3
    warning = result.filter(variable_level="leave_one_out", context="paired_t", stat_name="n_significant")
    assert warning["stat"].item() == 0


def test_percent_change_can_be_the_variable(run, gapped, stat):
    gapped[2][0] = 0.0
    result = run({"Cream": gapped}, about={"variable": "pchg"})
    assert stat(result, "N_obs", context="paired_t", variable_level="primary") == 9
    assert stat(result, "N_obs", context="paired_t", variable_level="multiple_imputation") == 11
    units = result.filter(context="paired_t", variable_level="primary")["unit"].unique()
    assert units.to_list() == ["%"]


def test_what_the_study_does_not_record_is_said(run, gapped):
    result = run({"Cream": gapped})
    errors = {
        row["variable_level"]: row["error"]
        for row in result.filter(pl.col("error").is_not_null()).iter_rows(named=True)
    }
    assert errors["per_protocol"] == "adam.adsl has no pprotfl"
    assert "rescue medication is not recorded" in errors["without_rescue"]


def test_a_score_beyond_its_scale_does_not_stop_the_imputation(run, gapped):
    gapped[3][1] = 51.0
    rows = run({"Cream": gapped}).filter(variable_level="multiple_imputation", stat_name="p.value")
    assert rows["stat"].null_count() == 0
    assert "not cut at 50, which observed ones exceed" in rows["warning"].item()


def test_who_is_left_out_is_told_of_those_who_belong_to_the_scenario(run, gapped):
    flags = ["Y"] * 6 + ["N"] * 6
    result = run({"Cream": gapped}, columns={"pprotfl": flags})
    warnings = {
        row["variable_level"]: row["warning"]
        for row in result.filter(context="paired_t", stat_name="p.value").iter_rows(named=True)
    }
    assert warnings["primary"] == "2 of 12 without CHG left out: C01, C06"
    assert warnings["per_protocol"] == "2 of 6 without CHG left out: C01, C06"
    assert warnings["without C02"] is None


def test_a_carried_value_makes_no_responder(run, gapped, stat):
    gapped[0][2] = 1.0
    arms = {"Cream": gapped}
    here = {"context": "responders", "variable_level": "nri_responders"}
    carried = run(arms, about={"imputation": "LOCF"})
    assert stat(carried, "estimate", **here) == stat(run(arms), "estimate", **here)


def test_too_few_to_impute_from_is_said(run, falling):
    few = falling[:4]
    few[0][3] = few[1][3] = None
    failed = run({"Cream": few}).filter(variable_level="multiple_imputation", stat_name="p.value")
    assert failed["error"].str.contains("4 needed to impute").all()


def test_without_carried_records_locf_is_said_to_be_absent(run, make_trial, gapped):
    adqs = make_trial({"Cream": gapped}).adqs.filter(pl.col("dtype").is_null())
    failed = run({"Cream": gapped}, adqs=adqs).filter(variable_level="locf", stat_name="p.value")
    assert failed["error"].unique().to_list() == ["adam.adqs has no LOCF records of this score"]


def test_one_seed_one_result(run, gapped):
    arms = {"Cream": gapped}
    assert run(arms).equals(run(arms))
    assert not run(arms, seed=1).equals(run(arms))


def test_a_value_within_one_arm_is_no_change(run):
    with pytest.raises(AnalysisError, match="variable aval: within one arm it must be chg or pchg"):
        run(about={"variable": "aval"})


@pytest.mark.parametrize(
    ("about", "changes", "message"),
    [
        ({"imputation": "NRI"}, {}, "NRI has no values"),
        ({}, {"deltas": [1, 1]}, "each at most once"),
        ({}, {"deltas": [-1]}, "greater than or equal to 0"),
        ({}, {"n_imputations": 2}, "greater than or equal to 10"),
        ({}, {"better": "down"}, "'lower' or 'higher'"),
    ],
)
def test_parameters_are_checked(run, about, changes, message):
    with pytest.raises(ValidationError, match=message):
        run(about=about, **changes)


def test_output_meets_its_suite(run, gapped, steady, unmet):
    name = "primary_endpoint_sensitivity"
    assert unmet(run({"Cream": gapped}), name) == []
    assert unmet(run({"Placebo": steady, "Active": gapped}), name) == []


def test_suite_rejects_a_broken_copy(run, unmet, broken):
    broken(run(named_up_to=0), unmet, "primary_endpoint_sensitivity")


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("not_be_null(variable_level)", {"variable_level": pl.lit(None, pl.String)}),
        ("in_set(is_confirmatory)", {"is_confirmatory": pl.lit(value=True)}),
        ("between(stat) where stat_name in ['delta", {"stat": pl.lit(-1.0)}),
        ("between(stat) where stat_name == 'ratio'", {"stat": pl.lit(-1.0)}),
        ("between(stat) where stat_name in ['p.value.min'", {"stat": pl.lit(0.0)}),
    ],
)
def test_suite_rejects_rows_that_readers_would_not_find(run, gapped, unmet, rule, change):
    wrong = unmet(run({"Cream": gapped}).with_columns(**change), "primary_endpoint_sensitivity")
    assert any(rule in name for name in wrong), wrong
