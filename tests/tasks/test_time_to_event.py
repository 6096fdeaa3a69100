from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from expectations.judge import judge
from expectations.suite import find_suites
from tasks.clinical.ard import SCHEMA
from tasks.clinical.time_to_event import ANALYSIS, TimeToEventParameters, time_to_event
from warehouse.errors import AnalysisError

SUITES = Path(__file__).parents[2] / "expectations"
SAFETY = {
    "id": "safety", "title": "Safety", "population": "saffl", "summary": "survival", "reference": "6-MP",
}  # fmt: skip
# Remission of leukaemia in weeks (Freireich 1963, in every textbook of survival analysis); + is censored.
TREATED = "6 6 6 6+ 7 9+ 10 10+ 11+ 13 16 17+ 19+ 20+ 22 23 25+ 32+ 32+ 34+ 35+"
PLACEBO = "1 1 2 2 3 4 4 5 5 8 8 8 8 11 11 12 12 15 17 22 23"
ARMS = {"6-MP": TREATED.split(), "Placebo": PLACEBO.split()}


def _adsl(arms=ARMS):
    return pl.DataFrame(
        [
            {
                "usubjid": f"{arm}{i:02}",
                "trt01p": arm,
                "trt01pn": float(order),
                "saffl": "Y",
                "pair": str(i // 7),
            }
            for order, (arm, times) in enumerate(arms.items())
            for i in range(len(times))
        ]
    )


def _adtte(arms=ARMS):
    return pl.DataFrame(
        [
            {
                "usubjid": f"{arm}{i:02}",
                "paramcd": "RELAPSE",
                "param": "Time to relapse",
                "aval": float(time.rstrip("+")),
                "cnsr": int(time.endswith("+")),
            }
            for arm, times in arms.items()
            for i, time in enumerate(times)
        ]
    )


def _run(adtte=None, *, adsl=None, **changes):
    parameters = TimeToEventParameters.model_validate({"estimands": [SAFETY], **changes})
    return time_to_event(
        _adsl() if adsl is None else adsl, _adtte() if adtte is None else adtte, parameters=parameters
    )


def _stat(result, stat_name, **where):
    found = result.filter(
        pl.col("stat_name") == stat_name,
        *[pl.col(name).eq_missing(pl.lit(value)) for name, value in where.items()],
    )
    return found["stat"].item()


def test_record():
    assert ANALYSIS.reads == ("adam.adsl", "adam.adtte")
    assert ANALYSIS.fills == "results.time_to_event"


def test_the_curve_is_that_of_the_textbook():
    result = _run(days=[10])
    assert dict(result.schema) == SCHEMA
    # R 4.2, survival: survfit(conf.type = "log-log") at ten weeks.
    at_ten = {"context": "survival_at", "group1_level": "6-MP", "group3_level": "10"}
    assert _stat(result, "estimate", **at_ten) == pytest.approx(0.75294117647, rel=1e-10)
    assert _stat(result, "std.error", **at_ten) == pytest.approx(0.09634965299, rel=1e-9)
    assert _stat(result, "conf.low", **at_ten) == pytest.approx(0.50319951080, rel=1e-9)
    assert _stat(result, "conf.high", **at_ten) == pytest.approx(0.88936183517, rel=1e-9)
    assert _stat(result, "n.risk", **at_ten) == 15
    step = {"context": "kaplan_meier", "group1_level": "6-MP", "group3_level": "10"}
    assert _stat(result, "estimate", **step) == _stat(result, "estimate", **at_ten)
    assert _stat(result, "time", **step) == 10


def test_medians_are_those_of_the_textbook_and_the_unreached_says_so():
    result = _run(quantiles=[0.5])
    for arm, expected in (("6-MP", (23, 13, None)), ("Placebo", (8, 4, 11))):
        row = {"context": "quantile", "variable_level": "0.5", "group1_level": arm}
        found = tuple(_stat(result, name, **row) for name in ("estimate", "conf.low", "conf.high"))
        assert found == expected
    unreached = result.filter(pl.col("context") == "quantile", pl.col("stat").is_null())
    assert unreached["warning"].to_list() == ["not reached during follow-up"]


def test_a_planted_difference_is_found():
    result = _run()
    # R 4.2, survival: survdiff and coxph(ties = "efron").
    overall = {"context": "log_rank", "group1_level": None}
    assert _stat(result, "statistic", **overall) == pytest.approx(16.79294099, rel=1e-8)
    assert _stat(result, "p.value", **overall) == pytest.approx(4.168809109e-05, rel=1e-6)
    against = {"context": "cox", "group1_level": "Placebo", "group1_reference": "6-MP"}
    assert _stat(result, "estimate", **against) == pytest.approx(4.816873898, rel=1e-6)
    assert _stat(result, "conf.low", **against) == pytest.approx(2.146508213, rel=1e-6)
    assert _stat(result, "conf.high", **against) == pytest.approx(10.80931068, rel=1e-6)
    assert _stat(result, "p.value", **against) == pytest.approx(0.000137753762, rel=1e-5)


def test_equal_arms_are_not_told_apart():
    equal = {"6-MP": PLACEBO.split(), "Placebo": PLACEBO.split()}
    result = _run(_adtte(equal), adsl=_adsl(equal))
    assert _stat(result, "p.value", context="log_rank", group1_level=None) == pytest.approx(1)
    assert _stat(result, "estimate", context="cox") == pytest.approx(1)


def test_the_numbers_of_the_curve_add_up():
    result = _run().filter(pl.col("context") == "kaplan_meier", pl.col("group1_level") == "6-MP")
    assert result.filter(pl.col("stat_name") == "n.event")["stat"].sum() == 9
    assert result.filter(pl.col("stat_name") == "n.censor")["stat"].sum() == 12
    curve = result.filter(pl.col("stat_name") == "estimate")["stat"]
    assert curve.is_sorted(descending=True)
    assert (_stat(_run(), "n_events", context="events", group1_level="Total")) == 30


def test_those_without_a_record_are_counted():
    short = _adtte().filter(pl.col("usubjid") != "Placebo00")
    result = _run(short).filter(pl.col("context") == "events", pl.col("group1_level") == "Placebo")
    assert (_stat(result, "N_obs"), _stat(result, "N_miss")) == (20, 1)
    assert set(result["warning"]) == {"1 of the population have no record"}


def test_strata_are_named_and_change_the_comparison():
    result = _run(strata=["pair"])
    row = result.filter(pl.col("context") == "log_rank", pl.col("group1_level").is_null())
    assert row["method"].str.contains("by pair").all()
    assert _stat(row, "statistic") != pytest.approx(16.79294099)


def test_a_day_beyond_the_follow_up_is_not_guessed():
    result = _run(days=[40]).filter(pl.col("context") == "survival_at", pl.col("group1_level") == "6-MP")
    assert result.select("stat_name", "stat").rows() == [("estimate", None)]
    assert result["warning"].item().startswith("not estimable: time: 40: beyond the last follow-up")


def test_an_arm_without_events_has_no_ratio_but_a_p_value():
    arms = {"6-MP": ["30+"] * 10, "Placebo": ["5", "6", "7", "8", "9"] * 2}
    result = _run(_adtte(arms), adsl=_adsl(arms)).filter(pl.col("context") == "cox")
    assert _stat(result, "estimate") is None
    assert 0 < _stat(result, "p.value") < 0.01
    assert result["warning"].str.contains("runs off to infinity").all()


def test_nobody_with_an_event_is_said():
    arms = {"6-MP": ["30+"] * 3, "Placebo": ["20+"] * 3}
    result = _run(_adtte(arms), adsl=_adsl(arms))
    tests = result.filter(pl.col("context").is_in(["log_rank", "cox"]))
    assert tests["stat"].null_count() == tests.height == 3
    assert tests["warning"].str.starts_with("not estimable").all()


def test_a_single_arm_has_its_curve_and_no_comparison():
    arms = {"6-MP": TREATED.split()}
    result = _run(_adtte(arms), adsl=_adsl(arms), estimands=[{**SAFETY, "reference": None}])
    assert set(result["context"]) == {"population", "events", "kaplan_meier", "quantile"}


def test_comparisons_can_be_switched_off():
    result = _run(log_rank=False, hazard_ratio=False)
    assert result.filter(pl.col("stat_name") == "p.value").is_empty()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"params": ["DEATH"]}, "params DEATH: the data have RELAPSE"),
        ({"strata": ["site"]}, "strata site: adam.adsl has usubjid"),
    ],
)
def test_what_the_data_do_not_have_is_named(changes, message):
    with pytest.raises(AnalysisError, match=message):
        _run(**changes)


