"""docs/study.md and the template of a new study name all that a study folder may say."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
import sqlglot
from sqlglot import exp

from expectations.condition import read_condition
from expectations.suite import find_suites, named_columns
from expectations.vocabulary import ALLOWED, REFUSED
from flows.cli import EXIT_CODES
from tasks.analyses import ANALYSES, GATHERING, switched_on
from tasks.scaffold import TEMPLATE, make_study
from tasks.stage import STAGE_SCHEMAS
from warehouse.corrections import Correction
from warehouse.expression_plan import (
    ExcludedSample,
    Expression,
    ExpressionContrast,
    ExpressionDesign,
    ExpressionNetwork,
    GeneSetDifference,
    PreservationTest,
)
from warehouse.meta import study_tables
from warehouse.study import (
    AeQuery,
    Arm,
    ColumnType,
    Design,
    Estimand,
    Family,
    Format,
    Identity,
    IntercurrentEvent,
    Score,
    Source,
    Study,
    Visit,
    load_study,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

REPOSITORY = Path(__file__).resolve().parents[2]
DOC = (REPOSITORY / "docs" / "study.md").read_text(encoding="utf-8")
TEMPLATE_TOML = (TEMPLATE / "study.toml").read_text(encoding="utf-8")
RECORDS: tuple[type[BaseModel], ...] = (
    Identity,
    Design,
    Arm,
    Visit,
    Score,
    AeQuery,
    Estimand,
    IntercurrentEvent,
    Family,
    Source,
    Expression,
    ExcludedSample,
    ExpressionDesign,
    ExpressionContrast,
    ExpressionNetwork,
    PreservationTest,
    GeneSetDifference,
)
KEYS = [(record, key) for record in RECORDS for key in record.model_fields]
# The gathering analyses follow by themselves: a study has no section for them.
SWITCHABLE = [analysis for analysis in ANALYSES if analysis not in GATHERING]
# Put in from [expression]: a study does not write it below an analysis.
DECLARED_ELSEWHERE = {"expression"}
PARAMETERS = [
    (analysis, key)
    for analysis in SWITCHABLE
    for key in analysis.parameters.model_fields
    if key not in DECLARED_ELSEWHERE
]


OPTIONAL = "### Columns read where you have them"


def section(title: str) -> str:
    """Return the text from a heading to the next."""
    _, found, rest = DOC.partition(f"{title}\n")
    assert found, title
    return re.split(r"^#", rest, maxsplit=1, flags=re.MULTILINE)[0]


def contract(title: str = "### The contract") -> dict[str, str]:
    """Return what the table of the contract, or that of what is read if there, says of each table."""
    rows: dict[str, str] = {}
    for line in section(title).splitlines():
        cells = line.split("|")
        if len(cells) == 4:
            for table in re.findall(r"`((?:sdtm|omics)\.\w+)`", cells[1]):
                rows[table] = cells[2]
    return rows


def house_columns() -> Iterator[tuple[str, str, str]]:
    """Yield each table, column and file by which the house asks for a column of a study's table."""
    made_by_house = {f"{file.parent.name}.{file.stem}" for file in (REPOSITORY / "sql").glob("*/*.sql")}
    for table, suite in find_suites(REPOSITORY / "expectations").items():
        for expectation in suite.expectations:
            condition = expectation.kwargs.get("row_condition")
            names = read_condition(condition).columns if condition else ()
            for column in {*names, *named_columns(expectation.kwargs)}:
                if table.partition(".")[0] in ("sdtm", "omics") and table not in made_by_house:
                    yield table, column, f"expectations/{table}"
    for file in sorted((REPOSITORY / "sql").glob("*/*.sql")):
        query = sqlglot.parse_one(file.read_text(encoding="utf-8"), dialect="duckdb")
        named = {
            table.alias_or_name: f"{table.db}.{table.name}"
            for table in query.find_all(exp.Table)
            if table.db in ("sdtm", "omics")
        }
        for column in query.find_all(exp.Column):
            if column.table in named and column.name != "*":
                yield named[column.table], column.name.lower(), str(file.relative_to(REPOSITORY))


