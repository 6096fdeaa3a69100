from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from expectations.judge import judge
from expectations.suite import find_suites
from tasks.clinical.ard import described, statistics, table
from tasks.clinical.participant_counts import (
    ANALYSIS,
    SCHEMA,
    ParticipantCountsParameters,
    participant_counts,
)
from tasks.clinical.population import population_of
from warehouse.errors import AnalysisError
from warehouse.study import Estimand

SUITE = find_suites(Path(__file__).parents[2] / "expectations")["results.participant_counts"]
ESTIMAND = Estimand(id="safety", title="Safety", population="saffl", summary="counts")


def _adsl(n=6):
    return pl.DataFrame(
        {
            "usubjid": [f"S{i}" for i in range(n)],
            "trt01p": ["A", "B"] * (n // 2),
            "trt01pn": [1.0, 2.0] * (n // 2),
            "saffl": ["Y"] * (n - 1) + ["N"],
            "sex": ["F", "M"] * (n // 2),
            "age": [50.0 + i for i in range(n)],
            "eosstt": ["COMPLETED"] * n,
        }
    )


def _stated(adsl, estimand=ESTIMAND):
    population = population_of(adsl, estimand)
    rows = list(population.rows())
    for column in population.columns:
        address = population.address(column, "AGE")
        rows += statistics(address, "continuous", described(population.members(column)["age"]))
        women = population.members(column).filter(pl.col("sex") == "F").height
        rows += statistics(population.address(column, "SEX", variable_level="F"), "categorical", {"n": women})
    return table("table_1", rows)


def _run(stated, adsl=None, *, demographics=None, estimands=(ESTIMAND,)):
    parameters = ParticipantCountsParameters(estimands=estimands)
    return participant_counts(_adsl() if adsl is None else adsl, stated, demographics, parameters=parameters)


def _broken(result):
    return set(result.filter(~pl.col("is_reconciled"))["rule"])


def test_tables_that_add_up_are_reconciled():
    result = _run(_stated(_adsl()))
    assert dict(result.schema) == SCHEMA
    assert _broken(result) == set()
    assert result["rule"].n_unique() == 5
    counted = result.filter(pl.col("rule") == "a population is its set counted anew")
    assert dict(zip(counted["arm"], counted["n_stated"], strict=True)) == {"A": 3, "B": 2, "Total": 5}
    verdict = judge(result, SUITE, lambda _table, _column: [])
    assert not verdict.is_stopped


@pytest.mark.parametrize(
    ("context", "stat_name", "level", "rule"),
    [
        ("population", "N", "A", "a population is its set counted anew"),
        ("population", "N", "Total", "arms add up to the total"),
        ("continuous", "N_miss", "A", "values and missing values add up to the population"),
        ("categorical", "n", "A", "nobody is counted who is not in the population"),
    ],
)
def test_one_number_off_is_found_and_stops_the_stage(context, stat_name, level, rule):
    off = (
        (pl.col("context") == context)
        & (pl.col("stat_name") == stat_name)
        & (pl.col("group1_level") == level)
    )
    stated = _stated(_adsl()).with_columns(
        pl.when(off).then(pl.col("stat") + 7).otherwise(pl.col("stat")).alias("stat")
    )
    result = _run(stated)
    assert rule in _broken(result)
    assert judge(result, SUITE, lambda _table, _column: []).is_stopped


def test_a_subgroup_is_counted_within_its_values():
    women = ESTIMAND.model_copy(update={"id": "women", "subgroup": {"sex": ("F",)}})
    result = _run(_stated(_adsl(), women), estimands=(women,))
    assert _broken(result) == set()
    counted = result.filter(pl.col("rule") == "a population is its set counted anew")
    assert counted["n_stated"].to_list() == [3]


def test_the_flow_itself_adds_up():
    screened = pl.DataFrame({"usubjid": [f"S{i}" for i in range(9)]})
    result = _run(_stated(_adsl()), demographics=screened)
    flow = result.filter(pl.col("rule") == "screened is enrolled and not enrolled").row(0, named=True)
    assert (flow["n_stated"], flow["n_expected"], flow["is_reconciled"]) == (9, 9, True)
    unknown = screened.head(4)
    assert "screened is enrolled and not enrolled" in _broken(_run(_stated(_adsl()), demographics=unknown))


def test_an_unknown_end_of_study_is_found():
    adsl = _adsl().with_columns(pl.lit("LOST").alias("eosstt"))
    rule = "every enrolled participant completed, discontinued or is in the study"
    assert rule in _broken(_run(_stated(_adsl()), adsl))


def test_an_undeclared_estimand_is_refused():
    with pytest.raises(AnalysisError, match="table_1: estimand safety: not declared"):
        _run(_stated(_adsl()), estimands=())


def test_record():
    assert ANALYSIS.reads == ("adam.adsl", "results.clinical_statistics")
    assert ANALYSIS.uses == ("sdtm.dm",)
