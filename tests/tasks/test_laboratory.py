from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from expectations.judge import judge
from expectations.suite import find_suites
from tasks.clinical.ard import SCHEMA
from tasks.clinical.laboratory import ANALYSIS, LaboratoryParameters, laboratory
from warehouse.errors import AnalysisError

SUITES = Path(__file__).parents[2] / "expectations"
SAFETY = {
    "id": "safety", "title": "Safety", "population": "saffl", "summary": "shifts", "reference": "Placebo",
}  # fmt: skip
LIMITS = {"ALT": (10.0, 40.0), "BILI": (3.0, 20.0)}
TEXT = ["atoxgr", "btoxgr", "ablfl", "ontrtfl", "dtype", "avisit", "anrind", "anl01fl"]


def _adsl(arms=("Placebo", "Active"), size=6):
    return pl.DataFrame(
        [
            {"usubjid": f"{arm}{i}", "trt01p": arm, "trt01pn": float(order), "saffl": "Y"}
            for order, arm in enumerate(arms)
            for i in range(size)
        ]
    )


def _record(subject, paramcd, day, aval, *, base=None, **more):
    low, high = LIMITS[paramcd]
    indicator = None if aval is None else "LOW" if aval < low else "HIGH" if aval > high else "NORMAL"
    return {
        "usubjid": subject,
        "paramcd": paramcd,
        "param": {"ALT": "Alanine aminotransferase (U/L)", "BILI": "Bilirubin (umol/L)"}[paramcd],
        "unit": {"ALT": "U/L", "BILI": "umol/L"}[paramcd],
        "avisit": {0: "Baseline", 7: "Week 1", 14: "Week 2"}.get(day),
        "avisitn": {0: 0.0, 7: 1.0, 14: 2.0}.get(day),
        "adt": day,
        "aval": aval,
        "chg": None if aval is None or base is None else aval - base,
        "anrlo": low,
        "anrhi": high,
        "anrind": indicator,
        "atoxgr": None,
        "btoxgr": None,
        "ablfl": "Y" if day == 0 else None,
        "anl01fl": "Y",
        "ontrtfl": "Y" if day > 0 else None,
        "dtype": None,
        **more,
    }


def _frame(records):
    return pl.DataFrame(records, schema_overrides={**dict.fromkeys(TEXT, pl.String), "chg": pl.Float64})


def _adlb(week_2=130.0, *, affected=4, bilirubin=10.0):
    """ALT 25 throughout; in the active arm `affected` participants rise to `week_2`, over 3 x ULN."""
    records = []
    for subject in _adsl()["usubjid"]:
        rises = subject.startswith("Active") and int(subject[-1]) < affected
        for day, aval in ((0, 25.0), (7, 25.0), (14, week_2 if rises else 25.0)):
            records.append(_record(subject, "ALT", day, aval, base=25.0))
            late = rises and day == 14
            records.append(_record(subject, "BILI", day, bilirubin if late else 10.0, base=10.0))
    return _frame(records)


def _run(adlb=None, *, adsl=None, **changes):
    parameters = LaboratoryParameters.model_validate({"estimands": [SAFETY], **changes})
    frame = _adlb() if adlb is None else adlb
    return laboratory(_adsl() if adsl is None else adsl, frame, parameters=parameters)


def _stat(result, stat_name, **where):
    found = result.filter(
        pl.col("stat_name") == stat_name,
        *[pl.col(name).eq_missing(pl.lit(value)) for name, value in where.items()],
    )
    return found["stat"].item()


ALT = {"group2_level": "ALT"}


def test_record():
    assert ANALYSIS.reads == ("adam.adsl", "adam.adlb")
    assert ANALYSIS.fills == "results.laboratory"


def test_values_and_changes_are_summarised_by_visit():
    result = _run()
    assert dict(result.schema) == SCHEMA
    week_2 = {"group3_level": "Week 2", "context": "continuous", **ALT}
    assert _stat(result, "mean", variable="AVAL", group1_level="Placebo", **week_2) == 25
    assert _stat(result, "mean", variable="CHG", group1_level="Active", **week_2) == 70
    assert _stat(result, "N_obs", variable="CHG", group1_level="Total", **week_2) == 12
    assert result.filter(pl.col("variable") == "CHG", pl.col("group3_level") == "Baseline").is_empty()


