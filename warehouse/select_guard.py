"""Let through exactly one SELECT that reads tables of the lake and calls functions judged harmless.

DuckDB's own parser says what a text means: a parser of another make could understand
it otherwise. Whatever this module does not know, a kind of node, a function, a schema, is refused.
"""

from __future__ import annotations

import difflib
import json
import re
import string
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import duckdb

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

# Longer than any query that a person writes; the time of DuckDB's lexer grows with its square.
MAX_CHARACTERS = 100_000
MAX_COMMENTS = 1000
# DuckDB plans a deep expression for minutes and hears no interrupt; each lambda in a lambda doubles that.
MAX_DEPTH = 150
LAMBDA_DEPTH = 15
SHOWN_KINDS = 5
MAX_PIVOT_CHARACTERS = 10_000
MAX_PIVOT_COLUMNS = 20
MAX_PIVOT_PLACES = 500  # each is tried in the time of one parsing
# What may follow a column of a PIVOT that lists no values.
AFTER_PIVOT_COLUMN = re.compile(
    rb"[,;)]|(using|group|order|limit|offset|union|intersect|except)\b", re.IGNORECASE
)

# The layers, in the order in which the data flow.
LAYERS = ("raw", "staging", "sdtm", "omics", "adam", "results", "reports")
PURE_TABLE_FUNCTIONS = ("generate_series", "json_each", "json_tree", "range", "repeat", "unnest")

# The kinds of expressions and of other parts in DuckDB's trees.
EXPRESSIONS = re.compile(
    "BETWEEN|CASE|CAST|COLLATE|COLUMN_REF|COMPARISON|CONJUNCTION|CONSTANT|DEFAULT|FUNCTION|LAMBDA|OPERATOR"
    "|POSITIONAL_REFERENCE|STAR|SUBQUERY|WINDOW"
)
PARTS = re.compile(
    "(SELECT|SET_OPERATION|RECURSIVE_CTE)_NODE|(DISTINCT|LIMIT|LIMIT_PERCENT|ORDER)_MODIFIER"
    "|BASE_TABLE|EMPTY|EXPRESSION_LIST|JOIN|PIVOT|SHOW_REF|SUBQUERY|TABLE_FUNCTION"
    r"|ASCENDING|DESCENDING|ORDER_DEFAULT|\w+_TYPE_INFO"
)
# How DuckDB writes SHOW TABLES, SHOW ALL TABLES and SHOW SCHEMAS.
SHOWN = ('"tables"', "__show_tables_expanded", '"schemas"')

PIVOT_UNKNOWN = "this PIVOT is not understood: list its columns: PIVOT ... ON column IN (value, ...)"
TOO_DEEP = "the SQL is nested too deeply: write its parts as `with` clauses"

Tree = dict[str, Any]


class RefusedSelectError(ValueError):
    """The text is no single SELECT, or it reaches for what it may not."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What the SELECTs of one origin may use."""

    schemas: tuple[str, ...]
    table_functions: tuple[str, ...]
    # Statements about the lake instead of its rows: DESCRIBE and SHOW, `AT (VERSION => n)`, and a PIVOT whose
    # columns come from the data.
    is_explorer: bool


QUERY = Reach(
    schemas=(*LAYERS, "meta", "information_schema"),
    table_functions=(
        *PURE_TABLE_FUNCTIONS,
        "duckdb_columns",
        "duckdb_schemas",
        "duckdb_tables",
        "duckdb_views",
        "lake.current_snapshot",
        "lake.snapshots",
        "lake.table_changes",
        "lake.table_deletions",
        "lake.table_insertions",
    ),
    is_explorer=True,
)
MODEL = Reach(schemas=(*LAYERS, "meta"), table_functions=PURE_TABLE_FUNCTIONS, is_explorer=False)


def check_select(text: str, reach: Reach) -> frozenset[str]:
    """Return the tables that the one SELECT of the text reads, as `schema.table`.

    Raises
    ------
    RefusedSelectError
        If the text is anything else, or uses what `reach` does not hold.
    duckdb.Error
        If the text is not SQL: DuckDB's message names the place.
    """
    if len(text) > MAX_CHARACTERS:
        raise RefusedSelectError(f"{len(text):,} characters of SQL: at most {MAX_CHARACTERS:,} are allowed")
    if text.count("/*") > MAX_COMMENTS:
        raise RefusedSelectError(f"more than {MAX_COMMENTS:,} comments in /* */: write them as --")
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise RefusedSelectError("the SQL holds a NUL, or bytes that are not UTF-8: neither is allowed")
    with _parser().cursor() as parser:
        text = _as_one_select(parser, text, reach)
        try:
            tree = _parse(parser, text)
            walk = _Walk(reach, set())
            walk.visit(tree, frozenset(), 0)
        except RecursionError:
            raise RefusedSelectError(
                "the SQL is nested too deeply: write its parts as `with` clauses"
            ) from None
    return frozenset(walk.tables)


