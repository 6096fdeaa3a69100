from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from expectations.judge import judge
from expectations.suite import find_suites
from tasks.clinical.ard import SCHEMA
from tasks.clinical.disposition import ANALYSIS, DispositionParameters, disposition
from warehouse.errors import AnalysisError

SUITES = Path(__file__).parents[2] / "expectations"
SAFETY = {"id": "safety", "title": "Safety", "population": "saffl", "summary": "counts"}


def _adsl(completed=9, of=10, *, reason="ADVERSE EVENT"):
    """Two arms: all of Placebo complete, `completed` of the Active ones do."""
    rows = []
    for arm, stays in (("Placebo", of), ("Active", completed)):
        for i in range(of):
            done = i < stays
            rows.append(
                {
                    "usubjid": f"{arm[0]}{i:02}",
                    "siteid": "701" if i % 2 else "702",
                    "sitegr1": "701" if i % 2 else "900",
                    "trt01p": arm,
                    "trt01pn": 0.0 if arm == "Placebo" else 50.0,
                    "saffl": "Y",
                    "efffl": "Y" if i else "N",
                    "complfl": "Y" if done else "N",
                    "eosstt": "COMPLETED" if done else "DISCONTINUED",
                    "dcsreas": None if done else reason,
                }
            )
    return pl.DataFrame(rows, schema_overrides={"dcsreas": pl.String})


def _run(adsl=None, **changes):
    parameters = DispositionParameters.model_validate({"estimands": [SAFETY], **changes})
    return disposition(_adsl() if adsl is None else adsl, parameters=parameters)


def _stat(result, stat_name, **where):
    found = result.filter(
        pl.col("stat_name") == stat_name,
        *[pl.col(name).eq_missing(pl.lit(value)) for name, value in where.items()],
    )
    return found["stat"].item()


def test_record():
    assert ANALYSIS.reads == ("adam.adsl",)
    assert ANALYSIS.fills == "results.disposition"


def test_completion_and_reasons_are_counted_by_arm():
    result = _run(_adsl(completed=2))
    assert dict(result.schema) == SCHEMA
    for arm, n in (("Placebo", 10), ("Active", 2), ("Total", 12)):
        assert _stat(result, "n", context="completion", variable="COMPLFL", group1_level=arm) == n
        assert _stat(result, "n", variable="EOSSTT", variable_level="COMPLETED", group1_level=arm) == n
    # R 4.2: fisher.test(matrix(c(10, 2, 0, 8), 2))$p.value
    fisher = _stat(result, "p.value", variable="COMPLFL", context="fisher", group1_level=None)
    assert fisher == pytest.approx(0.000714456, rel=1e-6)
    left = {"variable": "DCSREAS", "variable_level": "ADVERSE EVENT"}
    assert _stat(result, "n", group1_level="Active", **left) == 8
    assert _stat(result, "p", group1_level="Active", **left) == 0.8


def test_no_difference_is_not_found():
    result = _run(_adsl(completed=10))
    assert _stat(result, "p.value", variable="COMPLFL", context="fisher", group1_level=None) == 1
    assert result.filter(pl.col("variable") == "DCSREAS").is_empty()


def test_a_reason_that_nobody_wrote_down_is_shown_as_missing():
    result = _run(_adsl(completed=7, reason=None))
    assert _stat(result, "n", variable="DCSREAS", variable_level="Missing", group1_level="Active") == 3


def test_reasons_may_be_asked_of_those_without_another_flag():
    adsl = _adsl(completed=7).with_columns(comp24fl=pl.when(pl.col("usubjid") != "A09").then(pl.lit("Y")))
    result = _run(adsl, reason_unless="comp24fl")
    level = {"variable": "DCSREAS", "variable_level": "ADVERSE EVENT"}
    assert _stat(result, "n", group1_level="Active", **level) == 1


def test_every_flag_of_adsl_is_a_set_unless_some_are_named():
    of_set = pl.col("context") == "analysis_set"
    assert set(_run().filter(of_set)["variable"]) == {"SAFFL", "EFFFL", "COMPLFL"}
    assert set(_run(sets=["efffl"]).filter(of_set)["variable"]) == {"EFFFL"}
    assert _stat(_run(), "n", context="analysis_set", variable="EFFFL", group1_level="Total") == 18