def test_a_planted_rise_is_found_among_the_worst_values():
    result = _run()
    worst = {"context": "worst_range", "variable": "ANRIND", **ALT}
    assert _stat(result, "n", variable_level="HIGH", group1_level="Active", **worst) == 4
    assert _stat(result, "n", variable_level="HIGH", group1_level="Placebo", **worst) == 0
    # R 4.2: fisher.test(rbind(c(6, 0), c(2, 4)))$p.value
    p_value = _stat(result, "p.value", context="fisher", variable="ANRIND", **ALT)
    assert p_value == pytest.approx(0.0606060606, rel=1e-8)
    # R 4.2: mantelhaen.test would need two strata; of one, (n - 1) / n times Pearson's chi-square, 5.5.
    assert _stat(result, "statistic", context="cmh", variable="SHIFT1", group3=None, **ALT) == pytest.approx(
        5.5
    )
    shift = {"context": "worst_shift", "variable_level": "NORMAL to HIGH", "group1_level": "Active", **ALT}
    assert (_stat(result, "n", **shift), _stat(result, "p", **shift)) == (4, pytest.approx(4 / 6))


def test_without_an_effect_nothing_is_found():
    result = _run(_adlb(25.0))
    assert _stat(result, "p.value", context="fisher", variable="ANRIND", **ALT) == 1
    cmh = result.filter(
        pl.col("context") == "cmh", pl.col("variable") == "SHIFT1", pl.col("group3").is_null()
    )
    assert cmh["stat"].null_count() == cmh.height == 2
    assert cmh["warning"].str.starts_with("not estimable").all()


def test_limits_can_be_multiples_of_the_reference_range():
    at_1_5 = _run(_adlb(50.0), high=1.5)
    worst = {"context": "worst_shift", "group1_level": "Active", **ALT}
    assert _stat(at_1_5, "n", variable_level="NORMAL to NORMAL", **worst) == 6
    assert _stat(_run(_adlb(50.0)), "n", variable_level="NORMAL to HIGH", **worst) == 4
    # The frequencies stay those of the reference range.
    row = {"context": "worst_range", "variable_level": "HIGH", "group1_level": "Active", **ALT}
    assert _stat(at_1_5, "n", **row) == 4
    assert (
        at_1_5.filter(pl.col("context") == "worst_shift")["method"].str.contains("high above 1.5 x ULN").all()
    )


def test_the_worst_value_is_chosen_by_the_rule():
    records = [
        _record("Placebo0", "ALT", 0, 25.0),
        _record("Placebo0", "ALT", 7, 8.0, anl01fl=None),  # 2 below the lower limit
        _record("Placebo0", "ALT", 14, 41.0),  # 1 above the upper limit, 31 from the lower
        _record("Placebo0", "ALT", 20, 9.0, avisit=None, anl01fl=None),
    ]
    level = {"context": "worst_range", "stat_name": "n", "group1_level": "Placebo", **ALT}
    found = {}
    for rule in ("beyond_limit", "from_opposite_limit", "flagged"):
        counts = _run(_frame(records), worst=rule).filter(*[pl.col(k) == v for k, v in level.items()])
        found[rule] = dict(counts.select("variable_level", "stat").rows())
    assert found == {
        "beyond_limit": {"LOW": 1.0},
        "from_opposite_limit": {"LOW": 1.0},  # 32 below the upper limit
        "flagged": {"HIGH": 1.0},
    }


def test_only_visits_on_treatment_count():
    row = {"context": "worst_range", "variable_level": "HIGH", "group1_level": "Active", **ALT}
    assert _stat(_run(), "n", **row) == 4
    early = _run(treatment_visits=["Week 1"]).filter(pl.col("context") == "worst_range")
    assert set(early["variable_level"].drop_nulls()) == {"NORMAL"}
    before = _adlb().with_columns(ontrtfl=pl.lit(None, pl.String))
    assert _run(before).filter(pl.col("context") == "worst_range").is_empty()


def test_derived_records_do_not_count_twice():
    last = (
        _adlb()
        .filter(pl.col("avisit") == "Week 2")
        .with_columns(avisit=pl.lit("End of Treatment"), avisitn=pl.lit(99.0), dtype=pl.lit("LOV"))
    )
    result = _run(pl.concat([_adlb(), last]))
    plain = pl.col("context").is_in(["worst_range", "worst_shift", "hys_law", "fisher"])
    assert result.filter(plain).drop("position").equals(_run().filter(plain).drop("position"))
    assert "End of Treatment" in result.filter(pl.col("context") == "continuous")["group3_level"].to_list()


