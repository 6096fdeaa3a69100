"""SAS transport files, version 5 and 8 (format `xpt`): the variables as text, with their labels.

Numbers are the shortest text that reads back as the same number; a variable with a SAS date, time or
datetime format is ISO 8601 text; a missing number and an empty text are null. `_source_row` is the
observation, from 1. A file cut short is refused as far as it shows: version 8 says how many observations it
has; version 5 does not, and shows only that one ends within an observation.
"""

from __future__ import annotations

import datetime as dt
import mmap
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pyreadstat

from tasks.readers.archive import plain_file
from tasks.readers.delivery import Delivered, Piece, check_declared, check_names, store_rows
from warehouse.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from warehouse.study import Source

RECORD = 80
_LIBRARY = (b"HEADER RECORD*******LIBRARY HEADER", b"HEADER RECORD*******LIBV8   HEADER")
_OBSERVATIONS = (b"HEADER RECORD*******OBS     HEADER", b"HEADER RECORD*******OBSV8   HEADER")
_MEMBERS = (b"HEADER RECORD*******MEMBER  HEADER", b"HEADER RECORD*******MEMBV8  HEADER")
# Where version 8 says how many observations follow.
_COUNT = slice(48, 63)
# SAS writes cp1252 on Windows; the five bytes it leaves undefined are in Latin-1.
_ENCODINGS = ("utf-8", "cp1252", "latin1")
_EPOCH = dt.datetime(1960, 1, 1)  # noqa: DTZ001 - SAS times carry no zone
_EXACT_INTEGER = 2**53
_DATE = re.compile(
    r"(DATE|DAY|DDMMYY[BCDNPS]?|MMDDYY[BCDNPS]?|YYMMDD[BCDNPS]?|YYMM[CDNPS]?|MMYY[CDNPS]?|YYMON|MONYY|MONNAME|MONTH|"
    r"YEAR|YYQR?[CDNPS]?|QTRR?|JULIAN|JULDAY|WEEKDAT[EX]|WEEKDAY|DOWNAME|WORDDAT[EX]|[EB]8601DA|IS8601DA|NLDATE\w*)"
)
_DATETIME = re.compile(
    r"(DATETIME|DATEAMPM|MDYAMPM|DTDATE|DTMONYY|DTWKDATX|DTYEAR|DTYYQC|[EB]8601D[TNZX]|IS8601D[TN]|NLDATM\w*)"
)
_TIME = re.compile(r"(TIME|TIMEAMPM|TOD|HHMM|HOUR|MMSS|[EB]8601T[MZX]|IS8601TM|NLTIM\w*)")


def read(connection: duckdb.DuckDBPyConnection, piece: Piece, source: Source) -> Delivered:
    """Read a SAS transport file, a text column for each variable."""
    with TemporaryDirectory(prefix="trialhouse-") as folder:
        path = plain_file(piece, Path(folder))
        start = _check_headers(piece, path)
        variables, metadata, encoding = _read_variables(piece, path, source.encoding)
        rows = len(next(iter(variables.values()), []))
        _check_observations(piece, path, start, sum(metadata.variable_storage_width.values()), rows)
    check_names(tuple(variables), piece)
    check_declared(tuple(variables), piece, source)
    remarks = [] if rows else ["the data set has no observations"]
    if encoding != _ENCODINGS[0] and source.encoding is None:
        remarks.append(f"not UTF-8: read as {encoding}")
    columns: dict[str, Sequence[str | None]] = {}
    for name, values in variables.items():
        columns[name], unread = _as_text(values, metadata.original_variable_types.get(name))
        if unread:
            remarks.append(f"variable {name}: {unread} values are outside its date format and stay numbers")
    return Delivered(
        source_file=piece.source_file,
        relation=store_rows(connection, columns, range(1, rows + 1)),
        columns=tuple(variables),
        rows=rows,
        encoding=encoding,
        labels={name: text for name, text in metadata.column_names_to_labels.items() if text},
        table_label=metadata.file_label or None,
        remarks=tuple(remarks),
    )


def _find_header(content: mmap.mmap, headers: Sequence[bytes], start: int = 0) -> int | None:
    """Return where a header record stands; text that is not at the begin of a record is a value."""
    found = []
    for header in headers:
        position = content.find(header, start)
        while position >= 0 and position % RECORD:
            position = content.find(header, position + 1)
        if position >= 0:
            found.append(position)
    return min(found, default=None)


