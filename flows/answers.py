"""The rows of a query as a data frame that says what DuckDB says; what polars cannot hold is text."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import polars as pl

from warehouse.quoting import identifier

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb
    from duckdb.sqltypes import DuckDBPyType

    Fetch = Callable[[duckdb.DuckDBPyRelation], pl.DataFrame]

# Of the others, polars drops a time zone or half an interval, or takes a large number for -1.
EXACT = {
    "boolean", "tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint",
    "hugeint", "float", "double", "decimal", "varchar", "uuid", "enum",
}  # fmt: skip
# Exact in the years that both know; infinity and the year 44 BC are not among them.
MOMENTS = {"date", "timestamp", "timestamp_s", "timestamp_ms", "timestamp with time zone"}
FIRST, LAST = datetime(1, 1, 1), datetime(9999, 12, 31)  # noqa: DTZ001 - without a zone, as DuckDB counts
DIGITS_38 = 1e38
NESTED = {"list", "array", "map", "struct"}
TEXT = "varchar"


def as_frame(relation: duckdb.DuckDBPyRelation, fetch: Fetch) -> pl.DataFrame:
    """Return the rows of a query; a value that polars has no exact place for is text as DuckDB writes it."""
    kinds = [_kind(kind) for kind in relation.types]
    frame = fetch(_projected(relation, kinds))
    wide = [
        name
        for name, kind in zip(frame.columns, kinds, strict=True)
        if kind is None and _is_wide(frame[name])
    ]
    if not wide:
        return frame
    as_text = [TEXT if name in wide else kind for name, kind in zip(frame.columns, kinds, strict=True)]
    return fetch(_projected(relation, as_text))


def _projected(relation: duckdb.DuckDBPyRelation, kinds: list[str | None]) -> duckdb.DuckDBPyRelation:
    if not any(kinds):
        return relation
    columns = [
        (f"cast(#{number} as {kind})" if kind else f"#{number}") + f" as {identifier(name)}"
        for number, (name, kind) in enumerate(zip(relation.columns, kinds, strict=True), start=1)
    ]
    return relation.project(", ".join(columns))


def _kind(kind: DuckDBPyType) -> str | None:
    """Return the type to read a column as, or None where its own will do."""
    if kind.id in EXACT | MOMENTS | {"blob"}:
        return None
    return _nested(kind)


def _nested(kind: DuckDBPyType) -> str:
    parts: dict[str, DuckDBPyType] = dict(kind.children) if kind.id in NESTED else {}  # type: ignore[arg-type]
    match kind.id:
        case "list" | "array":
            return f"{_nested(parts['child'])}[]"
        case "map":
            return f"map({_nested(parts['key'])}, {_nested(parts['value'])})"
        case "struct" if all(parts):  # each has a name
            fields = (f"{identifier(name)} {_nested(part)}" for name, part in parts.items())
            return f"struct({', '.join(fields)})"
        case exact if exact in EXACT and exact not in {"enum", "uuid"}:
            return str(kind)
        case _:
            return TEXT


def _is_wide(values: pl.Series) -> bool:
    """Tell whether a moment lies outside the years 1 to 9999, or a number has more than 38 digits."""
    if values.dtype == pl.Decimal:
        return bool((values.cast(pl.Float64).abs() >= DIGITS_38).any())
    if not values.dtype.is_temporal() or values.null_count() == len(values):
        return False
    number = values.to_physical()
    first, last = pl.Series([FIRST, LAST]).cast(values.dtype).to_physical()
    return bool(((number < first) | (number > last)).any())