def test_shifts_by_visit_follow_the_visits():
    row = {"context": "shift_by_visit", "group1_level": "Active", **ALT}
    result = _run()
    assert _stat(result, "n", variable_level="NORMAL to NORMAL", group3_level="Week 1", **row) == 6
    assert _stat(result, "n", variable_level="NORMAL to HIGH", group3_level="Week 2", **row) == 4


def test_shifts_of_grades_take_the_worst_on_treatment():
    graded = _adlb().with_columns(
        atoxgr=pl.when(pl.col("aval") > 120).then(pl.lit("3")).otherwise(pl.lit("0")), btoxgr=pl.lit("0")
    )
    low = graded.with_columns(
        atoxgr=pl.when((pl.col("usubjid") == "Placebo0") & (pl.col("adt") == 7))
        .then(pl.lit("-2"))
        .otherwise("atoxgr")
    )
    row = {"context": "grade_shift", "variable": "ATOXGR", **ALT}
    result = _run(low)
    assert _stat(result, "n", variable_level="0 to 3", group1_level="Active", **row) == 4
    assert _stat(result, "n", variable_level="0 to -2", group1_level="Placebo", **row) == 1
    levels = result.filter(pl.col("context") == "grade_shift", pl.col("group2_level") == "ALT")
    order = levels["variable_level"].unique(maintain_order=True).to_list()
    assert order == ["0 to -2", "0 to 0", "0 to 3"]
    assert _run(low, grades=False).filter(pl.col("context") == "grade_shift").is_empty()


def test_hys_law_needs_both_on_one_day():
    transaminase = {"context": "hys_law", "group2_level": "ALT or AST", "group3_level": "> 3 x ULN"}
    both = {"context": "hys_law", "group2_level": "ALT or AST, with BILI"}
    high = _run(_adlb(bilirubin=45.0))
    assert _stat(high, "n", group1_level="Active", **transaminase) == 4
    assert _stat(high, "n", group1_level="Active", **both) == 4
    assert _stat(high, "n", group1_level="Placebo", **both) == 0
    # Bilirubin a week before the transaminase is another day.
    apart = _adlb().with_columns(
        aval=pl.when((pl.col("paramcd") == "BILI") & (pl.col("avisit") == "Week 1"))
        .then(pl.lit(45.0))
        .otherwise("aval")
    )
    assert _stat(_run(apart), "n", group1_level="Active", **both) == 0
    assert _stat(_run(apart), "n", group2_level="BILI", group3_level="> 2 x ULN", group1_level="Active",
                 context="hys_law") == 6  # fmt: skip


def test_liver_signals_can_be_set_or_left_out():
    signals = {"transaminase_multiples": [1.5], "bilirubin_multiples": [], "together": []}
    levels = _run(liver=signals).filter(pl.col("context") == "hys_law")
    assert set(levels.select("group2_level", "group3_level").rows()) == {
        ("ALT", "> 1.5 x ULN"),
        ("ALT or AST", "> 1.5 x ULN"),
    }
    assert _run(liver=False).filter(pl.col("context").str.starts_with("hys_law")).is_empty()
    assert _run(params=["BILI"]).filter(pl.col("group2_level") == "ALT").is_empty()


def test_those_without_values_are_missing_and_not_normal():
    short = _adlb().filter(pl.col("usubjid") != "Active0")
    row = {"context": "worst_range", "group1_level": "Active", **ALT}
    result = _run(short)
    missing = result.filter(pl.col("variable") == "ANRIND")
    assert (_stat(missing, "N_obs", **row), _stat(missing, "N_miss", **row)) == (5, 1)
    assert _stat(result, "p", variable_level="HIGH", **row) == pytest.approx(3 / 5)


def test_results_in_words_are_normal_or_abnormal():
    words = _adlb().with_columns(
        aval=pl.lit(None, pl.Float64),
        anrlo=pl.lit(None, pl.Float64),
        anrhi=pl.lit(None, pl.Float64),
        anrind=pl.when((pl.col("usubjid") == "Active0") & (pl.col("adt") == 7))
        .then(pl.lit("ABNORMAL"))
        .otherwise(pl.lit("NORMAL")),
    )
    result = _run(words)
    row = {"context": "worst_range", "variable_level": "ABNORMAL", "group1_level": "Active", **ALT}
    assert _stat(result, "n", **row) == 1
    assert result.filter(pl.col("context") == "continuous").is_empty()


