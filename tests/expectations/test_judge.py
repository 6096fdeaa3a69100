"""The judge: every trap between a frame, pandas and Great Expectations."""

from __future__ import annotations

import datetime as dt
import logging
import socket

import polars as pl
import pytest

from expectations.judge import judge
from expectations.suite import Suite, SuiteError

DAYS = [dt.date(2026, 1, 5), None, dt.date(202, 1, 6)]


def rule(expectation_type, severity="critical", **kwargs):
    return {"type": expectation_type, "kwargs": kwargs, "severity": severity, "notes": "For the test."}


def verdict_of(frame, *rules, reference=None):
    suite = Suite(name="sdtm.test", notes="For the test.", expectations=rules)
    return judge(pl.DataFrame(frame), suite, reference or (lambda _table, _column: ()))


def outcome_of(frame, *rules, reference=None):
    return verdict_of(frame, *rules, reference=reference).outcomes[0]


def failing_of(frame, *rules, reference=None):
    return outcome_of(frame, *rules, reference=reference).failing.rows()


def in_set(column, values, severity="critical", **kwargs):
    return rule("expect_column_values_to_be_in_set", severity, column=column, value_set=values, **kwargs)


# Refusals


def test_misspelt_type_is_refused_with_the_near_one():
    with pytest.raises(
        SuiteError, match=r"expect_column_value_to_be_unique: .*mean 'expect_column_values_to_be_"
    ):
        verdict_of({"a": [1]}, rule("expect_column_value_to_be_unique", column="a"))


def test_misspelt_argument_is_refused_with_the_near_one():
    with pytest.raises(SuiteError, match=r"no argument 'colum'; did you mean 'column'\?; allowed: column, "):
        verdict_of({"a": [1]}, rule("expect_column_values_to_be_unique", colum="a"))


def test_absent_column_is_refused_with_those_present():
    with pytest.raises(SuiteError, match=r"suite sdtm\.test: .*column sex is absent; the table has age, arm"):
        verdict_of({"age": [1], "arm": ["x"]}, in_set("sex", ["F"]))


def test_absent_column_of_a_row_condition_is_refused():
    with pytest.raises(SuiteError, match="column weight is absent"):
        verdict_of({"a": [1]}, in_set("a", [1], row_condition="weight > 3"))


def test_row_condition_that_is_no_condition_is_refused():
    with pytest.raises(SuiteError, match="row_condition 'a >': at character 4, the end: allowed"):
        verdict_of({"a": [1]}, in_set("a", [1], row_condition="a >"))


def test_row_condition_needs_no_parser_and_takes_no_other():
    with_parser = in_set("a", [1], row_condition="a > 3", condition_parser="pandas")

    assert outcome_of({"a": [1, 4]}, with_parser).failing.rows() == [(1, "a", "4")]
    assert outcome_of({"a": [1, 4]}, in_set("a", [1], row_condition="a > 3")).rows_checked == 1
    with pytest.raises(SuiteError, match="no argument 'condition_parser'"):
        verdict_of({"a": [1]}, in_set("a", [1], row_condition="a > 3", condition_parser="spark"))


def test_crash_in_the_judging_is_an_error_not_a_failed_rule():
    with pytest.raises(SuiteError, match=r"to_be_between\(a\): it cannot be judged: .*same type"):
        verdict_of({"a": ["x"]}, rule("expect_column_values_to_be_between", column="a", min_value=0))


def test_wrong_argument_value_is_an_error():
    with pytest.raises(SuiteError, match="at least two columns"):
        verdict_of({"a": ["x"]}, rule("expect_compound_columns_to_be_unique", column_list=["a"]))


def test_setting_aside_needs_a_rule_on_rows():
    with pytest.raises(SuiteError, match="set_aside needs an expectation that judges single rows"):
        verdict_of({"a": [1]}, rule("expect_column_mean_to_be_between", "set_aside", column="a", min_value=0))


def test_mostly_is_refused_with_set_aside():
    with pytest.raises(SuiteError, match="mostly has no meaning with set_aside"):
        verdict_of({"a": [1]}, in_set("a", [1], "set_aside", mostly=0.5))


# Severity


def test_only_an_unmet_critical_rule_stops():
    frame = {"a": ["x", "y"]}

    assert verdict_of(frame, in_set("a", ["x"], "critical")).is_stopped
    assert not verdict_of(frame, in_set("a", ["x"], "warning")).is_stopped
    assert not verdict_of(frame, in_set("a", ["x"], "set_aside")).is_stopped


def test_rows_set_aside_are_each_named_once_and_sorted():
    verdict = verdict_of(
        {"a": ["z", "x", "y"], "b": ["x", "x", "y"]},
        in_set("a", ["x"], "set_aside"),
        in_set("b", ["x"], "set_aside"),
    )

    assert verdict.set_aside == (0, 2)