@pytest.mark.parametrize(("record", "key"), KEYS, ids=[f"{record.__name__}.{key}" for record, key in KEYS])
def test_every_key_of_study_toml_is_documented(record, key):
    title = {
        Identity: "### `[study]`",
        Source: "### `[sources.<name>]`",
        Estimand: "### `[[estimands]]`",
        IntercurrentEvent: "### `[[estimands]]`",
        Family: "### `[families.<name>]`",
        Expression: "### `[expression]`",
        ExcludedSample: "### `[expression]`",
        ExpressionDesign: "### `[[expression.designs]]`",
        ExpressionContrast: "### `[[expression.contrasts]]`",
        ExpressionNetwork: "### `[[expression.networks]]`",
        PreservationTest: "### `[[expression.preservation_tests]]`",
        GeneSetDifference: "### `[expression]`",
    }.get(record, "### `[design]`")
    assert f"`{key}`" in section(title)


@pytest.mark.parametrize(("record", "key"), KEYS, ids=[f"{record.__name__}.{key}" for record, key in KEYS])
def test_every_key_of_study_toml_is_in_the_template(record, key):
    # `columns` and the lists of the design are sections of their own there; events are written in a line.
    if key in ("columns", "arms", "visits", "scores", "ae_queries") or (
        record is Expression
        and key in ("designs", "contrasts", "gene_set_differences", "networks", "preservation_tests")
    ):
        shown = rf"^(# )?\[.*\b{key}\]+$"
    else:
        is_inline = record in {IntercurrentEvent, ExcludedSample}
        shown = rf"\b{key} = " if is_inline else rf"^(# )?{key} = "
    assert re.search(shown, TEMPLATE_TOML, flags=re.MULTILINE), record


def test_every_section_of_study_toml_is_documented():
    for name in Study.model_fields.keys() - {"folder"}:
        assert f"[{name}" in DOC


@pytest.mark.parametrize(
    ("analysis", "key"), PARAMETERS, ids=[f"{analysis.name}.{key}" for analysis, key in PARAMETERS]
)
def test_every_parameter_of_an_analysis_is_documented_and_in_the_template(analysis, key):
    (row,) = [line for line in DOC.splitlines() if line.startswith(f"| `{analysis.name}` |")]
    assert f"`{key}`" in row
    for read in (*analysis.reads, *analysis.uses):
        assert f"`{read}`" in row
    shown = TEMPLATE_TOML.partition(f"[analyses.{analysis.name}]")[2]
    assert re.search(rf"^(# )?{key} = ", shown, flags=re.MULTILINE)


def everything_switched_on() -> dict[str, Any]:
    """Return the template with every optional line taken as it would be without its mark."""
    optional = r"^# (?=\[\[?(?:analyses|design|expression)\b|\w+ = )"
    return tomllib.loads(re.sub(optional, "", TEMPLATE_TOML, flags=re.MULTILINE))


def test_the_template_of_expression_is_sound():
    declared = Expression.model_validate(everything_switched_on()["expression"])
    shown = Expression.model_fields
    assert declared.min_library_pct == shown["min_library_pct"].default
    assert declared.min_count == shown["min_count"].default
    assert all((declared.designs, declared.contrasts, declared.gene_set_differences))


def test_the_defaults_in_the_template_are_those_of_the_analyses():
    analyses = everything_switched_on()["analyses"]
    for analysis in SWITCHABLE:
        for key, field in analysis.parameters.model_fields.items():
            default = field.get_default(call_default_factory=True, validated_data={})
            # Examples, for there is no default that says something.
            is_example = field.is_required() or default is None or key == "primary"
            if is_example or key in DECLARED_ELSEWHERE:
                continue
            shown = analyses[analysis.name][key]
            assert (tuple(shown) if isinstance(shown, list) else shown) == default, key


def test_the_template_is_sound_with_every_analysis_switched_on(tmp_path):
    file = make_study(str(tmp_path / "my_trial")) / "study.toml"
    before, first, analyses = file.read_text(encoding="utf-8").partition("[analyses.primary_endpoint]")
    everything = re.sub(r"^# (?=\[analyses\.|\w+ = )", "", analyses, flags=re.MULTILINE)
    file.write_text(before + first + everything, encoding="utf-8")
    assert {one.analysis for one in switched_on(load_study(file.parent))} == set(ANALYSES)


