"""Hostile suites: nothing in one is run, written or read, and nothing runs long."""

from __future__ import annotations

import json
import os
import re
import sys

import polars as pl
import pytest

from expectations import great
from expectations.condition import ConditionError, read_condition
from expectations.judge import judge
from expectations.suite import Suite, SuiteError, find_suites, load_suite
from expectations.vocabulary import ALLOWED, REFUSED

FRAME = pl.DataFrame({"a": ["x", None, "y"], "n": [1, 2, None]})
CODE = "__import__('os').system('touch CANARY')"
# What must not happen while a suite is read and judged. `compile` is that of `eval` and `exec` of a text.
FORBIDDEN = re.compile(
    r"^(os\.(system|exec|spawn|posix_spawn|fork|remove|rename|mkdir)|subprocess|socket|shutil|ctypes\.dl)"
)
_watching: list[str] | None = None


def _notice(event, args):
    if _watching is None:
        return
    is_write = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
    is_source = event == "compile" and isinstance(args[0], str | bytes)
    if FORBIDDEN.match(event) or is_write or is_source:
        _watching.append(f"{event} {args!r:.200}")


sys.addaudithook(_notice)


@pytest.fixture(scope="module", autouse=True)
def _great_expectations_is_loaded():
    """Load what is imported on first use, so that its own compiling is not taken for a suite's."""
    judged(rule("expect_column_values_to_be_in_set", column="a", value_set=["x"], row_condition="n > 0"))


@pytest.fixture(autouse=True)
def _nothing_happens(tmp_path, monkeypatch):
    global _watching  # noqa: PLW0603
    monkeypatch.chdir(tmp_path)
    _watching = []
    yield
    seen, _watching = [event for event in _watching if str(tmp_path) not in event], None
    assert seen == []
    assert not list(tmp_path.rglob("CANARY"))


def rule(expectation_type, severity="warning", **kwargs):
    return {"type": expectation_type, "kwargs": kwargs, "severity": severity, "notes": "For the test."}


def judged(*rules, frame=FRAME):
    suite = Suite(name="sdtm.test", notes="For the test.", expectations=rules)
    return judge(frame, suite, lambda _table, _column: ())


def where(condition):
    return rule("expect_column_values_to_not_be_null", column="a", row_condition=condition)


CONDITIONS = {
    "local variable": f"@{CODE} == 1",
    "local object": "@pd.io.common.os.system('touch CANARY') == 0",
    "dunder": "a.__class__.__base__.__subclasses__() == 1",
    "attribute": "a.values == 1",
    "method": "a.to_csv('CANARY') == 1",
    "string method": "a.str.cat(sep='') == 'x'",
    "call": f"{CODE} == 0",
    "bare call": CODE,
    "eval": "eval('1') == 1",
    "backticks": f"`{CODE}` == 0",
    "backticks and dunder": "`a`.__class__ == 1",
    "format text": "a == f'{n}'",
    "bytes": "a == b'x'",
    "lambda": "(lambda: 1)() == 1",
    "comprehension": "[x for x in a] == 1",
    "walrus": "(b := 1) == 1",
    "assignment": "a = 'x'",
    "new column": "c = n + 1",
    "subscript": "a[0] == 'x'",
    "power": "9**9**9**9 > n",
    "large shift": "1 << 1000000000 > n",
    "modulo": "n % 2 == 0",
    "repeated text": "'x' * 1000000000 == a",
    "bit operators": "n == 1 & n == 2",
    "tilde": "~(n == 1)",
    "chained": "0 < n < 5",
    "semicolon": "n == 1; import os",
    "statement": "import os",
    "SQL": "n == 1) or (select 1",
    "SQL comment": "n == 1 -- comment",
    "SQL function": "read_text('/etc/passwd') == a",
    "comment": "n == 1 # and more",
    "backslash": "n == 1 \\",
    "NUL": "n == 1\0",
    "NUL in a text": "a == 'x\0'",
    "line break": "n == 1\nimport os",
    "terminal": "a == '\x1b[2J'",
    "right to left": "a == '\u202ex'",
    "full-width digit": "n == \uff11",
    "full-width sign": "n \uff1d\uff1d 1",
    "look-alike letter": "\u0430 == 'x'",
    "look-alike quote": "a == \u2018x\u2019",
    "ligature keyword": "n \uff49\uff4e [1]",
    "unended text": "a == 'x",
    "unended column": "`a == 'x'",
    "unended list": "a in ['x'",
    "empty list": "a in []",
    "column in a list": "a in [a]",
    "list in a list": "a in [['x']]",
    "no column": "1 == 1",
    "only a column": "a",
    "only a text": "'x'",
    "only blanks": "   ",
    "nothing": "",
    "half": "n ==",
    "underscored number": "n == 1_000",
    "hexadecimal": "n == 0x10",
    "complex": "n == 1j",
    "infinite": "n < 1e999",
    "too many digits": "n == " + "9" * 5000,
    "no 64 bits": "n == 9223372036854775808",
    "parentheses": "(" * 10_000,
    "balanced parentheses": "(" * 4000 + "n == 1" + ")" * 4000,
    "negations": "not " * 2000 + "n == 1",
    "many terms": " or ".join(["n==1"] * 1000),
    "long sum": "+".join(["n"] * 3000) + ">0",
    "one megabyte": "a == '" + "x" * 1_000_000 + "'",
    "huge list": "n in [" + ",".join(["1"] * 200_000) + "]",
    "look-around": "a matches '(?=x)'",
    "back-reference": "a matches '(x)\\1'",
    "huge repetition": "a matches '((x{1000}){1000}){1000}'",
    "pattern that is a column": "a matches a",
    "not a text": 5,
    "a list": ["n == 1"],
    "a parameter": {"$PARAMETER": CODE},
}