def _as_one_select(parser: duckdb.DuckDBPyConnection, text: str, reach: Reach) -> str:
    """Return the text of one SELECT; columns stand where a PIVOT would take them from the data."""
    statements = parser.extract_statements(text)
    kinds = [each.type.name for each in statements]
    if kinds == ["SELECT"]:
        return text
    # For each column whose values a PIVOT is to look up DuckDB makes a statement, which has no text.
    looked_up = sum(each.type.name == "CREATE" and not each.query for each in statements)
    if not looked_up or kinds != ["CREATE"] * looked_up + ["SELECT"]:
        found = ", ".join(kinds[:SHOWN_KINDS]) + (", ..." if len(kinds) > SHOWN_KINDS else "")
        raise RefusedSelectError(f"exactly one SELECT is allowed: found {found or 'no statement'}")
    if not reach.is_explorer:
        raise RefusedSelectError(
            "PIVOT takes its columns from the data: list them: PIVOT ... ON column IN (value, ...)"
        )
    if looked_up > MAX_PIVOT_COLUMNS or len(text) > MAX_PIVOT_CHARACTERS:
        raise RefusedSelectError(
            f"PIVOT takes its columns from the data, {looked_up} times in {len(text):,} characters: allowed"
            f" are {MAX_PIVOT_COLUMNS} in {MAX_PIVOT_CHARACTERS:,}: list them: PIVOT ... ON column IN (...)"
        )
    return _list_pivot_values(parser, text, looked_up)


def _list_pivot_values(parser: duckdb.DuckDBPyConnection, text: str, looked_up: int) -> str:
    """Write `in (0)` behind each column of a PIVOT that has no values: only such a PIVOT has a tree.

    DuckDB's parser says where: behind a token after which one value list less is left to look up. All that
    was written stays, in its order, so that nothing escapes the judgement of the tree.
    """
    written = text.encode()
    # DuckDB counts in bytes.
    places = [start for start, _ in duckdb.tokenize(text) if AFTER_PIVOT_COLUMN.match(written, start)]
    if len(places) > MAX_PIVOT_PLACES:
        raise RefusedSelectError(f"{PIVOT_UNKNOWN}, or write a shorter query")
    for place in reversed([*places, len(written)]):
        listed = written[:place] + b"\nin (0)\n" + written[place:]
        try:
            left = len(parser.extract_statements(listed.decode())) - 1
        except duckdb.Error:
            continue
        if left == looked_up - 1:
            written, looked_up = listed, left
            if not looked_up:
                return written.decode()
    raise RefusedSelectError(PIVOT_UNKNOWN)


def _parse(parser: duckdb.DuckDBPyConnection, text: str) -> Tree:
    """Return DuckDB's tree of the one SELECT."""
    (serialised,) = parser.execute(
        "select json_serialize_sql(?::varchar, skip_null := true, skip_empty := true, skip_default := true)",
        [text],
    ).fetchone() or ("{}",)
    answer = json.loads(serialised)
    trees = answer.get("statements", [])
    if len(trees) != 1:
        raise RefusedSelectError(
            f"exactly one SELECT is allowed: {answer.get('error_message', 'found none')}"
        )
    tree: Tree = trees[0]
    return tree