@pytest.mark.parametrize("name", get_args(Format))
def test_every_format_is_documented(name):
    assert f"`{name}`" in section("### `[sources.<name>]`")
    assert f"| `{name}` |" in section("## What lands in raw")


@pytest.mark.parametrize("name", get_args(ColumnType))
def test_every_column_type_is_documented(name):
    assert f"`{name}`" in section("### `[sources.<name>]`")


@pytest.mark.parametrize("key", Correction.model_fields)
def test_every_key_of_a_correction_is_documented_and_in_the_template(key):
    assert re.search(rf"^{key} = ", section("## Corrections"), flags=re.MULTILINE)
    template = (TEMPLATE / "corrections.toml").read_text(encoding="utf-8")
    assert re.search(rf"^# {key} = ", template, flags=re.MULTILINE)


def test_every_table_made_from_study_toml_is_documented_with_its_columns():
    for name, frame in study_tables(load_study("nl_ruxolitinib")).items():
        (row,) = [line for line in DOC.splitlines() if line.startswith(f"| `meta.{name}` |")]
        assert re.findall(r"`(\w+)`", row) == frame.columns


def test_every_column_that_the_house_asks_for_is_in_the_contract():
    documented, optional = contract(), contract(OPTIONAL)
    missing = {
        (table, column, where)
        for table, column, where in house_columns()
        if not column.startswith("_")
        and f"`{column}`" not in documented.get(table, "") + optional.get(table, "")
    }
    assert missing == set()


@pytest.mark.parametrize("table", contract(OPTIONAL))
def test_columns_read_where_there_are_null_elsewhere(table):
    named = set(re.findall(r"`([a-z]\w*)`", contract(OPTIONAL)[table]))
    filled: set[str] = set()
    for file in (REPOSITORY / "sql" / "adam").glob("*.sql"):
        query = sqlglot.parse_one(file.read_text(encoding="utf-8"), dialect="duckdb")
        for union in query.find_all(exp.Union):
            sides = [side for side in (union.this, union.expression) if isinstance(side, exp.Select)]
            tables = {f"{found.db}.{found.name}" for side in sides for found in side.find_all(exp.Table)}
            if union.args.get("by_name") and table in tables:
                filled |= {column.alias for side in sides for column in side.selects if column.alias}
    assert named == filled


def test_the_contract_names_no_column_that_nothing_asks_for():
    asked = {(table, column) for table, column, _ in house_columns()}
    # The analysis of gene sets passes the description on.
    asked.add(("omics.gene_set", "description"))
    named = {
        (table, column)
        for table, text in contract().items()
        for column in re.findall(r"`([a-z_0-9]+)`", text)
    }
    assert named - asked == set()


def test_every_exit_code_is_documented():
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", section("## Errors"), flags=re.MULTILINE)}
    assert documented == {0, 1, 2, 130, *EXIT_CODES.values()}


@pytest.mark.parametrize("name", [*ALLOWED, *REFUSED])
def test_every_expectation_that_is_allowed_or_refused_is_documented(name):
    allowed, _, refused = section("### What a suite may ask").partition("Not allowed")
    assert f"`{name}`" in (allowed if name in ALLOWED else refused)


def test_the_documented_conditions_are_read():
    shown = re.findall(r"^\| `([^`|]+)` \|", section("### Conditions on rows"), flags=re.MULTILINE)
    assert len(shown) > 5
    for condition in shown:
        read_condition(condition)


def test_every_schema_is_documented():
    for schemas in STAGE_SCHEMAS.values():
        for schema in schemas:
            assert schema in section("## Models: from raw to sdtm and omics")


def test_the_examples_are_sound():
    example = re.search(r"```json\n(.*?)```", DOC, flags=re.DOTALL)
    assert example
    (expectation,) = json.loads(example[1])["expectations"]
    assert set(expectation) == {"type", "kwargs", "severity", "notes"}
    estimand, correction = re.findall(r"```toml\n(.*?)```", DOC, flags=re.DOTALL)
    Estimand.model_validate(tomllib.loads(estimand)["estimands"][0])
    Correction.model_validate(tomllib.loads(correction)["correction"][0])
