"""The efficacy tables of the CDISC pilot's study report, from its published ADaM through the analyses.

Values of tables 14-3.01 and 14-3.02 are those of the report, to its decimals. The report rounds; a value of
ours must round to it, so tolerances are half a unit of its last digit.
"""

from __future__ import annotations

import polars as pl
import pytest

from tasks.clinical.primary_endpoint_sensitivity import (
    PrimaryEndpointSensitivityParameters,
    primary_endpoint_sensitivity,
)
from tasks.clinical.score_over_time import ScoreOverTimeParameters, score_over_time
from tasks.clinical.treatment_comparison import TreatmentComparisonParameters, treatment_comparison

pytestmark = pytest.mark.acceptance

PLACEBO, LOW, HIGH = "Placebo", "Xanomeline Low Dose", "Xanomeline High Dose"
COLUMNS = (
    "usubjid", "paramcd", "param", "avisit", "avisitn", "aval", "base", "chg", "pchg", "ablfl", "anl01fl",
    "dtype",
)  # fmt: skip


def _estimand(**changes):
    return {
        "id": "adas_w24_locf",
        "title": "ADAS-Cog(11) at week 24, last observation carried forward",
        "population": "efffl",
        "reference": PLACEBO,
        "score": "ACTOT",
        "visit": "Week 24",
        "imputation": "LOCF",
        "summary": "difference of least-squares means",
        **changes,
    }


def _cibic(visit, **changes):
    return _estimand(
        id=f"cibic_{visit.lower().replace(' ', '_')}",
        score="CIBICVAL",
        visit=visit,
        variable="aval",
        **changes,
    )


@pytest.fixture(scope="module")
def adsl(test_data):
    return _lower(test_data, "adsl")


@pytest.fixture(scope="module")
def adqs(test_data):
    scores = []
    for name in ("adadas", "adcibc"):
        frame = _lower(test_data, name).filter(pl.col("anl01fl") == "Y")
        absent = [column for column in COLUMNS if column not in frame.columns]
        frame = frame.with_columns(
            pl.lit(None, pl.String if column == "ablfl" else pl.Float64).alias(column) for column in absent
        )
        scores.append(frame.select(COLUMNS))
    return pl.concat(scores).with_columns(
        pl.col("avisit").str.strip_chars(),
        pl.col("dtype").replace("", None),
        pl.lit("points").alias("unit"),
    )


def _lower(test_data, name):
    frame = pl.read_parquet(test_data / "cdiscpilot_adam" / "parquet" / f"{name}.parquet")
    return frame.rename(str.lower)


@pytest.fixture(scope="module")
def comparison(adsl, adqs):
    parameters = TreatmentComparisonParameters.model_validate(
        {
            "estimands": [_estimand(), *(_cibic(f"Week {week}") for week in (8, 16, 24))],
            "covariates": ["base", "sitegr1"],
            "has_all_pairs": True,
            "has_dose_response": True,
            "tests": ["cmh_row_mean_scores", "cmh_general_association"],
            "stratum": "sitegr1",
        }
    )
    return treatment_comparison(adsl, adqs, parameters=parameters)


def _stat(result, stat_name, **where):
    return result.filter(
        pl.col("stat_name") == stat_name,
        *[pl.col(name).eq_missing(pl.lit(value)) for name, value in where.items()],
    )["stat"].item()


@pytest.mark.parametrize(
    ("variable", "arm", "n", "mean", "sd", "median", "low", "high"),
    [
        ("BASE", PLACEBO, 79, 24.1, 12.19, 21.0, 5, 61),
        ("BASE", LOW, 81, 24.4, 12.92, 21.0, 5, 57),
        ("BASE", HIGH, 74, 21.3, 11.74, 18.0, 3, 57),
        ("AVAL", PLACEBO, 79, 26.7, 13.79, 24.0, 5, 62),
        ("AVAL", LOW, 81, 26.4, 13.18, 25.0, 6, 62),
        ("AVAL", HIGH, 74, 22.8, 12.48, 20.0, 3, 62),
        ("CHG", PLACEBO, 79, 2.5, 5.80, 2.0, -11, 16),
        ("CHG", LOW, 81, 2.0, 5.55, 2.0, -11, 17),
        ("CHG", HIGH, 74, 1.5, 4.26, 1.0, -7, 13),
    ],
)
def test_adas_cog_is_described_as_in_table_14_3_01(comparison, variable, arm, n, mean, sd, median, low, high):
    here = {
        "estimand": "adas_w24_locf",
        "context": "continuous",
        "variable": variable,
        "group1_level": arm,
    }
    assert _stat(comparison, "N_obs", **here) == n
    assert _stat(comparison, "mean", **here) == pytest.approx(mean, abs=0.05)
    assert _stat(comparison, "sd", **here) == pytest.approx(sd, abs=0.005)
    assert _stat(comparison, "median", **here) == median
    assert _stat(comparison, "min", **here) == pytest.approx(low, abs=0.5)
    assert _stat(comparison, "max", **here) == pytest.approx(high, abs=0.5)