def test_two_records_of_one_participant_are_an_error():
    with pytest.raises(AnalysisError, match="RELAPSE: 6-MP00 has more than one record"):
        _run(pl.concat([_adtte(), _adtte().head(1)]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"estimands": []}, "at least 1 item"),
        ({"quantiles": [0.5, 1]}, "1.0: must lie between 0 and 1"),
        ({"days": [-1]}, "-1.0: must be zero or more"),
        ({"interval": "arcsine"}, "'log-log', 'log' or 'plain'"),
        ({"weeks": 4}, "Extra inputs"),
    ],
)
def test_parameters_are_checked(changes, message):
    with pytest.raises(ValidationError, match=message):
        _run(**changes)


def _verdict(frame):
    return judge(frame, find_suites(SUITES)["results.time_to_event"], lambda _table, _column: ["RELAPSE"])


def test_output_meets_its_suite():
    single = {"6-MP": TREATED.split()}
    for result in (
        _run(days=[10, 40]),
        _run(_adtte(single), adsl=_adsl(single), estimands=[{**SAFETY, "reference": None}]),
    ):
        verdict = _verdict(result)
        assert [str(outcome.expectation) for outcome in verdict.outcomes if not outcome.is_met] == []


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        ("in_set(analysis)", lambda x: x.with_columns(analysis=pl.lit("disposition"))),
        ("in_set(context)", lambda x: x.with_columns(context=pl.lit("anova"))),
        ("in_set(variable)", lambda x: x.with_columns(variable=pl.lit("AGE"))),
        ("in_set(group2_level)", lambda x: x.with_columns(group2_level=pl.lit("DEATH"))),
        ("not_be_null(stat)", lambda x: x.with_columns(stat=pl.lit(None, pl.Float64))),
        ("not_be_null(warning)", lambda x: x.with_columns(warning=pl.lit(None, pl.String))),
        ("not_be_null(group2_level)", lambda x: x.with_columns(group2_level=pl.lit(None, pl.String))),
        ("not_be_null(group3_level)", lambda x: x.with_columns(group3_level=pl.lit(None, pl.String))),
        ("not_be_null(group1_level)", lambda x: x.with_columns(group1_level=pl.lit(None, pl.String))),
        ("between(stat) where context in", lambda x: x.with_columns(stat=pl.col("stat") + 2)),
        ("between(stat) where context == 'cox'", lambda x: x.with_columns(stat=pl.lit(0.0))),
    ],
)
def test_suite_rejects_a_broken_copy(rule, broken):
    verdict = _verdict(broken(_run()))
    assert verdict.is_stopped
    assert any(rule in str(outcome.expectation) for outcome in verdict.outcomes if not outcome.is_met)
