from __future__ import annotations

import polars as pl
import pytest

from tasks.clinical.ard import SCHEMA
from tasks.clinical.change_from_baseline import (
    ANALYSIS,
    ChangeFromBaselineParameters,
    change_from_baseline,
)
from warehouse.errors import AnalysisError

# R: sleep, extra in group 2 minus group 1: t = 4.0621, p = .002833, interval (.7001142, 2.4598858).
SLEEP = [(0.7, 1.9), (-1.6, 0.8), (-0.2, 1.1), (-1.2, 0.1), (-0.1, -0.1), (3.4, 4.4), (3.7, 5.5), (0.8, 1.6)]
SLEEP += [(0.0, 4.6), (2.0, 3.4)]


@pytest.fixture
def run(make_trial, estimand):
    def compute(pairs=SLEEP, *, arms=None, about=None, **changes):
        arms = arms or {"Drug": pairs}
        trial = make_trial(
            {arm: [[before, before, before, after] for before, after in own] for arm, own in arms.items()}
        )
        parameters = ChangeFromBaselineParameters.model_validate(
            {"estimands": [estimand(**(about or {}))], **changes}
        )
        return change_from_baseline(trial.adsl, trial.adqs, parameters=parameters)

    return compute


def test_record():
    assert ANALYSIS.fills == "results.change_from_baseline"
    assert ANALYSIS.reads == ("adam.adsl", "adam.adqs")


def test_the_sleep_data_come_out_as_in_r(run, stat):
    result = run()
    assert dict(result.schema) == SCHEMA
    assert stat(result, "statistic", context="paired_t") == pytest.approx(4.0621, abs=5e-5)
    assert stat(result, "p.value", context="paired_t") == pytest.approx(0.002833, abs=5e-7)
    assert stat(result, "conf.low", context="mean_change") == pytest.approx(0.7001142, abs=5e-8)
    assert stat(result, "conf.high", context="mean_change") == pytest.approx(2.4598858, abs=5e-8)
    # Nine changes that are not zero, all up: 2 / 2^9.
    assert stat(result, "p.value", context="signed_rank_exact") == pytest.approx(2 / 2**9)
    decides = result.filter(pl.col("is_confirmatory"))
    assert decides["context"].to_list() == ["signed_rank_exact"]


def test_the_declared_test_decides(run):
    decides = run(decides="paired_t").filter(pl.col("is_confirmatory"))
    assert decides["context"].to_list() == ["paired_t"]


def test_arms_are_described_and_none_decides(run, stat):
    result = run(arms={"Drug": SLEEP, "Vehicle": [(after, before) for before, after in SLEEP]})
    assert not result["is_confirmatory"].any()
    one = stat(result, "estimate", context="mean_change", group1_level="Drug")
    other = stat(result, "estimate", context="mean_change", group1_level="Vehicle")
    assert one == pytest.approx(-other)


def test_a_missing_value_is_counted_and_named(run, stat):
    result = run([*SLEEP, (1.0, None)])
    assert stat(result, "N_miss", context="continuous", variable="CHG") == 1
    rows = result.filter(context="paired_t")
    assert rows["warning"].str.contains("1 of 11 without CHG left out: D11").all()


def test_no_change_at_all_is_said_and_not_computed(run):
    result = run([(1.0, 1.0)] * 4)
    tests = result.filter(pl.col("stat_name") == "p.value", context="signed_rank_exact")
    assert tests["stat"].to_list() == [None]
    assert tests["error"].str.starts_with("not estimable").all()


def test_a_value_is_no_change(run):
    with pytest.raises(AnalysisError, match="variable aval: a change is chg or pchg"):
        run(about={"variable": "aval"})


def test_the_result_meets_its_suite(run, unmet):
    assert unmet(run(), "change_from_baseline") == []


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("context", "guess", "in_set(context)"),
        ("group1_reference", "Vehicle", "be_null(group1_reference)"),
    ],
)
def test_the_suite_rejects_a_broken_copy(run, unmet, column, value, rule):
    wrong = unmet(run().with_columns(pl.lit(value).alias(column)), "change_from_baseline")
    assert any(rule in text for text in wrong)
