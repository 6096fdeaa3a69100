from __future__ import annotations

import polars as pl
import pytest
from pydantic import ValidationError

from tasks.clinical.ard import SCHEMA
from tasks.clinical.responders import ANALYSIS, RespondersParameters, responders
from warehouse.errors import AnalysisError

HALF = {"variable": "CRITFL", "variable_level": "improved_50"}
IGA = {
    "id": "clear",
    "label": "Clear or almost clear, two grades better",
    "conditions": ["aval <= 1", "chg <= -2"],
}


@pytest.fixture
def run(make_trial, falling, estimand):
    def compute(arms=None, *, about=None, **changes):
        trial = make_trial(arms or {"Cream": falling})
        parameters = RespondersParameters.model_validate(
            {"estimands": [estimand(**(about or {}))], "better": "lower", **changes}
        )
        return responders(trial.adsl, trial.adqs, parameters=parameters)

    return compute


def _to(*pairs):
    return [[before, before, before, after] for before, after in pairs]


def test_record():
    assert ANALYSIS.fills == "results.responders"
    assert ANALYSIS.reads == ("adam.adsl", "adam.adqs")


def test_nine_of_twelve_respond_with_the_published_interval(run, stat):
    result = run({"Cream": _to(*[(10.0, 5.0)] * 9, *[(10.0, 5.1)] * 3)})
    assert dict(result.schema) == SCHEMA
    assert stat(result, "n", context="responders", **HALF) == 9
    assert stat(result, "p", context="responders", **HALF) == 0.75
    # Clopper-Pearson 95 % of 9 in 12 as tabled: (.4281, .9451); Wilson by R 4.2 prop.test(9, 12,
    # correct = FALSE): (.4676947, .9110583).
    exact, score = {"context": "clopper_pearson", **HALF}, {"context": "wilson", **HALF}
    assert stat(result, "conf.low", **exact) == pytest.approx(0.4281, abs=5e-5)
    assert stat(result, "conf.high", **exact) == pytest.approx(0.9451, abs=5e-5)
    assert stat(result, "conf.low", **score) == pytest.approx(0.4676947, abs=1e-6)
    assert stat(result, "conf.high", **score) == pytest.approx(0.9110583, abs=1e-6)


def test_thresholds_are_nested_and_their_edges_count(run, stat):
    result = run({"Cream": _to((10.0, 5.0), (10.0, 2.5), (10.0, 1.0), (10.0, 0.0), (10.0, 10.0))})
    counts = [
        stat(result, "n", context="responders", variable_level=f"improved_{limit}") for limit in (50, 75, 90)
    ]
    assert counts == [4, 3, 2]


def test_rounding_noise_does_not_cost_a_response(run, stat):
    # 100 * (0.15 - 0.3) / 0.3 is -49.99999999999999 in binary.
    assert stat(run({"Cream": _to((0.3, 0.15))}), "n", context="responders", **HALF) == 1


def test_better_higher_turns_the_thresholds_round(run, stat):
    result = run({"Cream": _to((10.0, 15.0), (10.0, 5.0))}, better="higher")
    assert stat(result, "n", context="responders", **HALF) == 1


def test_the_missing_are_left_out_or_count_as_no_response(run, falling, stat):
    falling[0][-1] = falling[1][-1] = None
    observed = run({"Cream": falling})
    assert stat(observed, "N_evaluable", context="responders", **HALF) == 10
    assert stat(observed, "n_excluded", context="responders", **HALF) == 2
    nri = run({"Cream": falling}, about={"imputation": "NRI"})
    assert stat(nri, "N_evaluable", context="responders", **HALF) == 12
    assert stat(nri, "n_imputed", context="responders", **HALF) == 2
    assert stat(nri, "n", context="responders", **HALF) == stat(observed, "n", context="responders", **HALF)
    warning = nri.filter(context="responders", variable_level="improved_50")["warning"].unique().item()
    assert warning == "2 without the value counted as non-responders: C01, C02"
    assert "NRI" in nri.filter(context="wilson")["method"][0]


def test_carried_values_are_judged_like_observed_ones(run, falling, stat):
    falling[0][2], falling[0][3] = 1.0, None
    result = run({"Cream": falling}, about={"imputation": "LOCF"})
    assert stat(result, "n", context="responders", **HALF) == stat(
        run({"Cream": [[*falling[0][:3], 1.0], *falling[1:]]}), "n", context="responders", **HALF
    )


