from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from expectations.judge import judge
from expectations.suite import find_suites
from tasks.clinical.ard import SCHEMA
from tasks.clinical.vital_signs import ANALYSIS, VitalSignsParameters, vital_signs
from warehouse.errors import AnalysisError

SUITES = Path(__file__).parents[2] / "expectations"
SAFETY = {"id": "safety", "title": "Safety", "population": "saffl", "summary": "description"}
VISITS = {"Baseline": 0.0, "Week 4": 4.0, "End of Treatment": 99.0}
POSITIONS = {"LYING": 1.0, "STANDING": 2.0}


def _adsl(arms=("Placebo", "Active"), size=4):
    return pl.DataFrame(
        [
            {"usubjid": f"{arm}{i}", "trt01p": arm, "trt01pn": float(order), "saffl": "Y"}
            for order, arm in enumerate(arms)
            for i in range(size)
        ]
    )


def _advs(effect=-10.0):
    """Blood pressure 120, 122, ...; standing 5 lower; the active arm changes by `effect`."""
    rows = []
    for subject in _adsl().iter_rows(named=True):
        for position, number in POSITIONS.items():
            base = 120.0 + 2 * int(subject["usubjid"][-1]) - 5 * (position == "STANDING")
            for avisit, avisitn in VISITS.items():
                later = avisit != "Baseline"
                change = effect if later and subject["trt01p"] == "Active" else 0.0
                rows.append(
                    {
                        "usubjid": subject["usubjid"],
                        "paramcd": "SYSBP",
                        "param": "Systolic blood pressure (mmHg)",
                        "unit": "mmHg",
                        "atpt": position,
                        "atptn": number,
                        "avisit": avisit,
                        "avisitn": avisitn,
                        "aval": base + change,
                        "base": base,
                        "chg": change,
                        "pchg": 100 * change / base,
                        "ablfl": None if later else "Y",
                        "anl01fl": "Y",
                        "dtype": "LOV" if avisit == "End of Treatment" else None,
                    }
                )
    return pl.DataFrame(rows, schema_overrides={"ablfl": pl.String, "dtype": pl.String})


def _run(advs=None, *, adsl=None, **changes):
    parameters = VitalSignsParameters.model_validate({"estimands": [SAFETY], **changes})
    frame = _advs() if advs is None else advs
    return vital_signs(_adsl() if adsl is None else adsl, frame, parameters=parameters)


def _stat(result, stat_name, **where):
    found = result.filter(
        pl.col("stat_name") == stat_name,
        *[pl.col(name).eq_missing(pl.lit(value)) for name, value in where.items()],
    )
    return found["stat"].item()


LYING = {"variable_level": "LYING", "group3_level": "Week 4"}


def test_record():
    assert ANALYSIS.reads == ("adam.adsl", "adam.advs")
    assert ANALYSIS.fills == "results.vital_signs"


def test_a_planted_fall_shows_in_its_arm_only():
    result = _run()
    assert dict(result.schema) == SCHEMA
    assert _stat(result, "mean", variable="CHG", group1_level="Active", **LYING) == -10
    assert _stat(result, "mean", variable="CHG", group1_level="Placebo", **LYING) == 0
    assert _stat(result, "mean", variable="AVAL", group1_level="Active", **LYING) == 113
    assert set(result.filter(pl.col("stat_name") == "mean")["unit"]) == {"mmHg"}


def test_without_an_effect_every_change_is_zero():
    changes = _run(_advs(effect=0)).filter(pl.col("variable") == "CHG", pl.col("stat_name") == "mean")
    assert set(changes["stat"]) == {0.0}


def test_positions_are_kept_apart_and_in_order():
    result = _run().filter(pl.col("variable") == "AVAL", pl.col("group3_level") == "Baseline")
    lying = _stat(result, "mean", variable_level="LYING", group1_level="Placebo")
    assert lying - _stat(result, "mean", variable_level="STANDING", group1_level="Placebo") == 5
    levels = result["variable_level"].unique(maintain_order=True).to_list()
    assert levels == ["LYING", "STANDING"]


def test_change_has_no_baseline_and_the_end_of_treatment_is_a_visit():
    result = _run()
    visits = {
        variable: result.filter(pl.col("variable") == variable)["group3_level"].unique(maintain_order=True)
        for variable in ("AVAL", "CHG")
    }
    assert visits["AVAL"].to_list() == ["Baseline", "Week 4", "End of Treatment"]
    assert visits["CHG"].to_list() == ["Week 4", "End of Treatment"]


