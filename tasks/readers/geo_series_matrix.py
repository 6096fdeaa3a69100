"""A series matrix of the Gene Expression Omnibus (format `geo_series_matrix`), landed a row for each cell.

* `section` is series, sample or table; `field` the name of the line without its "!"; `ordinal` says which
  line of that name it is, for GEO repeats a field for every further value.
* `sample_id` is the accession (GSM...) of the cell's column, null in the series section.
* Characteristics and relations are pairs "key: value", split at the first ": "; other cells are prose and
  stay whole. Samples need not list their characteristics in one order, so a line does not hold one of them:
  the key of each cell says what it is.
* The table, where the file has one, gives a row for each probe (`key`) and sample, `field` ID_REF.

`_source_row` is the line of the file.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import duckdb

from tasks.readers.delimited import LINE_BYTES, scan_text
from tasks.readers.delivery import Delivered, Piece, check_declared, check_samples, check_text, store_rows
from tasks.readers.text import TextFile, as_utf8
from warehouse.errors import SourceError
from warehouse.quoting import literal

if TYPE_CHECKING:
    from pathlib import Path

    from warehouse.study import Source

COLUMNS = ("section", "field", "sample_id", "key", "value", "ordinal")
TABLE_BEGIN = "!series_matrix_table_begin"
TABLE_END = "!series_matrix_table_end"
SERIES, SAMPLE = "!Series_", "!Sample_"
ACCESSION, SAMPLE_LIST = "Sample_geo_accession", "Series_sample_id"
_PAIRED = ("Sample_characteristics", "Sample_relation", "Series_relation")


@dataclass(slots=True)
class _Contents:
    """What the file holds: its lines of metadata, and its table as a tab-separated file of its own."""

    lines: list[tuple[int, str, list[str]]] = field(default_factory=list)
    table_header: list[str] = field(default_factory=list)
    table_line: int = 0
    table_rows: int = 0
    longest: int = 0


def read(connection: duckdb.DuckDBPyConnection, piece: Piece, source: Source) -> Delivered:
    """Read a series matrix into (section, field, sample_id, key, value, ordinal)."""
    check_declared(COLUMNS, piece, source)
    text = as_utf8(piece, source.encoding)
    table = text.scratch / "table"
    contents = _contents(piece, text, table)
    samples = _samples(piece, contents)
    relation, rows = _store_metadata(connection, piece, contents, samples)
    if contents.table_rows:
        _append_table(connection, piece, relation, contents, table)
    return Delivered(
        source_file=piece.source_file,
        relation=relation,
        columns=COLUMNS,
        rows=rows + contents.table_rows * len(samples),
        encoding=text.encoding,
        separator="\t",
        has_bom=text.has_bom,
        remarks=(*text.remarks, *(() if contents.table_rows else ("the table of the file holds no rows",))),
    )


def _contents(piece: Piece, text: TextFile, table: Path) -> _Contents:
    contents = _Contents()
    is_in_table = False
    with text.path.open(encoding="utf-8-sig") as stream, table.open("w", encoding="utf-8") as rows:
        for number, ended in enumerate(stream, start=1):
            line = ended.rstrip("\n")
            if is_in_table:
                is_in_table = line != TABLE_END
                if is_in_table:
                    _check_table_line(piece, contents, number, line)
                    rows.write(line + "\n")
            elif line == TABLE_BEGIN:
                is_in_table = True
            elif line.startswith((SERIES, SAMPLE)):
                name, *cells = _cells(line)
                contents.lines.append((number, name.removeprefix("!"), cells))
            elif line.strip():
                raise SourceError(
                    f"{piece.source_file}: line {number} is no part of a series matrix, whose lines "
                    f"begin with {SERIES} or {SAMPLE} or stand between {TABLE_BEGIN} and {TABLE_END}"
                )
    if is_in_table:
        raise SourceError(f"{piece.source_file}: the file ends within its table: {TABLE_END} is missing")
    if not contents.lines:
        raise SourceError(f"{piece.source_file}: the file has no line that begins with {SERIES} or {SAMPLE}")
    return contents


def _check_table_line(piece: Piece, contents: _Contents, number: int, line: str) -> None:
    contents.longest = max(contents.longest, 4 * len(line))
    if not contents.table_header:
        contents.table_header, contents.table_line = _cells(line), number
        return
    contents.table_rows += 1
    if line.count("\t") + 1 != len(contents.table_header):
        raise SourceError(
            f"{piece.source_file}: line {number} has {line.count(chr(9)) + 1} cells where the header of "
            f"the table has {len(contents.table_header)}"
        )


def _cells(line: str) -> list[str]:
    """Split at tabs outside quotes; quotes within a quoted cell are GEO's text, doubled or not."""
    cells: list[str] = []
    pieces = iter(line.split("\t"))
    for cell in pieces:
        whole = cell
        if cell.startswith('"'):
            while len(whole) < 2 or not whole.endswith('"'):  # noqa: PLR2004 - a quote at each end
                following = next(pieces, None)
                if following is None:
                    break
                whole += "\t" + following
            whole = whole.removeprefix('"').removesuffix('"').replace('""', '"')
        cells.append(whole)
    return cells


