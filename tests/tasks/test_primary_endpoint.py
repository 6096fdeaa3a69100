from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from tasks.clinical.primary_endpoint import (
    ANALYSIS,
    LABELS,
    SCHEMA,
    PrimaryEndpointParameters,
    primary_endpoint,
)
from tasks.stats.signed_rank import signed_rank_exact
from warehouse.errors import AnalysisError

SUITE = Path(__file__).parents[2] / "expectations" / "results" / "primary_endpoint.json"
BASE = [8.0, 10, 6, 12, 9, 7, 11, 8, 10, 6, 9, 12]
WEEK_12 = [3.0, 4, 1, 7, 3, 5, 4, 2, 6, 3, 5, 1]


def _adqs(base=BASE, week_12=WEEK_12, *, arm="Cream", prefix="S"):
    rows = []
    for i, (before, after) in enumerate(zip(base, week_12, strict=True), start=1):
        common = {
            "usubjid": f"{prefix}{i:02}",
            "trt01a": arm,
            "paramcd": "NLSCORE",
            "param": "Lesion score",
            "unit": "points",
            "base": before,
            "anl01fl": "Y",
            "dtype": None,
            "saffl": "Y",
            "fasfl": "Y",
        }
        for avisit, aval in (("Baseline", before), ("Week 12", after)):
            if aval is not None:
                change = None if before is None else aval - before
                pchg = 100 * change / before if before else None
                rows.append({**common, "avisit": avisit, "aval": aval, "chg": change, "pchg": pchg})
    numeric = dict.fromkeys(["aval", "base", "chg", "pchg"], pl.Float64)
    return pl.DataFrame(rows, schema_overrides={"dtype": pl.String, **numeric})


def _parameters(**changes):
    return PrimaryEndpointParameters.model_validate(
        {"score": "NLSCORE", "visit": "Week 12", "better": "lower", **changes}
    )


def _run(adqs=None, **changes):
    return primary_endpoint(_adqs() if adqs is None else adqs, parameters=_parameters(**changes))


def _row(result, variable, statistic):
    return result.row(
        by_predicate=(pl.col("variable") == variable) & (pl.col("statistic") == statistic), named=True
    )


def test_record():
    assert (ANALYSIS.name, ANALYSIS.reads) == ("primary_endpoint", ("adam.adqs",))
    assert ANALYSIS.uses == ("adam.adsl",)
    assert ANALYSIS.fills == "results.primary_endpoint"


def test_a_planted_effect_is_found_by_every_test():
    result = _run()
    assert dict(result.schema) == SCHEMA
    change = np.array(WEEK_12) - BASE
    mean = _row(result, "CHG", "mean_t_interval")
    assert mean["estimate"] == pytest.approx(change.mean())
    assert mean["ci_low"] < change.mean() < mean["ci_high"] < 0
    tests = result.filter(pl.col("kind") == "test")
    assert tests.height == 12
    assert (tests["p_value"] < 0.01).all()
    assert _row(result, "CHG", "signed_rank_exact")["p_value"] == 2 / 4096
    assert _row(result, "CHG", "n_improved")["estimate"] == 12
    assert _row(result, "CHG", "rank_biserial")["estimate"] == -1
    assert _row(result, "BASE", "mean")["estimate"] == 9
    assert _row(result, "CHG", "smallest_attainable_p")["estimate"] == 2 / 4096
    assert _row(result, "CHG", "minimum_detectable_d_z")["estimate"] == pytest.approx(0.89, abs=5e-3)


def test_no_effect_is_not_found():
    week_12 = [b + d for b, d in zip(BASE, [1, -1, 2, -2, 3, -3, 1, -1, 2, -2, 0, 0], strict=True)]
    result = _run(_adqs(week_12=week_12), variables=["chg"])
    tests = result.filter(pl.col("kind") == "test")
    assert (tests["p_value"] > 0.9).all()
    exact = _row(result, "CHG", "signed_rank_exact")
    assert (exact["n"], exact["n_zero"], exact["zero_rule"], exact["tie_rule"]) == (
        12,
        2,
        "wilcox",
        "midranks",
    )


