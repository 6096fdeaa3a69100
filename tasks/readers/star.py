"""Gene counts of one sample by STAR (format `star`): `<sample>ReadsPerGene.out.tab`.

Four columns without a header: gene, reads unstranded, of the forward and of the reverse strand; the
first rows, named N_..., count the reads that no gene has and are kept. With no header the first row is
`_source_row` 1.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from tasks.readers.delivery import Delivered, Piece, check_declared, store_rows
from tasks.readers.limits import check_in_memory
from tasks.readers.text import as_utf8
from warehouse.errors import SourceError

if TYPE_CHECKING:
    import duckdb

    from warehouse.study import Source

COLUMNS = ("sample_id", "gene_id", "unstranded", "forward", "reverse")
SUFFIX = "ReadsPerGene.out.tab"
UNASSIGNED = ("N_unmapped", "N_multimapping", "N_noFeature", "N_ambiguous")
_ROW = re.compile(r"[^\t\n]+\t[0-9]+\t[0-9]+\t[0-9]+")
_ROWS = re.compile(rf"{_ROW.pattern}(?:\n{_ROW.pattern})*+")


def read(connection: duckdb.DuckDBPyConnection, piece: Piece, source: Source) -> Delivered:
    """Read STAR's gene counts with the sample named by the file."""
    check_declared(COLUMNS, piece, source)
    sample_id = sample_of(piece)
    text = as_utf8(piece, source.encoding)
    check_in_memory(piece.source_file, text.path)
    content = text.path.read_text(encoding="utf-8-sig").removesuffix("\n")
    _check_rows(piece, content)
    # All rows at once: a study has a file of tens of thousands of genes for each sample.
    cells = content.replace("\n", "\t").split("\t")
    rows = len(cells) // 4
    columns = ([sample_id] * rows, *(cells[position::4] for position in range(4)))
    return Delivered(
        source_file=piece.source_file,
        relation=store_rows(connection, dict(zip(COLUMNS, columns, strict=True)), range(1, rows + 1)),
        columns=COLUMNS,
        rows=rows,
        encoding=text.encoding,
        separator="\t",
        has_bom=text.has_bom,
        remarks=text.remarks,
    )


def sample_of(piece: Piece) -> str:
    """Return what stands before STAR's suffix or, where nothing does, the folder the file is in."""
    path = PurePosixPath(piece.source_file.replace("!", "/"))
    name, found, rest = path.name.partition(SUFFIX)
    if not found or rest not in ("", ".gz"):
        raise SourceError(f"{piece.source_file}: the name must be <sample>{SUFFIX}, optionally with .gz")
    sample_id = name.rstrip("_.") or path.parent.name
    if not sample_id:
        raise SourceError(f"{piece.source_file}: neither the file name nor a folder names the sample")
    return sample_id


def _check_rows(piece: Piece, content: str) -> None:
    lines = content.split("\n")
    if not _ROWS.fullmatch(content):
        number, line = next((n, line) for n, line in enumerate(lines, start=1) if not _ROW.fullmatch(line))
        raise SourceError(
            f"{piece.source_file}: row {number} is not a gene and three whole numbers separated by tabs:"
            f" it has {line.count(chr(9)) + 1} cells"
        )
    first = tuple(line.partition("\t")[0] for line in lines[: len(UNASSIGNED)])
    if first != UNASSIGNED:
        raise SourceError(
            f"{piece.source_file}: the first rows are not those that STAR writes: {', '.join(UNASSIGNED)}"
        )