@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=CONDITIONS)
def test_hostile_condition_is_refused_in_one_line(condition):
    with pytest.raises(
        SuiteError, match=r"suite sdtm\.test: expect_column_values_to_not_be_null: "
    ) as refused:
        judged(where(condition))

    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("condition", "at"), [("n == 1 && a", 8), ("(n == 1", 8), ("a.b == 1", 3), ("n = 1", 3)]
)
def test_refusal_says_where_and_what_is_allowed(condition, at):
    with pytest.raises(ConditionError, match=rf"^at character {at}, .*allowed"):
        read_condition(condition)


@pytest.mark.parametrize("name", [CODE, "x; drop table a", "^.*$", "*", "a\n", "__class__", "@a", "a" * 5000])
def test_a_name_is_only_a_name(name):
    with pytest.raises(SuiteError, match="is absent") as refused:
        judged(rule("expect_column_values_to_not_be_null", column=name))
    assert str(refused.value).isprintable()
    with pytest.raises(SuiteError):
        judged(where(f"`{name}` == 1"))
    frame = pl.DataFrame({name: [1, None], "other": [None, 1]})
    assert (
        judged(rule("expect_column_values_to_not_be_null", column=name), frame=frame).outcomes[0].rows_failing
        == 1
    )


# Regular expressions. The number of steps is bounded, not the time: a backtracking engine would need more
# steps for these than there are atoms, and the test would never end.

LONG = pl.DataFrame({"a": ["a" * 50_000 + "!", "a" * 50_000, None], "n": [1, 2, 3]})


@pytest.mark.parametrize(
    ("pattern", "matching"),
    [
        ("^(a+)+$", [1]),
        ("^(a|a)*$", [1]),
        ("^(a|aa)+$", [1]),
        ("^([a-zA-Z]+)*$", [1]),
        ("^(.*a){12}$", [1]),
        ("^(a?){50}a{50}", [0, 1]),
        ("(x+x+)+y", []),
        ("^(([a-z])+.)+[A-Z]([a-z])+$", []),
        (r"^(\w+\s?)*$", [1]),
    ],
)
def test_pattern_that_explodes_by_backtracking_is_searched_in_linear_time(pattern, matching):
    failing = [row for row in (0, 1) if row not in matching]

    verdict = judged(
        rule("expect_column_values_to_match_regex", column="a", regex=pattern),
        rule("expect_column_values_to_not_match_regex", column="a", regex=pattern),
        rule("expect_column_values_to_match_regex_list", column="a", regex_list=[pattern, "^never$"]),
        rule(
            "expect_column_values_to_match_regex_list", column="a", regex_list=[pattern, "a"], match_on="all"
        ),
        rule("expect_column_values_to_not_match_regex_list", column="a", regex_list=[pattern, "^never$"]),
        frame=LONG,
    )

    found = [outcome.failing["position"].to_list() for outcome in verdict.outcomes]
    assert found == [failing, matching, failing, failing, matching]
    mask = read_condition(f"a matches '{pattern}'").mask(LONG)
    assert mask.arg_true().to_list() == matching


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(?=a)", "look-around"),
        ("(?<!a)b", "look-around"),
        (r"(a)\1", "backreferences"),
        ("(a", "unclosed group"),
        ("[a", "unclosed character class"),
        ("a{2,1}", "invalid repetition"),
        ("*", "repetition operator missing"),
        ("(a{1000}){1000}", "too large when compiled|size limit"),
        ("(a{1000}){10}", "too large when compiled"),
        ("(?x)(a{1000}){10} # a comment", "too large when compiled"),
        ("(" * 249 + "a" + ")" * 249, "too large when compiled"),
        (r"(\w{1,50}){1,50}", "too large when compiled|size limit"),
        ("a" * 2000, "2000 characters: at most 1000"),
        ("(" * 400 + ")" * 400, "nest"),
    ],
)
@pytest.mark.parametrize(
    "kind", ["match_regex", "not_match_regex", "match_regex_list", "not_match_regex_list"]
)
def test_pattern_that_is_not_supported_is_named(kind, pattern, said):
    argument = {"regex_list": [pattern]} if kind.endswith("list") else {"regex": pattern}
    with pytest.raises(SuiteError, match=rf"to_{kind}: regular expression '.*: .*({said})") as refused:
        judged(rule(f"expect_column_values_to_{kind}", column="a", **argument))
    assert str(refused.value).isprintable()


