"""Delimited text of any separator and encoding (format `csv`), read by DuckDB wherever DuckDB is exact.

The rules, for every delimited format:

* A record may span lines by a quoted cell. The header is record 1 and the first row of data is record 2:
  `_source_row` counts records. Lines that are empty are no records and are not counted.
* A header is needed. Line breaks in its cells become a space. An empty name in the first column, as R
  writes row names, becomes `row_name`; elsewhere `column_<position>`.
* Every record has as many cells as the header; cells are text as delivered, empty ones are null. Blanks
  between a separator and the quotes of a cell are no part of it.

A UTF-8 file is read by DuckDB in parallel into a temporary table, whose row ids number the rows. Its parser
forgives one empty cell too many at the end of a row, which is how an unquoted separator in a text shifts
a row unseen, so separators are counted too. What DuckDB refuses is read again record by record: either
the fault is found and named, or the file is written anew in one dialect.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

import duckdb
import numpy as np

from tasks.readers.archive import CHUNK_BYTES
from tasks.readers.delivery import (
    Delivered,
    Piece,
    cells_of,
    check_declared,
    check_names,
    check_samples,
    check_text,
    check_width,
    new_name,
)
from tasks.readers.limits import MAX_RECORD_CHARACTERS
from tasks.readers.text import TextFile, as_utf8
from warehouse.errors import SourceError
from warehouse.quoting import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from warehouse.study import Source

# Where several fit equally: a comma occurs in text and in numbers, a tab hardly ever.
SEPARATORS = ("\t", ";", "|", ",")
SAMPLE_RECORDS = 200
SAMPLE_CHARACTERS = 1 << 22
# DuckDB's own limit of the bytes of a line; only a file that has a longer one is read with more.
LINE_BYTES = 2_000_000
# A thread reads a quarter of this at a time; what does not fill a row group is copied once more to be stored.
BUFFER_BYTES = 1 << 27
_LINE_BREAK = re.compile(r"\s*[\r\n]+\s*")

# The csv module's own limit is 128 kB a cell; MAX_RECORD_CHARACTERS is the bound here.
csv.field_size_limit(sys.maxsize)


@dataclass(frozen=True, slots=True)
class Table:
    """The cells of a delimited file, stored in the database.

    `query` selects them as `c0`, `c1`, ... and `_source_row`, without the header; `header` has one name for
    each cell of a row. `relation` is the name that a view of the query is to have.
    """

    relation: str
    query: str
    header: tuple[str, ...]
    rows: int
    separator: str
    encoding: str
    has_bom: bool
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Marks:
    """How often the bytes that make a table occur in a file.

    `separators_within_quotes` is None where a quote opens elsewhere than at the start of a cell: such a quote
    is a character like any other, so the bytes alone do not tell which separators are quoted.
    """

    separators: int
    separators_within_quotes: int | None
    line_feeds: int


def read(connection: duckdb.DuckDBPyConnection, piece: Piece, source: Source) -> Delivered:
    """Read delimited text as delivered, a column of text for each name of its header."""
    with store_table(connection, piece, source) as table:
        columns, renamed = name_columns(table.header)
        check_names(columns, piece)
        check_declared(columns, piece, source)
        cells = ", ".join(f"c{position} as {identifier(name)}" for position, name in enumerate(columns))
        connection.execute(
            f"create temp view {table.relation} as select {cells}, _source_row from ({table.query})"
        )
        return Delivered(
            source_file=piece.source_file,
            relation=table.relation,
            columns=columns,
            rows=table.rows,
            encoding=table.encoding,
            separator=table.separator,
            has_bom=table.has_bom,
            remarks=(*table.remarks, *renamed),
        )


def name_columns(header: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return a name for each header cell and, in words, which names are not as delivered."""
    names, remarks = [], []
    for position, cell in enumerate(header, start=1):
        name = _LINE_BREAK.sub(" ", cell)
        if not name.strip():
            name = "row_name" if position == 1 else f"column_{position}"
            remarks.append(f"column {position} has no name: it is called {name!r}")
        elif name != cell:
            remarks.append(f"line breaks in the name of column {position} became spaces: {name!r}")
        names.append(name)
    if len(names) > 1 and all(_is_number(name) for name in names):
        remarks.append("every name in the first row is a number: a file without a header loses its first row")
    return tuple(names), tuple(remarks)