def test_a_single_arm_has_intervals_instead_of_tests():
    adsl = _adsl(("Active",))
    result = _run(adsl=adsl, estimands=[{**SAFETY, "reference": None}])
    assert result.filter(pl.col("stat_name") == "p.value").is_empty()
    row = {"context": "clopper_pearson", "variable": "ANRIND", "variable_level": "HIGH", **ALT}
    # R 4.2: binom.test(4, 6)$conf.int
    assert _stat(result, "conf.low", **row) == pytest.approx(0.222778, abs=1e-6)
    assert _stat(result, "conf.high", **row) == pytest.approx(0.956728, abs=1e-6)


def test_parts_can_be_switched_off():
    small = _run(summaries=False, shifts_by_visit=False, liver=False, comparison="none")
    assert set(small["context"]) == {"population", "worst_range", "worst_shift"}


def test_the_order_of_the_records_does_not_matter():
    assert _run(_adlb().sample(fraction=1, shuffle=True, seed=5)).equals(_run())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"params": ["AST"]}, "params AST: adam.adlb has ALT, BILI"),
        (
            {"treatment_visits": ["Week 99"]},
            "treatment_visits Week 99: adam.adlb has Baseline, Week 1, Week 2",
        ),
    ],
)
def test_what_the_data_do_not_have_is_named(changes, message):
    with pytest.raises(AnalysisError, match=message):
        _run(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"estimands": []}, "at least 1 item"),
        ({"low": 1.5}, "less than or equal to 1"),
        ({"high": 0.5}, "greater than or equal to 1"),
        ({"worst": "last"}, "'beyond_limit', 'from_opposite_limit' or 'flagged'"),
        ({"liver": {"together": [[3, 0]]}}, "multiples: 0: must be above zero"),
        ({"limit": 2}, "Extra inputs"),
    ],
)
def test_parameters_are_checked(changes, message):
    with pytest.raises(ValidationError, match=message):
        _run(**changes)


def _verdict(frame):
    suite = find_suites(SUITES)["results.laboratory"]
    return judge(frame, suite, lambda _table, _column: ["ALT", "BILI"])


def test_output_meets_its_suite():
    graded = _adlb().with_columns(atoxgr=pl.lit("0"), btoxgr=pl.lit("0"))
    for result in (
        _run(comparison="both"),
        _run(graded),
        _run(_adlb(25.0)),
        _run(adsl=_adsl(("Active",)), estimands=[{**SAFETY, "reference": None}]),
    ):
        verdict = _verdict(result)
        assert [str(outcome.expectation) for outcome in verdict.outcomes if not outcome.is_met] == []


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        ("in_set(analysis)", lambda x: x.with_columns(analysis=pl.lit("disposition"))),
        ("in_set(context)", lambda x: x.with_columns(context=pl.lit("anova"))),
        ("in_set(variable)", lambda x: x.with_columns(variable=pl.lit("AGE"))),
        ("in_set(group2_level)", lambda x: x.with_columns(group2_level=pl.lit("AST"))),
        ("not_be_null(stat)", lambda x: x.with_columns(stat=pl.lit(None, pl.Float64))),
        ("not_be_null(warning)", lambda x: x.with_columns(warning=pl.lit(None, pl.String))),
        ("not_be_null(group2_level)", lambda x: x.with_columns(group2_level=pl.lit(None, pl.String))),
        ("not_be_null(group3_level)", lambda x: x.with_columns(group3_level=pl.lit(None, pl.String))),
        ("not_be_null(variable_level)", lambda x: x.with_columns(variable_level=pl.lit(None, pl.String))),
        ("not_be_null(group1_level)", lambda x: x.with_columns(group1_level=pl.lit(None, pl.String))),
    ],
)
def test_suite_rejects_a_broken_copy(rule, broken):
    verdict = _verdict(broken(_run(comparison="both")))
    assert verdict.is_stopped
    assert any(rule in str(outcome.expectation) for outcome in verdict.outcomes if not outcome.is_met)
