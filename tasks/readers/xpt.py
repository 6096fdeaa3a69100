"""SAS transport files, version 5 and 8 (format `xpt`): the variables as text, with their labels.

Numbers are the shortest text that reads back as the same number; a variable with a SAS date, time or
datetime format is ISO 8601 text; a missing number and an empty text are null. `_source_row` is the
observation, from 1. A file cut short is refused as far as it shows: version 8 says how many observations it
has; version 5 does not, and shows only that one ends within an observation. Where the filling of the last
record could be observations of blanks, version 5 does not tell, and they are none.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING

import numpy as np

from tasks.readers.delivery import Delivered, Piece, check_declared, check_names, check_text, store_rows
from tasks.readers.encoding import WINDOWS, judge
from tasks.readers.limits import check_in_memory
from tasks.readers.text import known_encoding
from tasks.readers.transport import DataSet, Variable, numbers, parse
from warehouse.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb
    from numpy.typing import NDArray

    from warehouse.study import Source

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
    check_in_memory(piece.source_file, piece.path)
    content = np.fromfile(piece.path, dtype=np.uint8)
    data = parse(piece.source_file, content)
    texts = {
        place: _Texts(data.cells[:, variable.start : variable.start + variable.length])
        for place, variable in enumerate(data.variables)
        if not variable.is_number
    }
    encoding, remarks = _find_encoding(piece, source, data, texts)
    names = tuple(variable.name.decode(encoding, "replace") for variable in data.variables)
    check_names(names, piece)
    check_declared(names, piece, source)
    labels = {name: each.label.decode(encoding) for name, each in zip(names, data.variables, strict=True)}
    for name, label in labels.items():
        check_text(label, f"the label of variable {name}", piece)
    remarks += [] if data.rows else ["the data set has no observations"]
    columns: dict[str, Sequence[str | None]] = {}
    for place, (name, variable) in enumerate(zip(names, data.variables, strict=True)):
        if place in texts:
            columns[name] = texts[place].decode(piece, name, encoding)
            continue
        columns[name], unread = _as_text(data.cells, variable)
        if unread:
            remarks.append(f"variable {name}: {unread} values are outside its date format and stay numbers")
    return Delivered(
        source_file=piece.source_file,
        relation=store_rows(connection, columns, range(1, data.rows + 1)),
        columns=names,
        rows=data.rows,
        encoding=encoding,
        labels={name: label for name, label in labels.items() if label},
        table_label=data.label.decode(encoding, "replace") or None,
        remarks=tuple(remarks),
    )


class _Texts:
    """The texts of a variable without the blanks that fill them up, each distinct one once."""

    def __init__(self, cells: NDArray[np.uint8]) -> None:
        values = np.ascontiguousarray(cells).view(f"S{cells.shape[1]}")[:, 0]
        found, self.places = np.unique(values, return_inverse=True)
        self.distinct: list[bytes] = [value.rstrip(b" \0") for value in found.tolist()]

    def first_row(self, place: int) -> int:
        return int(np.argmax(self.places == place)) + 1

    def decode(self, piece: Piece, name: str, encoding: str) -> list[str | None]:
        decoded: list[str | None] = []
        for place, value in enumerate(self.distinct):
            try:
                text = value.decode(encoding)
            except UnicodeError:
                raise SourceError(
                    f"{piece.source_file}: variable {name}, observation {self.first_row(place)}: is not"
                    f" {encoding};"
                    " declare the encoding of the file as `encoding`"
                ) from None
            if "\0" in text:
                raise SourceError(
                    f"{piece.source_file}: variable {name}, observation {self.first_row(place)}: holds a NUL"
                    " character within a text"
                )
            decoded.append(text or None)
        return [decoded[place] for place in self.places.tolist()]


def _find_encoding(
    piece: Piece, source: Source, data: DataSet, texts: dict[int, _Texts]
) -> tuple[str, list[str]]:
    """Return the declared encoding, or the one that all texts together show and a remark on a guess."""
    described = [text for variable in data.variables for text in (variable.name, variable.label)] + [
        data.label
    ]
    if source.encoding is not None:
        encoding = known_encoding(piece, source.encoding)
        if any(not _decodes(text, encoding) for text in described):
            raise SourceError(f"{piece.source_file}: a name or label is not {encoding}, which is declared")
        return encoding, []
    where = [("a name or label", text) for text in described]
    where += [
        (f"variable {place + 1}, observation {each.first_row(number)}", text)
        for place, each in texts.items()
        for number, text in enumerate(each.distinct)
        if not text.isascii()
    ]
    invalid = next((place for place, text in where if not _decodes(text, "utf-8")), None)
    if invalid is None:
        return "utf-8", []
    verdicts = [(place, judge([text])) for place, text in where]
    if multibyte := sum(verdict.multibyte for _, verdict in verdicts):
        raise SourceError(
            f"{piece.source_file}: {invalid}: is not UTF-8, but {multibyte} other characters of the file"
            " are: it is"
            " damaged or mixes encodings; ask for it again, or declare the one that is meant as `encoding`"
        )
    if odd := next((place for place, verdict in verdicts if verdict.unlike_windows is not None), None):
        raise SourceError(
            f"{piece.source_file}: {odd}: is not UTF-8 and does not look like {WINDOWS}: declare the"
            " encoding of the"
            " file as `encoding`, such as cp1250, cp1251 or shift_jis"
        )
    whole = judge([b"\n".join(text for _, text in where)])
    return WINDOWS, [f"not UTF-8: read as {WINDOWS}, which makes {whole.shown()} of its distinct texts"]


def _decodes(text: bytes, encoding: str) -> bool:
    try:
        text.decode(encoding)
    except UnicodeError:
        return False
    return True


def _as_text(cells: NDArray[np.uint8], variable: Variable) -> tuple[list[str | None], int]:
    """Return numbers as text and how many did not fit their date format."""
    values, is_missing = numbers(cells[:, variable.start : variable.start + variable.length])
    distinct, places = np.unique(np.where(is_missing, np.nan, values), return_inverse=True)
    known: list[str | None] = []
    unread: set[int] = set()
    is_time = time_kind(variable.sas_format) is not None
    for place, value in enumerate(distinct.tolist()):
        if value != value:  # noqa: PLR0124 - NaN, the one number unequal to itself
            known.append(None)
            continue
        iso = as_iso(value, variable.sas_format) if is_time else None
        known.append(number_text(value) if iso is None else iso)
        if iso is None and is_time:
            unread.add(place)
    return [known[place] for place in places.tolist()], sum(place in unread for place in places.tolist())


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
