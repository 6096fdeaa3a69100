"""Write a data set as a SAS transport file, version 5, the form that regulators take.

The format is of 1989 and says no: names of eight characters, labels of forty bytes, texts of two hundred.
A longer name is shortened (and listed, with the name it had), a longer label is cut, a longer text is
refused: a value is never changed. Truth values become Y and N, dates and times the numbers of SAS with
their format.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import polars as pl
import pyreadstat

from tasks.export.data_set import ExportError, put_in_place

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tasks.export.data_set import DataSet

LONGEST_NAME = 8
LONGEST_LABEL = 40
LONGEST_TEXT = 200
_EPOCH_DAYS = (date(1970, 1, 1) - date(1960, 1, 1)).days
_FORMATS = {pl.Date: "DATE9.", pl.Datetime: "DATETIME20.", pl.Time: "TIME8."}
_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,7}")
# Whole numbers beyond it have no exact double; numbers beyond the others have no IBM float.
_EXACT_INTEGER = 2**53
_LARGEST, _SMALLEST = 7.2e75, 5.4e-79


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A variable as written, and the column of the lake that it was."""

    data_set: str
    name: str
    table: str
    column: str
    label: str


def write_transport_file(data_set: DataSet, folder: Path) -> tuple[Path, tuple[Variable, ...]]:
    """Write a data set; return its file and its variables.

    Raises
    ------
    ExportError
        If the name of the data set is too long, or a column holds what the format has no place for.
    """
    if not _NAME.fullmatch(data_set.name.upper()):
        raise ExportError(
            f"{data_set.table}: {data_set.name.upper()}: a name of up to {LONGEST_NAME} letters, digits "
            "and _ is allowed in version 5 of the SAS transport format; Dataset-JSON takes longer ones"
        )
    names = short_names(data_set.frame.columns)
    columns = {names[column]: _values(data_set, column) for column in data_set.frame.columns}
    labels: dict[str, str | None] = {name: _cut(data_set.labels[column]) for column, name in names.items()}
    formats = {
        names[column]: _FORMATS[kind.base_type()]
        for column, kind in data_set.frame.schema.items()
        if kind.base_type() in _FORMATS
    }
    target = folder / f"{data_set.name}.xpt"
    with put_in_place(target) as unfinished:
        pyreadstat.write_xport(
            pl.DataFrame(columns).to_pandas(),
            str(unfinished),
            file_label=_cut(data_set.label),
            column_labels=labels,
            table_name=data_set.name.upper(),
            file_format_version=5,
            variable_format=formats,
        )
    variables = tuple(
        Variable(
            data_set=data_set.name.upper(),
            name=name,
            table=data_set.table,
            column=column,
            label=data_set.labels[column],
        )
        for column, name in names.items()
    )
    return target, variables


def short_names(columns: Iterable[str]) -> dict[str, str]:
    """Return a name of up to eight characters for each column: its own in capitals wherever that fits.

    A longer one loses its underscores, then its end; where that is taken its last characters make room for a
    number.
    """
    columns = tuple(columns)
    names = {column: column.upper() for column in columns if _NAME.fullmatch(column.upper())}
    taken = set(names.values())
    for column in columns:
        if column in names:
            continue
        plain = re.sub(r"[^A-Z0-9]", "", column.upper())
        plain = plain if plain[:1].isalpha() else f"V{plain}"
        name, number = plain[:LONGEST_NAME], 1
        while name in taken:
            number += 1
            name = f"{plain[: LONGEST_NAME - len(str(number))]}{number}"
        names[column] = name
        taken.add(name)
    return {column: names[column] for column in columns}


def _cut(label: str) -> str:
    """Cut a label to the bytes there are, within no character."""
    return label.encode()[:LONGEST_LABEL].decode(errors="ignore").rstrip()


def _values(data_set: DataSet, column: str) -> pl.Series:
    values = data_set.frame[column]
    kind = values.dtype
    if kind in (pl.String, pl.Null):
        return _texts(data_set, values.cast(pl.String))
    if kind == pl.Boolean:
        return values.replace_strict({True: "Y", False: "N"}, return_dtype=pl.String).fill_null("")
    if kind == pl.Date:
        # Days and nanoseconds are what polars counts in, from 1970; SAS counts from 1960.
        return (values.cast(pl.Int32) + _EPOCH_DAYS).cast(pl.Float64)
    if kind == pl.Datetime:
        return _seconds(values.dt.epoch("us"), 10**6) + float(_EPOCH_DAYS * 86400)
    if kind == pl.Time:
        return _seconds(values.cast(pl.Int64), 10**9)
    if kind.is_numeric():
        return _numbers(data_set, values)
    raise ExportError(
        f"{data_set.table}: {column}: {kind}: text, numbers, truth values, dates and times can be written"
    )


def _seconds(ticks: pl.Series, per_second: int) -> pl.Series:
    """Return seconds; whole ones stay whole, which a division by multiplying would not promise."""
    return (ticks // per_second).cast(pl.Float64) + (ticks % per_second).cast(pl.Float64) / per_second


def _texts(data_set: DataSet, values: pl.Series) -> pl.Series:
    longest = values.str.len_bytes()
    if (longest.max() or 0) > LONGEST_TEXT:  # type: ignore[operator]
        too_long = longest > LONGEST_TEXT
        row = int(too_long.arg_true()[0])
        raise ExportError(
            f"{data_set.table}: {values.name}: {too_long.sum()} values are longer than {LONGEST_TEXT} bytes, "
            f"which is all that version 5 of the SAS transport format takes; the first is row {row + 1}: "
            f"{values[row][:60]!r}...; Dataset-JSON takes them"
        )
    return values.fill_null("")


def _numbers(data_set: DataSet, values: pl.Series) -> pl.Series:
    numbers = values.cast(pl.Float64).fill_nan(None)
    size = numbers.abs()
    odd = (size > _LARGEST) | ((size < _SMALLEST) & (size > 0))
    if values.dtype.is_integer():
        # Compared as whole numbers: as doubles, one too large is already another number.
        odd |= values.cast(pl.Int128).is_between(-_EXACT_INTEGER, _EXACT_INTEGER).not_()
    if odd.any():
        row = int(odd.arg_true()[0])
        raise ExportError(
            f"{data_set.table}: {values.name}: row {row + 1}: {values[row]}: the numbers of a SAS transport "
            f"file are between {_SMALLEST:g} and {_LARGEST:g} in size, whole ones up to {_EXACT_INTEGER}"
        )
    return numbers
