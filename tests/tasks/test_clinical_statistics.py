from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from expectations.judge import judge
from expectations.suite import find_suites
from tasks.analyses import ANALYSES, GATHERING
from tasks.clinical.ard import SCHEMA, Address, described, statistics, table
from tasks.clinical.clinical_statistics import (
    ANALYSIS,
    GATHERED,
    ClinicalStatisticsParameters,
    clinical_statistics,
)
from warehouse.errors import AnalysisError
from warehouse.study import Estimand, Family

SUITE = find_suites(Path(__file__).parents[2] / "expectations")["results.clinical_statistics"]


def _estimand(name, family="secondary"):
    return Estimand(id=name, title=name, population="fasfl", summary="mean", family=family)


def _result(analysis, estimand, p_value, **more):
    address = Address(estimand=estimand, group1="TRT01P", group1_level="A", variable="CHG")
    rows = [
        *statistics(address, "population", {"N": 12}),
        *statistics(
            address,
            "paired_t",
            {"estimate": -1.5, "p.value": p_value},
            method="t",
            is_confirmatory=True,
            **more,
        ),
    ]
    return table(analysis, rows)


def _run(results, estimands, method="holm"):
    frames = [results.get(name) for name in GATHERED]
    parameters = ClinicalStatisticsParameters(
        estimands=estimands, families={"secondary": Family(method=method)}
    )
    return clinical_statistics(*frames, parameters=parameters)


def _adjusted(result):
    rows = result.filter(pl.col("stat_name") == "p.value.adjusted")
    return dict(zip(rows["estimand"], rows["stat"], strict=True))


def test_results_are_gathered_and_p_values_adjusted_in_their_family():
    one, two, other = _estimand("one"), _estimand("two"), _estimand("other", None)
    result = _run(
        {
            "treatment_comparison": _result("treatment_comparison", one, 0.03),
            "responders": _result("responders", two, 0.02),
            "exposure": _result("exposure", other, 0.5),
        },
        (one, two, other),
    )
    assert dict(result.schema) == SCHEMA
    assert set(result["analysis"]) == {"treatment_comparison", "responders", "exposure"}
    # Holm: the smaller doubled, the larger not below it.
    assert _adjusted(result) == {"two": pytest.approx(0.04), "one": pytest.approx(0.04)}
    assert result.filter(pl.col("estimand") == "other", pl.col("family").is_not_null()).is_empty()
    assert not judge(result, SUITE, lambda _table, _column: []).is_stopped


def test_a_fixed_sequence_follows_the_order_of_the_estimands():
    one, two = _estimand("one"), _estimand("two")
    results = {
        "treatment_comparison": _result("treatment_comparison", one, 0.03),
        "responders": _result("responders", two, 0.2),
    }
    assert _adjusted(_run(results, (one, two), "fixed-sequence")) == {"one": 0.03, "two": 0.2}
    assert _adjusted(_run(results, (two, one), "fixed-sequence")) == {"two": 0.2, "one": 0.2}
    assert _adjusted(_run(results, (one, two), "none")) == {}


def test_a_family_with_a_missing_p_value_is_refused():
    one = _estimand("one")
    lost = _result("responders", one, None, error="not estimable: nobody has a value")
    with pytest.raises(AnalysisError, match="family secondary: no p-value for one"):
        _run({"responders": lost}, (one,))


def test_a_row_that_says_nothing_is_refused():
    one = _estimand("one")
    address = Address(estimand=one, variable="AGE")
    with pytest.raises(ValueError, match="continuous: mean: None: a missing statistic must say why"):
        list(statistics(address, "continuous", {"mean": None}))
    rows = [
        *statistics(address, "continuous", {"mean": 1.0}),
        *statistics(address, "continuous", {"mean": 2.0}),
    ]
    with pytest.raises(ValueError, match="exposure: 2 rows share an address"):
        table("exposure", rows)


@pytest.mark.parametrize(
    ("column", "value"),
    [("estimand", None), ("stat_name", None), ("method", None), ("stat", 0.0), ("context", None)],
)
def test_the_suite_rejects_a_broken_copy(column, value):
    result = _run({"responders": _result("responders", _estimand("one"), 0.03)}, (_estimand("one"),))
    broken = result.with_columns(pl.lit(value, dtype=SCHEMA[column]).alias(column))
    assert judge(broken, SUITE, lambda _table, _column: []).is_stopped


def test_quartiles_are_those_of_sas():
    # SAS PROC UNIVARIATE, definition 5, of 1 to 10: 3, 5.5, 8.
    summary = described(pl.Series([float(i) for i in range(1, 11)]))
    assert [summary[name] for name in ("p25", "median", "p75")] == [3.0, 5.5, 8.0]
    assert described(pl.Series([2.0, None]))["N_miss"] == 1
    assert described(pl.Series([], dtype=pl.Float64))["mean"] is None


def test_every_gathered_analysis_exists_and_has_the_shape():
    known = {analysis.name for analysis in ANALYSES}
    assert set(GATHERED) <= known
    assert tuple(f"results.{name}" for name in GATHERED) == ANALYSIS.uses
    assert ANALYSIS in GATHERING