def test_better_higher_counts_rises_and_leaves_every_sign_alone():
    lower, higher = _run(), _run(better="higher")
    assert _row(higher, "CHG", "n_improved")["estimate"] == 0
    assert _row(higher, "CHG", "mean")["estimate"] == _row(lower, "CHG", "mean")["estimate"]
    assert set(higher["better"]) == {"higher"}


def test_exactly_one_row_is_primary_and_it_is_the_configured_one():
    default = _run().filter("is_primary")
    assert default.select("variable", "statistic").rows() == [("CHG", "signed_rank_exact")]
    named = _run(primary={"variable": "pchg", "test": "signed_rank_asymptotic"}).filter("is_primary")
    assert named.select("variable", "statistic", "has_continuity_correction", "is_exact").rows() == [
        ("PCHG", "signed_rank_asymptotic", False, False)
    ]
    assert "normal approximation with 12 differences" in named["warning"].item()
    assert "weakest thing to test" in named["warning"].item()
    # All twelve improve without ties: the p-value that the published .003 rounds from.
    assert named["p_value"].item() == pytest.approx(0.0022, abs=5e-5)


def test_every_statistic_has_a_label_and_a_row():
    assert set(_run()["statistic"]) == set(LABELS)


def test_mean_of_percentages_and_percentage_of_means_differ():
    result = _run(_adqs(base=[10.0, 20, 100], week_12=[1.0, 10, 90]))
    assert _row(result, "PCHG", "mean")["estimate"] == pytest.approx(-(90 + 50 + 10) / 3)
    ratio = _row(result, "PCHG", "percentage_of_means")
    assert ratio["estimate"] == pytest.approx(-100 * 29 / 130)
    assert ratio["ci_low"] <= ratio["estimate"] <= ratio["ci_high"]
    assert (ratio["n_resamples"], ratio["unit"]) == (10_000, "%")


def test_quartiles_are_those_of_sas():
    # PCTLDEF=5 of 1..6 averages nothing but the median: 2, 3.5, 5; of 1..8 it is 2.5, 4.5, 6.5.
    result = _run(_adqs(base=[1.0, 2, 3, 4, 5, 6, 7, 8], week_12=[0.0] * 8))
    assert [_row(result, "BASE", name)["estimate"] for name in ("q1", "median", "q3")] == [2.5, 4.5, 6.5]


def test_those_without_a_value_at_the_visit_are_excluded_and_named():
    result = _run(_adqs(week_12=[3.0, None, 1, 7, 3, 5, 4, 2, 6, 3, 5, None]))
    assert set(result["n"]) == {10}
    assert (
        result["warning"]
        .str.contains("2 of 12 with a baseline excluded, no value at Week 12: S02, S12", literal=True)
        .all()
    )


def test_those_without_a_baseline_are_excluded_and_named():
    result = _run(_adqs(base=[None, *BASE[1:]]))
    assert set(result["n"]) == {11}
    assert result["warning"].str.contains("1 excluded, no baseline: S01", literal=True).all()


def test_many_excluded_are_counted_and_the_first_ten_named():
    result = _run(_adqs(base=BASE + [5.0] * 14, week_12=WEEK_12 + [None] * 14))
    warning = _row(result, "CHG", "paired_t")["warning"]
    assert "14 of 26" in warning
    assert "S22 and 4 more" in warning


def test_only_the_chosen_observed_record_of_the_visit_counts():
    adqs = _adqs()
    noise = adqs.filter(pl.col("avisit") == "Week 12").with_columns(aval=pl.lit(99.0), chg=pl.lit(90.0))
    others = [
        noise.with_columns(anl01fl=pl.lit(None, pl.String)),
        noise.with_columns(dtype=pl.lit("LOCF")),
        noise.with_columns(usubjid="X" + pl.col("usubjid"), fasfl=pl.lit("N")),
        noise.with_columns(usubjid="Y" + pl.col("usubjid"), fasfl=pl.lit(None, pl.String)),
        noise.with_columns(paramcd=pl.lit("DLQI")),
    ]
    assert _run(pl.concat([adqs, *others])).equals(_run(adqs))