# Expectations and their arguments


def test_every_expectation_there_is_was_judged_and_is_described_truly():
    from great_expectations.expectations import expectation
    from great_expectations.expectations.registry import (
        list_registered_expectation_implementations,
    )

    single_rows = (
        expectation.ColumnMapExpectation,
        expectation.ColumnPairMapExpectation,
        expectation.MulticolumnMapExpectation,
    )
    assert {*ALLOWED, *REFUSED} == set(list_registered_expectation_implementations())
    assert not ALLOWED.keys() & REFUSED
    for name, form in ALLOWED.items():
        implementation = great._implementation(name)
        fields = implementation.__fields__
        assert {*form.needs, *form.takes} <= set(fields), name
        assert {key for key, field in fields.items() if field.required} <= {*form.needs}, name
        assert form.is_row_level == issubclass(implementation, single_rows), name


@pytest.mark.parametrize("name", REFUSED)
def test_refused_expectation_is_named_with_its_reason(name):
    with pytest.raises(
        SuiteError, match=rf"{name}: it is not allowed in a suite: {re.escape(REFUSED[name])}"
    ):
        judged(rule(name, unexpected_rows_query="COPY x TO 'CANARY'", column="a", type_="io", json_schema={}))


IN_SET, BETWEEN = "expect_column_values_to_be_in_set", "expect_column_values_to_be_between"
ARGUMENTS = [
    (BETWEEN, {"column": "n", "min_value": {"$PARAMETER": CODE}}),
    (BETWEEN, {"column": "n", "min_value": {"$PARAMETER": "urn:great_expectations:stores:file:/etc/passwd"}}),
    (BETWEEN, {"column": "n", "min_value": [1]}),
    (BETWEEN, {"column": "n", "min_value": True}),
    (BETWEEN, {"column": "n", "min_value": 10**400}),
    (BETWEEN, {"column": "n", "min_value": float("nan")}),
    (BETWEEN, {"column": "n", "min_value": 0, "strict_min": "yes"}),
    (BETWEEN, {"column": ["n"], "min_value": 0}),
    (BETWEEN, {"column": None, "min_value": 0}),
    (BETWEEN, {"column": "", "min_value": 0}),
    (BETWEEN, {"column": "n", "min_value": 0, "mostly": "0.5"}),
    (BETWEEN, {"column": "n", "min_value": 0, "mostly": 1.5}),
    (BETWEEN, {"column": "n", "min_value": 0, "mostly": -1}),
    (BETWEEN, {"column": "n", "min_value": 0, "mostly": {"$PARAMETER": "1"}}),
    (BETWEEN, {"column": "n", "min_value": 0, "condition_parser": "spark"}),
    (BETWEEN, {"column": "n", "min_value": 0, "row_condition": "n > 0", "condition_parser": "python"}),
    (BETWEEN, {"column": "n", "min_value": 0, "result_format": {"result_format": "COMPLETE"}}),
    (BETWEEN, {"column": "n", "min_value": 0, "windows": [{}]}),
    (BETWEEN, {"column": "n", "min_value": 0, "batch_id": "x"}),
    (BETWEEN, {"column": "n", "min_value": 0, "meta": {"x": 1}}),
    (BETWEEN, {"min_value": 0}),
    (IN_SET, {"column": "a", "value_set": "x"}),
    (IN_SET, {"column": "a", "value_set": [{"x": 1}]}),
    (IN_SET, {"column": "a", "value_set": [["x"]]}),
    (IN_SET, {"column": "a", "value_set": {"$PARAMETER": CODE}}),
    (IN_SET, {"column": "a", "value_set": {"table": "dm", "column": "usubjid"}}),
    (IN_SET, {"column": "a", "value_set": {"table": "sdtm.dm; drop table x", "column": "usubjid"}}),
    (IN_SET, {"column": "a", "value_set": {"table": 'sdtm."dm"', "column": "usubjid"}}),
    (IN_SET, {"column": "a", "value_set": {"table": "sdtm.dm.x", "column": "usubjid"}}),
    (IN_SET, {"column": "a", "value_set": {"table": "sdtm.dm", "column": 5}}),
    (IN_SET, {"column": "a", "value_set": {"table": ["sdtm.dm"], "column": "usubjid"}}),
    (IN_SET, {"column": "a", "value_set": {"table": "sdtm.dm", "column": "usubjid", "more": 1}}),
    ("expect_column_values_to_not_be_null", {}),
    ("expect_compound_columns_to_be_unique", {"column_list": 5}),
    ("expect_compound_columns_to_be_unique", {"column_list": ["a", 5]}),
    ("expect_compound_columns_to_be_unique", {"column_list": ["a", "n"], "ignore_row_if": CODE}),
    (
        "expect_column_pair_values_to_be_in_set",
        {"column_A": "a", "column_B": "n", "value_pairs_set": [["x"]]},
    ),
    ("expect_column_quantile_values_to_be_between", {"column": "n", "quantile_ranges": {"quantiles": [0.5]}}),
    ("expect_column_values_to_match_regex", {"column": "a", "regex": {"$PARAMETER": "x"}}),
    ("expect_column_values_to_match_regex_list", {"column": "a", "regex_list": "x"}),
    ("expect_column_values_to_match_regex_list", {"column": "a", "regex_list": [5]}),
    ("expect_column_values_to_not_be_outliers", {"column": "n", "method": CODE}),
    ("expect_table_row_count_to_equal", {"value": "3"}),
    ("expect_nothing_at_all", {"column": "a"}),
    ("eval", {"column": "a"}),
]


