"""Suites as data: what is read, and in which words the rest is refused."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from expectations.suite import Suite, SuiteError, combine, find_suites, load_suite

RULE = {
    "type": "expect_column_values_to_not_be_null",
    "kwargs": {"column": "usubjid"},
    "severity": "critical",
    "notes": "A record of nobody.",
}
OTHER = RULE | {"kwargs": {"column": "age"}, "severity": "warning"}


def suite_file(folder, content, name="sdtm/dm.json"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def suite_of(*rules, name="sdtm.dm"):
    return {"name": name, "notes": "The participants.", "expectations": list(rules)}


def test_suites_are_found_by_name(tmp_path):
    suite_file(tmp_path, suite_of(RULE))
    suite_file(tmp_path, suite_of(OTHER, name="adam.adsl"), "adam/adsl.json")
    suite_file(tmp_path, "not a suite", "README.json")

    suites = find_suites(tmp_path)

    assert list(suites) == ["adam.adsl", "sdtm.dm"]
    assert str(suites["sdtm.dm"].expectations[0]) == "expect_column_values_to_not_be_null(usubjid)"


def test_folder_without_suites_has_none(tmp_path):
    assert find_suites(tmp_path / "absent") == {}


def test_suite_is_frozen(tmp_path):
    suite = load_suite(suite_file(tmp_path, suite_of(RULE)))

    with pytest.raises(ValidationError, match="frozen"):
        suite.name = "sdtm.ae"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{\n  nothing", r"dm\.json: line 2, column 3: "),
        ("[]", r"dm\.json: the file: \[\]: "),
        (suite_of(RULE) | {"note": "x"}, r"dm\.json: note: \"x\": Extra inputs"),
        ({"name": "sdtm.dm", "expectations": []}, r"dm\.json: notes: Field required"),
        (suite_of(RULE | {"severity": "fatal"}), r"expectations\[0\]\.severity: \"fatal\": .*'set_aside'"),
        (suite_of(OTHER, RULE | {"notes": ""}), r"expectations\[1\]\.notes: \"\": "),
        (
            suite_of(RULE, RULE),
            r"expect_column_values_to_not_be_null\(usubjid\): twice with the same kwargs",
        ),
        (suite_of(RULE, name="sdtm.ae"), r"name: 'sdtm\.ae': a suite bears the name of its path, 'sdtm\.dm'"),
        (
            suite_of(
                RULE
                | {
                    "type": "expect_column_values_to_be_in_set",
                    "kwargs": {"column": "a", "value_set": {"table": "dm", "column": "usubjid"}},
                }
            ),
            r"expectations\[0\]: .*in_set: value_set: .*\"table\": \"schema\.table\"",
        ),
    ],
)
def test_unreadable_suite_names_file_and_key(tmp_path, content, message):
    with pytest.raises(SuiteError, match=message):
        load_suite(suite_file(tmp_path, content))


def test_suite_that_is_not_text_is_refused(tmp_path):
    path = suite_file(tmp_path, "")
    path.write_bytes(b"\xff\xfe")

    with pytest.raises(SuiteError, match=r"dm\.json: byte 0: the file is not UTF-8"):
        load_suite(path)


def test_study_adds_to_the_house():
    both = combine(Suite(**suite_of(RULE)), Suite(**suite_of(OTHER)))

    assert [rule.kwargs["column"] for rule in both.expectations] == ["usubjid", "age"]
    assert both.name == "sdtm.dm"


def test_study_cannot_soften_a_rule_of_the_house():
    with pytest.raises(SuiteError, match="in the house suite already; a study only adds"):
        combine(Suite(**suite_of(RULE)), Suite(**suite_of(RULE | {"severity": "warning"})))


def test_suites_of_two_tables_are_not_combined():
    with pytest.raises(SuiteError, match="the names must be equal"):
        combine(Suite(**suite_of(RULE)), Suite(**suite_of(OTHER, name="sdtm.ae")))


def test_a_suite_that_extends_another_has_its_rules_and_columns(tmp_path):
    base = suite_of(RULE, name="results.rows") | {"columns": {"usubjid": "Who", "age": "Age"}}
    more = suite_of(OTHER, name="results.ages") | {"extends": "results.rows", "columns": {"age": "In years"}}
    suite_file(tmp_path, base, "results/rows.json")
    suite_file(tmp_path, more, "results/ages.json")

    suites = find_suites(tmp_path)

    ages = suites["results.ages"]
    assert [rule.kwargs["column"] for rule in ages.expectations] == ["usubjid", "age"]
    assert ages.columns == {"usubjid": "Who", "age": "In years"}
    assert ages.notes == "The participants."
    assert len(suites["results.rows"].expectations) == 1


@pytest.mark.parametrize(
    ("extends", "rule", "message"),
    [
        ("results.nothing", OTHER, r"results\.ages: extends 'results\.nothing': it must be a suite of this"),
        (
            "results.chained",
            OTHER,
            r"'results\.chained': it must be a suite .* that extends none itself",
        ),
        ("results.rows", RULE, r"not_be_null\(usubjid\): in results\.rows already; once is enough"),
    ],
)
def test_a_suite_that_cannot_be_extended_so_is_refused(tmp_path, extends, rule, message):
    suite_file(tmp_path, suite_of(RULE, name="results.rows"), "results/rows.json")
    chained = suite_of(OTHER, name="results.chained") | {"extends": "results.rows"}
    suite_file(tmp_path, chained, "results/chained.json")
    suite_file(tmp_path, suite_of(rule, name="results.ages") | {"extends": extends}, "results/ages.json")

    with pytest.raises(SuiteError, match=message):
        find_suites(tmp_path)