def test_other_rules_see_the_rows_that_stay():
    frame = {"id": ["1", "1", "2", None], "value": [5, 5, -1, -2]}
    duplicates = rule("expect_compound_columns_to_be_unique", "set_aside", column_list=["id", "value"])
    key = rule("expect_column_values_to_be_unique", column="id")
    sign = rule("expect_column_values_to_be_between", "warning", column="value", min_value=0)

    verdict = verdict_of(frame, key, duplicates, sign)

    assert verdict.set_aside == (1,)
    assert [outcome.is_met for outcome in verdict.outcomes] == [True, False, False]
    assert verdict.outcomes[0].rows_checked == 3
    assert verdict.outcomes[2].failing["position"].to_list() == [2, 3]
    assert not verdict.is_stopped


def test_rows_that_differ_and_share_a_key_still_stop():
    frame = {"id": ["1", "1"], "value": [5, 6]}
    duplicates = rule("expect_compound_columns_to_be_unique", "set_aside", column_list=["id", "value"])

    assert verdict_of(frame, rule("expect_column_values_to_be_unique", column="id"), duplicates).is_stopped


def test_first_row_of_each_group_is_kept():
    frame = {"id": ["b", "a", "b", "a", "b", None, None], "n": [1.0, 2.0, 1.0, 2.0, 1.0, float("nan"), None]}

    single = outcome_of(frame, rule("expect_column_values_to_be_unique", "set_aside", column="id"))
    pair = outcome_of(
        frame, rule("expect_compound_columns_to_be_unique", "set_aside", column_list=["id", "n"])
    )

    assert single.failing.rows() == [(2, "id", "b"), (3, "id", "a"), (4, "id", "b")]
    assert single.rows_failing == 3
    assert pair.failing.rows() == [
        (2, "id, n", "id=b, n=1"),
        (3, "id, n", "id=a, n=2"),
        (4, "id, n", "id=b, n=1"),
    ]


def test_without_setting_aside_the_whole_group_is_named():
    assert failing_of({"id": ["b", "a", "b"]}, rule("expect_column_values_to_be_unique", column="id")) == [
        (0, "id", "b"),
        (2, "id", "b"),
    ]


def test_rows_are_named_though_mostly_is_reached():
    outcome = outcome_of({"a": ["x", "x", "x", "y"]}, in_set("a", ["x"], mostly=0.7))

    assert outcome.is_met
    assert outcome.failing.rows() == [(3, "a", "y")]
    assert outcome.rows_failing == 1


# Values


def test_integers_beside_nulls_stay_integers():
    frame = {"n": [3, None, 44]}

    assert failing_of(frame, in_set("n", [44])) == [(0, "n", "3")]
    assert failing_of(frame, rule("expect_column_values_to_match_regex", column="n", regex="^[0-9]{2}$")) == [
        (0, "n", "3")
    ]
    assert failing_of(frame, rule("expect_column_value_lengths_to_equal", column="n", value=2)) == [
        (0, "n", "3")
    ]
    assert failing_of(frame, rule("expect_column_values_to_be_between", column="n", max_value=10)) == [
        (2, "n", "44")
    ]


def test_large_integers_beside_nulls_are_compared_exactly():
    large = 2**53

    assert (
        failing_of({"n": [large, None, large + 1]}, rule("expect_column_values_to_be_unique", column="n"))
        == []
    )


def test_whole_numbers_are_written_without_a_decimal_point():
    assert failing_of({"x": [3.0, 0.25, 1.5]}, in_set("x", [1.5])) == [(0, "x", "3"), (1, "x", "0.25")]


def test_booleans_beside_nulls_stay_booleans():
    frame = {"is_in_window": [True, None, False]}

    assert failing_of(frame, in_set("is_in_window", [True])) == [(2, "is_in_window", "false")]
    assert failing_of({"is_in_window": [None, None]}, in_set("is_in_window", [True])) == []


def test_dates_are_compared_as_dates_and_written_as_delivered():
    between = rule(
        "expect_column_values_to_be_between", column="day", min_value="2026-01-01", max_value="2026-12-31"
    )

    # The year 202 lies before pandas' own first day.
    assert failing_of({"day": DAYS}, between) == [(2, "day", "0202-01-06")]
    assert failing_of({"day": DAYS}, in_set("day", ["2026-01-05"])) == [(2, "day", "0202-01-06")]
    named = {"table": "adam.adsl", "column": "trtsdt"}
    assert failing_of({"day": DAYS}, in_set("day", named), reference=lambda *_: [dt.date(2026, 1, 5)]) == [
        (2, "day", "0202-01-06")
    ]