@pytest.mark.parametrize(("name", "kwargs"), ARGUMENTS)
@pytest.mark.parametrize("severity", ["warning", "set_aside"])
def test_argument_of_another_kind_is_refused(name, kwargs, severity):
    with pytest.raises(SuiteError, match=rf"suite sdtm\.test: {name}: ") as refused:
        judged(rule(name, severity, **kwargs))
    assert str(refused.value).isprintable()


# Files


def text_of(*rules, **more):
    return json.dumps({"name": "sdtm.dm", "notes": "x", "expectations": list(rules)} | more)


RULE = json.dumps(rule("expect_column_values_to_not_be_null", column="a"))
FILES = {
    "nothing": b"",
    "half": b'{"name": "sdtm.dm"',
    "a list": b"[]",
    "a text": b'"sdtm.dm"',
    "a number": b"1",
    "null": b"null",
    "not UTF-8": b'{"name": "\xff"}',
    "UTF-16": text_of().encode("utf-16"),
    "NUL": b"\0" * 100,
    "too large": b" " * 1_000_001,
    "twice the same key": b'{"name": "sdtm.dm", "name": "sdtm.ae", "notes": "x", "expectations": []}',
    "twice in kwargs": text_of()
    .replace("[]", f"[{RULE}]")
    .replace('"column"', '"column": "b", "column"')
    .encode(),
    "NaN": b'{"name": NaN}',
    "Infinity": b'{"name": -Infinity}',
    "1e999": b'{"name": 1e999}',
    "huge whole number": b'{"name": ' + b"9" * 100_000 + b"}",
    "more than 64 bits": b'{"name": 18446744073709551616}',
    "nested lists": b"[" * 100_000,
    "nested and closed": b'{"name": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "nested objects": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "nested by twenty": text_of(extends="x").replace('"x"', "[" * 20 + "]" * 20, 1).encode(),
    "half a character": text_of().replace('"x"', '"\\ud800"').encode(),
    "terminal in a key": text_of(**{"\x1b[2J": 1}).encode(),
    "long key": text_of(**{"k" * 100_000: 1}).encode(),
    "long name": text_of(name="sdtm." + "d" * 100_000).encode(),
    "expectations that are none": text_of(expectations={"a": 1}).encode(),
    "expectation that is a list": text_of([]).encode(),
    "kwargs that are a list": text_of(json.loads(RULE) | {"kwargs": []}).encode(),
    "column_list that is a number, twice": text_of(
        *[rule("expect_compound_columns_to_be_unique", column_list=5)] * 2
    ).encode(),
    "columns of objects": text_of(columns={"a": {}}).encode(),
    "hostile condition": text_of(where(CODE)).encode(),
    "refused expectation": text_of(rule("unexpected_rows_expectation", unexpected_rows_query="x")).encode(),
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_hostile_file_is_refused_in_one_message(tmp_path, content):
    path = tmp_path / "expectations" / "sdtm" / "dm.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)

    with pytest.raises(SuiteError, match=r"dm\.json: ") as refused:
        find_suites(tmp_path / "expectations")

    assert all(line.isprintable() for line in str(refused.value).splitlines())
    assert len(str(refused.value)) < 1000


def test_a_byte_order_mark_is_no_fault(tmp_path):
    path = tmp_path / "sdtm" / "dm.json"
    path.parent.mkdir()
    path.write_bytes(b"\xef\xbb\xbf" + text_of().encode())

    assert load_suite(path).name == "sdtm.dm"


@pytest.mark.parametrize(
    "name",
    ["sdtm/DM.json", "sdtm/d m.json", "sdtm/dm;x.json", "sdtm/\x1b[2J.json", "sdtm/dm.x.json", "s-d/dm.json"],
)
def test_file_name_that_is_no_table_is_refused(tmp_path, name):
    path = tmp_path / "expectations" / name
    path.parent.mkdir(parents=True)
    path.write_text(text_of())

    with pytest.raises(SuiteError, match=r"a suite is <schema>/<table>\.json") as refused:
        find_suites(tmp_path / "expectations")
    assert str(refused.value).isprintable()


def test_file_name_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "expectations" / "sdtm").mkdir(parents=True)
    with open(os.fsencode(tmp_path / "expectations" / "sdtm") + b"/d\xff.json", "w") as file:  # noqa: PTH123
        file.write(text_of())

    with pytest.raises(SuiteError, match=r"\\udcff") as refused:
        find_suites(tmp_path / "expectations")
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("link", ["file", "schema", "all", "dangling", "loop"])
def test_suite_behind_a_link_to_outside_is_refused(tmp_path, link):
    outside, study = tmp_path / "outside" / "sdtm", tmp_path / "study"
    outside.mkdir(parents=True)
    (outside / "dm.json").write_text(text_of())
    folder = study / "expectations"
    if link == "all":
        study.mkdir()
        folder.symlink_to(outside.parent)
    elif link == "schema":
        folder.mkdir(parents=True)
        (folder / "sdtm").symlink_to(outside)
    else:
        (folder / "sdtm").mkdir(parents=True)
        target = {
            "file": outside / "dm.json",
            "dangling": outside / "no.json",
            "loop": folder / "sdtm" / "dm.json",
        }
        (folder / "sdtm" / "dm.json").symlink_to(target[link])

    with pytest.raises(SuiteError, match=r"a link to|cannot be read|is not a file"):
        find_suites(folder)


def test_suite_behind_a_link_within_the_study_is_read(tmp_path):
    folder = tmp_path / "expectations" / "sdtm"
    folder.mkdir(parents=True)
    (tmp_path / "shared.json").write_text(text_of())
    (folder / "dm.json").symlink_to(tmp_path / "shared.json")

    assert list(find_suites(tmp_path / "expectations")) == ["sdtm.dm"]


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_not_a_file_is_refused(tmp_path, kind):
    folder = tmp_path / "expectations" / "sdtm"
    folder.mkdir(parents=True)
    (folder / "dm.json").mkdir() if kind == "folder" else os.mkfifo(folder / "dm.json")

    with pytest.raises(SuiteError, match=r"dm\.json: it is not a file"):
        find_suites(tmp_path / "expectations")
