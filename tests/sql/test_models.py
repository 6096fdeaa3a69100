"""Every SQL model against its cases: rows in, rows out, one clause of the SELECT at a time.

A case is `tests/sql/<house | study id>/<schema>/<table>/<case>.yaml`:

    clause: The sentence that says which clause of the SELECT is exercised.
    input:                     # every table the SELECT reads; an empty one is `[]` plus its `types`; one
                               # that the header calls optional may be left out: it is read as empty
      sdtm.dm:
        - {usubjid: S-1, age: 40}
        - {usubjid: S-2}       # a missing key is null
    types:                     # optional, and the only way to name a column that no row fills
      sdtm.dm: {rfstdtc: VARCHAR}
    expected:                  # only the listed columns are compared
      - {usubjid: S-1, age: 40}
    ordered: true              # optional: the order of the rows is part of the contract

A column of `raw` is VARCHAR, as in the lake; elsewhere the values give the type. Dates are unquoted.
"""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
import sqlglot
import yaml
from sqlglot import exp

from warehouse.models import read_model

if TYPE_CHECKING:
    from collections.abc import Mapping

REPOSITORY = Path(__file__).resolve().parents[2]
CASES = Path(__file__).resolve().parent
ALLOWED_KEYS = {"clause", "input", "types", "expected", "ordered"}
REQUIRED_KEYS = {"clause", "input", "expected"}
TOLERANCE = 1e-9  # relative and absolute: one double rounding, no modelling

Row = dict[str, Any]


def model_files() -> dict[tuple[str, str, str], Path]:
    """Return every model by (owner, schema, table), the owner being `house` or the study's id."""
    found = {("house", *path.parts[-2:]): path for path in sorted((REPOSITORY / "sql").glob("*/*.sql"))}
    for path in sorted((REPOSITORY / "studies").glob("*/sql/*/*.sql")):
        found[path.parts[-4], *path.parts[-2:]] = path
    return {(owner, schema, file.removesuffix(".sql")): path for (owner, schema, file), path in found.items()}


MODELS = model_files()
CASE_FILES = sorted(CASES.glob("*/*/*/*.yaml"))


def case_id(path: Path) -> str:
    return path.relative_to(CASES).with_suffix("").as_posix()


def model_of(path: Path) -> tuple[str, str, str]:
    owner, schema, table, _ = path.relative_to(CASES).parts
    return owner, schema, table


def read_case(path: Path) -> dict[str, Any]:
    case = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(case, dict):
        raise TypeError(f"{path}: a case is a mapping with {sorted(REQUIRED_KEYS)}")
    if unknown := set(case) - ALLOWED_KEYS:
        raise ValueError(f"{path}: unknown key {sorted(unknown)}: allowed are {sorted(ALLOWED_KEYS)}")
    if missing := REQUIRED_KEYS - set(case):
        raise ValueError(f"{path}: key {sorted(missing)} is missing")
    if not str(case["clause"] or "").strip():
        raise ValueError(f"{path}: clause is empty: say which clause the case exercises")
    return case


def tables_read(select: str) -> set[str]:
    """Return the `schema.table` names a SELECT reads; a common table expression has no schema."""
    statements = [statement for statement in sqlglot.parse(select, read="duckdb") if statement is not None]
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise ValueError("a model file holds exactly one SELECT")
    return {f"{table.db}.{table.name}" for table in statements[0].find_all(exp.Table) if table.db}


def duckdb_type(table: str, column: str, values: list[Any]) -> str:
    if table.startswith("raw."):
        return "BIGINT" if column == "_source_row" else "VARCHAR"
    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return "BIGINT" if column == "_source_row" else "VARCHAR"
    if kinds == {int, float}:
        return "DOUBLE"
    if len(kinds) > 1:
        named = sorted(kind.__name__ for kind in kinds)
        raise ValueError(
            f"{table}.{column}: values of several types {named}: give the column a type in `types`"
        )
    return {
        bool: "BOOLEAN",
        int: "BIGINT",
        float: "DOUBLE",
        str: "VARCHAR",
        dt.date: "DATE",
        dt.datetime: "TIMESTAMP",
    }[kinds.pop()]


