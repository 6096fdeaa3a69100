"""A matrix of features by samples (format `matrix`), landed long: a row for each cell.

The header is a name for the column of features (any, none, or left out altogether, as R does), then the
samples. `_source_column` is the position of the cell in its row, so that `_source_row` and
`_source_column` find it in a spreadsheet of the file. Empty cells are rows with a null value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.readers.delimited import store_table
from tasks.readers.delivery import Delivered, Piece, check_declared, check_samples, check_text
from warehouse.errors import SourceError
from warehouse.quoting import literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from warehouse.study import Source

COLUMNS = ("feature_id", "sample_id", "value", "_source_column")


def read(connection: duckdb.DuckDBPyConnection, piece: Piece, source: Source) -> Delivered:
    """Read a matrix into (feature_id, sample_id, value)."""
    check_declared(COLUMNS[:3], piece, source)
    with store_table(connection, piece, source, may_omit_first_name=True) as table:
        samples = table.header[1:]
        _check_samples(piece, samples)
        names = ", ".join(literal(sample) for sample in samples)
        values = ", ".join(f"c{position}" for position in range(1, len(table.header)))
        connection.execute(
            f"create temp view {table.relation} as select c0 as feature_id, unnest([{names}]) as sample_id, "
            f"unnest([{values}]) as value, unnest(range(2, {len(table.header) + 1})) as _source_column, "
            f"_source_row from ({table.query})"
        )
        return Delivered(
            source_file=piece.source_file,
            relation=table.relation,
            columns=COLUMNS,
            rows=table.rows * len(samples),
            encoding=table.encoding,
            separator=table.separator,
            has_bom=table.has_bom,
            remarks=table.remarks,
        )


def _check_samples(piece: Piece, samples: Sequence[str]) -> None:
    if not samples:
        raise SourceError(
            f"{piece.source_file}: one column only; a matrix has a column of features and one for each sample"
        )
    check_samples(len(samples), piece)
    positions: dict[str, list[int]] = {}
    for position, sample in enumerate(samples, start=2):
        check_text(sample, f"the name of the sample in column {position}", piece)
        if not sample.strip():
            raise SourceError(f"{piece.source_file}: column {position} has no sample name; each needs one")
        positions.setdefault(sample, []).append(position)
    repeated = [
        f"{sample!r} in columns {', '.join(map(str, places))}"
        for sample, places in positions.items()
        if len(places) > 1
    ]
    if repeated:
        raise SourceError(
            f"{piece.source_file}: samples stand more than once: {'; '.join(repeated)}; each must be unique"
        )