def _check_headers(piece: Piece, path: Path) -> int:
    """Refuse what is no transport file of one data set; return where its observations start."""
    size = path.stat().st_size
    if size == 0:
        raise SourceError(f"{piece.source_file}: the file is empty (0 bytes)")
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        begin = content[:RECORD]
        if not begin.startswith(_LIBRARY):
            raise SourceError(
                f"{piece.source_file}: not a SAS transport file: it begins with {begin[:28]!r}, "
                f"not with {_LIBRARY[0][:28]!r}"
            )
        if size % RECORD:
            raise SourceError(
                f"{piece.source_file}: cut short: {size} bytes are no multiple of its record length, {RECORD}"
            )
        header = _find_header(content, _OBSERVATIONS)
        if header is None:
            raise SourceError(
                f"{piece.source_file}: cut short or damaged: the header of the observations is missing"
            )
        if _find_header(content, _MEMBERS, header) is not None:
            raise SourceError(f"{piece.source_file}: holds several data sets; one in each file is allowed")
        return header + RECORD


def _check_observations(piece: Piece, path: Path, start: int, length: int, rows: int) -> None:
    with path.open("rb") as stream:
        stream.seek(start - RECORD)
        stated = stream.read(RECORD)[_COUNT].strip()
        stream.seek(start + rows * length)
        # The last record is filled up with blanks; anything else is an observation that is not whole.
        is_whole = not stream.read(RECORD).strip(b" ")
    if not is_whole:
        raise SourceError(f"{piece.source_file}: cut short or damaged within observation {rows + 1}")
    if stated.isdigit() and stated.strip(b"0") and int(stated) != rows:
        raise SourceError(
            f"{piece.source_file}: holds {rows} observations where its header says {int(stated)}"
        )


def _read_variables(piece: Piece, path: Path, declared: str | None) -> tuple[dict[str, list[Any]], Any, str]:
    """Read the file in the declared encoding, or in the first that its texts are valid in."""
    fault: Exception | None = None
    for encoding in _ENCODINGS if declared is None else (declared,):
        try:
            variables, metadata = pyreadstat.read_xport(
                path, output_format="dict", disable_datetime_conversion=True, encoding=encoding
            )
        except (UnicodeError, LookupError) as error:
            fault = error
        except (pyreadstat.ReadstatError, pyreadstat.PyreadstatError) as error:
            fault = error
            if "encoding" not in str(error) and "convert" not in str(error):
                break
        else:
            return variables, metadata, encoding
    allowed = "" if declared is None else f" in the declared encoding {declared!r}"
    raise SourceError(f"{piece.source_file}: cannot be read{allowed}: {fault}") from fault


def _as_text(values: Sequence[Any], sas_format: str | None) -> tuple[list[str | None], int]:
    """Return values as text and how many did not fit their date format."""
    known: dict[Any, str | None] = {None: None}
    unread: set[float] = set()
    for value in set(values) - {None}:
        if isinstance(value, str):
            known[value] = value or None
        elif value != value:  # noqa: PLR0124 - NaN, the one number unequal to itself
            known[value] = None
        else:
            iso = as_iso(value, sas_format) if sas_format else None
            known[value] = number_text(value) if iso is None else iso
            if iso is None and time_kind(sas_format) is not None:
                unread.add(value)
    return [known[value] for value in values], sum(value in unread for value in values)


def number_text(value: float) -> str:
    """Return the shortest text that reads back as the same number, whole numbers without a point."""
    return str(int(value)) if value.is_integer() and abs(value) < _EXACT_INTEGER else repr(value)


def time_kind(sas_format: str | None) -> str | None:
    name = re.sub(r"\d*\.?\d*$", "", (sas_format or "").upper())
    for kind, names in (("date", _DATE), ("datetime", _DATETIME), ("time", _TIME)):
        if names.fullmatch(name):
            return kind
    return None


def as_iso(value: float, sas_format: str) -> str | None:
    """Return a SAS date (days), datetime or time (seconds) in ISO 8601, or None if it is none."""
    kind = time_kind(sas_format)
    try:
        if kind == "date":
            return (_EPOCH + dt.timedelta(days=value // 1)).date().isoformat()
        if kind == "datetime":
            return (_EPOCH + dt.timedelta(seconds=value)).isoformat()
    except OverflowError:
        return None
    if kind == "time" and value >= 0:
        # A SAS time may be a duration of more than a day.
        minutes, seconds = divmod(value, 60)
        hours, minutes = divmod(int(minutes), 60)
        whole = f"{hours:02d}:{minutes:02d}:{int(seconds):02d}"
        return (
            whole if seconds.is_integer() else f"{whole}{seconds % 1:.6f}".replace(f"{whole}0.", f"{whole}.")
        )
    return None
