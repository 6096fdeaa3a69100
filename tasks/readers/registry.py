"""Every format a study can declare, and its reader."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from tasks.readers import dataset_json, delimited, geo_series_matrix, gmt, matrix, star, xpt
from tasks.readers.private_copy import private_copy
from warehouse.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tasks.readers.delivery import Delivered, Piece, Reader
    from warehouse.study import Format, Source

READERS: Mapping[Format, Reader] = {
    "csv": delimited.read,
    "xpt": xpt.read,
    "dataset_json": dataset_json.read,
    "matrix": matrix.read,
    "star": star.read,
    "geo_series_matrix": geo_series_matrix.read,
    "gmt": gmt.read,
}


def read(
    connection: duckdb.DuckDBPyConnection,
    piece: Piece,
    source: Source,
    *,
    seen: str | None = None,
    scratch: Path | None = None,
) -> Delivered:
    """Read one piece of a source in the format that the study declares for it.

    The file is copied and read to its end here, so that landing cannot fail on it; `release` drops the
    relation. `seen` is its digest when it was found; the one recorded is that of the bytes that were parsed.
    SourceError names the file, the row and what is not as it should be, never a delivered cell. Call it
    outside a transaction: text that the database refuses ends one.
    """
    with private_copy(piece, scratch, seen=seen) as copied:
        try:
            delivered = READERS[source.format](connection, copied.piece, source)
        except (duckdb.Error, pa.ArrowException, MemoryError, RecursionError) as error:
            # Their texts may quote the cells.
            raise SourceError(
                f"{piece.source_file}: is too large or too deeply nested, or holds what the database refuses"
                f" ({type(error).__name__})"
            ) from None
    return replace(delivered, sha256=copied.sha256, size=copied.size)