def test_bound_that_is_no_date_is_refused():
    with pytest.raises(SuiteError, match="min_value: '5 January': a date as 2026-01-31"):
        verdict_of(
            {"day": DAYS}, rule("expect_column_values_to_be_between", column="day", min_value="5 January")
        )


def test_date_pairs_are_compared():
    later = rule(
        "expect_column_pair_values_a_to_be_greater_than_b",
        column_A="end",
        column_B="start",
        or_equal=True,
        ignore_row_if="either_value_is_missing",
    )
    frame = {"start": DAYS, "end": [dt.date(2026, 1, 4), dt.date(2026, 1, 4), dt.date(9999, 1, 1)]}

    assert failing_of(frame, later) == [(0, "end, start", "end=2026-01-04, start=2026-01-05")]


def test_pairs_name_both_columns_and_nulls():
    equal = rule("expect_column_pair_values_to_be_equal", column_A="count", column_B="delivered")
    frame = {"count": [1, 2, None, None], "delivered": [1.0, 2.25, 3.0, None]}

    assert failing_of(frame, equal) == [
        (1, "count, delivered", "count=2, delivered=2.25"),
        (2, "count, delivered", "count=null, delivered=3"),
    ]


def test_nulls_pass_rules_on_one_column_and_fail_the_null_rule():
    frame = {"a": [None, "x"]}

    assert outcome_of(frame, in_set("a", ["x"])).is_met
    outcome = outcome_of(frame, rule("expect_column_values_to_not_be_null", column="a"))
    assert outcome.failing.rows() == [(0, "a", None)]
    assert outcome.observed == "1 of 2 rows fail: a: null"


@pytest.mark.parametrize("what", ["not_be_null", "be_null"])
@pytest.mark.parametrize("condition", [None, "e > 1"])
def test_null_rules_on_many_columns_say_what_each_would_say_alone(what, condition):
    frame = pl.DataFrame(
        {
            "a": [None, "x", "y", None],
            "b": [1.5, None, float("nan"), 2.0],
            "c": [None] * 4,
            "d": [True, None, False, None],
            "e": [1, 2, 3, 3],
        }
    )
    more = {} if condition is None else {"row_condition": condition}
    twice = rule("expect_column_values_to_be_unique", "set_aside", column="e")
    rules = [rule(f"expect_column_values_to_{what}", column=name, **more) for name in "abcde"]
    together = verdict_of(frame, twice, *rules)
    for one, outcome in zip(rules, together.outcomes[1:], strict=True):
        alone = verdict_of(frame, twice, one).outcomes[1]
        assert outcome.expectation == alone.expectation
        assert (outcome.is_met, outcome.rows_checked, outcome.rows_failing, outcome.observed) == (
            alone.is_met,
            alone.rows_checked,
            alone.rows_failing,
            alone.observed,
        )
        assert outcome.failing.equals(alone.failing)
    assert {outcome.is_met for outcome in together.outcomes[1:]} == {True, False}


def test_row_condition_chooses_rows_by_position():
    frame = {
        "test": ["TEMP", "PULSE", "TEMP", None],
        "value": [37, 70, 98, None],
        "is_on": [True, None, True, False],
    }
    condition = {"row_condition": 'test == "TEMP" and is_on == true'}

    outcome = outcome_of(
        frame, rule("expect_column_values_to_be_between", column="value", max_value=43, **condition)
    )

    assert outcome.rows_checked == 2
    assert outcome.failing.rows() == [(2, "value", "98")]


# Value sets from other tables


@pytest.mark.parametrize("values", [["01", "02"], {"01", "02"}, pl.Series(["01", "02", None])])
def test_value_set_is_filled_from_another_table(values):
    asked = []

    def reference(table, column):
        asked.append((table, column))
        return values

    rows = failing_of(
        {"usubjid": ["01", "99", None]},
        in_set("usubjid", {"table": "sdtm.dm", "column": "usubjid"}),
        reference=reference,
    )

    assert asked == [("sdtm.dm", "usubjid")]
    assert rows == [(1, "usubjid", "99")]


def test_empty_table_refers_to_nobody():
    named = {"table": "sdtm.dm", "column": "usubjid"}

    assert failing_of({"usubjid": ["01", None]}, in_set("usubjid", named)) == [(0, "usubjid", "01")]
    not_in_set = rule("expect_column_values_to_not_be_in_set", column="usubjid", value_set=named)
    assert failing_of({"usubjid": ["01", None]}, not_in_set) == []
    assert failing_of({"usubjid": ["01"]}, not_in_set, reference=lambda *_: ["01"]) == [(0, "usubjid", "01")]