def create_input(
    connection: duckdb.DuckDBPyConnection, table: str, rows: list[Row], types: Mapping[str, str]
) -> None:
    columns = dict.fromkeys([*(key for row in rows for key in row), *types])
    if not columns:
        raise ValueError(f"{table}: an empty input table needs its columns in `types`")
    declared = {
        column: types.get(column) or duckdb_type(table, column, [row.get(column) for row in rows])
        for column in columns
    }
    schema, name = table.split(".")
    connection.execute(f'create schema if not exists "{schema}"')
    listing = ", ".join(f'"{column}" {kind}' for column, kind in declared.items())
    connection.execute(f'create table "{schema}"."{name}" ({listing})')
    for row in rows:
        values = [
            str(value) if kind == "VARCHAR" and (value := row.get(column)) is not None else row.get(column)
            for column, kind in declared.items()
        ]
        marks = ", ".join("?" for _ in values)
        connection.execute(f'insert into "{schema}"."{name}" values ({marks})', values)


def run_select(
    select: str,
    inputs: Mapping[str, list[Row]],
    types: Mapping[str, dict[str, str]],
    optional: Mapping[str, str] | None = None,
) -> list[Row]:
    reads = tables_read(select)
    absent = {table: columns for table, columns in (optional or {}).items() if table not in inputs}
    if unlisted := reads - set(inputs) - set(absent):
        raise ValueError(f"input: the SELECT reads {sorted(unlisted)}: list every table it reads")
    if unread := set(inputs) - reads:
        raise ValueError(f"input: {sorted(unread)} is not read by the SELECT, which reads {sorted(reads)}")
    if untaken := set(types) - set(inputs):
        raise ValueError(f"types: {sorted(untaken)} is no input table: allowed are {sorted(inputs)}")
    with duckdb.connect() as connection:
        for table, rows in inputs.items():
            create_input(connection, table, rows or [], types.get(table, {}))
        for table, columns in absent.items():
            connection.execute(f"create schema if not exists {table.partition('.')[0]}")
            connection.execute(f"create table {table} ({columns})")
        result = connection.execute(select)
        names = [column[0] for column in result.description]
        # DuckDB gives a bare column the case of its source, and raw columns stand as delivered.
        if upper := [name for name in names if name != name.lower()]:
            raise ValueError(f"the SELECT names {upper}: columns of a model are lower-case: say `X as x`")
        return [dict(zip(names, values, strict=True)) for values in result.fetchall()]


