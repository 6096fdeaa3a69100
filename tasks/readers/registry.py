"""Every format a study can declare, and its reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.readers import dataset_json, delimited, geo_series_matrix, gmt, matrix, star, xpt

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb

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


def read(connection: duckdb.DuckDBPyConnection, piece: Piece, source: Source) -> Delivered:
    """Read one piece of a source in the format that the study declares for it.

    The file is read to its end here, so that landing cannot fail on it; `release` drops the relation.
    SourceError names the file, the row and the text of what is not as it should be. Call it outside a
    transaction: text that the database refuses ends one.
    """
    return READERS[source.format](connection, piece, source)
