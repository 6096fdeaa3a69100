from __future__ import annotations

import polars as pl
import pytest
from pydantic import ValidationError

from tasks.clinical.ard import SCHEMA
from tasks.clinical.detectability import ANALYSIS, DetectabilityParameters, detectability
from warehouse.errors import AnalysisError

AT_80 = {"variable_level": "power=0.8"}


@pytest.fixture
def run(make_trial, falling, estimand):
    def compute(arms=None, *, about=None, **changes):
        trial = make_trial(arms or {"Cream": falling})
        parameters = DetectabilityParameters.model_validate(
            {"estimands": [estimand(**(about or {}))], "n_simulations": 2000, **changes}
        )
        return detectability(trial.adsl, trial.adqs, parameters=parameters)

    return compute


def test_record():
    assert ANALYSIS.fills == "results.detectability"
    assert ANALYSIS.reads == ("adam.adsl", "adam.adqs")


def test_twelve_pairs_find_the_tabled_effects(run, stat):
    result = run()
    assert dict(result.schema) == SCHEMA
    # Paired t, n = 12: d_z 0.89 for 80 % power and 1.03 for 90 %, to the digits of the published tables.
    assert stat(result, "effect_size", context="paired_t", **AT_80) == pytest.approx(0.89, abs=5e-3)
    at_90 = {"variable_level": "power=0.9"}
    assert stat(result, "effect_size", context="paired_t", **at_90) == pytest.approx(1.03, abs=5e-3)
    ranks = stat(result, "effect_size", context="signed_rank_exact", **AT_80)
    # The relative efficiency 3 / pi of the ranks costs a few percent; so does the discreteness at n = 12.
    assert 1 < ranks / stat(result, "effect_size", context="paired_t", **AT_80) < 1.15
    sd = stat(result, "sd", context="paired_t", **AT_80)
    assert stat(result, "effect", context="signed_rank_exact", **AT_80) == pytest.approx(ranks * sd)


@pytest.mark.parametrize(("n", "smallest"), [(10, 0.00195), (11, 0.00098), (12, 0.00049)])
def test_the_smallest_p_value_is_the_tabled_one(run, falling, stat, n, smallest):
    found = stat(run({"Cream": falling[:n]}), "p.smallest", context="smallest_p", variable_level="sign_flip")
    assert found == pytest.approx(smallest, abs=5e-6)


def test_zeros_raise_the_smallest_p_value(run, falling, stat):
    for scores in falling[:8]:
        scores[3] = scores[0]
    result = run({"Cream": falling})
    here = {"context": "smallest_p", "variable_level": "signed_rank_exact"}
    assert stat(result, "p.smallest", **here) == 2 / 2**4
    assert stat(result, "p.smallest_untied", **here) == 2 / 2**12
    assert stat(result, "n_zero", **here) == 8
    assert "can reach p <= 0.05" in result.filter(**here)["warning"][0]


def test_nobody_changing_is_said(run):
    rows = run({"Cream": [[5.0, 5, 5, 5]] * 3}).filter(context="smallest_p")
    assert rows["error"].to_list() == ["nobody changed: no test is defined"]


def test_two_arms_need_a_larger_effect_and_a_baseline_helps(run, falling, steady, stat):
    result = run({"Placebo": steady, "Active": falling})
    # Two-sample t, 12 in each arm: d = 1.20 for 80 % power (Cohen 1988, table 2.3.5).
    assert stat(result, "effect_size", context="two_sample_t", **AT_80) == pytest.approx(1.20, abs=5e-3)
    correlation = stat(result, "correlation", context="ancova", **AT_80)
    # Borm: the variance shrinks by 1 - r^2; one more degree of freedom is lost.
    expected = 1.20 * (1 - correlation**2) ** 0.5
    assert stat(result, "effect_size", context="ancova", **AT_80) == pytest.approx(expected, rel=0.02)
    # Fisher, all events in one arm of twelve: 2 / choose(24, 12).
    smallest = stat(result, "p.smallest", context="smallest_p", variable_level="fisher")
    assert smallest == pytest.approx(2 / 2704156)


def test_a_share_of_responders_can_be_tested_against_a_known_one(run, stat):
    result = run(null_proportion=0.2)
    share = stat(result, "proportion", context="binomial", **AT_80)
    assert 0.5 < share < 0.7
    assert stat(result, "alpha.achieved", context="binomial", **AT_80) <= 0.05


def test_more_power_needs_a_larger_effect_and_more_participants_a_smaller(run, falling, stat):
    result = run(power=[0.7, 0.8, 0.95])
    sizes = result.filter(context="paired_t", stat_name="effect_size")["stat"].to_list()
    assert sizes == sorted(sizes)
    fewer = run({"Cream": falling[:6]})
    assert stat(fewer, "effect_size", context="paired_t", **AT_80) > sizes[1]


def test_missing_values_do_not_count(run, falling, stat):
    falling[0][3] = None
    assert stat(run({"Cream": falling}), "N_obs", context="paired_t", **AT_80) == 11


def test_too_few_is_an_error_row(run, falling):
    failed = run({"Cream": falling[:1]}).filter(context="paired_t")
    assert failed["error"].str.starts_with("not estimable: ").all()
    with pytest.raises(AnalysisError, match="variable aval"):
        run(about={"variable": "aval"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"power": [0.05]}, "power: 0.05: must be above alpha, 0.05"),
        ({"power": [0.8, 0.8]}, "each at most once"),
        ({"alpha": 0}, "greater than 0"),
        ({"null_proportion": 1}, "less than 1"),
    ],
)
def test_parameters_are_checked(run, changes, message):
    with pytest.raises(ValidationError, match=message):
        run(**changes)


def test_output_meets_its_suite(run, falling, steady, unmet):
    assert unmet(run({"Placebo": steady, "Active": falling}), "detectability") == []
    assert unmet(run(null_proportion=0.2), "detectability") == []
    assert unmet(run({"Cream": falling[:1]}), "detectability") == []


def test_suite_rejects_a_broken_copy(run, unmet, broken):
    broken(run(), unmet, "detectability")


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("in_set(is_confirmatory)", {"is_confirmatory": pl.lit(value=True)}),
        ("between(stat) where stat_name in ['effect_size'", {"stat": pl.lit(-1.0)}),
        ("between(stat) where stat_name in ['power'", {"stat": pl.lit(2.0)}),
        ("between(stat) where stat_name in ['p.smallest'", {"stat": pl.lit(0.0)}),
        ("not_be_null(variable_level)", {"variable_level": pl.lit(None, pl.String)}),
    ],
)
def test_suite_rejects_rows_that_readers_would_not_find(run, unmet, rule, change):
    wrong = unmet(run().with_columns(**change), "detectability")
    assert any(rule in name for name in wrong), wrong
