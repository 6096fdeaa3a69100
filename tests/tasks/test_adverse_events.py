from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from expectations.judge import judge
from expectations.suite import find_suites
from tasks.clinical.adverse_events import ANALYSIS, AdverseEventsParameters, adverse_events
from tasks.clinical.ard import SCHEMA
from warehouse.errors import AnalysisError

SUITES = Path(__file__).parents[2] / "expectations"
SAFETY = {
    "id": "safety", "title": "Safety", "population": "saffl", "summary": "incidence", "reference": "Placebo",
}  # fmt: skip
SKIN, GENERAL = "SKIN DISORDERS", "GENERAL DISORDERS"


def _adsl(arms=("Placebo", "Active"), size=10):
    return pl.DataFrame(
        [
            {"usubjid": f"{arm}{i}", "trt01p": arm, "trt01pn": float(order), "saffl": "Y"}
            for order, arm in enumerate(arms)
            for i in range(size)
        ]
    )


def _event(subject, *, term="PRURITUS", soc=SKIN, severity="MILD", **more):
    return {
        "usubjid": subject,
        "trtemfl": "Y",
        "aebodsys": soc,
        "aedecod": term,
        "aesev": severity,
        "aetoxgr": None,
        "relgr1": "N",
        "aeser": "N",
        "is_discontinuing": False,
        "aesdth": "N",
        "cq01nam": None,
        **more,
    }


def _adae(*events):
    text = dict.fromkeys(
        [
            "usubjid",
            "trtemfl",
            "aebodsys",
            "aedecod",
            "aesev",
            "aetoxgr",
            "relgr1",
            "aeser",
            "aesdth",
            "cq01nam",
        ],
        pl.String,
    )
    return pl.DataFrame(list(events), schema={**text, "is_discontinuing": pl.Boolean}, orient="row")


# Eight of ten of the active arm itch, one of placebo; Active0 twice, the second time worse and serious.
PLANTED = _adae(
    *[_event(f"Active{i}") for i in range(8)],
    _event("Active0", severity="SEVERE", aeser="Y", relgr1="Y", is_discontinuing=True, cq01nam="SKIN EVENTS"),
    _event("Placebo0"),
    _event("Placebo1", term="FATIGUE", soc=GENERAL),
    _event("Active1", term="RASH", severity="MODERATE"),
    _event("Active9", term="RASH", trtemfl=None),
)


def _run(adae=None, *, adsl=None, **changes):
    parameters = AdverseEventsParameters.model_validate({"estimands": [SAFETY], **changes})
    frame = PLANTED if adae is None else adae
    return adverse_events(_adsl() if adsl is None else adsl, frame, parameters=parameters)


def _stat(result, stat_name, **where):
    where = {"group2_level": None, "group3_level": None, "group1_reference": None, **where}
    found = result.filter(
        pl.col("stat_name") == stat_name,
        *[pl.col(name).eq_missing(pl.lit(value)) for name, value in where.items()],
    )
    return found["stat"].item()


def test_record():
    assert ANALYSIS.reads == ("adam.adsl", "adam.adae")
    assert ANALYSIS.fills == "results.adverse_events"


def test_participants_count_once_and_events_each_time():
    result = _run()
    assert dict(result.schema) == SCHEMA
    any_event = {"variable": "TRTEMFL", "context": "incidence"}
    for arm, n, events in (("Placebo", 2, 2), ("Active", 8, 10), ("Total", 10, 12)):
        assert _stat(result, "n", group1_level=arm, **any_event) == n
        assert _stat(result, "n_events", group1_level=arm, **any_event) == events
    itch = {**any_event, "group2_level": SKIN, "group3_level": "PRURITUS"}
    assert _stat(result, "n", group1_level="Active", **itch) == 8
    assert _stat(result, "n_events", group1_level="Active", **itch) == 9
    assert _stat(result, "p", group1_level="Active", **itch) == 0.8


def test_a_planted_difference_is_found_line_by_line():
    result = _run(difference="newcombe")
    against = {"group1_level": "Active", "group1_reference": "Placebo", "variable": "TRTEMFL"}
    itch = {"group2_level": SKIN, "group3_level": "PRURITUS"}
    # R 4.2: fisher.test(matrix(c(8, 1, 2, 9), 2))$p.value
    assert _stat(result, "p.value", context="fisher", **against, **itch) == pytest.approx(
        0.00547749, rel=1e-6
    )
    assert _stat(result, "estimate", context="difference", **against, **itch) == pytest.approx(0.7)
    assert _stat(result, "conf.low", context="difference", **against, **itch) > 0
    # Nobody else has a rash, and one case is no evidence.
    rash = {"group2_level": SKIN, "group3_level": "RASH"}
    assert _stat(result, "p.value", context="fisher", **against, **rash) == 1