def test_whole_set_is_compared_where_absence_counts():
    contain = rule(
        "expect_column_distinct_values_to_contain_set",
        column="arm",
        value_set={"table": "meta.arm", "column": "armcd"},
    )

    assert not outcome_of({"arm": ["A"]}, contain, reference=lambda *_: ["A", "B"]).is_met
    assert outcome_of({"arm": ["A", "B"]}, contain, reference=lambda *_: ["A", "B"]).is_met


# Tables and columns


def test_rules_on_the_table():
    frame = {"a": [1, 2, 3], "b": ["x", "y", None]}

    assert outcome_of(frame, rule("expect_table_row_count_to_equal", value=3)).is_met
    assert outcome_of(frame, rule("expect_table_row_count_to_equal", value=4)).observed == "3"
    assert outcome_of(frame, rule("expect_column_to_exist", column="a")).is_met
    absent = outcome_of(frame, rule("expect_column_to_exist", column="z"))
    assert (absent.is_met, absent.observed, absent.rows_checked, absent.rows_failing) == (
        False,
        "unmet",
        3,
        0,
    )
    assert outcome_of(frame, rule("expect_table_columns_to_match_set", column_set=["a", "b"])).is_met


def test_row_count_is_that_of_the_rows_that_stay():
    frame = {"a": ["x", "y"]}

    verdict = verdict_of(
        frame, rule("expect_table_row_count_to_equal", value=1), in_set("a", ["x"], "set_aside")
    )

    assert verdict.outcomes[0].is_met


def test_rules_on_a_whole_column_say_what_they_saw():
    outcome = outcome_of(
        {"n": [1, None, 3]}, rule("expect_column_mean_to_be_between", column="n", min_value=3)
    )

    assert (outcome.is_met, outcome.observed, outcome.rows_failing) == (False, "2", 0)


def test_frame_without_rows_is_judged():
    frame = pl.DataFrame(schema={"a": pl.String, "n": pl.Int64, "day": pl.Date, "is_on": pl.Boolean})
    condition = {"row_condition": 'a == "x" and n > 3'}

    verdict = verdict_of(
        frame,
        rule("expect_column_values_to_be_unique", "set_aside", column="a"),
        rule("expect_compound_columns_to_be_unique", column_list=["a", "n"]),
        rule("expect_column_values_to_match_regex", column="n", regex="x"),
        rule("expect_column_values_to_be_between", column="day", min_value="2026-01-01"),
        rule("expect_column_to_exist", column="a"),
        in_set("is_on", [True], **condition),
        in_set("a", {"table": "sdtm.dm", "column": "usubjid"}),
        rule("expect_table_row_count_to_be_between", "warning", min_value=1),
    )

    assert [outcome.is_met for outcome in verdict.outcomes] == [True] * 7 + [False]
    assert not verdict.is_stopped


def test_suite_without_rules_finds_nothing():
    verdict = verdict_of({"a": [1]})

    assert (verdict.outcomes, verdict.set_aside, verdict.is_stopped) == ((), (), False)


# At scale, and in silence


def test_every_failing_row_is_named_at_scale():
    size = 100_000
    frame = pl.DataFrame({"n": range(size), "text": ["same"] * size, "wide": ["not used"] * size})

    verdict = verdict_of(
        frame,
        rule("expect_column_values_to_be_unique", "set_aside", column="text"),
        rule("expect_column_values_to_be_between", "set_aside", column="n", min_value=size // 2),
    )

    assert verdict.outcomes[0].rows_failing == size - 1
    assert verdict.outcomes[1].failing["position"].to_list() == list(range(size // 2))
    assert verdict.set_aside == tuple(range(size))


def test_only_the_columns_in_use_are_converted(monkeypatch):
    from expectations import judge as module

    converted = []
    convert = module._to_pandas

    def counted(values, rows, *, is_ordered):
        converted.append(values.name)
        return convert(values, rows, is_ordered=is_ordered)

    monkeypatch.setattr(module, "_to_pandas", counted)
    frame = {"a": ["x"], "b": ["y"], "c": ["z"]}
    verdict_of(
        frame,
        in_set("a", ["x"]),
        in_set("a", ["x", "y"], row_condition='b == "y"'),
    )

    # The condition is evaluated where the values lie.
    assert converted == ["a"]


def test_judging_is_silent_and_calls_nobody(monkeypatch, capfd, caplog, recwarn):
    def refuse(*_args, **_kwargs):
        raise AssertionError("a connection was attempted")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with caplog.at_level(logging.WARNING):
        verdict_of({"a": ["x"]}, rule("expect_column_values_to_match_regex", column="a", regex="^(x)$"))

    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert list(recwarn) == []
