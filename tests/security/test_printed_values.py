"""Values of every type, and text that a terminal or a spreadsheet would obey, in each format of a query."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from typing import TYPE_CHECKING

import duckdb
import polars as pl
import pytest

from flows.answers import as_frame
from flows.output import _fetch, legible, say, show
from tasks.formulas import escape_formula

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMATS = ("table", "csv", "json", "parquet")
# SQL, what a CSV shows, what JSON holds.
VALUES = [
    ("interval '1 month 2 days'", "1 month 2 days", "1 month 2 days"),
    ("[1, 2]", "[1, 2]", [1, 2]),
    ("[[1], []]", "[[1], []]", [[1], []]),
    ("{'a': 1, 'b': 'x'}", '{"a": 1, "b": "x"}', {"a": 1, "b": "x"}),
    ("map {'k': 1}", '{"k": 1}', {"k": 1}),
    ("map {'k': [interval '1 day']}", '{"k": ["1 day"]}', {"k": ["1 day"]}),
    ("[interval '1 day']", '["1 day"]', ["1 day"]),
    ("{'a': date 'infinity'}", '{"a": "infinity"}', {"a": "infinity"}),
    ("row(1, 2)", "(1, 2)", "(1, 2)"),
    ("union_value(num := 2)", "2", "2"),
    ("'\\xAA\\x1b a'::blob", "\\xAA\\x1B a", "\\xAA\\x1B a"),
    ("'101'::bit", "101", "101"),
    ("'6f0e4c8e-0000-4000-8000-000000000001'::uuid",) + ("6f0e4c8e-0000-4000-8000-000000000001",) * 2,
    ("170141183460469231731687303715884105727::hugeint",) + ("170141183460469231731687303715884105727",) * 2,
    ("340282366920938463463374607431768211455::uhugeint",) + ("340282366920938463463374607431768211455",) * 2,
    ("'123456789012345678901234567890123456789012'::bignum",)
    + ("123456789012345678901234567890123456789012",) * 2,
    ("'12:00:00+05:30'::timetz", "12:00:00+05:30", "12:00:00+05:30"),
    ("time '24:00:00'", "24:00:00", "24:00:00"),
    ("'b'::enum('a', 'b')", "b", "b"),
    ("'infinity'::date", "infinity", "infinity"),
    ("'-infinity'::timestamp", "-infinity", "-infinity"),
    ("'infinity'::timestamptz", "infinity", "infinity"),
    ("date '0044-03-15 (BC)'", "0044-03-15 (BC)", "0044-03-15 (BC)"),
    ("date '99999-01-01'", "99999-01-01", "99999-01-01"),
    ("timestamp '290000-01-01'", "290000-01-01 00:00:00", "290000-01-01 00:00:00"),
    ("timestamp_ns '2020-01-01 00:00:00.123456789'",) + ("2020-01-01 00:00:00.123456789",) * 2,
    ("date '9999-12-31'", "9999-12-31", "9999-12-31"),
    ("date '0001-01-01'", "0001-01-01", "0001-01-01"),
    ("[1, 2]::int[2]", "[1, 2]", [1, 2]),
    ("null", "", None),
    ("['a', null]", '["a", null]', ["a", None]),
    ("'é\u200bx'", "é\u200bx", "é\u200bx"),
]


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        yield connection


def asked(connection: duckdb.DuckDBPyConnection, query: str) -> pl.DataFrame:
    return as_frame(connection.sql(query), lambda relation: _fetch(connection, relation))


def printed(frame: pl.DataFrame, form: str, *, encoding: str = "utf-8", is_escaped: bool = False) -> bytes:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    out.reconfigure(errors="trialhouse-legible")
    with contextlib.redirect_stdout(out):
        show(frame, form, is_escaped=is_escaped)
    return out.buffer.getvalue()  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize(("value", "shown", "held"), VALUES, ids=[value for value, *_ in VALUES])
def test_a_value_of_any_type_is_printed_in_every_format(
    connection: duckdb.DuckDBPyConnection, value: str, shown: str, held: object
) -> None:
    frame = asked(connection, f"select {value} as x, 1 as y")
    assert list(csv.reader(io.StringIO(printed(frame, "csv").decode()))) == [["x", "y"], [shown, "1"]]
    (row,) = json.loads(printed(frame, "json"))
    assert row == {"x": held, "y": 1}
    assert legible(shown) in printed(frame, "table").decode()
    assert pl.read_parquet(io.BytesIO(printed(frame, "parquet"))).equals(frame)


def test_moments_that_both_know_keep_their_type(connection: duckdb.DuckDBPyConnection) -> None:
    frame = asked(connection, "select date '2026-01-01' as d, timestamp '2026-01-01' as t, 'x'::blob as b")
    assert frame.schema == {"d": pl.Date, "t": pl.Datetime("us"), "b": pl.Binary}


def test_no_rows_and_no_values(connection: duckdb.DuckDBPyConnection) -> None:
    frame = asked(connection, "select date '2026-01-01' as d, [1] as l, interval 1 day as i where false")
    assert (frame.columns, frame.height) == (["d", "l", "i"], 0)
    for form in FORMATS:
        assert printed(frame, form)
    assert asked(connection, "select null::date as d")["d"].to_list() == [None]


def test_names_that_come_twice(connection: duckdb.DuckDBPyConnection) -> None:
    frame = asked(connection, 'select 1 as x, 2 as "X", 3 as "a""b"')
    assert frame.row(0) == (1, 2, 3)
    assert len(set(frame.columns)) == 3


CONTROLS = [
    "\x1b[31mred", "\x1b]0;title\x07", "\x9b2J", "a\rb", "a\nb", "\x08\x08", "\x7f", "\u202eevil", "\u2066x",
    "a\u2028b", "\x00", "\u200f", "\ufeff", "a\x85b", "a\x0cb",
]  # fmt: skip


@pytest.mark.parametrize("text", CONTROLS, ids=ascii)
def test_a_table_shows_control_characters_as_codes(text: str) -> None:
    table = printed(pl.DataFrame({"before": [1], text: [text], "after": [2]}), "table").decode()
    assert len(table.split("\n")) == 3
    assert set(table) <= set(map(chr, range(32, 127))) | {"\n"}
    # A message may hold a delivered value, too.
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        say(f"one: {text}")
    assert set(err.getvalue()) <= set(map(chr, range(32, 127))) | {"\n"}


def test_text_for_programs_is_exact_and_utf_8(connection: duckdb.DuckDBPyConnection) -> None:
    frame = asked(connection, "select '=1+1' as f, 'é' || chr(27) as e")
    for encoding in ("ascii", "latin-1", "utf-8"):
        assert printed(frame, "csv", encoding=encoding) == "f,e\n=1+1,é\x1b\n".encode()
        assert json.loads(printed(frame, "json", encoding=encoding)) == [{"f": "=1+1", "e": "é\x1b"}]
    assert b"\\xe9" in printed(frame, "table", encoding="ascii")


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "\uff1d1", "\uff0b1"],
    ids=ascii,
)
def test_a_formula_is_made_text_on_request_only(text: str) -> None:
    frame = pl.DataFrame({"a": [text, "plain", None], text: ["x - y", "", "a=b"], "n": [-1.5, 2.0, None]})
    rows = list(csv.reader(io.StringIO(printed(frame, "csv", is_escaped=True).decode(), newline="")))
    assert rows == [
        ["a", f"'{text}", "n"],
        [f"'{text}", "x - y", "-1.5"],
        ["plain", "", "2.0"],
        ["", "a=b", ""],
    ]
    exact = list(csv.reader(io.StringIO(printed(frame, "csv").decode(), newline="")))
    assert exact[1][0] == text
    assert escape_formula(text) == f"'{text}"