def test_population_can_be_the_safety_set():
    adqs = _adqs().with_columns(fasfl=pl.when(pl.col("usubjid") > "S06").then(pl.lit("Y")))
    assert set(_run(adqs)["n"]) == {6}
    assert set(_run(adqs, population="saffl")["n"]) == {12}


def test_two_records_of_one_subject_at_the_visit_are_an_error():
    adqs = _adqs()
    with pytest.raises(AnalysisError, match=r"more than one analysis record .* of S01, S02"):
        _run(pl.concat([adqs, adqs.filter(pl.col("usubjid") < "S03")]))


def test_a_zero_baseline_gives_no_percent_change_and_no_infinity():
    result = _run(_adqs(base=[0.0, *BASE[1:]]))
    assert (_row(result, "CHG", "mean")["n"], _row(result, "PCHG", "mean")["n"]) == (12, 11)
    assert "undefined for 1 with baseline zero: S01" in _row(result, "PCHG", "mean")["warning"]
    assert _row(result, "CHG", "mean")["warning"] is None
    numbers = result.select(pl.selectors.float())
    assert numbers.select(pl.all().is_finite().all(ignore_nulls=True)).row(0) == (True,) * numbers.width


def test_several_arms_need_a_name():
    adqs = pl.concat([_adqs(), _adqs(week_12=BASE, arm="Vehicle", prefix="T")])
    with pytest.raises(AnalysisError, match=r"arm: not named.*Cream, Vehicle"):
        _run(adqs)
    result = _run(adqs, arm="Cream")
    assert set(result["n"]) == {12}
    assert result["warning"].str.contains("Cream only, without comparison with the other 1 arm").all()
    with pytest.raises(AnalysisError, match="arm 'Gel': must be one of Cream, Vehicle"):
        _run(adqs, arm="Gel")
    assert _run(arm="Cream").equals(_run())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": "PASI"}, "score 'PASI': adam.adqs has NLSCORE"),
        ({"visit": "Week 99"}, "visit 'Week 99': NLSCORE has Baseline, Week 12"),
    ],
)
def test_unknown_score_or_visit_lists_what_there_is(changes, message):
    with pytest.raises(AnalysisError, match=message):
        _run(**changes)


def test_nobody_to_analyse_is_an_error():
    with pytest.raises(AnalysisError, match="no subject of the population fasfl has both"):
        _run(_adqs(base=[None] * 12))
    with pytest.raises(AnalysisError, match="population 'fasfl': nobody with NLSCORE"):
        _run(_adqs().with_columns(fasfl=pl.lit("N")))
    with pytest.raises(AnalysisError, match=r"adam\.adqs has none"):
        _run(_adqs().clear())
    with pytest.raises(AnalysisError, match="pchg of NLSCORE at Week 12: undefined in all 3"):
        _run(_adqs(base=[0.0] * 3, week_12=[1.0] * 3))


def test_one_subject_has_rows_without_p_values_and_says_why():
    result = _run(_adqs(base=[8.0], week_12=[3.0]))
    assert dict(result.schema) == SCHEMA
    assert result.height == _run().height
    tests = result.filter(pl.col("kind") == "test")
    assert tests["p_value"].null_count() == tests.height
    assert tests["warning"].str.contains("one participant allows no test").all()
    assert _row(result, "CHG", "mean")["estimate"] == -5
    assert result["is_primary"].sum() == 1


def test_no_change_at_all_has_rows_without_p_values_and_says_why():
    result = _run(_adqs(week_12=BASE))
    tests = result.filter(pl.col("kind") == "test")
    assert tests["p_value"].null_count() == tests.height
    assert tests["warning"].str.contains("every value is (?:zero|0)").all()
    assert _row(result, "CHG", "smallest_attainable_p")["estimate"] is None
    assert _row(result, "CHG", "hodges_lehmann")["estimate"] == 0


