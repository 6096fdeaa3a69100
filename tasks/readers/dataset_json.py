"""CDISC Dataset-JSON 1.1 (format `dataset_json`): the columns as text, with their labels.

The three forms of the standard are told apart by their content: one JSON object, NDJSON (the attributes in
the first line, then a record on each), and the latter compressed (zlib as the standard says, gzip as it is
also found). Numbers are the shortest text that reads back as the same number; a decimal sent as text stays
as sent; a date or time sent as a SAS number is ISO 8601 text; null and empty text are null. `_source_row` is
the record, from 1. NDJSON is read in batches, one JSON object whole.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import zlib
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from tasks.readers.archive import CHUNK_BYTES
from tasks.readers.delivery import (
    Delivered,
    Piece,
    check_declared,
    check_names,
    check_text,
    check_width,
    is_storable,
    new_name,
    store_rows,
)
from tasks.readers.limits import MAX_IN_MEMORY_BYTES, Allowance, check_in_memory
from tasks.readers.xpt import as_iso, number_text, time_kind
from warehouse.errors import SourceError
from warehouse.quoting import identifier

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import duckdb

    from warehouse.study import Source

REQUIRED = (
    "datasetJSONCreationDateTime",
    "datasetJSONVersion",
    "itemGroupOID",
    "records",
    "name",
    "label",
    "columns",
)
REQUIRED_OF_COLUMN = ("itemOID", "name", "label", "dataType")
DATA_TYPES = (
    "string",
    "integer",
    "decimal",
    "float",
    "double",
    "boolean",
    "datetime",
    "date",
    "time",
    "URI",
)
# How a number in a column of dates is read: the formats that SAS shows such numbers in.
_SAS_FORMAT = {"date": "DATE9.", "datetime": "DATETIME20.", "time": "TIME8."}
_VERSION = re.compile(r"1\.1(\.(0|[1-9][0-9]*))?")
_BOM = b"\xef\xbb\xbf"
# The second byte completes a multiple of 31 with each of the four levels that zlib knows.
_ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_LARGEST_TIME = 1e15
_BATCH = 20_000
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the file describes it; `sas_format` where its numbers are dates or times."""

    name: str
    label: str
    sas_format: str | None


@dataclass(slots=True)
class _Content:
    """The attributes of a data set and its records, still to be read."""

    attributes: Mapping[str, Any]
    records: Iterator[Any]
    has_bom: bool
    unread_dates: Counter[str] = field(default_factory=Counter)


def read(connection: duckdb.DuckDBPyConnection, piece: Piece, source: Source) -> Delivered:
    """Read a Dataset-JSON file, a text column for each of its columns."""
    if source.encoding is not None and source.encoding.lower().replace("_", "-") not in ("utf-8", "utf8"):
        raise SourceError(
            f"{piece.source_file}: encoding {source.encoding!r} is declared: Dataset-JSON is always utf-8"
        )
    with _opened(piece) as content:
        columns = _read_columns(piece, content.attributes)
        names = tuple(column.name for column in columns)
        check_names(names, piece)
        check_declared(names, piece, source)
        stated = _stated_records(piece, content.attributes)
        relation, rows = _store(connection, piece, columns, content, stated)
    remarks = [] if rows else ["the data set has no records"]
    remarks += [
        f"column {name}: {count} numbers are outside its date format and stay numbers"
        for name, count in content.unread_dates.items()
    ]
    return Delivered(
        source_file=piece.source_file,
        relation=relation,
        columns=names,
        rows=rows,
        encoding="utf-8",
        has_bom=content.has_bom,
        labels={column.name: column.label for column in columns if column.label},
        table_label=content.attributes["label"] or None,
        remarks=tuple(remarks),
    )