@dataclass(frozen=True, slots=True)
class _Walk:
    """One way through a tree, from which nothing is left out."""

    reach: Reach
    tables: set[str]

    def visit(self, part: object, named: frozenset[str], depth: int) -> None:
        """Judge a part of the tree, within the `with` clauses that it sees."""
        if isinstance(part, list):
            for each in part:
                self.visit(each, named, depth)
        elif isinstance(part, dict):
            depth += LAMBDA_DEPTH if part.get("class") == "LAMBDA" else 1
            if depth > MAX_DEPTH:
                raise RefusedSelectError(TOO_DEEP)
            self._judge(part, named)
            for entry in part.get("cte_map", {}).get("map", ()):
                self.visit(entry["value"], named, depth)
                named |= {_fold(entry["key"])}
            for key, child in part.items():
                # The second half of a recursive clause reads what the first began, under the clause's name.
                recurs = key == "right" and part.get("type") == "RECURSIVE_CTE_NODE"
                if part.get("type") == "TABLE_FUNCTION" and key == "function":
                    child = [*child.values()]  # noqa: PLW2901 - its name is judged already, as a table function's
                if key != "cte_map":
                    self.visit(child, named | {_fold(part["cte_name"])} if recurs else named, depth)

    def _judge(self, node: Tree, named: frozenset[str]) -> None:
        kind, what = node.get("class"), node.get("type")
        if kind == "PARAMETER":
            raise RefusedSelectError("parameters such as ? and $1 are refused: write the value")
        if kind is not None and not EXPRESSIONS.fullmatch(kind):
            raise RefusedSelectError(f"{kind}: this kind of expression is refused")
        if kind is None and isinstance(what, str) and not PARTS.fullmatch(what):
            raise RefusedSelectError(f"{what}: this part of a query is refused")
        if kind in {"FUNCTION", "WINDOW"}:
            _check_function(node["function_name"])
        elif what == "BASE_TABLE":
            self._check_table(node, named)
        elif what == "TABLE_FUNCTION":
            self._check_table_function(node["function"])
        elif what == "SHOW_REF":
            self._check_show(node)

    def _check_table(self, node: Tree, named: Collection[str]) -> None:
        parts = [_fold(node[key]) for key in ("catalog_name", "schema_name", "table_name") if node.get(key)]
        name = ".".join(parts)
        # A name that is none could be a file's.
        if not all(re.fullmatch(r"\w+", part) for part in parts):
            raise RefusedSelectError(
                f"unknown table {name!r}: names are letters, digits and underscores; no file is read"
            )
        if len(parts) == 1 and name in named:
            return
        if len(parts) == 1:
            raise RefusedSelectError(f"unknown table {name}: name tables as schema.table")
        if len(parts) == 3 and (not self.reach.is_explorer or parts.pop(0) != "lake"):  # noqa: PLR2004
            raise RefusedSelectError(f"{name}: name tables as schema.table")
        if parts[0] not in self.reach.schemas:
            raise RefusedSelectError(f"unknown schema in {name}: allowed: {', '.join(self.reach.schemas)}")
        if "at_clause" in node and not self.reach.is_explorer:
            raise RefusedSelectError(
                f"{name}: AT: a model reads the tables of its own run, at no other version"
            )
        self.tables.add(".".join(parts))

    def _check_table_function(self, function: Tree) -> None:
        parts = [_fold(function[key]) for key in ("catalog", "schema", "function_name") if function.get(key)]
        if (name := ".".join(parts)) not in self.reach.table_functions:
            raise RefusedSelectError(
                f"table function {name} is refused: allowed: {', '.join(self.reach.table_functions)}"
            )

    def _check_show(self, node: Tree) -> None:
        if not self.reach.is_explorer:
            raise RefusedSelectError("DESCRIBE, SHOW and SUMMARIZE are refused: a model selects rows")
        is_schema = (
            node.get("schema_name") in self.reach.schemas and node.get("catalog_name", "lake") == "lake"
        )
        if not ("query" in node or node.get("table_name") in SHOWN or is_schema):
            raise RefusedSelectError(
                "SHOW is allowed as SHOW TABLES, SHOW ALL TABLES, SHOW SCHEMAS and SHOW TABLES FROM schema"
            )


def _check_function(name: str) -> None:
    allowed, refused = _functions()
    folded = _fold(name)
    if folded in allowed:
        return
    if folded in refused:
        raise RefusedSelectError(f"function {name} is refused: {refused[folded]}")
    similar = difflib.get_close_matches(folded, allowed, n=1, cutoff=0.8)
    hint = f"did you mean {similar[0]}?" if similar else "the allowed ones stand in warehouse/functions.toml"
    raise RefusedSelectError(f"function {name} is not one that a query may call: {hint}")


@cache
def _functions() -> tuple[frozenset[str], Mapping[str, str]]:
    """Return the functions that may be called, and the others each with the reason."""
    listed = tomllib.loads(files("warehouse").joinpath("functions.toml").read_text(encoding="utf-8"))

    def names(text: str) -> Iterator[str]:
        return map(_fold, text.split())

    refused = {name: why for why, text in listed["refused"].items() for name in names(text)}
    return frozenset(names(listed["allowed"])), refused


@cache
def _parser() -> duckdb.DuckDBPyConnection:
    """Return a database that holds nothing and reaches nothing: it parses."""
    return duckdb.connect(
        config={
            "enable_external_access": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "memory_limit": "1GB",
            "threads": 1,
            "lock_configuration": True,
        }
    )


def _fold(name: str) -> str:
    """Lower A to Z only, as DuckDB compares names: the Kelvin sign is no k."""
    return name.translate(_LOWER)


_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
