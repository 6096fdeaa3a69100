"""The gate: a rule that compares with a table which a study does not make is recorded as not judged."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace

import duckdb
import pytest

from expectations.suite import Suite
from tasks.gate import judge_table
from warehouse.errors import StudyError
from warehouse.identifying import Identifiers
from warehouse.study import load_study

NOT_NULL = {
    "type": "expect_column_values_to_not_be_null",
    "kwargs": {"column": "usubjid"},
    "severity": "critical",
    "notes": "A record of nobody.",
}
KNOWN = {
    "type": "expect_column_values_to_be_in_set",
    "kwargs": {"column": "usubjid", "value_set": {"table": "sdtm.dm", "column": "usubjid"}},
    "severity": "critical",
    "notes": "A record of somebody unknown.",
}


@pytest.fixture
def stage():
    connection = duckdb.connect()
    connection.execute("create schema adam; create schema sdtm")
    connection.execute("create table adam.adsl as select unnest(['01', '99']) as usubjid")
    suites = {
        "adam.adsl": Suite(name="adam.adsl", notes="Participants.", expectations=[NOT_NULL, KNOWN]),
        "sdtm.dm": Suite(name="sdtm.dm", notes="Demographics.", expectations=[]),
    }
    yield SimpleNamespace(
        name="build",
        connection=connection,
        suites=suites,
        are_suites_checked=False,
        run=SimpleNamespace(run_id="r-1"),
        ledgers=defaultdict(list),
        stopped={},
        content={},
        identifiers=Identifiers(load_study("nl_ruxolitinib"), connection),
    )
    connection.close()


def outcomes(stage):
    return {row["notes"]: row for row in stage.ledgers["check_result"]}


def test_a_rule_that_compares_with_a_table_not_made_is_recorded_as_not_judged(stage):
    assert judge_table(stage, "adam.adsl", reference_tables=())

    told = outcomes(stage)
    assert told["A record of nobody."]["is_met"]
    left_out = told["A record of somebody unknown."]
    assert left_out["observed"] == "not judged: this study makes no sdtm.dm"
    assert (left_out["severity"], left_out["column_name"], left_out["rows_in"]) == ("warning", "usubjid", 2)
    assert stage.stopped == {}


def test_the_same_rule_stops_the_stage_where_the_table_is_made(stage):
    stage.connection.execute("create table sdtm.dm as select '01' as usubjid")

    assert not judge_table(stage, "adam.adsl", reference_tables=("sdtm.dm",))

    told = outcomes(stage)["A record of somebody unknown."]
    assert (told["is_met"], told["rows_failing"], told["severity"]) == (False, 1, "critical")
    assert "adam.adsl" in stage.stopped


def test_a_rule_that_compares_with_a_table_nobody_knows_is_an_error(stage):
    strange = KNOWN | {
        "kwargs": {"column": "usubjid", "value_set": {"table": "sdtm.dn", "column": "usubjid"}}
    }
    stage.suites["adam.adsl"] = Suite(name="adam.adsl", notes="Participants.", expectations=[strange])

    with pytest.raises(
        StudyError, match=r"suite adam\.adsl: value_set reads sdtm\.dn: there is no such table"
    ):
        judge_table(stage, "adam.adsl", reference_tables=())


@pytest.mark.parametrize("column", ["subject", 'usubjid" from sdtm.dm; drop table adam.adsl; --', "*"])
def test_a_value_set_of_a_column_that_the_other_table_lacks_is_refused(stage, column):
    stage.connection.execute("create table sdtm.dm as select '01' as usubjid")
    value_set = {"table": "sdtm.dm", "column": column}
    rule = KNOWN | {"kwargs": {"column": "usubjid", "value_set": value_set}}
    stage.suites["adam.adsl"] = Suite(name="adam.adsl", notes="Participants.", expectations=[rule])

    with pytest.raises(StudyError, match=r"suite adam\.adsl: value_set reads .* of sdtm\.dm: it has usubjid"):
        judge_table(stage, "adam.adsl", reference_tables=("sdtm.dm",))


def test_a_delivered_name_that_reads_as_a_pattern_is_only_a_name(stage):
    stage.connection.execute(
        """
        create or replace table adam.adsl as
        select * from (values (null, 'a'), ('01', 'b')) as t(usubjid, "^.*$")
        """
    )

    assert not judge_table(stage, "adam.adsl", reference_tables=())

    (failure,) = stage.ledgers["check_failure"]
    assert failure["row_key"] == '{"^.*$": "a", "usubjid": null}'