def test_events_before_treatment_do_not_count():
    rash = _run().filter(pl.col("group3_level") == "RASH", pl.col("stat_name") == "n_events")
    assert set(rash.filter(pl.col("group1_level") == "Total")["stat"]) == {1.0}


def test_each_kind_has_its_line():
    result = _run()
    for variable, n in (("RELGR1", 1), ("AESER", 1), ("AEACN", 1), ("AESDTH", 0), ("CQ01NAM", 1)):
        assert _stat(result, "n", variable=variable, context="incidence", group1_level="Active") == n
    assert _stat(result, "n", variable="AESER", group2_level=SKIN, group1_level="Active") == 1


def test_each_participant_is_at_the_worst_severity():
    result = _run().filter(pl.col("context") == "worst_severity", pl.col("group1_level") == "Active")
    overall = result.filter(pl.col("group2").is_null())
    assert {
        level: (_stat(overall, "n", variable_level=level), _stat(overall, "n_events", variable_level=level))
        for level in ("MILD", "MODERATE", "SEVERE")
    } == {"MILD": (6, 8), "MODERATE": (1, 1), "SEVERE": (1, 1)}
    of_term = {"group2_level": SKIN, "group3_level": "PRURITUS"}
    assert _stat(result, "n", variable_level="MILD", **of_term) == 7
    assert _stat(result, "n", variable_level="SEVERE", **of_term) == 1


def test_grades_are_tabulated_where_they_were_recorded():
    graded = _adae(
        _event("Active0", severity=None, aetoxgr="2"), _event("Active0", severity=None, aetoxgr="4")
    )
    result = _run(graded).filter(pl.col("context") == "worst_severity", pl.col("group2").is_null())
    assert set(result["variable"]) == {"ATOXGR"}
    assert _stat(result, "n", variable_level="4", group1_level="Active") == 1
    assert _stat(result, "n", variable_level="2", group1_level="Active") == 0
    assert _stat(result, "n_events", variable_level="2", group1_level="Active") == 1


def test_events_without_a_term_are_not_lost():
    result = _run(_adae(_event("Active0", term=None, soc=None)))
    row = {"group2_level": "Not coded", "group3_level": "Not coded", "group1_level": "Active"}
    assert _stat(result, "n", variable="TRTEMFL", context="incidence", **row) == 1


def test_a_trial_without_events_says_so_in_numbers():
    result = _run(_adae())
    assert _stat(result, "n", variable="TRTEMFL", context="incidence", group1_level="Total") == 0
    row = {"variable": "TRTEMFL", "group1_level": "Active", "group1_reference": "Placebo"}
    assert _stat(result, "p.value", context="fisher", **row) == 1
    assert result.filter(pl.col("group2").is_not_null()).is_empty()


def test_a_single_arm_has_intervals_instead_of_tests():
    adsl = _adsl(("Active",), size=12)
    result = _run(
        _adae(*[_event(f"Active{i}") for i in range(9)]), adsl=adsl,
        estimands=[{**SAFETY, "reference": None}],
    )  # fmt: skip
    assert result.filter(pl.col("stat_name") == "p.value").is_empty()
    row = {
        "variable": "TRTEMFL",
        "context": "clopper_pearson",
        "group2_level": SKIN,
        "group1_level": "Active",
    }
    # Clopper-Pearson, 9 of 12: (.4281, .9451).
    assert _stat(result, "conf.low", **row) == pytest.approx(0.4281, abs=5e-5)
    assert _stat(result, "conf.high", **row) == pytest.approx(0.9451, abs=5e-5)


def test_the_order_of_the_records_does_not_matter():
    assert _run(PLANTED.sample(fraction=1, shuffle=True, seed=3)).equals(_run())


def test_swapping_the_arms_turns_differences_around():
    there = _run(difference="miettinen_nurminen").filter(pl.col("context") == "difference")
    swapped = [{**SAFETY, "reference": "Active"}]
    back = _run(difference="miettinen_nurminen", estimands=swapped).filter(pl.col("context") == "difference")
    estimates = [x.filter(pl.col("stat_name") == "estimate")["stat"].to_list() for x in (there, back)]
    assert estimates[0] == [-value for value in estimates[1]]


def test_tables_by_term_can_be_left_out():
    small = _run(by_term=[], severity_by_term=False, comparison="none")
    assert small["group2"].null_count() == small.height
    assert small.filter(pl.col("stat_name") == "p.value").is_empty()