def test_sites_add_up_to_the_population():
    result = _run(site_sets=["efffl"]).filter(pl.col("context") == "site", pl.col("stat_name") == "n")
    everybody = result.filter(pl.col("group3").is_null(), pl.col("group1_level") == "Total")
    assert everybody["stat"].sum() == 20
    assert set(everybody["group2_level"]) == {"701", "900"}
    in_set = result.filter(pl.col("group3") == "EFFFL", pl.col("group1_level") == "Total")
    assert in_set["stat"].sum() == 18


def test_arms_can_be_compared_pair_by_pair_or_not_at_all():
    pairs = _run(comparison="pairwise").filter(pl.col("context") == "fisher")
    assert set(pairs["group1_level"]) == {"Active"}
    assert set(pairs["group1_reference"]) == {"Placebo"}
    assert _run(comparison="none").filter(pl.col("stat_name") == "p.value").is_empty()


def test_a_single_arm_has_intervals_instead_of_tests():
    result = _run(_adsl().filter(pl.col("trt01p") == "Active"))
    assert result.filter(pl.col("stat_name") == "p.value").is_empty()
    assert "Total" not in result["group1_level"].to_list()
    # Clopper-Pearson, 9 of 10: qbeta(.025, 9, 2) and qbeta(.975, 10, 1) of R.
    assert _limits(result) == pytest.approx((0.554983883, 0.9974714215), abs=1e-9)


def _limits(result):
    rows = result.filter(pl.col("context") == "clopper_pearson", pl.col("variable") == "EOSSTT")
    rows = rows.filter(pl.col("variable_level") == "COMPLETED")
    return tuple(
        rows.filter(pl.col("stat_name") == name)["stat"].item() for name in ("conf.low", "conf.high")
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sets": ["nonefl"]}, "nonefl: must be flags of adam.adsl: saffl, efffl, complfl"),
        ({"reason": "dthcaus"}, "reason dthcaus: adam.adsl has"),
        ({"estimands": [{**SAFETY, "population": "pprotfl"}]}, "pprotfl: adam.adsl has"),
    ],
)
def test_what_adsl_does_not_have_is_named(changes, message):
    with pytest.raises(AnalysisError, match=message):
        _run(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"estimands": []}, "at least 1 item"),
        ({"comparison": "all"}, "'none', 'overall', 'pairwise' or 'both'"),
        ({"sets": ["SAFFL"]}, "pattern"),
        ({"percent": True}, "Extra inputs"),
    ],
)
def test_parameters_are_checked(changes, message):
    with pytest.raises(ValidationError, match=message):
        _run(**changes)


def _verdict(frame):
    return judge(frame, find_suites(SUITES)["results.disposition"], lambda _table, _column: [])


@pytest.mark.parametrize("comparison", ["overall", "both", "none"])
def test_output_meets_its_suite(comparison):
    for adsl in (_adsl(), _adsl().filter(pl.col("trt01p") == "Active"), _adsl(completed=10)):
        verdict = _verdict(_run(adsl, comparison=comparison, site_sets=["efffl"]))
        assert [str(outcome.expectation) for outcome in verdict.outcomes if not outcome.is_met] == []


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        ("in_set(analysis)", lambda x: x.with_columns(analysis=pl.lit("exposure"))),
        ("in_set(context)", lambda x: x.with_columns(context=pl.lit("anova"))),
        ("not_be_null(stat)", lambda x: x.with_columns(stat=pl.lit(None, pl.Float64))),
        ("not_be_null(variable_level)", lambda x: x.with_columns(variable_level=pl.lit(None, pl.String))),
        ("not_be_null(group1_level)", lambda x: x.with_columns(group1_level=pl.lit(None, pl.String))),
    ],
)
def test_suite_rejects_a_broken_copy(rule, broken):
    verdict = _verdict(broken(_run(comparison="both")))
    assert verdict.is_stopped
    assert any(rule in str(outcome.expectation) for outcome in verdict.outcomes if not outcome.is_met)