def same_value(left: Any, right: Any) -> bool:
    if left is None or right is None:
        return left is right
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    numbers = (int, float, Decimal)
    if isinstance(left, numbers) and isinstance(right, numbers):
        return math.isclose(left, right, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return type(left) is type(right) and left == right


def same_row(left: Row, right: Row) -> bool:
    return all(same_value(left[column], right[column]) for column in left)


def differences(actual: list[Row], expected: list[Row], *, ordered: bool) -> list[str]:
    """Return readable differences, none when the rows agree on the columns that `expected` lists."""
    columns = list(dict.fromkeys(key for row in expected for key in row))
    if actual and (absent := [column for column in columns if column not in actual[0]]):
        return [f"the SELECT has no column {absent}; it has {list(actual[0])}"]
    wanted = [{column: row.get(column) for column in columns} for row in expected]
    got = [{column: row[column] for column in columns} for row in actual]
    if ordered:
        problems = [
            f"row {position}: {column}: expected {want[column]!r}, got {have[column]!r}"
            for position, (want, have) in enumerate(zip(wanted, got, strict=False), start=1)
            for column in columns
            if not same_value(want[column], have[column])
        ]
        if len(wanted) != len(got):
            problems.append(f"expected {len(wanted)} rows, got {len(got)}")
        return problems
    unmatched = list(got)
    missing = []
    for want in wanted:
        match = next((row for row in unmatched if same_row(want, row)), None)
        if match is None:
            missing.append(want)
        else:
            unmatched.remove(match)
    return explain(missing, unmatched, columns)


def explain(missing: list[Row], surplus: list[Row], columns: list[str]) -> list[str]:
    """Pair each missing row with the surplus row it resembles most, so that the differing cell is named."""
    problems = []
    left = list(surplus)
    for want in missing:
        if not left:
            problems.append(f"expected, not found: {want}")
            continue
        nearest = max(left, key=lambda row: sum(same_value(want[column], row[column]) for column in columns))
        left.remove(nearest)
        cells = [
            f"{column}: expected {want[column]!r}, got {nearest[column]!r}"
            for column in columns
            if not same_value(want[column], nearest[column])
        ]
        problems.append(f"{'; '.join(cells)}\n    in the row {nearest}")
    return problems + [f"found, not expected: {row}" for row in left]


@pytest.mark.parametrize("path", CASE_FILES, ids=case_id)
def test_the_model_gives_the_expected_rows(path: Path) -> None:
    case = read_case(path)
    model = MODELS.get(model_of(path))
    assert model is not None, f"{case_id(path)}: no model file for this case folder"
    owner, schema, table = model_of(path)
    optional = read_model(model, f"{schema}.{table}", is_house=owner == "house").optional
    actual = run_select(model.read_text(encoding="utf-8"), case["input"], case.get("types", {}), optional)
    problems = differences(actual, case["expected"], ordered=case.get("ordered", False))
    assert not problems, "\n".join([case["clause"], *problems])


@pytest.mark.parametrize("model", sorted(MODELS), ids="/".join)
def test_every_model_has_a_case(model: tuple[str, str, str]) -> None:
    folder = CASES.joinpath(*model)
    assert list(folder.glob("*.yaml")), f"{folder.relative_to(REPOSITORY)}: holds no case"


def test_every_case_file_stands_where_it_is_found() -> None:
    stray = set(CASES.rglob("*.y*ml")) - set(CASE_FILES)
    assert not stray, f"not <owner>/<schema>/<table>/<case>.yaml: {sorted(map(str, stray))}"


def test_a_table_that_the_case_does_not_list_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"reads \['meta.arm'\]: list every table"):
        run_select("select * from sdtm.dm, meta.arm", {"sdtm.dm": [{"usubjid": "S-1"}]}, {})


def test_a_table_that_the_select_does_not_read_is_an_error() -> None:
    inputs = {"sdtm.dm": [{"usubjid": "S-1"}], "sdtm.ex": [{"usubjid": "S-1"}]}
    with pytest.raises(ValueError, match=r"'sdtm.ex'\] is not read"):
        run_select("select * from sdtm.dm", inputs, {})


def test_an_optional_table_that_the_case_does_not_list_is_empty() -> None:
    select = (
        "select dm.usubjid from sdtm.dm left join sdtm.dv on dm.usubjid = dv.usubjid where dv.usubjid is null"
    )
    inputs = {"sdtm.dm": [{"usubjid": "S-1"}]}
    assert run_select(select, inputs, {}, {"sdtm.dv": "usubjid varchar"}) == [{"usubjid": "S-1"}]
    with pytest.raises(ValueError, match=r"reads \['sdtm.dv'\]: list every table"):
        run_select(select, inputs, {})


def test_raw_columns_are_text_but_for_the_source_row() -> None:
    rows = run_select("select * from raw.dm", {"raw.dm": [{"age": 40, "_source_row": 2}]}, {})
    assert rows == [{"age": "40", "_source_row": 2}]


def test_an_upper_case_column_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"names \['AGE'\]: columns of a model are lower-case"):
        run_select("select age from raw.dm", {"raw.dm": [{"AGE": 40}]}, {})


def test_rows_are_compared_as_a_bag_with_a_tolerance() -> None:
    one, two = {"k": "a", "v": 0.1 + 0.2}, {"k": "b", "v": None}
    assert not differences([one, two], [{"k": "b", "v": None}, {"k": "a", "v": 0.3}], ordered=False)
    assert differences([one, one], [{"k": "a", "v": 0.3}], ordered=False)
    assert differences([one, two], [{"k": "b"}, {"k": "a"}], ordered=True)


def test_a_difference_names_the_cell() -> None:
    problems = differences([{"k": "a", "v": 1}], [{"k": "a", "v": 2}], ordered=False)
    assert problems == ["v: expected 2, got 1\n    in the row {'k': 'a', 'v': 1}"]


def test_an_unknown_column_in_expected_is_named() -> None:
    assert "no column ['w']" in differences([{"v": 1}], [{"w": 1}], ordered=False)[0]