def test_an_action_that_was_never_recorded_is_not_counted_as_none():
    result = _run(PLANTED.with_columns(aeacn=pl.lit(None, pl.String)))
    rows = result.filter(pl.col("variable") == "AEACN")
    assert rows.select("stat_name", "stat").unique().rows() == [("p", None)]
    assert set(rows["warning"]) == {"not known: no event has an action recorded (AEACN)"}
    assert [str(o.expectation) for o in _verdict(result).outcomes if not o.is_met] == []
    recorded = _run(PLANTED.with_columns(aeacn=pl.lit("DOSE NOT CHANGED")))
    assert _stat(recorded, "n", variable="AEACN", context="incidence", group1_level="Active") == 1


def test_rates_are_per_time_at_risk_of_a_first_event():
    adsl = _adsl().with_columns(trtdurd=pl.lit(100.0))
    # Of ten with 100 days each, two leave the risk after day 50: 900 days; the second event adds nothing.
    adae = _adae(_event("Active0"), _event("Active0"), _event("Active1")).with_columns(
        astdy=pl.Series([50.0, 80.0, 50.0])
    )
    result = _run(adae, adsl=adsl, rates=True).filter(pl.col("context") == "incidence_rate")
    row = {"variable": "TRTEMFL", "group1_level": "Active"}
    assert _stat(result, "estimate", **row) == pytest.approx(2 / 900 * 36525)
    # R 4.2: poisson.test(2, 900 / 36525)$conf.int
    assert _stat(result, "conf.low", **row) == pytest.approx(9.829659888, rel=1e-8)
    assert _stat(result, "conf.high", **row) == pytest.approx(293.201907848, rel=1e-8)
    assert _stat(result, "estimate", variable="TRTEMFL", group1_level="Placebo") == 0
    of_term = {"group2_level": SKIN, "group3_level": "PRURITUS", **row}
    assert _stat(result, "estimate", **of_term) == _stat(result, "estimate", **row)
    assert set(result["unit"]) == {"per 100 patient-years"}
    assert _verdict(_run(adae, adsl=adsl, rates=True)).is_stopped is False
    with pytest.raises(AnalysisError, match=r"rates: adam\.adsl has no trtdurd"):
        _run(adae, rates=True)


def test_an_absent_column_is_named():
    with pytest.raises(AnalysisError, match=r"aeser: adam\.adae has usubjid, trtemfl"):
        _run(PLANTED.drop("aeser"))
    without = _run(PLANTED.drop("aesdth"))
    assert "AESDTH" not in without["variable"].to_list()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"estimands": []}, "at least 1 item"),
        ({"by_term": ["bad"]}, "'any', 'related', 'serious', 'discontinuing' or 'fatal'"),
        ({"confidence_level": 95}, "less than 1"),
        ({"grade": True}, "Extra inputs"),
    ],
)
def test_parameters_are_checked(changes, message):
    with pytest.raises(ValidationError, match=message):
        _run(**changes)


def _verdict(frame):
    return judge(frame, find_suites(SUITES)["results.adverse_events"], lambda _table, _column: [])


def test_output_meets_its_suite():
    single = [{**SAFETY, "reference": None}]
    for result in (
        _run(difference="newcombe", comparison="both"),
        _run(_adae()),
        _run(adsl=_adsl(("Active",)), estimands=single),
    ):
        verdict = _verdict(result)
        assert [str(outcome.expectation) for outcome in verdict.outcomes if not outcome.is_met] == []


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        ("in_set(analysis)", lambda x: x.with_columns(analysis=pl.lit("disposition"))),
        ("in_set(context)", lambda x: x.with_columns(context=pl.lit("anova"))),
        ("in_set(variable)", lambda x: x.with_columns(variable=pl.lit("AGE"))),
        ("in_set(group2)", lambda x: x.with_columns(group2=pl.lit("PARAMCD"))),
        ("in_set(group3)", lambda x: x.with_columns(group3=pl.lit("AVISIT"))),
        ("not_be_null(stat)", lambda x: x.with_columns(stat=pl.lit(None, pl.Float64))),
        ("not_be_null(group2_level)", lambda x: x.with_columns(group2_level=pl.lit(None, pl.String))),
        ("not_be_null(group1_level)", lambda x: x.with_columns(group1_level=pl.lit(None, pl.String))),
        ("not_be_null(variable_level)", lambda x: x.with_columns(variable_level=pl.lit(None, pl.String))),
        ("between(stat)", lambda x: x.with_columns(stat=pl.col("stat") + 2)),
    ],
)
def test_suite_rejects_a_broken_copy(rule, broken):
    verdict = _verdict(broken(_run(difference="newcombe")))
    assert verdict.is_stopped
    assert any(rule in str(outcome.expectation) for outcome in verdict.outcomes if not outcome.is_met)
