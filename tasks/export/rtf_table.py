"""A formatted table as a Rich Text file: landscape pages, the heading repeated on each, numbered.

RTF is what word processors and submission tools take. The writer knows the part of it that a table needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tasks.export.data_set import Origin
    from tasks.export.formatted_table import FormattedTable, TableRow

# Twentieths of a point: A4 landscape with margins of 2 cm.
_PAGE_WIDTH, _PAGE_HEIGHT, _MARGIN = 16838, 11906, 1134
_TEXT_WIDTH = _PAGE_WIDTH - 2 * _MARGIN
_LABEL_SHARE = 0.36
_INDENT = 220
_MANY_COLUMNS = 7
_LINE_BELOW = r"\clbrdrb\brdrs\brdrw10"
_ASCII_LIMIT = 128
_CODE_UNIT = 0x10000


def rtf_table(table: FormattedTable, origin: Origin) -> str:
    """Set one table as a Rich Text document; every character outside ASCII is an escape."""
    size = 16 if len(table.columns) < _MANY_COLUMNS else 13
    lines = [
        r"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0\fswiss Arial;}}",
        rf"\paperw{_PAGE_WIDTH}\paperh{_PAGE_HEIGHT}\landscape",
        rf"\margl{_MARGIN}\margr{_MARGIN}\margt{_MARGIN}\margb{_MARGIN}\f0\fs{size}",
        rf"{{\header\pard\ql\fs{size} {_escape(_running_head(origin))}\par}}",
        rf"{{\footer\pard\qr\fs{size} Page {_field('PAGE')} of {_field('NUMPAGES')}\par}}",
        *_head(table),
        *(_row(row, is_last=row is table.rows[-1]) for row in table.rows),
        *(rf"\pard\ql\sb40 {_escape(note)}\par" for note in table.footnotes),
        "}",
    ]
    return "".join(f"{line}\n" for line in lines)


def _field(name: str) -> str:
    return rf"{{\field{{\*\fldinst {name}}}{{\fldrslt 1}}}}"


def _running_head(origin: Origin) -> str:
    simulated = "SIMULATED DATA. " if origin.is_simulated else ""
    return (
        f"{simulated}{origin.study_id}: {origin.title}. Version {origin.version}, {origin.published_at} UTC"
    )


def _head(table: FormattedTable) -> Iterator[str]:
    """Yield titles and column headings as rows that the reader repeats on every page."""
    lines = (rf"\b {_escape(table.title)}\b0 ", *map(_escape, table.subtitles))
    for place, line in enumerate(lines):
        rule = _LINE_BELOW if place == len(lines) - 1 else ""
        yield rf"\trowd\trhdr\trkeep{rule}\cellx{_TEXT_WIDTH}\pard\intbl\ql {line}\cell\row"
    headings = [
        _escape(column.heading) + ("" if column.n is None else rf"\line (N={column.n})")
        for column in table.columns
    ]
    yield _cells(["", *headings], r"\trhdr\trkeep", _LINE_BELOW, label=r"\ql\b", cell=r"\qc\b")


def _row(row: TableRow, *, is_last: bool) -> str:
    weight = r"\b" if row.is_heading else r"\b0"
    # A heading does not stay behind at the foot of a page.
    keep = r"\keepn" if row.is_heading else ""
    cells = [_escape(row.label), *map(_escape, row.cells)]
    return _cells(
        cells,
        r"\trkeep",
        _LINE_BELOW if is_last else "",
        label=rf"\ql\li{_INDENT * row.indent}{weight}{keep}",
        cell=rf"\qc\li0\b0{keep}",
    )


def _cells(texts: Sequence[str], row: str, rule: str, *, label: str, cell: str) -> str:
    label_width = round(_TEXT_WIDTH * _LABEL_SHARE)
    others = max(1, len(texts) - 1)
    edges = [label_width, *(
        label_width + round((_TEXT_WIDTH - label_width) * place / others) for place in range(1, others + 1)
    )][: len(texts)]  # fmt: skip
    described = "".join(rf"{rule}\cellx{edge}" for edge in edges)
    filled = "".join(
        rf"\pard\intbl{label if place == 0 else cell} {text}\cell" for place, text in enumerate(texts)
    )
    return rf"\trowd\trgaph60{row}{described}{filled}\row"


def _escape(text: str) -> str:
    return "".join(map(_character, text))


def _character(character: str) -> str:
    if character in "\\{}":
        return f"\\{character}"
    if character == "\n":
        return r"\line "
    code = ord(character)
    if code < _ASCII_LIMIT:
        return character
    # Escapes are signed sixteen-bit units, two of them beyond the first plane; `?` is for old readers.
    units = [code] if code < _CODE_UNIT else [0xD7C0 + (code >> 10), 0xDC00 + (code & 0x3FF)]
    return "".join(rf"\u{unit - _CODE_UNIT if unit > 0x7FFF else unit}?" for unit in units)  # noqa: PLR2004