def test_missing_participants_are_counted():
    gone = (pl.col("usubjid") == "Active0") & (pl.col("avisit") == "Week 4")
    result = _run(_advs().filter(~gone))
    row = {"variable": "CHG", "group1_level": "Active", **LYING}
    assert (_stat(result, "N_obs", **row), _stat(result, "N_miss", **row)) == (3, 1)


def test_the_chosen_record_of_a_visit_counts_alone():
    again = (
        _advs()
        .filter(pl.col("avisit") == "Week 4")
        .with_columns(aval=pl.lit(300.0), anl01fl=pl.lit(None, pl.String))
    )
    unplanned = _advs().filter(pl.col("avisit") == "Week 4").with_columns(avisit=pl.lit(None, pl.String))
    highest = _advs().filter(pl.col("avisit") == "Week 4").with_columns(dtype=pl.lit("MAXIMUM"))
    assert _run(pl.concat([_advs(), again, unplanned, highest])).equals(_run())


def test_two_chosen_records_are_an_error():
    advs = _advs()
    with pytest.raises(
        AnalysisError, match="more than one record of paramcd SYSBP, atpt LYING, avisit Week 4"
    ):
        _run(pl.concat([advs, advs.filter(pl.col("avisit") == "Week 4")]))


def test_visits_parameters_and_percent_change_can_be_chosen():
    result = _run(visits=["Week 4"], params=["SYSBP"], percent_change=["SYSBP"])
    assert set(result["group3_level"].drop_nulls()) == {"Week 4"}
    percent = result.filter(pl.col("variable") == "PCHG", pl.col("stat_name") == "max")
    assert set(percent["unit"]) == {"%"}


def test_those_without_a_baseline_can_be_left_out():
    advs = _advs().with_columns(base=pl.when(pl.col("usubjid") != "Active0").then("base"))
    row = {"variable": "AVAL", "group1_level": "Active", **LYING}
    assert _stat(_run(advs), "N_obs", **row) == 4
    assert _stat(_run(advs, with_baseline_only=True), "N_obs", **row) == 3


def test_a_study_without_positions_has_none():
    advs = _advs().filter(pl.col("atpt") == "LYING").drop("atpt", "atptn")
    result = _run(advs)
    assert result["variable_level"].null_count() == result.height
    row = {"variable": "CHG", "group1_level": "Active", "group3_level": "Week 4"}
    assert _stat(result, "mean", **row) == -10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"params": ["TEMP"]}, "paramcd TEMP: adam.advs has SYSBP"),
        ({"visits": ["Week 99"]}, "avisit Week 99: adam.advs has Baseline, End of Treatment, Week 4"),
        ({"percent_change": ["WEIGHT"]}, "paramcd WEIGHT: adam.advs has SYSBP"),
    ],
)
def test_what_the_data_do_not_have_is_named(changes, message):
    with pytest.raises(AnalysisError, match=message):
        _run(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"estimands": []}, "at least 1 item"), ({"position": "LYING"}, "Extra inputs")],
)
def test_parameters_are_checked(changes, message):
    with pytest.raises(ValidationError, match=message):
        _run(**changes)


def _verdict(frame):
    return judge(frame, find_suites(SUITES)["results.vital_signs"], lambda _table, _column: ["SYSBP"])


def test_output_meets_its_suite():
    for result in (_run(percent_change=["SYSBP"]), _run(adsl=_adsl(("Active",)))):
        verdict = _verdict(result)
        assert [str(outcome.expectation) for outcome in verdict.outcomes if not outcome.is_met] == []


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        ("in_set(analysis)", lambda x: x.with_columns(analysis=pl.lit("disposition"))),
        ("in_set(context)", lambda x: x.with_columns(context=pl.lit("anova"))),
        ("in_set(variable)", lambda x: x.with_columns(variable=pl.lit("AGE"))),
        ("in_set(group2_level)", lambda x: x.with_columns(group2_level=pl.lit("TEMP"))),
        ("not_be_null(stat)", lambda x: x.with_columns(stat=pl.lit(None, pl.Float64))),
        ("not_be_null(group3_level)", lambda x: x.with_columns(group3_level=pl.lit(None, pl.String))),
        ("not_be_null(group1_level)", lambda x: x.with_columns(group1_level=pl.lit(None, pl.String))),
    ],
)
def test_suite_rejects_a_broken_copy(rule, broken):
    verdict = _verdict(broken(_run()))
    assert verdict.is_stopped
    assert any(rule in str(outcome.expectation) for outcome in verdict.outcomes if not outcome.is_met)
