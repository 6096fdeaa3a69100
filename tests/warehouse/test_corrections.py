"""Corrections are declared, applied to just the rows they expect, and audited."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pytest

from warehouse.corrections import Correction, apply, load_corrections
from warehouse.errors import StudyError
from warehouse.study import Study, load_study

if TYPE_CHECKING:
    from pathlib import Path

STUDY = """
[study]
id = "lupus"
title = "Lupus"
[design]
kind = "single-arm"
[sources.scores]
path = "scores.csv"
format = "csv"
"""
CORRECTION = """
[[correction]]
id = "QS-001"
source = "scores"
match = { SUBJID = "S03", SCORE = "210" }
column = "SCORE"
value = "21"
reason = "A digit too many."
evidence = "The site's answer."
status = "confirmed"
expect = 1
"""


@pytest.fixture
def connection():
    with duckdb.connect() as opened:
        opened.execute("create schema raw")
        opened.execute(
            """
            create table raw.scores as from (values
                ('S01', '28', 'scores.csv', 2),
                ('S02', null, 'scores.csv', 3),
                ('S03', '210', 'scores.csv', 4),
                ('S03', '17', 'scores.csv', 5)
            ) as delivered (SUBJID, SCORE, _source_file, _source_row)
            """
        )
        yield opened


def scores(connection: duckdb.DuckDBPyConnection) -> list[str | None]:
    return [
        score
        for (score,) in connection.execute("select SCORE from raw.scores order by _source_row").fetchall()
    ]


def correction(**changes: object) -> Correction:
    values: dict[str, object] = {
        "id": "QS-001",
        "source": "scores",
        "match": {"SUBJID": "S03", "SCORE": "210"},
        "column": "SCORE",
        "value": "21",
        "reason": "A digit too many.",
        "evidence": "The site's answer.",
        "status": "confirmed",
        "expect": 1,
    }
    return Correction.model_validate(values | changes)


def study_with(folder: Path, text: str | None) -> Study:
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    if text is not None:
        (folder / "corrections.toml").write_text(text, encoding="utf-8")
    return load_study(folder)


def test_a_confirmed_correction_changes_its_rows_and_no_others(connection):
    apply(connection, "raw.scores", (correction(),))
    assert scores(connection) == ["28", None, "21", "17"]


def test_every_row_corrected_is_in_the_audit(connection):
    rows = apply(connection, "raw.scores", (correction(match={"SUBJID": "S03"}, value="0", expect=2),))
    shared = {
        "correction_id": "QS-001",
        "source": "scores",
        "column_name": "SCORE",
        "new_value": "0",
        "reason": "A digit too many.",
        "evidence": "The site's answer.",
        "status": "confirmed",
        "source_file": "scores.csv",
    }
    assert sorted(rows, key=lambda row: str(row["source_row"])) == [
        shared | {"old_value": "210", "source_row": 4},
        shared | {"old_value": "17", "source_row": 5},
    ]
    assert scores(connection) == ["28", None, "0", "0"]


def test_the_audit_has_the_columns_of_its_ledger(connection):
    from warehouse.meta import LEDGERS

    (row,) = apply(connection, "raw.scores", (correction(),))
    assert {"run_id", *row} == set(LEDGERS["correction"].columns)


def test_a_proposed_correction_is_listed_and_not_applied(connection):
    (row,) = apply(connection, "raw.scores", (correction(status="proposed"),))
    assert scores(connection) == ["28", None, "210", "17"]
    assert (row["old_value"], row["new_value"], row["status"]) == ("210", None, "proposed")


@pytest.mark.parametrize("status", ["confirmed", "proposed"])
def test_a_correction_that_matches_nothing_is_an_error(connection, status):
    mended = correction(match={"SUBJID": "S03", "SCORE": "211"}, status=status)
    with pytest.raises(StudyError) as error:
        apply(connection, "raw.scores", (mended,))
    assert str(error.value) == (
        "corrections.toml: QS-001: matches 0 rows of scores (none), 1 expected: is the source mended?"
        " then withdraw the correction"
    )


@pytest.mark.parametrize("status", ["confirmed", "proposed"])
def test_a_correction_that_matches_more_rows_than_it_expects_is_an_error_and_changes_none(connection, status):
    wide = correction(match={"SUBJID": "S03"}, status=status)
    with pytest.raises(StudyError) as error:
        apply(connection, "raw.scores", (wide,))
    message = str(error.value)
    assert "QS-001: matches 2 rows of scores" in message
    assert "scores.csv row 4" in message
    assert "scores.csv row 5" in message
    assert "1 expected" in message
    assert scores(connection) == ["28", None, "210", "17"]


@pytest.mark.parametrize("wrong", [{"column": "SCOR"}, {"match": {"SCOR": "210"}}])
def test_an_unknown_column_is_an_error_that_lists_those_delivered(connection, wrong):
    with pytest.raises(StudyError) as error:
        apply(connection, "raw.scores", (correction(**wrong),))
    assert str(error.value) == "corrections.toml: QS-001: column 'SCOR': source scores has SUBJID, SCORE"


def test_corrections_apply_in_the_order_of_the_file(connection):
    second = correction(id="QS-002", match={"SUBJID": "S03", "SCORE": "21"}, value="20")
    rows = apply(connection, "raw.scores", (correction(), second))
    assert [row["correction_id"] for row in rows] == ["QS-001", "QS-002"]
    assert scores(connection) == ["28", None, "20", "17"]


def test_values_are_bound_and_never_read_as_sql(connection):
    hostile = "21'; drop table raw.scores; --"
    apply(connection, "raw.scores", (correction(value=hostile),))
    assert scores(connection) == ["28", None, hostile, "17"]


def test_no_corrections_file_is_no_corrections(tmp_path):
    assert load_corrections(study_with(tmp_path, None)) == ()
    assert load_corrections(study_with(tmp_path, "# none yet")) == ()


def test_a_correction_is_read_from_the_file(tmp_path):
    assert load_corrections(study_with(tmp_path, CORRECTION)) == (correction(),)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('source = "scores"', 'source = "score"', "QS-001: source 'score': allowed: scores"),
        ('status = "confirmed"', 'status = "maybe"', "status: Input should be 'confirmed' or 'proposed'"),
        ('status = "confirmed"', "", "status: Field required"),
        ("expect = 1", "expect = 0", "expect: Input should be greater than or equal to 1"),
        ("expect = 1", "expect = 1\nexpected = 1", "expected: Extra inputs are not permitted"),
        (
            'match = { SUBJID = "S03", SCORE = "210" }',
            "match = {}",
            "match: Dictionary should have at least 1",
        ),
        ('reason = "A digit too many."', 'reason = ""', "reason: String should have at least 1 character"),
        ("[[correction]]", "[[corrections]]", "corrections: Extra inputs are not permitted"),
        ("[[correction]]", "[[correction", "not a TOML file"),
    ],
)
def test_a_wrong_file_is_refused_with_key_and_what_is_allowed(tmp_path, old, new, told):
    with pytest.raises(StudyError) as error:
        load_corrections(study_with(tmp_path, CORRECTION.replace(old, new)))
    message = str(error.value)
    assert str(tmp_path / "corrections.toml") in message
    assert told in message


def test_an_id_that_stands_twice_is_refused(tmp_path):
    with pytest.raises(StudyError, match="QS-001: two corrections have this id"):
        load_corrections(study_with(tmp_path, CORRECTION * 2))
