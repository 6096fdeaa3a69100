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
from tasks.readers.text import as_utf8
from warehouse.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from warehouse.study import Source

COLUMNS = ("sample_id", "gene_id", "unstranded", "forward", "reverse")
SUFFIX = "ReadsPerGene.out.tab"
UNASSIGNED = ("N_unmapped", "N_multimapping", "N_noFeature", "N_ambiguous")
_ROW = re.compile(r"[^\t\n]+\t[0-9]+\t[0-9]+\t[0-9]+")
SHOWN_CHARACTERS = 80


def read(connection: duckdb.DuckDBPyConnection, piece: Piece, source: Source) -> Delivered:
    """Read STAR's gene counts with the sample named by the file."""
    check_declared(COLUMNS, piece, source)
    sample_id = sample_of(piece)
    with as_utf8(piece, source.encoding) as text:
        lines = text.path.read_text(encoding="utf-8-sig").splitlines()
    _check_rows(piece, lines)
    genes, unstranded, forward, reverse = zip(*(line.split("\t") for line in lines), strict=True)
    cells = (([sample_id] * len(lines)), genes, unstranded, forward, reverse)
    return Delivered(
        source_file=piece.source_file,
        relation=store_rows(connection, dict(zip(COLUMNS, cells, strict=True)), range(1, len(lines) + 1)),
        columns=COLUMNS,
        rows=len(lines),
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


def _check_rows(piece: Piece, lines: Sequence[str]) -> None:
    for number, line in enumerate(lines, start=1):
        if not _ROW.fullmatch(line):
            raise SourceError(
                f"{piece.source_file}: row {number} is not a gene and three whole numbers separated by tabs: "
                f"{line[:SHOWN_CHARACTERS]!r}"
            )
    first = tuple(line.partition("\t")[0] for line in lines[: len(UNASSIGNED)])
    if first != UNASSIGNED:
        raise SourceError(
            f"{piece.source_file}: the first rows are {', '.join(first)}; STAR writes {', '.join(UNASSIGNED)}"
        )