def test_a_criterion_can_need_several_conditions_and_a_bad_baseline(run, stat):
    itch = {
        "id": "itch",
        "label": "Four points less",
        "conditions": ["chg <= -4"],
        "evaluable": ["base >= 4"],
    }
    result = run(
        {"Cream": _to((4.0, 1.0), (2.0, 1.0), (3.0, 1.0), (5.0, 1.0), (3.0, 0.0))},
        improvement_pct=[],
        criteria=[IGA, itch],
    )
    assert stat(result, "n", context="responders", variable_level="clear") == 4
    assert stat(result, "N_evaluable", context="responders", variable_level="clear") == 5
    assert stat(result, "N_evaluable", context="responders", variable_level="itch") == 2
    assert stat(result, "n", context="responders", variable_level="itch") == 1
    assert "base >= 4" in result.filter(variable_level="itch")["method"][0]


def test_arms_are_compared_with_fishers_test(run, stat):
    result = run(
        {
            "Placebo": _to(*[(10.0, 9.0)] * 8, *[(10.0, 2.0)] * 2),
            "Active": _to(*[(10.0, 2.0)] * 9, (10.0, 9.0)),
        },
        about={"family": "main", "imputation": "NRI"},
        decides="improved_50",
    )
    # R 4.2: fisher.test(matrix(c(9, 2, 1, 8), 2))$p.value
    assert stat(result, "p.value", context="fisher", **HALF) == pytest.approx(0.00547749, abs=1e-8)
    for context in ("newcombe", "miettinen_nurminen"):
        assert stat(result, "estimate", context=context, **HALF) == pytest.approx(0.7)
        assert 0 < stat(result, "conf.low", context=context, **HALF) < 0.7
        assert 0.7 < stat(result, "conf.high", context=context, **HALF) < 1
    decided = result.filter("is_confirmatory")
    assert decided.select("context", "variable_level").rows() == [("fisher", "improved_50")]


def test_all_or_none_responding_is_no_difference(run, stat):
    everyone = _to(*[(10.0, 1.0)] * 4)
    result = run({"Placebo": everyone, "Active": everyone})
    assert stat(result, "p.value", context="fisher", **HALF) == 1
    assert stat(result, "estimate", context="newcombe", **HALF) == 0


def test_nobody_evaluable_is_said(run):
    none = {"id": "itch", "label": "x", "conditions": ["chg <= -4"], "evaluable": ["base >= 99"]}
    result = run(criteria=[none])
    rows = result.filter(context="responders", variable_level="itch", stat_name="p")
    assert rows.select("stat", "error").rows() == [(None, "nobody could respond")]


def test_criteria_are_those_of_the_score(run, make_trial, falling, estimand):
    of_another = {**IGA, "score": "OTHER"}
    result = run(criteria=[of_another])
    assert "clear" not in result["variable_level"].to_list()
    with pytest.raises(AnalysisError, match="no criterion for SCORE"):
        run(criteria=[of_another], improvement_scores=["OTHER"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"criteria": [{**IGA, "conditions": ["aval < = 1"]}]}, "String should match pattern"),
        ({"criteria": [{**IGA, "conditions": ["iga <= 1"]}]}, "String should match pattern"),
        ({"criteria": [{**IGA, "evaluable": ["aval >= 4"]}]}, "only the baseline"),
        ({"criteria": [IGA, IGA]}, "each id at most once"),
        ({"improvement_pct": []}, "one is needed"),
        ({"improvement_pct": [-50]}, "greater than 0"),
        ({"decides": "clear"}, "decides: clear: must be one of improved_50"),
    ],
)
def test_parameters_are_checked(run, changes, message):
    with pytest.raises(ValidationError, match=message):
        run(**changes)


def test_output_meets_its_suite(run, falling, steady, unmet):
    assert unmet(run({"Placebo": steady, "Active": falling}, criteria=[IGA]), "responders") == []
    assert unmet(run(), "responders") == []


def test_suite_rejects_a_broken_copy(run, unmet, broken):
    broken(run(), unmet, "responders")


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("in_set(variable)", {"variable": pl.lit("AVAL")}),
        ("not_be_null(variable_level)", {"variable_level": pl.lit(None, pl.String)}),
        ("between(stat) where context in ['clopper_pearson'", {"stat": pl.lit(1.5)}),
        ("between(stat) where context in ['newcombe'", {"stat": pl.lit(1.5)}),
        ("not_be_null(group1_reference)", {"group1_reference": pl.lit(None, pl.String)}),
    ],
)
def test_suite_rejects_rows_that_readers_would_not_find(run, falling, steady, unmet, rule, change):
    result = run({"Placebo": steady, "Active": falling})
    wrong = unmet(result.with_columns(**change), "responders")
    assert any(rule in name for name in wrong), wrong