def _is_number(name: str) -> bool:
    try:
        float(name.replace(",", "."))
    except ValueError:
        return False
    return True


@contextmanager
def store_table(
    connection: duckdb.DuckDBPyConnection,
    piece: Piece,
    source: Source,
    *,
    may_omit_first_name: bool = False,
) -> Iterator[Table]:
    """Store a delimited file as a table, which is dropped again if the context ends in an error.

    `may_omit_first_name` allows a header of one cell fewer than every row, as R writes a matrix.
    """
    relation = new_name()
    cells = cells_of(relation)
    text = as_utf8(piece, source.encoding)
    separator, remark = _separator(piece, text, source)
    remarks = [*text.remarks, *remark]
    header, first_row = _first_records(piece, text.path, separator)
    (check_samples if may_omit_first_name else check_width)(len(header) - may_omit_first_name, piece)
    for position, name in enumerate(header, start=1):
        check_text(name, f"the name of column {position}", piece)
    omits_first_name = may_omit_first_name and len(first_row) == len(header) + 1
    if omits_first_name:
        header = ["", *header]
        remarks.append("the header has one cell fewer than the rows: the first column has no name")
    # DuckDB takes an empty line in a file of one column for an empty cell.
    is_exact = len(header) > 1 and not omits_first_name
    scan = scan_text(text.path, separator, len(header))
    rows = None
    # The database leaves a core idle now and then while it reads.
    with ThreadPoolExecutor(max_workers=1) as pool:
        marks = pool.submit(_count_marks, text.path, separator)
        if is_exact:
            rows = _store_checked(
                connection, text.path, scan, header, cells, marks=marks, separator=separator
            )
    if rows is None:
        clean = text.scratch / "records"
        rows, longest = _rewrite(
            piece, text.path, separator, header, clean, omits_first_name=omits_first_name
        )
        scan = scan_text(clean, ",", len(header), line_bytes=max(LINE_BYTES, longest), has_header=False)
        if _store(connection, scan, cells) != rows:
            raise SourceError(f"{piece.source_file}: the database does not read the {rows} rows it holds")
        if is_exact:
            remarks.append("record ends or quotes vary within the file: it was read record by record")
    if rows == 0:
        remarks.append("the file holds a header and no rows")
    if marks.result().line_feeds not in (rows, rows + 1) and _has_empty_lines(text.path):
        remarks.append("the file holds empty lines: outside quotes they are no rows and are not counted")
    try:
        yield Table(
            relation=relation,
            query=_cells_query(connection, cells),
            header=tuple(header),
            rows=rows,
            separator=separator,
            encoding=text.encoding,
            has_bom=text.has_bom,
            remarks=tuple(remarks),
        )
    except BaseException:
        connection.execute(f"drop table if exists {cells}")
        raise


def _separator(piece: Piece, text: TextFile, source: Source) -> tuple[str, tuple[str, ...]]:
    with text.path.open(encoding="utf-8-sig", newline="") as stream:
        sample = stream.read(SAMPLE_CHARACTERS)
        is_whole = not stream.read(1)
    if is_whole and not sample.strip():
        raise SourceError(f"{piece.source_file}: the file holds nothing but white space; a header is needed")
    if source.separator is not None:
        return source.separator, ()
    return find_separator(sample, is_whole=is_whole)


def find_separator(sample: str, *, is_whole: bool = True) -> tuple[str, tuple[str, ...]]:
    """Return the separator that splits the first records evenly and into the most cells.

    If none does, the one that splits the header and leaves the most records of the header's length: the
    reading then names the record that is not.
    """
    shapes = {}
    for separator in SEPARATORS:
        counts = _cells_per_record(sample, separator, is_whole=is_whole)
        shapes[separator] = (
            counts[0] > 1,
            len(set(counts)) == 1,
            counts.count(counts[0]) / len(counts),
            counts[0],
        )
    fits = [separator for separator, (splits, is_even, _, _) in shapes.items() if splits and is_even]
    if fits:
        most = max(shapes[separator][3] for separator in fits)
        best = [separator for separator in fits if shapes[separator][3] == most]
        others = " or ".join(repr(separator) for separator in best[1:])
        remark = (f"the separator was taken to be {best[0]!r}; {others} fits as well",) if others else ()
        return best[0], remark
    splitting = [separator for separator, (splits, *_) in shapes.items() if splits]
    if splitting:
        return max(splitting, key=lambda separator: shapes[separator][2:]), ()
    # One column: a separator that its cells do not hold.
    return max(reversed(SEPARATORS), key=lambda separator: shapes[separator][2]), ()


