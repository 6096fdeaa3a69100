"""A table of the lake as a data set that leaves it: variables with types, labels and keys."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.lake_reading import read_table
from warehouse.errors import LakeError, TrialhouseError
from warehouse.lake import LAKE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import duckdb
    import polars as pl

# Where a row came from is a matter of the lake: its columns are part of no submitted data set.
PROVENANCE = "_"
_GRAIN = re.compile(r"^grain: one row per (.+)$", re.MULTILINE)


class ExportError(TrialhouseError):
    """What is asked for cannot be written in that format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Which study and version an export is of, the run that made it, and the software that writes."""

    study_id: str
    title: str
    is_simulated: bool
    version: int
    published_at: str
    run_id: str | None
    software_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """One table without its provenance: rows, label of the table and of its columns, columns that key it."""

    schema: str
    name: str
    label: str
    frame: pl.DataFrame
    labels: Mapping[str, str]
    keys: tuple[str, ...]

    @property
    def table(self) -> str:
        return f"{self.schema}.{self.name}"


def read_data_sets(connection: duckdb.DuckDBPyConnection, study_id: str, schema: str) -> tuple[DataSet, ...]:
    """Read every table of a schema, by name; of adam the analysis data sets.

    What lies beside them in adam, rules and steps on the way to them, is no data set for anybody to submit.
    """
    tables = connection.execute(
        "select table_name, coalesce(comment, '') from duckdb_tables()"
        " where database_name = ? and schema_name = ? order by table_name",
        [LAKE, schema],
    ).fetchall()
    if not tables:
        present = [
            name
            for (name,) in connection.execute(
                "select distinct schema_name from duckdb_tables() where database_name = ? order by all",
                [LAKE],
            ).fetchall()
        ]
        raise ExportError(
            f"schema {schema!r}: has no tables at this version; those that have: {', '.join(present)}"
        )
    return tuple(
        _read(connection, study_id, schema, name, comment)
        for name, comment in tables
        if schema != "adam" or name.startswith("ad")
    )


def _read(
    connection: duckdb.DuckDBPyConnection, study_id: str, schema: str, name: str, comment: str
) -> DataSet:
    labels = dict(
        connection.execute(
            "select column_name, comment from duckdb_columns() where database_name = ? and schema_name = ?"
            " and table_name = ? and comment is not null",
            [LAKE, schema, name],
        ).fetchall()
    )
    frame = read_table(connection, study_id, f"{schema}.{name}")
    frame = frame.select(column for column in frame.columns if not column.startswith(PROVENANCE))
    grain = _GRAIN.search(comment)
    named = re.split(r",\s*", grain[1].strip()) if grain else []
    is_key = bool(named) and set(named) <= set(frame.columns)
    return DataSet(
        schema=schema,
        name=name,
        label=comment.partition("\n")[0] or name,
        frame=frame,
        labels={column: labels.get(column, column) for column in frame.columns},
        keys=tuple(named) if is_key else (),
    )


@contextmanager
def put_in_place(target: Path) -> Iterator[Path]:
    """Offer a name to write under that becomes `target` once the file is whole."""
    if target.exists() and not target.is_file():  # a device would be replaced by our file
        raise LakeError(f"{target}: it is not a file: name another path")
    unfinished = target.with_name(f".{target.name[:40]}.{os.getpid()}")
    try:
        yield unfinished
        unfinished.replace(target)
    except OSError as error:
        error.filename = error.filename or str(target)  # writing into an open file names none
        raise
    finally:
        unfinished.unlink(missing_ok=True)