def test_a_mean_baseline_of_zero_has_no_percentage_of_means():
    ratio = _row(
        _run(_adqs(base=[0.0, 0.0], week_12=[1.0, 2.0]), variables=["chg"]), "PCHG", "percentage_of_means"
    )
    assert ratio["estimate"] is None
    assert ratio["warning"] == "not estimable: the mean baseline is zero"


def test_too_few_for_the_level_is_said():
    result = _run(_adqs(base=BASE[:5], week_12=WEEK_12[:5]))
    interval = _row(result, "CHG", "hodges_lehmann")
    assert interval["ci_level"] == 1 - 2 / 32
    assert "n = 5 is too small for the level 0.95" in interval["warning"]
    assert "no exact test can reach p <= 0.05" in _row(result, "CHG", "smallest_attainable_p")["warning"]


def test_a_large_trial_says_which_results_are_no_longer_exact():
    base = np.linspace(20, 40, 120)
    result = _run(_adqs(base=base.tolist(), week_12=(base - np.linspace(-3, 5, 120)).tolist()))
    assert not _row(result, "CHG", "hodges_lehmann")["is_exact"]
    flip = _row(result, "CHG", "sign_flip")
    assert (flip["is_exact"], flip["n_resamples"], flip["p_value"]) == (False, 10_000, 1 / 10_001)
    assert _row(result, "CHG", "signed_rank_exact")["is_exact"]
    assert _row(result, "CHG", "signed_rank_asymptotic")["warning"] is None


def test_options_reach_the_tests():
    adqs = _adqs(week_12=[8.0, 10, *WEEK_12[2:]])
    result = _run(adqs, zero_rule="pratt", alternative="less", confidence_level=0.9, seed=4)
    change = np.array([8.0, 10, *WEEK_12[2:]]) - BASE
    row = _row(result, "CHG", "signed_rank_exact")
    assert row["p_value"] == signed_rank_exact(change, zeros="pratt", alternative="less").p_value
    assert (row["zero_rule"], row["alternative"]) == ("pratt", "less")
    assert set(result["ci_level"].drop_nulls()) == {0.9}
    assert set(result["seed"].drop_nulls()) == {4}
    assert _row(result, "CHG", "smallest_attainable_p")["estimate"] == 0.5**10


def test_one_seed_one_result():
    assert _run().equals(_run())
    shuffled = _adqs().sample(fraction=1, shuffle=True, seed=1)
    assert _run(shuffled).equals(_run())
    assert not _run(seed=1).equals(_run())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variables": ["chg"], "primary": {"variable": "pchg"}}, "primary.variable: pchg: must be one of"),
        ({"variables": ["chg", "chg"]}, "each at most once"),
        ({"n_resamples": 999}, "greater than or equal to 10000"),
        ({"confidence_level": 95}, "less than 1"),
        ({"continuity": True}, "Extra inputs"),
        ({"better": "up"}, "'lower' or 'higher'"),
    ],
)
def test_parameters_are_checked(changes, message):
    with pytest.raises(ValidationError, match=message):
        _parameters(**changes)


def test_which_direction_is_better_must_be_said():
    with pytest.raises(ValidationError, match="better"):
        PrimaryEndpointParameters.model_validate({"score": "NLSCORE", "visit": "Week 12"})


ESTIMAND = {
    "id": "primary",
    "title": "Percent change of the score",
    "population": "pprotfl",
    "treatment": "trt01a",
    "score": "NLSCORE",
    "visit": "Week 12",
    "variable": "pchg",
    "summary": "median",
}


def _declared(estimand=None, **changes):
    values = {"estimand": {**ESTIMAND, **(estimand or {})}, "better": "lower", **changes}
    return PrimaryEndpointParameters.model_validate(values)


