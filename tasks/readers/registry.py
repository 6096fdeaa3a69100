"""Every format a study can declare, and its reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.readers import delimited, geo_series_matrix, gmt, matrix, star, xpt

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb

    from tasks.readers.delivery import Delivered, Piece, Reader
    from warehouse.study import Format, Source

READERS: Mapping[Format, Reader] = {
    "csv": delimited.read,
    "xpt": xpt.read,
    "matrix": matrix.read,
    "star": star.read,
    "geo_series_matrix": geo_series_matrix.read,
    "gmt": gmt.read,
}


def read(connection: duckdb.DuckDBPyConnection, piece: Piece, source: Source) -> Delivered:
    """Read one piece of a source in the format that the study declares for it.

    The relation in the answer is read to its end once already, so that what follows cannot fail on the
    file; `release` drops it. Raises SourceError, naming file, row and text, for a file that is not what it
    should be.
    """
    return READERS[source.format](connection, piece, source)
