from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from expectations.judge import judge
from expectations.suite import find_suites
from tasks.clinical.ard import SCHEMA
from tasks.clinical.baseline_characteristics import (
    ANALYSIS,
    BaselineCharacteristicsParameters,
    baseline_characteristics,
)
from warehouse.errors import AnalysisError

SUITES = Path(__file__).parents[2] / "expectations"
ENROLLED = {"id": "enrolled", "title": "Enrolled", "population": "enrlfl", "summary": "description"}
# Ages of three arms, planted to differ; the last of them unknown.
AGES = {
    "Placebo": [61.0, 64, 70, 58, 66],
    "Low": [63.0, 69, 72, 74, 60],
    "High": [75.0, 80, 78, 71, None],
}


def _adsl(ages=None):
    rows = []
    for order, (arm, values) in enumerate((ages or AGES).items()):
        for i, age in enumerate(values):
            rows.append(
                {
                    "usubjid": f"{arm}{i}",
                    "trt01p": arm,
                    "trt01pn": float(order),
                    "enrlfl": "Y",
                    "age": age,
                    "agegr1": None if age is None else ("<65" if age < 65 else ">=65"),
                    "sex": "F" if i < 3 else "M",
                }
            )
    return pl.DataFrame(rows, schema_overrides={"age": pl.Float64, "agegr1": pl.String})


def _run(adsl=None, **changes):
    parameters = BaselineCharacteristicsParameters.model_validate({"estimands": [ENROLLED], **changes})
    return baseline_characteristics(_adsl() if adsl is None else adsl, parameters=parameters)


def _stat(result, stat_name, **where):
    found = result.filter(
        pl.col("stat_name") == stat_name,
        *[pl.col(name).eq_missing(pl.lit(value)) for name, value in where.items()],
    )
    return found["stat"].item()


def test_record():
    assert ANALYSIS.reads == ("adam.adsl",)
    assert ANALYSIS.fills == "results.baseline_characteristics"


def test_numbers_are_described_by_arm_and_all_together():
    result = _run()
    assert dict(result.schema) == SCHEMA
    placebo = {"variable": "AGE", "group1_level": "Placebo", "context": "continuous"}
    # Of 58 61 64 66 70; the quartiles of SAS's definition 5 are the 2nd and 4th.
    expected = {"N_obs": 5, "N_miss": 0, "mean": 63.8, "sd": 4.60434577, "median": 64, "p25": 61, "p75": 66}
    for stat_name, value in expected.items():
        assert _stat(result, stat_name, **placebo) == pytest.approx(value, abs=1e-8)
    assert _stat(result, "N_obs", variable="AGE", group1_level="Total", context="continuous") == 14
    assert set(result.filter(pl.col("variable") == "AGE", pl.col("stat_name") == "mean")["unit"]) == {"years"}


def test_missing_values_are_counted_and_stay_out():
    result = _run()
    high = {"group1_level": "High"}
    assert _stat(result, "N_miss", variable="AGE", context="continuous", **high) == 1
    assert _stat(result, "N_miss", variable="AGEGR1", context="categorical", **high) == 1
    counted = result.filter(
        pl.col("variable") == "AGEGR1", pl.col("stat_name") == "n", pl.col("group1_level") == "High"
    )
    assert counted["stat"].sum() == 4


def test_a_planted_difference_is_found_by_either_test_of_numbers():
    # R 4.2: anova(lm(age ~ arm)) and kruskal.test(age ~ arm) of the ages above.
    row = {"variable": "AGE", "group1_level": None}
    anova = _run()
    assert _stat(anova, "statistic", context="anova", **row) == pytest.approx(6.85911239, rel=1e-8)
    assert (_stat(anova, "df", context="anova", **row), _stat(anova, "df2", context="anova", **row)) == (
        2,
        11,
    )
    assert _stat(anova, "p.value", context="anova", **row) == pytest.approx(0.011643, abs=5e-7)
    ranks = _run(continuous_test="kruskal_wallis")
    assert _stat(ranks, "p.value", context="kruskal_wallis", **row) == pytest.approx(0.0277168628, rel=1e-6)


def test_equal_arms_are_not_told_apart():
    equal = _run(_adsl(dict.fromkeys(AGES, AGES["Placebo"])))
    assert _stat(equal, "p.value", variable="AGE", context="anova", group1_level=None) == pytest.approx(1)
    assert _stat(equal, "p.value", variable="SEX", context="chi_square", group1_level=None) == 1