def _cells_per_record(sample: str, separator: str, *, is_whole: bool) -> list[int]:
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=separator)
    counts = [len(cells) for cells in itertools.islice(filter(None, reader), SAMPLE_RECORDS)]
    # The end of the sample may cut its last record.
    if not is_whole and 1 < len(counts) < SAMPLE_RECORDS:
        counts.pop()
    return counts or [1]


def _first_records(piece: Piece, path: Path, separator: str) -> tuple[list[str], list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        first = [cells for _, cells in itertools.islice(_records(piece, stream, separator), 2)]
    return first[0], first[1] if len(first) > 1 else []


def _records(piece: Piece, stream: TextIO, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each record with its number, by the strict reading of quotes."""
    number = 0
    unfinished = 0

    def lines() -> Iterator[str]:
        nonlocal unfinished
        for line in stream:
            unfinished += len(line)
            if unfinished > MAX_RECORD_CHARACTERS:
                raise csv.Error(f"no end within {MAX_RECORD_CHARACTERS} characters: a quote is not closed")
            yield line

    try:
        for cells in csv.reader(lines(), delimiter=separator, strict=True):
            unfinished = 0
            if cells:
                number += 1
                yield number, cells
    except csv.Error as error:
        raise SourceError(
            f"{piece.source_file}: row {number + 1} cannot be split at {separator!r}: {error}"
        ) from error


def scan_text(
    path: Path,
    separator: str,
    width: int,
    *,
    line_bytes: int = LINE_BYTES,
    has_header: bool = True,
) -> str:
    """Return DuckDB's reading of a file with nothing left for it to guess."""
    # An exact path, also where it holds the marks of a pattern.
    exact = re.sub(r"([*?\[])", r"[\1]", str(path))
    columns = ", ".join(f"c{position}: 'VARCHAR'" for position in range(width))
    return (
        f"read_csv({literal(exact)}, columns = {{{columns}}}, delim = {literal(separator)}, quote = '\"', "
        f"escape = '\"', comment = '', header = {has_header}, auto_detect = false, strict_mode = true, "
        "null_padding = false, ignore_errors = false, compression = 'none', encoding = 'utf-8', "
        f"hive_partitioning = false, filename = false, max_line_size = {line_bytes}, "
        f"buffer_size = {max(BUFFER_BYTES, 16 * line_bytes)})"
    )


def _store_checked(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    scan: str,
    header: Sequence[str],
    table: str,
    *,
    marks: Future[Marks],
    separator: str,
) -> int | None:
    """Store the cells and return the number of rows, or None if DuckDB cannot be trusted with the file."""
    if _begins_empty(path):
        # DuckDB would take the empty line for the header.
        return None
    rows = _store(connection, scan, table)
    if rows is None:
        return None
    counted = marks.result()
    between_cells = (rows + 1) * (len(header) - 1)
    within_cells = 0 if counted.separators == between_cells else counted.separators_within_quotes
    if within_cells is None:
        if not _may_end_empty(path, separator):
            return rows
        within_cells = _count_within_cells(connection, table, header, separator)
    if counted.separators - within_cells == between_cells:
        return rows
    connection.execute(f"drop table {table}")
    return None


def _count_within_cells(
    connection: duckdb.DuckDBPyConnection, table: str, header: Sequence[str], separator: str
) -> int:
    mark = literal(separator)
    within = " + ".join(
        f"coalesce(sum(len(c{position}) - len(replace(c{position}, {mark}, ''))), 0)"
        for position in range(len(header))
    )
    (count,) = connection.execute(f"select {within} from {table}").fetchone() or (0,)
    return int(count) + sum(name.count(separator) for name in header)


def _store(connection: duckdb.DuckDBPyConnection, scan: str, table: str) -> int | None:
    """Store the cells, with the number of their row where the connection does not keep the order of rows."""
    numbered = "" if _keeps_order(connection) else ", row_number() over () + 1 as _source_row"
    try:
        connection.execute(f"create temp table {table} as select *{numbered} from {scan}")
    except (duckdb.InvalidInputException, duckdb.ConversionException):
        return None
    row = connection.execute(f"select count(*) from {table}").fetchone()
    return None if row is None else int(row[0])


def _keeps_order(connection: duckdb.DuckDBPyConnection) -> bool:
    return connection.execute("select current_setting('preserve_insertion_order')").fetchone() == (True,)


def _cells_query(connection: duckdb.DuckDBPyConnection, table: str) -> str:
    # The row id of a table just filled counts its rows from 0; a window would do so on one thread only.
    numbered = ", rowid + 2 as _source_row" if _keeps_order(connection) else ""
    return f"select *{numbered} from {table}"


def _begins_empty(path: Path) -> bool:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return stream.read(1) in ("\r", "\n")


def _count_marks(path: Path, separator: str) -> Marks:
    mark, quote, line_feed = (ord(character) for character in (separator, '"', "\n"))
    separators = within = line_feeds = 0
    is_open, is_regular = False, True
    before = line_feed
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            content = np.frombuffer(chunk, dtype=np.uint8)
            is_mark = content == mark
            separators += int(np.count_nonzero(is_mark))
            line_feeds += int(np.count_nonzero(content == line_feed))
            quotes = np.flatnonzero(content == quote)
            if is_regular and (is_open or quotes.size):
                preceding = content[quotes - 1]
                if quotes.size and quotes[0] == 0:
                    preceding[0] = before
                opening = preceding[int(is_open) :: 2]
                is_regular = bool(np.all((opening == mark) | (opening == line_feed) | (opening == quote)))
                # Every other stretch between quotes is inside, the first of all if the chunk begins so.
                starts = np.concatenate([int(is_open) * [0], quotes]).astype(np.intp)
                within += int(np.sum(np.add.reduceat(is_mark, starts, dtype=np.int64)[::2]))
                is_open ^= bool(quotes.size % 2)
            before = chunk[-1]
    return Marks(separators, within if is_regular and not is_open else None, line_feeds)


def _may_end_empty(path: Path, separator: str) -> bool:
    """Tell whether a line ends in `,` or `""` or a blank, as one with a last cell that is empty does."""
    mark, blank, quote = (ord(character) for character in (separator, " ", '"'))
    before = np.zeros(2, dtype=np.uint8)
    with path.open("rb") as stream:
        # The end of the file ends a line too.
        for chunk in itertools.chain(iter(lambda: stream.read(CHUNK_BYTES), b""), (b"\n",)):
            content = np.concatenate([before, np.frombuffer(chunk, dtype=np.uint8)])
            ends = np.flatnonzero((content[2:] == ord("\n")) | (content[2:] == ord("\r"))) + 2
            last, last_but_one = content[ends - 1], content[ends - 2]
            if np.any((last == mark) | (last == blank) | ((last == quote) & (last_but_one == quote))):
                return True
            before = content[-2:]
    return False


def _has_empty_lines(path: Path) -> bool:
    """Tell whether empty lines stand before or between others; those at the end of the file move no row."""
    tail = b"\n"
    found = False
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            if found and chunk.strip(b"\r\n"):
                return True
            window = tail + chunk
            inner = window.rstrip(b"\r\n")
            if b"\n\n" in inner or b"\n\r\n" in inner:
                return True
            found = b"\n\n" in window or b"\n\r\n" in window
            tail = window[-2:]
    return False


def _rewrite(
    piece: Piece,
    path: Path,
    separator: str,
    header: Sequence[str],
    clean: Path,
    *,
    omits_first_name: bool,
) -> tuple[int, int]:
    """Write the rows anew, every cell quoted; return the number of rows and the most bytes of one."""
    longest = number = 0
    width = len(header)
    with (
        path.open(encoding="utf-8-sig", newline="") as stream,
        clean.open("w", encoding="utf-8", newline="") as target,
    ):
        writer = csv.writer(target, quoting=csv.QUOTE_ALL, lineterminator="\n")
        for number, cells in _records(piece, stream, separator):
            if number == 1:
                continue
            if len(cells) != width:
                raise _ragged(piece, number, len(cells), width - omits_first_name, separator)
            # The writer returns what the file's write does: characters, of four bytes at most.
            longest = max(longest, 4 * int(writer.writerow(cells)))
    return number - 1, longest


def _ragged(piece: Piece, number: int, cells: int, width: int, separator: str) -> SourceError:
    return SourceError(
        f"{piece.source_file}: row {number} has {cells} cells where the header has {width} "
        f"(separator {separator!r}; `separator` declares another)"
    )
