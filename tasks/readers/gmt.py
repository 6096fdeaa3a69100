"""Gene sets (format `gmt`): a line for each set with its name, a description and its genes, tab-separated.

Landed as a row for each gene in its place; a gene that stands twice in a set is kept twice. There is no
header: `_source_row` is the line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.readers.delivery import Delivered, Piece, check_declared, check_text, store_rows
from tasks.readers.limits import check_in_memory
from tasks.readers.text import as_utf8
from warehouse.errors import SourceError

if TYPE_CHECKING:
    import duckdb

    from warehouse.study import Source

COLUMNS = ("gene_set", "description", "gene", "position")


def read(connection: duckdb.DuckDBPyConnection, piece: Piece, source: Source) -> Delivered:
    """Read gene sets into (gene_set, description, gene, position)."""
    check_declared(COLUMNS, piece, source)
    rows: list[tuple[str, str, str, str]] = []
    lines: list[int] = []
    first_line: dict[str, int] = {}
    text = as_utf8(piece, source.encoding)
    check_in_memory(piece.source_file, text.path)
    remarks = list(text.remarks)
    with text.path.open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            cells = line.rstrip("\n").split("\t")
            name, genes = _set_of(piece, number, cells)
            if name in first_line:
                remarks.append(
                    f"gene set {name!r} stands in line {first_line[name]} and again in line {number}"
                )
            first_line.setdefault(name, number)
            if not genes:
                remarks.append(f"gene set {name!r} in line {number} has no genes and gives no rows")
            rows += [(name, cells[1], gene, str(position)) for position, gene in genes]
            lines += [number] * len(genes)
    if not first_line:
        raise SourceError(f"{piece.source_file}: the file holds no gene set; a line for each is needed")
    columns = zip(*rows, strict=True) if rows else [()] * len(COLUMNS)
    return Delivered(
        source_file=piece.source_file,
        relation=store_rows(connection, dict(zip(COLUMNS, columns, strict=True)), lines),
        columns=COLUMNS,
        rows=len(rows),
        encoding=text.encoding,
        separator="\t",
        has_bom=text.has_bom,
        remarks=tuple(remarks),
    )


def _set_of(piece: Piece, number: int, cells: list[str]) -> tuple[str, list[tuple[int, str]]]:
    """Return the name of a set and its genes, each with its place; empty cells are no genes."""
    if len(cells) < 2 or not cells[0].strip():  # noqa: PLR2004 - name and description
        raise SourceError(
            f"{piece.source_file}: line {number} is not a set name, a description and genes separated by"
            " tabs:"
            f" it has {len(cells)} cells"
        )
    check_text(cells[0], f"the gene set's name in line {number}", piece)
    genes = [(position, gene.strip()) for position, gene in enumerate(cells[2:], start=1) if gene.strip()]
    return cells[0].strip(), genes
