from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from expectations.judge import judge
from expectations.suite import find_suites
from tasks.clinical.ard import SCHEMA
from tasks.clinical.exposure import ANALYSIS, ExposureParameters, exposure
from warehouse.errors import AnalysisError

SUITES = Path(__file__).parents[2] / "expectations"
SAFETY = {"id": "safety", "title": "Safety", "population": "saffl", "summary": "description"}
COMPLETERS = {**SAFETY, "id": "completers", "population": "complfl"}
DAYS = {"Placebo": [168, 168, 90, 150], "Active": [168, 30, 60, 20]}


def _adsl():
    rows = [
        {
            "usubjid": f"{arm}{i}",
            "trt01p": arm,
            "trt01pn": float(order),
            "saffl": "Y",
            "complfl": "Y" if days == 168 else "N",
            "trtdurd": days,
            "cumdose": 54.0 * days * order,
        }
        for order, (arm, values) in enumerate(DAYS.items())
        for i, days in enumerate(values)
    ]
    return pl.DataFrame(rows)


def _adex(compliance=(100, 79, 80, 121)):
    rows = []
    for arm, values in DAYS.items():
        for i, days in enumerate(values):
            common = {"usubjid": f"{arm}{i}"}
            rows.append({**common, "paramcd": "TRTDUR", "param": "Days on treatment", "unit": "days"})
            rows[-1]["aval"] = float(days)
            rows.append({**common, "paramcd": "COMPL", "param": "Compliance", "unit": "%"})
            rows[-1]["aval"] = compliance[i]
    return pl.DataFrame(rows, schema_overrides={"aval": pl.Float64})


def _run(adex=None, *, adsl=None, **changes):
    parameters = ExposureParameters.model_validate({"estimands": [SAFETY], **changes})
    return exposure(_adsl() if adsl is None else adsl, adex, parameters=parameters)


def _stat(result, stat_name, **where):
    found = result.filter(
        pl.col("stat_name") == stat_name,
        *[pl.col(name).eq_missing(pl.lit(value)) for name, value in where.items()],
    )
    return found["stat"].item()


def test_record():
    assert (ANALYSIS.reads, ANALYSIS.uses) == (("adam.adsl",), ("adam.adex",))
    assert ANALYSIS.fills == "results.exposure"


def test_a_shorter_treatment_shows_in_the_arm_that_left():
    result = _run(_adex())
    assert dict(result.schema) == SCHEMA
    duration = {"group2_level": "TRTDUR", "context": "continuous"}
    assert _stat(result, "mean", group1_level="Placebo", **duration) == 144
    assert _stat(result, "mean", group1_level="Active", **duration) == 69.5
    assert _stat(result, "median", group1_level="Active", **duration) == 45
    assert _stat(result, "N_obs", group1_level="Total", **duration) == 8
    assert set(result.filter(pl.col("stat_name") == "mean")["unit"]) == {"days", "%"}


def test_adsl_tells_what_it_can_where_there_is_no_adex():
    result = _run()
    assert _stat(result, "mean", group2_level="CUMDOSE", group1_level="Placebo") == 0
    assert _stat(result, "max", group2_level="CUMDOSE", group1_level="Active") == 54 * 168
    assert result["group2_level"].drop_nulls().unique().sort().to_list() == ["CUMDOSE", "TRTDUR"]
    with pytest.raises(AnalysisError, match=r"no adam\.adex, and adam\.adsl has none of trtdurd"):
        _run(adsl=_adsl().drop("trtdurd", "cumdose"))


def test_completers_are_an_estimand_beside_the_safety_set():
    result = _run(estimands=[SAFETY, COMPLETERS])
    row = {"group2_level": "TRTDUR", "group1_level": "Active"}
    assert _stat(result, "N_obs", estimand="safety", **row) == 4
    assert _stat(result, "N_obs", estimand="completers", **row) == 1
    assert _stat(result, "sd", estimand="completers", **row) is None


def test_compliance_counts_those_within_the_range_limits_included():
    within = {"context": "compliant", "group1_level": "Active"}
    assert _stat(_run(_adex()), "n", **within) == 2
    assert _stat(_run(_adex(), compliant=[70, 130]), "n", **within) == 4
    assert _stat(_run(_adex()), "p", **within) == 0.5


def test_those_without_a_dose_count_as_missing():
    adex = _adex().filter(pl.col("usubjid") != "Active1")
    result = _run(adex)
    row = {"group2_level": "TRTDUR", "group1_level": "Active", "context": "continuous"}
    assert (_stat(result, "N_obs", **row), _stat(result, "N_miss", **row)) == (3, 1)


def test_two_records_of_one_participant_are_an_error():
    adex = _adex()
    with pytest.raises(AnalysisError, match="aval: Placebo0 has more than one record"):
        _run(pl.concat([adex, adex.head(1)]))


def test_an_unknown_parameter_lists_what_there_is():
    with pytest.raises(AnalysisError, match="params DOSE: the data have TRTDUR, COMPL"):
        _run(_adex(), params=["DOSE"])
    assert set(_run(_adex(), params=["TRTDUR"])["group2_level"].drop_nulls()) == {"TRTDUR"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"compliant": [120, 80]}, "120.0 to 80.0: must be a range"),
        ({"estimands": []}, "at least 1 item"),
        ({"dose": 1}, "Extra inputs"),
    ],
)
def test_parameters_are_checked(changes, message):
    with pytest.raises(ValidationError, match=message):
        _run(**changes)


def _verdict(frame):
    return judge(frame, find_suites(SUITES)["results.exposure"], lambda _table, _column: [])


def test_output_meets_its_suite():
    single = _adsl().filter(pl.col("trt01p") == "Active")
    for result in (_run(), _run(_adex()), _run(_adex(), adsl=single), _run(estimands=[COMPLETERS])):
        verdict = _verdict(result)
        assert [str(outcome.expectation) for outcome in verdict.outcomes if not outcome.is_met] == []


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        ("in_set(analysis)", lambda x: x.with_columns(analysis=pl.lit("disposition"))),
        ("in_set(context)", lambda x: x.with_columns(context=pl.lit("anova"))),
        ("in_set(variable)", lambda x: x.with_columns(variable=pl.lit("AGE"))),
        ("not_be_null(stat)", lambda x: x.with_columns(stat=pl.lit(None, pl.Float64))),
        ("not_be_null(group2_level)", lambda x: x.with_columns(group2_level=pl.lit(None, pl.String))),
        ("not_be_null(group1_level)", lambda x: x.with_columns(group1_level=pl.lit(None, pl.String))),
        ("between(stat)", lambda x: x.with_columns(stat=-pl.col("stat"))),
    ],
)
def test_suite_rejects_a_broken_copy(rule, broken):
    verdict = _verdict(broken(_run(_adex())))
    assert verdict.is_stopped
    assert any(rule in str(outcome.expectation) for outcome in verdict.outcomes if not outcome.is_met)