def _adsl(of=12):
    return pl.DataFrame(
        {
            "usubjid": [f"S{i:02}" for i in range(1, 13)],
            "trt01a": "Cream",
            "fasfl": "Y",
            "pprotfl": ["Y" if i < of else "N" for i in range(12)],
            "sex": ["F" if i % 2 else "M" for i in range(12)],
        }
    )


def test_without_an_estimand_the_rows_name_the_analysis():
    result = _run()
    assert result.select("estimand", "population", "arm").unique().rows() == [
        ("primary_endpoint", "fasfl", "Cream")
    ]


def test_an_estimand_says_what_the_parameters_need_not():
    result = primary_endpoint(_adqs(), _adsl(of=8), parameters=_declared())
    assert result.select("estimand", "population", "arm", "paramcd", "avisit").unique().rows() == [
        ("primary", "pprotfl", "Cream", "NLSCORE", "Week 12")
    ]
    assert set(result["n"]) == {8}
    assert result.filter("is_primary").select("variable", "statistic").rows() == [
        ("PCHG", "signed_rank_exact")
    ]
    subgroup = primary_endpoint(_adqs(), _adsl(), parameters=_declared({"subgroup": {"sex": ["F"]}}))
    assert set(subgroup["n"]) == {6}


def test_an_estimand_that_imputes_takes_its_records_for_the_missing():
    adqs = _adqs(week_12=[None, *WEEK_12[1:]])
    first = adqs.filter(pl.col("usubjid") == "S01")
    carried = first.with_columns(
        avisit=pl.lit("Week 12"), aval=pl.lit(6.0), chg=pl.lit(-2.0), pchg=pl.lit(-25.0), dtype=pl.lit("LOCF")
    )
    adqs = pl.concat([adqs, carried])
    assert set(primary_endpoint(adqs, _adsl(), parameters=_declared())["n"]) == {11}
    result = primary_endpoint(adqs, _adsl(), parameters=_declared({"imputation": "LOCF"}))
    assert set(result["n"]) == {12}
    assert _row(result, "PCHG", "max")["estimate"] == -25


def test_an_estimand_needs_the_table_that_knows_its_set():
    with pytest.raises(AnalysisError, match=r"population 'pprotfl': needs adam\.adsl"):
        primary_endpoint(_adqs(), parameters=_declared())
    assert set(primary_endpoint(_adqs(), parameters=_declared({"population": "fasfl"}))["n"]) == {12}


@pytest.mark.parametrize(
    ("estimand", "changes", "message"),
    [
        ({}, {"score": "DLQI"}, "score: DLQI: the estimand primary says NLSCORE"),
        ({}, {"visit": "Week 4"}, "visit: Week 4: the estimand primary says Week 12"),
        ({}, {"population": "saffl"}, "population: saffl: the estimand primary says pprotfl"),
        ({"arms": ["Cream"]}, {"arm": "Gel"}, "arm: Gel: the estimand primary says Cream"),
        ({}, {"primary": {"variable": "chg"}}, "primary.variable: chg: the estimand primary is of pchg"),
        ({"variable": "aval"}, {}, "the estimand primary is of aval"),
        ({"imputation": "NRI"}, {}, "non-responders .NRI. have no change"),
        ({"visit": None}, {}, "visit"),
    ],
)
def test_what_contradicts_the_estimand_is_refused(estimand, changes, message):
    with pytest.raises(ValidationError, match=message):
        _declared(estimand, **changes)


def test_a_set_that_adqs_does_not_know_needs_an_estimand():
    with pytest.raises(ValidationError, match="population: pprotfl: must be fasfl or saffl"):
        _parameters(population="pprotfl")


def _verdict(frame):
    if importlib.util.find_spec("expectations.judge") is None:
        pytest.skip("there is no judge in this tree")
    from expectations.judge import judge
    from expectations.suite import load_suite

    return judge(frame, load_suite(SUITE), lambda _table, _column: ["NLSCORE"])


