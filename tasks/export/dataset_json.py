"""Write a data set as CDISC Dataset-JSON 1.1: one JSON object, NDJSON, or NDJSON compressed (.dsjc).

Variables are named in capitals and keep their names however long; truth values are `true` and `false`; dates
and times are ISO 8601 text that the receiver is told to turn into SAS numbers, as the standard asks of ADaM.
"""

from __future__ import annotations

import json
import math
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias

import polars as pl

from tasks.export.data_set import ExportError, put_in_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tasks.export.data_set import DataSet, Origin

Form: TypeAlias = Literal["dataset-json", "ndjson", "dsjc"]
SUFFIXES: dict[Form, str] = {"dataset-json": ".json", "ndjson": ".ndjson", "dsjc": ".dsjc"}
VERSION = "1.1.0"
_TIMES = {
    pl.Date: {"dataType": "date", "targetDataType": "integer", "displayFormat": "DATE9."},
    pl.Datetime: {"dataType": "datetime", "targetDataType": "integer", "displayFormat": "E8601DT."},
    pl.Time: {"dataType": "time", "targetDataType": "integer", "displayFormat": "TIME8."},
}


def write_dataset_json(data_set: DataSet, folder: Path, form: Form, origin: Origin) -> Path:
    """Write a data set and return its file.

    Raises
    ------
    ExportError
        If a column holds lists, structures or an infinite number: JSON of this kind has none of them.
    """
    target = folder / f"{data_set.name}{SUFFIXES[form]}"
    attributes = _attributes(data_set, origin)
    with put_in_place(target) as unfinished, unfinished.open("wb") as file:
        if form == "dataset-json":
            _write_whole(file, attributes, data_set)
        else:
            write, finish = _compressed(file) if form == "dsjc" else (file.write, None)
            for line in (_as_json(attributes), *_records(data_set)):
                write(line + b"\n")
            if finish:
                finish()
    return target


def _write_whole(file: BinaryIO, attributes: dict[str, Any], data_set: DataSet) -> None:
    file.write(_as_json(attributes).removesuffix(b"}") + b',"rows":[')
    file.writelines(b",\n" * (place > 0) + record for place, record in enumerate(_records(data_set)))
    file.write(b"]}\n")


def _compressed(file: BinaryIO) -> tuple[Callable[[bytes], object], Callable[[], object]]:
    deflate = zlib.compressobj(level=9)
    return (
        lambda content: file.write(deflate.compress(content)),
        lambda: file.write(deflate.flush()),
    )


def _attributes(data_set: DataSet, origin: Origin) -> dict[str, Any]:
    name = data_set.name.upper()
    return {
        "datasetJSONCreationDateTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "datasetJSONVersion": VERSION,
        "fileOID": f"trialhouse.{origin.study_id}.v{origin.version}.{data_set.table}",
        "dbLastModifiedDateTime": f"{origin.published_at.replace(' ', 'T')}Z",
        "sourceSystem": {"name": "trialhouse", "version": origin.software_version},
        "studyOID": origin.study_id,
        "itemGroupOID": f"IG.{name}",
        "records": data_set.frame.height,
        "name": name,
        "label": data_set.label,
        "columns": [_column(data_set, column) for column in data_set.frame.columns],
    }


def _column(data_set: DataSet, column: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "itemOID": f"IT.{data_set.name.upper()}.{column.upper()}",
        "name": column.upper(),
        "label": data_set.labels[column],
        **_type(data_set, column),
    }
    if column in data_set.keys:
        described["keySequence"] = data_set.keys.index(column) + 1
    return described


def _type(data_set: DataSet, column: str) -> dict[str, Any]:
    values = data_set.frame[column]
    if values.dtype.base_type() in _TIMES:
        return dict(_TIMES[values.dtype.base_type()])
    if values.dtype.is_decimal():
        return {"dataType": "decimal", "targetDataType": "decimal"}
    if values.dtype.is_integer():
        return {"dataType": "integer"}
    if values.dtype.is_float():
        return {"dataType": "float"}
    if values.dtype == pl.Boolean:
        return {"dataType": "boolean"}
    if values.dtype in (pl.String, pl.Null):
        # A planned length is at least 1, also where nothing was recorded.
        return {
            "dataType": "string",
            "length": max(1, *values.cast(pl.String).str.len_chars().drop_nulls(), 0),
        }
    raise ExportError(
        f"{data_set.table}: {column}: {values.dtype}: text, numbers, truth values, dates and times "
        "can be written"
    )


def _records(data_set: DataSet) -> Iterator[bytes]:
    names = data_set.frame.columns
    for number, row in enumerate(data_set.frame.iter_rows(), start=1):
        # Python calls NaN a number, JSON and SAS do not: a value that is none is missing.
        cells = [None if isinstance(cell, float) and math.isnan(cell) else cell for cell in row]
        try:
            yield _as_json(cells)
        except ValueError as error:
            column = next(
                name
                for name, cell in zip(names, cells, strict=True)
                if isinstance(cell, float) and math.isinf(cell)
            )
            raise ExportError(
                f"{data_set.table}: {column}: row {number}: an infinite number has no place in JSON"
            ) from error


def _as_json(value: object) -> bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
    return text.encode()


def _plain(value: Any) -> str:
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)
