"""What a version made by other code lacks of what today's code gives its tables, and how that is said."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import polars as pl
import sqlglot
from sqlglot import exp

from expectations.suite import find_suites
from tasks.analyses import ANALYSES
from warehouse.lineage import code_version
from warehouse.meta import LEDGERS, study_tables
from warehouse.study import HOUSE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from warehouse.study import Study

# How polars, and a row read as a dictionary, say that there is no such column.
NO_SUCH_COLUMN = (pl.exceptions.ColumnNotFoundError, KeyError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Makers:
    """The code that made each table of a version, the code that reads it, and the columns it looks for.

    `columns` tells which columns today's code gives a table: a column that it does not give either is a
    mistake of the reader, and no older version is blamed for it. `unknown` are results that today's code
    has no analysis for.
    """

    reader: str
    tables: Mapping[str, str]
    columns: Callable[[str], Collection[str]]
    unknown: tuple[str, ...] = ()

    @property
    def others(self) -> tuple[str, ...]:
        """The other code that made the results of this version, if any did."""
        made = (code for table, code in self.tables.items() if table.startswith("results."))
        return tuple(sorted({*made} - {self.reader}))


@dataclass(frozen=True, slots=True)
class Lacking:
    """A column that was looked for, and the tables of an older version that do not have it."""

    column: str
    tables: tuple[str, ...]


def lacking(
    error: Exception, frames: Mapping[str, pl.DataFrame], tables: Iterable[str], makers: Makers
) -> Lacking | None:
    """Return what an error names that today's code would have given one of the tables; None for a defect."""
    column = _named(error)
    found = tuple(
        table
        for table in tables
        if table in frames and column not in frames[table].columns and column in makers.columns(table)
    )
    return Lacking(column, found) if found else None


def _named(error: Exception) -> str:
    if isinstance(error, KeyError):
        return str(error.args[0]) if error.args else ""
    quoted = re.search(r'"([^"]+)"', str(error))
    return quoted[1] if quoted else ""


def declared_columns(study: Study, table: str) -> frozenset[str]:
    """Return the columns that today's code gives a table, as its ledger, its SQL or its suite says."""
    schema, _, name = table.partition(".")
    if schema == "meta":
        ledger = LEDGERS.get(name)
        return frozenset(ledger.columns if ledger else study_tables(study).get(name, pl.DataFrame()).columns)
    model = HOUSE / "sql" / schema / f"{name}.sql"
    if model.is_file():
        select = sqlglot.parse_one(model.read_text(encoding="utf-8"), dialect="duckdb")
        return frozenset(select.named_selects if isinstance(select, exp.Query) else ())
    suite = find_suites(HOUSE / "expectations").get(table)
    return frozenset(suite.columns if suite else ())


def makers_of(study: Study, listed: pl.DataFrame, version: int, present: Collection[str]) -> Makers:
    """Tell from the list of versions which code last made each table that a version holds."""
    made: dict[str, str] = {}
    published = listed.filter(pl.col("version") <= version, pl.col("status") == "published").sort("version")
    for tables, code in published.select("tables", "code_version").iter_rows():
        made |= dict.fromkeys(tables.split(", "), code or "of an unknown version")
    return Makers(
        reader=code_version(),
        tables={table: code for table, code in made.items() if table in present},
        columns=partial(declared_columns, study),
        unknown=tuple(sorted({table for table in present if table.startswith("results.")} - _FILLED)),
    )


_FILLED = frozenset(analysis.fills for analysis in ANALYSES)