def test_categories_are_compared_by_the_test_asked_for():
    row = {"variable": "AGEGR1", "group1_level": None}
    chi_square = _run().filter(pl.col("context") == "chi_square", pl.col("variable") == "AGEGR1")
    # R 4.2: chisq.test and fisher.test of rbind(c(3, 2), c(2, 3), c(0, 4)).
    assert _stat(chi_square, "p.value") == pytest.approx(0.1697661574, rel=1e-6)
    assert set(chi_square["warning"]) == {"6 of 6 expected counts below 5: see Fisher's exact test"}
    fisher = _run(categorical_test="fisher")
    assert _stat(fisher, "p.value", context="fisher", **row) == pytest.approx(0.3006993007, rel=1e-6)


def test_without_tests_and_with_one_arm_there_are_no_p_values():
    without = _run(continuous_test="none", categorical_test="none")
    single = _run(_adsl({"Cream": AGES["Placebo"]}))
    for result in (without, single):
        assert result.filter(pl.col("stat_name") == "p.value").is_empty()
    assert set(single["group1_level"]) == {"Cream"}


def test_categories_come_in_the_order_of_their_limits():
    adsl = _adsl().with_columns(bmiblgr1=pl.Series([">=30", "<25", "25-<30"] * 5))
    levels = _run(adsl).filter(pl.col("variable") == "BMIBLGR1", pl.col("stat_name") == "n")
    assert levels["variable_level"].unique(maintain_order=True).to_list() == ["<25", "25-<30", ">=30"]


def test_variables_labels_and_units_can_be_declared():
    adsl = _adsl().with_columns(pl.lit(3.5).alias("lesion"))
    result = _run(
        adsl, continuous=["lesion"], categorical=[], labels={"lesion": "Lesion size"}, units={"lesion": "cm"}
    )
    described = result.filter(pl.col("stat_name") == "mean")
    assert set(described.select("variable", "variable_label", "unit").rows()) == {
        ("LESION", "Lesion size", "cm")
    }
    assert _stat(result, "p.value", context="anova") is None
    assert result.filter(pl.col("context") == "anova")["warning"].str.contains("not estimable").all()


def test_a_group_of_one_has_no_standard_deviation_and_says_so():
    result = _run(_adsl({"Placebo": [60.0], "Active": [70.0, 71.0]}))
    sd = result.filter(pl.col("stat_name") == "sd", pl.col("group1_level") == "Placebo").row(0, named=True)
    assert (sd["stat"], sd["warning"]) == (None, "one value has no standard deviation")


def test_an_arm_without_values_has_its_count_and_no_numbers():
    result = _run(_adsl({"Placebo": [60.0, 61.0], "Active": [None, None]}))
    active = result.filter(pl.col("variable") == "AGE", pl.col("group1_level") == "Active")
    assert active.select("stat_name", "stat", "warning").rows() == [
        ("N_obs", 0.0, "nobody has a value"),
        ("N_miss", 2.0, "nobody has a value"),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"continuous": ["weight"]}, "weight: adam.adsl has usubjid, trt01p"),
        ({"categorical": ["race"]}, "race: adam.adsl has"),
        ({"continuous": ["sex"]}, "continuous sex: String: must be numbers"),
    ],
)
def test_what_adsl_does_not_have_is_named(changes, message):
    with pytest.raises(AnalysisError, match=message):
        _run(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"estimands": []}, "at least 1 item"),
        ({"continuous_test": "t"}, "'anova', 'kruskal_wallis' or 'none'"),
        ({"variables": ["age"]}, "Extra inputs"),
    ],
)
def test_parameters_are_checked(changes, message):
    with pytest.raises(ValidationError, match=message):
        _run(**changes)


def _verdict(frame):
    suite = find_suites(SUITES)["results.baseline_characteristics"]
    return judge(frame, suite, lambda _table, _column: [])


def test_output_meets_its_suite():
    for adsl in (_adsl(), _adsl({"Cream": [60.0, None]}), _adsl({"Placebo": [60.0], "Active": [None]})):
        verdict = _verdict(_run(adsl))
        assert [str(outcome.expectation) for outcome in verdict.outcomes if not outcome.is_met] == []


_P = pl.col("stat_name") == "p.value"


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        ("in_set(analysis)", lambda x: x.with_columns(analysis=pl.lit("exposure"))),
        ("in_set(context)", lambda x: x.with_columns(context=pl.lit("cmh"))),
        ("not_be_null(stat)", lambda x: x.with_columns(stat=pl.lit(None, pl.Float64))),
        ("not_be_null(warning)", lambda x: x.with_columns(stat=pl.when(~_P).then("stat"))),
        ("not_be_null(variable_level)", lambda x: x.with_columns(variable_level=pl.lit(None, pl.String))),
        ("not_be_null(group1_level)", lambda x: x.with_columns(group1_level=pl.lit(None, pl.String))),
    ],
)
def test_suite_rejects_a_broken_copy(rule, broken):
    verdict = _verdict(broken(_run()))
    assert verdict.is_stopped
    assert any(rule in str(outcome.expectation) for outcome in verdict.outcomes if not outcome.is_met)