def test_output_meets_its_suite():
    single = _adqs(base=[8.0], week_12=[3.0])
    for result in (
        _run(),
        _run(_adqs(week_12=[8.0, None, *WEEK_12[2:]])),
        _run(_adqs(week_12=BASE)),
        _run(single),
    ):
        verdict = _verdict(result)
        unmet = [outcome for outcome in verdict.outcomes if not outcome.is_met]
        assert not [outcome for outcome in unmet if outcome.expectation.severity == "critical"]
        if result.filter("is_primary")["p_value"].null_count() == 0:
            assert not unmet


_FIRST = pl.int_range(pl.len()) == 0
_P = pl.col("p_value").is_not_null()
_CI = pl.col("ci_low").is_not_null()


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        ("row_count", lambda x: x.clear()),
        ("not_be_null(estimand)", lambda x: x.with_columns(estimand=pl.lit(None, pl.String))),
        ("not_be_null(population)", lambda x: x.with_columns(population=pl.lit(None, pl.String))),
        ("not_be_null(n)", lambda x: x.with_columns(n=pl.when(~_FIRST).then("n"))),
        ("compound_columns", lambda x: pl.concat([x, x.head(1)])),
        ("in_set(paramcd)", lambda x: x.with_columns(paramcd=pl.lit("PASI"))),
        ("in_set(variable)", lambda x: x.with_columns(variable=pl.col("variable").str.to_lowercase())),
        ("in_set(kind)", lambda x: x.with_columns(kind=pl.lit("p"))),
        ("in_set(better)", lambda x: x.with_columns(better=pl.lit("up"))),
        ("in_set(alternative)", lambda x: x.with_columns(alternative=pl.lit("both"))),
        ("sum", lambda x: x.with_columns(is_primary=pl.lit(value=False))),
        ("sum", lambda x: x.with_columns(is_primary=pl.col("statistic") == "paired_t")),
        ("in_set(kind)", lambda x: x.with_columns(is_primary=_FIRST)),
        ("between(p_value)", lambda x: x.with_columns(p_value=pl.when(_P).then(0.0))),
        ("between(p_value)", lambda x: x.with_columns(p_value=pl.when(_P).then(1.5))),
        *[
            (f"not_be_null({name})", lambda x, name=name: x.with_columns(pl.when(~_P).then(name).alias(name)))
            for name in ("method", "alternative", "test_statistic", "is_exact", "zero_rule", "tie_rule")
        ],
        (
            "not_be_null(warning)",
            lambda x: x.with_columns(p_value=pl.lit(None, pl.Float64), warning=pl.lit(None, pl.String)),
        ),
        ("greater_than_b(ci_high, ci_low)", lambda x: x.with_columns(ci_low=pl.col("ci_high") + 1)),
        ("not_be_null(ci_level)", lambda x: x.with_columns(ci_level=pl.lit(None, pl.Float64))),
        ("between(ci_level)", lambda x: x.with_columns(ci_level=pl.when(_CI).then(95.0))),
        ("between(n)", lambda x: x.with_columns(n=pl.lit(0, pl.Int64), n_zero=pl.lit(0, pl.Int64))),
        ("between(n_zero)", lambda x: x.with_columns(n_zero=pl.lit(-1, pl.Int64))),
        ("greater_than_b(n, n_zero)", lambda x: x.with_columns(n_zero=pl.col("n") + 1)),
        ("between(standard_error)", lambda x: x.with_columns(standard_error=pl.lit(-1.0))),
        ("between(n_resamples)", lambda x: x.with_columns(n_resamples=pl.lit(99, pl.Int64))),
        ("not_be_null(seed)", lambda x: x.with_columns(seed=pl.lit(None, pl.Int64))),
    ],
)
def test_suite_rejects_a_broken_copy(rule, broken):
    verdict = _verdict(broken(_run()))
    unmet = [str(o.expectation) for o in verdict.outcomes if not o.is_met]
    assert verdict.is_stopped
    assert any(rule in name or rule in name.split("(")[0] for name in unmet), unmet


def test_suite_rejects_an_absent_column():
    with pytest.raises(ValueError, match="column warning is absent"):
        _verdict(_run().drop("warning"))
