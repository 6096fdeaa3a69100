from __future__ import annotations

import polars as pl
import pytest
from pydantic import ValidationError

from tasks.clinical.ard import SCHEMA
from tasks.clinical.p_value_forensics import ANALYSIS, PValueForensicsParameters, p_value_forensics

# The summary published for the trial that the simulated study is modelled on.
PUBLISHED = {
    "id": "week_12",
    "p": ".003",
    "n": 12,
    "mean": 58.2,
    "sd": 28.7,
    "unit": "%",
    "source": "abstract",
}


@pytest.fixture
def run(make_trial, falling, estimand):
    def compute(published=None, **changes):
        trial = make_trial({"Cream": falling})
        parameters = PValueForensicsParameters.model_validate(
            {"estimands": [estimand()], "published": [PUBLISHED | (published or {})], **changes}
        )
        return p_value_forensics(trial.adsl, parameters=parameters)

    return compute


def _found(result, context, *parts):
    keep = pl.col("context") == context
    for part in parts:
        keep &= pl.col("variable_level").str.contains(part, literal=True)
    rows = result.filter(keep)
    p_value = rows.filter(stat_name="p.value")["stat"].item()
    return p_value, bool(rows.filter(stat_name="reproduces")["stat"].item())


def test_record():
    assert ANALYSIS.fills == "results.p_value_forensics"
    assert ANALYSIS.reads == ("adam.adsl",)


def test_the_t_test_of_the_published_summary_is_not_the_published_test(run):
    result = run()
    assert dict(result.schema) == SCHEMA
    # t(11) = 58.2 / (28.7 / sqrt(12)) = 7.02.
    p_value, reproduces = _found(result, "paired_t", "two-sided")
    assert p_value == pytest.approx(2.2e-5, abs=5e-7)
    assert not reproduces


@pytest.mark.parametrize(
    ("parts", "p_value", "reproduces"),
    [
        (("without correction", "n=12", "W-=0"), 0.0022, False),
        (("with correction", "n=12", "W-=0"), 0.0025, True),
        (("without correction", "n=12", "W-=1"), 0.0029, True),
        (("with correction", "n=12", "W-=1"), 0.0033, True),
        (("exact", "n=12", "W-=0"), 0.00049, False),
    ],
)
def test_the_signed_rank_settings_give_the_known_values(run, parts, p_value, reproduces):
    found, is_reproduced = _found(run(), "signed_rank", "two-sided", *parts)
    assert found == pytest.approx(p_value, abs=6e-5)
    assert is_reproduced is reproduces


def test_the_summary_counts_what_was_tried(run, stat):
    result = run()
    tried = result.filter(stat_name="reproduces")
    assert stat(result, "n_settings", context="summary") == tried.height
    assert stat(result, "n_reproducing", context="summary") == tried["stat"].sum() > 0
    assert stat(result, "published", context="published") == ".003"
    assert stat(result, "mean", context="published") == 58.2


def test_fewer_assumptions_try_fewer_settings(run):
    assert run(largest_rank_sum_negative=0, most_dropped=0).height < run().height


def test_a_p_value_that_nothing_gives_is_said(run):
    result = run({"p": "0.91234567", "mean": None, "sd": None})
    summary = result.filter(context="summary", stat_name="n_reproducing")
    assert summary.select("stat", "warning").rows() == [
        (0.0, "no setting that was tried reproduces the published p-value")
    ]
    assert "paired_t" not in result["context"].to_list()


def test_a_bound_is_met_by_everything_below_it(run):
    result = run({"p": "<0.001"})
    assert _found(result, "signed_rank", "exact", "two-sided", "n=12", "W-=0") == (2 / 4096, True)


@pytest.mark.parametrize(
    ("published", "message"),
    [
        ({"p": "significant"}, "must be a number such as 0.003"),
        ({"p": "1.5"}, "above 0 and at most 1"),
        ({"n": 1}, "greater than or equal to 2"),
        ({"sd": None}, "mean"),
        ({"source": ""}, "at least 1 character"),
        ({"id": "Week 12"}, "match pattern"),
    ],
)
def test_parameters_are_checked(run, published, message):
    with pytest.raises(ValidationError, match=message):
        run(published)


def test_each_published_value_stands_once(estimand):
    twice = {"estimands": [estimand()], "published": [PUBLISHED, PUBLISHED]}
    with pytest.raises(ValidationError, match="each id at most once"):
        PValueForensicsParameters.model_validate(twice)


def test_output_meets_its_suite(run, unmet):
    assert unmet(run(), "p_value_forensics") == []


def test_suite_rejects_a_broken_copy(run, unmet, broken):
    broken(run(), unmet, "p_value_forensics")


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("in_set(group2)", {"group2": pl.lit("PARAMCD")}),
        ("not_be_null(group2_level)", {"group2_level": pl.lit(None, pl.String)}),
        ("in_set(is_confirmatory)", {"is_confirmatory": pl.lit(value=True)}),
        ("in_set(stat)", {"stat": pl.lit(0.5)}),
        ("not_be_null(variable_level)", {"variable_level": pl.lit(None, pl.String)}),
    ],
)
def test_suite_rejects_rows_that_readers_would_not_find(run, unmet, rule, change):
    wrong = unmet(run().with_columns(**change), "p_value_forensics")
    assert any(rule in name for name in wrong), wrong