@pytest.mark.parametrize(
    ("arm", "reference", "estimate", "error", "low", "high", "p_value"),
    [
        (LOW, PLACEBO, -0.5, 0.82, -2.1, 1.1, 0.569),
        (HIGH, PLACEBO, -1.0, 0.84, -2.7, 0.7, 0.233),
        (HIGH, LOW, -0.5, 0.84, -2.2, 1.1, 0.520),
    ],
)
def test_adas_cog_differences_are_those_of_table_14_3_01(
    comparison, arm, reference, estimate, error, low, high, p_value
):
    here = {
        "estimand": "adas_w24_locf",
        "context": "difference",
        "group1_level": arm,
        "group1_reference": reference,
    }
    assert _stat(comparison, "estimate", **here) == pytest.approx(estimate, abs=0.05)
    assert _stat(comparison, "std.error", **here) == pytest.approx(error, abs=0.005)
    assert _stat(comparison, "conf.low", **here) == pytest.approx(low, abs=0.05)
    assert _stat(comparison, "conf.high", **here) == pytest.approx(high, abs=0.05)
    assert _stat(comparison, "p.value", **here) == pytest.approx(p_value, abs=5e-4)


@pytest.mark.parametrize(("estimand", "p_value"), [("adas_w24_locf", 0.245), ("cibic_week_24", 0.960)])
def test_dose_responses_are_those_of_the_report(comparison, estimand, p_value):
    found = _stat(comparison, "p.value", estimand=estimand, context="dose_response")
    assert found == pytest.approx(p_value, abs=5e-4)


@pytest.mark.parametrize(
    ("week", "general", "general_p", "means", "means_p"),
    [
        # R 4.2.2: stats::mantelhaen.test, and coin::cmh_test (1.4-2) with the grades as scores.
        (8, 7.553845, 0.4782176, 2.598558, 0.2727284),
        (16, 4.884382, 0.7698591, 1.831009, 0.4003147),
        (24, 3.871968, 0.8684861, 0.9623915, 0.6180439),
    ],
)
def test_cibic_categories_within_site_groups_are_those_of_r(
    comparison, week, general, general_p, means, means_p
):
    estimand = f"cibic_week_{week}"
    for context, statistic, p_value in (
        ("cmh_general_association", general, general_p),
        ("cmh_row_mean_scores", means, means_p),
    ):
        here = {"estimand": estimand, "context": context, "group1_level": None}
        assert _stat(comparison, "statistic", **here) == pytest.approx(statistic, rel=1e-6)
        assert _stat(comparison, "p.value", **here) == pytest.approx(p_value, rel=1e-6)


def test_every_chosen_cibic_record_falls_in_a_category(comparison):
    counted = comparison.filter(estimand="cibic_week_24", context="categorical", stat_name="n")
    by_arm = dict(counted.group_by("group1_level").agg(pl.col("stat").sum()).iter_rows())
    assert by_arm == {PLACEBO: 79, LOW: 81, HIGH: 74, "Total": 234}


def test_the_mixed_model_of_observed_values_is_the_known_one(adsl, adqs):
    parameters = ScoreOverTimeParameters.model_validate(
        {
            "estimands": [_estimand(id="adas_mmrm", imputation="observed")],
            "covariates": ["sitegr1"],
        }
    )
    result = score_over_time(adsl, adqs, parameters=parameters)
    at_24 = {"group3_level": "Week 24", "variable": "CHG"}
    for arm, mean in ((PLACEBO, 2.3291), (LOW, 1.7352), (HIGH, 1.5009)):
        found = _stat(result, "estimate", context="ls_means", group1_level=arm, **at_24)
        assert found == pytest.approx(mean, abs=5e-5)
    for arm, difference, p_value in ((HIGH, 0.8282, 0.4403), (LOW, 0.5939, 0.5600)):
        here = {"context": "difference", "group1_level": arm, **at_24}
        assert abs(_stat(result, "estimate", **here)) == pytest.approx(difference, abs=5e-5)
        assert _stat(result, "p.value", **here) == pytest.approx(p_value, abs=5e-5)
    attempts = result.filter(context="mmrm_attempt", stat_name="status")
    assert attempts.select("variable_level", "stat_text").rows() == [("us", "converged")]


def test_the_sensitivity_set_starts_from_the_primary_analysis(adsl, adqs, comparison):
    parameters = PrimaryEndpointSensitivityParameters.model_validate(
        {
            "estimands": [_estimand()],
            "better": "lower",
            "covariates": ["base", "sitegr1"],
            "n_imputations": 20,
            "deltas": [0, 2],
        }
    )
    result = primary_endpoint_sensitivity(adsl, adqs, parameters=parameters)
    for arm in (LOW, HIGH):
        primary = {"context": "ancova", "variable_level": "primary", "group1_level": arm}
        compared = {"context": "difference", "estimand": "adas_w24_locf", "group1_reference": PLACEBO}
        for name in ("estimate", "std.error", "p.value"):
            assert _stat(result, name, **primary) == pytest.approx(
                _stat(comparison, name, group1_level=arm, **compared), rel=1e-9
            )
        # Nothing that is assumed of the missing makes this trial's difference significant.
        imputed = {"context": "ancova", "variable_level": "multiple_imputation", "group1_level": arm}
        assert _stat(result, "p.value", **imputed) > 0.2
