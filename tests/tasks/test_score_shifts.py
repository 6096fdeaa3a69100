from __future__ import annotations

import polars as pl
import pytest
from pydantic import ValidationError

from tasks.clinical.ard import SCHEMA
from tasks.clinical.score_shifts import ANALYSIS, ScoreShiftsParameters, score_shifts
from warehouse.errors import AnalysisError

GRADES = [(4.0, 1.0)] * 3 + [(3.0, 1.0)] * 2 + [(3.0, 3.0)] * 2 + [(2.0, 3.0)]


@pytest.fixture
def run(make_trial, estimand):
    def compute(pairs=GRADES, *, arms=None, about=None, **changes):
        arms = arms or {"Cream": pairs}
        trial = make_trial(
            {arm: [[before, before, before, after] for before, after in own] for arm, own in arms.items()}
        )
        parameters = ScoreShiftsParameters.model_validate(
            {"estimands": [estimand(variable="aval", **(about or {}))], **changes}
        )
        return score_shifts(trial.adsl, trial.adqs, parameters=parameters)

    return compute


def test_record():
    assert ANALYSIS.fills == "results.score_shifts"
    assert ANALYSIS.reads == ("adam.adsl", "adam.adqs")


def test_each_shift_is_counted_and_all_add_up(run, stat):
    result = run()
    assert dict(result.schema) == SCHEMA
    shifts = result.filter(context="shift", stat_name="n")
    assert shifts.height == 16
    assert shifts["stat"].sum() == 8
    assert stat(result, "n", context="shift", variable_level="4 to 1") == 3
    assert stat(result, "p", context="shift", variable_level="3 to 3") == 0.25
    counts = {
        level: stat(result, "n", context="direction", variable_level=level)
        for level in ("lower", "same", "higher", "Missing")
    }
    assert counts == {"lower": 5, "same": 2, "higher": 1, "Missing": 0}


def test_the_exact_ordinal_test_enumerates_the_signs_of_the_changes(run, stat):
    # Changes -3 -3 -3 -2 -2 and +1: of the 64 ways to sign them two (none up, or the one by itself) sum as
    # low as -12, so that twice the smaller tail is 4 / 64.
    assert stat(run(), "p.value", context="ordinal_marginal_homogeneity") == 4 / 64
    assert stat(run(), "statistic", context="ordinal_marginal_homogeneity") == -12


def test_stuart_maxwell_with_two_grades_is_mcnemar(run, stat):
    # (9 - 2)^2 / (9 + 2) on one degree of freedom, without correction.
    result = run([(1.0, 0.0)] * 9 + [(0.0, 1.0)] * 2 + [(1.0, 1.0)] * 4)
    assert stat(result, "statistic", context="stuart_maxwell") == pytest.approx(49 / 11)
    assert stat(result, "df", context="stuart_maxwell") == 1
    warning = result.filter(context="stuart_maxwell")["warning"][0]
    assert warning == "chi-square approximation with 11 who moved"


def test_shifts_up_and_down_alike_are_no_shift(run, stat):
    result = run([(1.0, 2.0), (2.0, 1.0)] * 5)
    assert stat(result, "p.value", context="ordinal_marginal_homogeneity") == 1


def test_turning_time_round_keeps_the_p_value(run, stat):
    turned = run([(after, before) for before, after in GRADES])
    for context in ("ordinal_marginal_homogeneity", "stuart_maxwell"):
        assert stat(turned, "p.value", context=context) == pytest.approx(
            stat(run(), "p.value", context=context)
        )


def test_nobody_moving_is_no_evidence(run, stat):
    result = run([(2.0, 2.0)] * 3 + [(1.0, 1.0)])
    assert stat(result, "p.value", context="ordinal_marginal_homogeneity") == 1
    failed = result.filter(context="stuart_maxwell", stat_name="p.value")
    assert failed["stat"].item() is None
    assert failed["error"].str.contains("nobody changed").all()


def test_the_missing_stand_in_a_category_of_their_own(run, stat):
    result = run([*GRADES, (3.0, None)])
    assert stat(result, "n", context="shift", variable_level="3 to Missing") == 1
    assert stat(result, "n", context="direction", variable_level="Missing") == 1
    assert result.filter(context="shift", stat_name="n")["stat"].sum() == 9
    warning = result.filter(context="ordinal_marginal_homogeneity")["warning"][0]
    assert warning == "1 of 9 without AVAL and BASE left out: C09"


def test_grades_that_nobody_has_are_shown_where_declared(run):
    result = run(levels={"SCORE": [0, 1, 2, 3, 4]})
    assert result.filter(context="shift", stat_name="n").height == 25
    with pytest.raises(AnalysisError, match="SCORE 4: levels are 0, 1, 2, 3"):
        run(levels={"SCORE": [0, 1, 2, 3]})


def test_arms_and_their_total_have_tables_of_their_own(run, stat):
    result = run(arms={"Placebo": [(2.0, 2.0)] * 3 + [(3.0, 2.0)], "Active": GRADES})
    assert stat(result, "n", context="direction", variable_level="lower", group1_level="Total") == 6
    assert stat(result, "n", context="direction", variable_level="lower", group1_level="Placebo") == 1


def test_the_ordinal_test_decides_only_where_it_is_told_to(run):
    assert run(about={"family": "secondary"}).filter("is_confirmatory").is_empty()
    decided = run(about={"family": "secondary"}, decides=True).filter("is_confirmatory")
    assert decided["context"].to_list() == ["ordinal_marginal_homogeneity"]


def test_what_is_no_ordinal_score_is_refused(run, make_trial, estimand):
    with pytest.raises(AnalysisError, match="has 30 values: a shift table takes at most 12"):
        run([(float(i), float(i + 15)) for i in range(15)])
    trial = make_trial({"Cream": [[1.0, 1, 1, 1]]})
    parameters = ScoreShiftsParameters.model_validate({"estimands": [estimand()]})
    with pytest.raises(AnalysisError, match="has no baseline to shift from"):
        score_shifts(
            trial.adsl, trial.adqs.with_columns(base=pl.lit(None, pl.Float64)), parameters=parameters
        )


@pytest.mark.parametrize("levels", [[0], [1, 0], [0, 0, 1]])
def test_parameters_are_checked(run, levels):
    with pytest.raises(ValidationError, match="each once, from low to high"):
        run(levels={"SCORE": levels})


def test_output_meets_its_suite(run, unmet):
    assert unmet(run(), "score_shifts") == []
    assert unmet(run([(2.0, 2.0)] * 3 + [(1.0, None)]), "score_shifts") == []


def test_suite_rejects_a_broken_copy(run, unmet, broken):
    broken(run(), unmet, "score_shifts")


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("in_set(variable)", {"variable": pl.lit("BASE")}),
        ("not_be_null(variable_level)", {"variable_level": pl.lit(None, pl.String)}),
        ("in_set(variable_level)", {"variable_level": pl.lit("better")}),
    ],
)
def test_suite_rejects_rows_that_readers_would_not_find(run, unmet, rule, change):
    wrong = unmet(run().with_columns(**change), "score_shifts")
    assert any(rule in name for name in wrong), wrong