@contextmanager
def _opened(piece: Piece) -> Iterator[_Content]:
    """Offer the attributes and the records of a file, whatever its form."""
    path = _decompressed(piece)
    if not path.stat().st_size:
        raise SourceError(f"{piece.source_file}: the file is empty (0 bytes)")
    with path.open("rb") as stream:
        has_bom = stream.read(len(_BOM)) == _BOM
        stream.seek(len(_BOM) if has_bom else 0)
        lines = _lines(piece, stream)
        number, first = next(lines, (1, b""))
        attributes = _try_object(first)
        if attributes is not None and "rows" not in attributes:
            records = (_parse(piece, line, number) for number, line in lines)
            yield _Content(_checked(piece, attributes), records, has_bom)
        else:
            check_in_memory(piece.source_file, path)
            rest = b"".join(line for _, line in lines)
            whole = _parse(piece, first + rest, number)
            yield _Content(_checked(piece, whole), iter(_rows(piece, whole)), has_bom)


def _lines(piece: Piece, stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank with their number; the longest may be a whole JSON object."""
    for number in itertools.count(1):
        line = stream.readline(MAX_IN_MEMORY_BYTES + 1)
        if len(line) > MAX_IN_MEMORY_BYTES:
            raise SourceError(
                f"{piece.source_file}: line {number} is longer than {MAX_IN_MEMORY_BYTES} bytes"
            )
        if not line:
            return
        if line.strip():
            yield number, line


def _decompressed(piece: Piece) -> Path:
    """Return the file itself or, where it is a zlib stream, a decompressed copy."""
    path = piece.path
    with path.open("rb") as stream:
        if stream.read(2) not in _ZLIB:
            return path
        stream.seek(0)
        copy = path.with_name("decompressed")
        inflate = zlib.decompressobj()
        allowance = Allowance(piece.source_file, folder=copy.parent)
        size = 0
        with copy.open("wb") as target:
            try:
                while chunk := inflate.unconsumed_tail or stream.read(CHUNK_BYTES):
                    part = inflate.decompress(chunk, CHUNK_BYTES)
                    size += len(part)
                    allowance.check(size, stream.tell())
                    target.write(part)
                    if inflate.eof:
                        break
            except zlib.error as error:
                raise SourceError(f"{piece.source_file}: the zlib data are damaged: {error}") from error
        has_more = bool(inflate.unused_data or stream.read(1))
    if not inflate.eof or has_more:
        what = "go on after their end" if inflate.eof else "are cut short"
        raise SourceError(f"{piece.source_file}: the zlib data {what}")
    return copy


def _no_number(literal: str) -> NoReturn:
    raise ValueError(f"{literal} is no JSON number")


def _try_object(line: bytes) -> dict[str, Any] | None:
    """Return the object that a whole line is: NDJSON has its attributes on one."""
    try:
        found = json.loads(line, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _parse(piece: Piece, text: bytes, line: int) -> Any:
    try:
        return json.loads(text.decode(), parse_constant=_no_number)
    except UnicodeDecodeError as error:
        place = line + text.count(b"\n", 0, error.start)
        raise SourceError(
            f"{piece.source_file}: line {place} holds 0x{text[error.start]:02x}, which is not utf-8"
        ) from None
    except json.JSONDecodeError as error:
        # `true` or `null` may have lost its end, too.
        is_at_end = error.pos >= len(error.doc.rstrip()) - len("fals")
        what = (
            "ends within it: cut short"
            if (is_at_end and error.msg != "Extra data") or error.msg.startswith("Unterminated")
            else f"column {error.colno}: {error.msg}"
        )
        raise SourceError(
            f"{piece.source_file}: line {line + error.lineno - 1} is not JSON, {what}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{piece.source_file}: line {line} cannot be read as JSON: {error}") from None


def _checked(piece: Piece, attributes: Any) -> Mapping[str, Any]:
    """Refuse what is no Dataset-JSON 1.1 by its attributes."""
    if not isinstance(attributes, dict):
        raise SourceError(
            f"{piece.source_file}: not Dataset-JSON: it begins with {type(attributes).__name__}, "
            "where an object of attributes is expected"
        )
    version = attributes.get("datasetJSONVersion")
    if version is not None and not (isinstance(version, str) and _VERSION.fullmatch(version)):
        raise SourceError(
            f"{piece.source_file}: datasetJSONVersion: {_shown(version)}: version 1.1 of Dataset-JSON is read"
        )
    missing = [name for name in REQUIRED if name not in attributes]
    if missing:
        raise SourceError(
            f"{piece.source_file}: not Dataset-JSON 1.1: required attributes are missing: "
            f"{', '.join(missing)}"
        )
    for name in ("name", "label"):
        if not isinstance(attributes[name], str):
            raise SourceError(f"{piece.source_file}: {name}: {_shown(attributes[name])}: a text is allowed")
        check_text(attributes[name], name, piece)
    return attributes


def _rows(piece: Piece, whole: Mapping[str, Any]) -> Sequence[Any]:
    rows = whole.get("rows", [])
    if not isinstance(rows, list):
        raise SourceError(f"{piece.source_file}: rows: {type(rows).__name__}: an array of records is allowed")
    return rows


def _stated_records(piece: Piece, attributes: Mapping[str, Any]) -> int:
    stated = attributes["records"]
    if isinstance(stated, bool) or not isinstance(stated, int) or stated < 0:
        raise SourceError(f"{piece.source_file}: records: {_shown(stated)}: a whole number from 0 is allowed")
    return stated


def _read_columns(piece: Piece, attributes: Mapping[str, Any]) -> tuple[Column, ...]:
    described = attributes["columns"]
    if not isinstance(described, list) or not described:
        raise SourceError(f"{piece.source_file}: columns: an array of at least one column is allowed")
    check_width(len(described), piece)
    return tuple(_read_column(piece, place, each) for place, each in enumerate(described, start=1))


def _read_column(piece: Piece, place: int, described: Any) -> Column:
    if not isinstance(described, dict):
        raise SourceError(f"{piece.source_file}: column {place}: {_shown(described)}: an object is allowed")
    missing = [name for name in REQUIRED_OF_COLUMN if name not in described]
    if missing:
        raise SourceError(
            f"{piece.source_file}: column {place} ({_shown(described.get('name'))}): required attributes are "
            f"missing: {', '.join(missing)}"
        )
    name, label, kind = described["name"], described["label"], described["dataType"]
    if not isinstance(name, str) or not name:
        raise SourceError(f"{piece.source_file}: column {place}: name: {_shown(name)}: a text is allowed")
    check_text(name, f"the name of column {place}", piece)
    if not isinstance(label, str):
        raise SourceError(f"{piece.source_file}: column {name}: label: {_shown(label)}: a text is allowed")
    check_text(label, f"the label of column {place}", piece)
    if not isinstance(kind, str) or kind not in DATA_TYPES:
        raise SourceError(
            f"{piece.source_file}: column {name}: dataType: {_shown(kind)}: allowed are"
            f" {', '.join(DATA_TYPES)}"
        )
    shown_as = described.get("displayFormat")
    is_date = isinstance(shown_as, str) and time_kind(shown_as) is not None
    return Column(name, label, _SAS_FORMAT.get(kind) or (shown_as if is_date else None))


def _store(
    connection: duckdb.DuckDBPyConnection,
    piece: Piece,
    columns: Sequence[Column],
    content: _Content,
    stated: int,
) -> tuple[str, int]:
    """Keep the records as a temporary table, batch by batch; a file found wrong leaves none behind."""
    names = [column.name for column in columns]
    relation = store_rows(connection, {name: [] for name in names}, [])
    rows = 0
    try:
        while batch := list(itertools.islice(content.records, _BATCH)):
            cells = [_values(piece, record, rows + n, names) for n, record in enumerate(batch, start=1)]
            _append(connection, relation, _as_table(piece, columns, cells, rows, content))
            rows += len(batch)
        _check_count(piece, rows, stated)
    except SourceError:
        connection.execute(f"drop table {relation}")
        raise
    return relation, rows


def _check_count(piece: Piece, rows: int, stated: int) -> None:
    if rows != stated:
        cut = ": cut short" if rows < stated else ""
        raise SourceError(
            f"{piece.source_file}: holds {rows} records where its attribute records says {stated}{cut}"
        )


def _values(piece: Piece, record: Any, number: int, names: Sequence[str]) -> Sequence[Any]:
    """Return the cells of a record: an array in the order of the columns, or an object by their names."""
    if isinstance(record, dict):
        if record.keys() != set(names):
            missing = [name for name in names if name not in record]
            raise SourceError(
                f"{piece.source_file}: record {number} has other names than the columns:"
                f" {len(record.keys() - set(names))} are unknown, missing are: {', '.join(missing) or 'none'}"
            )
        return [record[name] for name in names]
    if not isinstance(record, list):
        raise SourceError(f"{piece.source_file}: record {number} is no array of values but {_kind(record)}")
    if len(record) != len(names):
        raise SourceError(
            f"{piece.source_file}: record {number} has {len(record)} values where {len(names)} columns "
            "are described"
        )
    return record


def _as_table(
    piece: Piece, columns: Sequence[Column], records: Sequence[Sequence[Any]], before: int, content: _Content
) -> pa.Table:
    arrays = []
    for column, values in zip(columns, zip(*records, strict=True), strict=True):
        # Most columns are text throughout and need no second look.
        is_text = set(map(type, values)) <= {str, type(None)}
        texts = values if is_text else [_as_text(column, value, content) for value in values]
        try:
            array = pa.array(texts, type=pa.string())
        except (UnicodeEncodeError, TypeError, pa.ArrowInvalid):
            array = None
        if array is None or pc.any(pc.match_substring(array, "\0")).as_py():
            place = next(place for place, text in enumerate(texts) if not _is_storable(text))
            raise SourceError(
                f"{piece.source_file}: record {before + place + 1}, column {column.name}: "
                f"{_kind(values[place])}: a text without NUL and lone surrogates, a finite number, true,"
                " false or null is allowed"
            )
        arrays.append(array)
    numbers = pa.array(range(before + 1, before + 1 + len(records)), type=pa.int64())
    return pa.table([*arrays, numbers], names=[*(column.name for column in columns), "_source_row"])


def _is_storable(value: object) -> bool:
    return is_storable(value) if isinstance(value, str) else value is None


def _shown(value: object) -> str:
    """Return an attribute, cut short; a cell is never shown, only its kind."""
    if isinstance(value, list | dict):
        return _kind(value)
    return repr(value)[:_SHOWN_CHARACTERS]


def _kind(value: object) -> str:
    kinds = {str: "a text", list: "an array", dict: "an object", float: "a number", int: "a number"}
    return kinds.get(type(value), "true, false or null")


def _as_text(column: Column, value: Any, content: _Content) -> Any:
    """Return a number or truth value as text; whatever else a cell holds is judged where it is stored."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, int | float) or math.isinf(value):
        return value
    if column.sas_format is not None:
        # Far beyond any date, and too large a whole number for the arithmetic of dates.
        iso = as_iso(float(value), column.sas_format) if abs(value) < _LARGEST_TIME else None
        if iso is not None:
            return iso
        content.unread_dates[column.name] += 1
    return str(value) if isinstance(value, int) else number_text(value)


def _append(connection: duckdb.DuckDBPyConnection, relation: str, rows: pa.Table) -> None:
    incoming = new_name()
    connection.register(incoming, rows)
    try:
        cells = ", ".join(
            "_source_row" if name == "_source_row" else f"nullif({identifier(name)}, '')"
            for name in rows.column_names
        )
        connection.execute(f"insert into {relation} select {cells} from {incoming}")
    finally:
        connection.unregister(incoming)
