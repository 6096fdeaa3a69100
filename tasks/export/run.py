"""Write what one version of a lake holds into a folder, in the format asked for."""

from __future__ import annotations

import csv
import json
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, fields
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import polars as pl

from tasks.clinical.clinical_statistics import GATHERED
from tasks.export.ars import reporting_event
from tasks.export.data_set import ExportError, Origin, put_in_place, read_data_sets
from tasks.export.dataset_json import write_dataset_json
from tasks.export.formatted_table import format_tables
from tasks.export.html_table import html_index, html_table
from tasks.export.rtf_table import rtf_table
from tasks.export.transport_file import Variable, write_transport_file
from tasks.formulas import escape_formula
from tasks.lake_reading import read_table
from tasks.older_versions import NO_SUCH_COLUMN, lacking, makers_of
from warehouse.lake import newest_version, open_lake, tables
from warehouse.versions import versions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb

    from tasks.export.data_set import DataSet
    from tasks.older_versions import Makers
    from warehouse.study import Study

Format: TypeAlias = Literal["xpt", "dataset-json", "ndjson", "dsjc", "ars", "tables"]
STATISTICS = "results.clinical_statistics"
VARIABLES = "variables.csv"
INDEX = "index.html"
REPORTING_EVENT = "reporting_event.json"


def export(
    study: Study, form: Format, schema: str, folder: Path, version: int | None, *, is_escaped: bool = False
) -> tuple[Path, ...]:
    """Write the tables of a schema, or the clinical statistics, of a version; return the files written.

    `is_escaped` makes text of what a spreadsheet would calculate in the list of variables.

    Raises
    ------
    ExportError
        If the version does not hold what is asked for, or the format has no place for it.
    """
    with open_lake(study.id).read(version, is_checked=True) as connection:
        origin = _origin(connection, study, version)
        if form == "tables" or form == "ars":  # noqa: PLR1714 - mypy narrows only this form
            statistics = _statistics(connection, study, origin)
            makers = makers_of(study, versions(connection), origin.version, tables(connection))
            with _naming_what_it_lacks(statistics, study, origin, makers):
                write = _write_tables if form == "tables" else _write_reporting_event
                return write(_in_order(statistics), study, origin, folder)
        data_sets = read_data_sets(connection, study.id, schema)
    _make(folder)
    if form == "xpt":
        return _write_transport_files(data_sets, folder, is_escaped=is_escaped)
    return tuple(write_dataset_json(data_set, folder, form, origin) for data_set in data_sets)


def _statistics(connection: duckdb.DuckDBPyConnection, study: Study, origin: Origin) -> pl.DataFrame:
    if STATISTICS not in tables(connection):
        raise ExportError(
            f"{study.id}: version {origin.version} has no {STATISTICS}: switch on a clinical analysis in"
            " study.toml and run the study"
        )
    return read_table(connection, study.id, STATISTICS)


def _in_order(statistics: pl.DataFrame) -> pl.DataFrame:
    """Sort as the analyses were gathered: a lake promises no order of rows."""
    place = {name: position for position, name in enumerate(GATHERED)}
    return statistics.sort(
        pl.col("analysis").replace_strict(place, default=len(place)), "position", maintain_order=True
    )


@contextmanager
def _naming_what_it_lacks(
    statistics: pl.DataFrame, study: Study, origin: Origin, makers: Makers
) -> Iterator[None]:
    """Say which column an older version has none of, where it is missed."""
    try:
        yield
    except NO_SUCH_COLUMN as error:
        found = lacking(error, {STATISTICS: statistics}, [STATISTICS], makers)
        if found is None:
            raise
        code = makers.tables.get(STATISTICS, "of an unknown version")
        raise ExportError(
            f"{study.id}: version {origin.version}: {STATISTICS}, made by trialhouse {code}, has no column"
            f" {found.column}: `trialhouse run {study.id}` makes it again in a new version"
        ) from error


def _write_tables(statistics: pl.DataFrame, study: Study, origin: Origin, folder: Path) -> tuple[Path, ...]:
    _make(folder)
    made = format_tables(statistics, study.estimands, origin)
    files = []
    for table in made:
        files += [
            _write(folder / f"{table.name}.html", html_table(table, origin)),
            _write(folder / f"{table.name}.rtf", rtf_table(table, origin)),
        ]
    return (*files, _write(folder / INDEX, html_index(made, origin)))


def _write_reporting_event(
    statistics: pl.DataFrame, study: Study, origin: Origin, folder: Path
) -> tuple[Path, ...]:
    _make(folder)
    made = format_tables(statistics, study.estimands, origin)
    primary = [score.paramcd for score in study.design.scores if score.primary]
    event = reporting_event(statistics, study.estimands, made, origin, primary)
    return (_write(folder / REPORTING_EVENT, json.dumps(event, ensure_ascii=False, indent=1) + "\n"),)


def _write(target: Path, text: str) -> Path:
    with put_in_place(target) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    return target


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"{folder}: cannot be made a folder: {error.strerror}") from error


def _origin(connection: duckdb.DuckDBPyConnection, study: Study, version: int | None) -> Origin:
    shown = newest_version(connection) if version is None else version
    listed = versions(connection).filter(pl.col("version") == shown)
    if listed.is_empty():
        raise ExportError(f"{study.id}: version {shown}: not made by trialhouse")
    row = listed.row(0, named=True)
    return Origin(
        study_id=study.id,
        title=study.study.title,
        is_simulated=study.study.simulated,
        version=shown,
        published_at=row["published_at"],
        run_id=row["run_id"],
        software_version=installed("trialhouse"),
    )


def _write_transport_files(
    data_sets: Sequence[DataSet], folder: Path, *, is_escaped: bool
) -> tuple[Path, ...]:
    variables: list[Variable] = []
    # All of them or none: a data set that the format has no place for is found while writing.
    with tempfile.TemporaryDirectory(dir=folder) as unfinished:
        made = []
        for data_set in data_sets:
            file, written = write_transport_file(data_set, Path(unfinished))
            made.append(file)
            variables += written
        files = [file.replace(folder / file.name) for file in made]
    return (*files, _list_variables(variables, folder, is_escaped=is_escaped))


def _list_variables(variables: Sequence[Variable], folder: Path, *, is_escaped: bool) -> Path:
    """List what each variable is in the lake: a transport file has room for short names and labels only."""
    target = folder / VARIABLES
    with put_in_place(target) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Variable)], lineterminator="\n")
        writer.writeheader()
        for variable in variables:
            cells = asdict(variable)
            writer.writerow(
                {name: escape_formula(str(cell)) for name, cell in cells.items()} if is_escaped else cells
            )
    return target