def _samples(piece: Piece, contents: _Contents) -> list[str]:
    """Return the accessions in the order of the columns, as every part of the file that lists them says."""
    listed = {name: cells for _, name, cells in contents.lines if name in (ACCESSION, SAMPLE_LIST)}
    in_table = contents.table_header[1:]
    samples = listed.get(ACCESSION) or in_table or " ".join(listed.get(SAMPLE_LIST, [])).split()
    if not samples:
        raise SourceError(f"{piece.source_file}: no line names the samples; !{ACCESSION} is needed")
    check_samples(len(samples), piece)
    for sample in samples:
        check_text(sample, "the name of a sample", piece)
    repeated = sorted(sample for sample, count in Counter(samples).items() if count > 1)
    if repeated:
        raise SourceError(f"{piece.source_file}: samples stand more than once: {', '.join(repeated)}")
    if in_table and in_table != samples:
        raise SourceError(
            f"{piece.source_file}: line {contents.table_line}: the samples of the table are not those "
            f"of !{ACCESSION}"
        )
    return samples


def _store_metadata(
    connection: duckdb.DuckDBPyConnection,
    piece: Piece,
    contents: _Contents,
    samples: list[str],
) -> tuple[str, int]:
    rows: list[tuple[str, str, str | None, str | None, str, str]] = []
    numbers: list[int] = []
    repeats: dict[str, int] = {}
    for number, name, cells in contents.lines:
        repeats[name] = repeats.get(name, 0) + 1
        is_sample = name.startswith(SAMPLE.removeprefix("!"))
        if is_sample and len(cells) != len(samples):
            raise SourceError(
                f"{piece.source_file}: line {number} (!{name}) has {len(cells)} cells where there are "
                f"{len(samples)} samples"
            )
        owners: list[str] | list[None] = samples if is_sample else [None] * len(cells)
        for owner, cell in zip(owners, cells, strict=True):
            key, value = _pair(cell) if name.startswith(_PAIRED) else (None, cell)
            rows.append(("sample" if is_sample else "series", name, owner, key, value, str(repeats[name])))
            numbers.append(number)
    columns = zip(*rows, strict=True)
    return store_rows(connection, dict(zip(COLUMNS, columns, strict=True)), numbers), len(rows)


def _pair(cell: str) -> tuple[str | None, str]:
    key, found, value = cell.partition(": ")
    return (key, value) if found else (None, cell)


def _append_table(
    connection: duckdb.DuckDBPyConnection,
    piece: Piece,
    relation: str,
    contents: _Contents,
    table: Path,
) -> None:
    width = len(contents.table_header)
    scan = scan_text(table, "\t", width, line_bytes=max(LINE_BYTES, contents.longest))
    names = ", ".join(literal(sample) for sample in contents.table_header[1:])
    values = ", ".join(f"c{position}" for position in range(1, width))
    try:
        connection.execute(
            f"insert into {relation} "
            f"select 'table', {literal(contents.table_header[0])}, unnest([{names}]), c0, "
            f"unnest([{values}]), '1', line "
            f"from (select *, row_number() over () + {contents.table_line} as line from {scan})"
        )
    except (duckdb.InvalidInputException, duckdb.ConversionException):
        connection.execute(f"drop table {relation}")
        # DuckDB's text quotes the line.
        raise SourceError(
            f"{piece.source_file}: the table from line {contents.table_line} on cannot be split into cells:"
            " a quote is open or stands within a cell"
        ) from None
