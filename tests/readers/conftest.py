from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from tasks.readers import Piece, read
from warehouse.study import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


@pytest.fixture
def read_bytes(connection, tmp_path) -> Callable[..., tuple[Any, list[tuple[Any, ...]]]]:
    """Read bytes as a file of a format; return what was delivered and all its rows in order."""

    def reading(content: bytes, *, name: str = "x.csv", format: str = "csv", **declared: Any):  # noqa: A002
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        source = Source(path=name, format=format, **declared)
        delivered = read(connection, Piece(path, name), source)
        return delivered, rows_of(connection, delivered)

    return reading


def rows_of(connection, delivered):
    order = "_source_row, _source_column" if "_source_column" in delivered.columns else "_source_row"
    return connection.execute(f"select * from {delivered.relation} order by {order}").fetchall()


@pytest.fixture
def real(connection, test_data) -> Callable[..., tuple[Any, list[tuple[Any, ...]]]]:
    """Read a file of the test-data folder, or skip where it is absent."""

    def reading(path: str, format: str, *, member: str | None = None, **declared: Any):  # noqa: A002
        if not (test_data / path).is_file():
            pytest.skip(f"the test-data folder has no {path}")
        source_file = path if member is None else f"{path}!{member}"
        source = Source(path=path, format=format, member=member, **declared)
        delivered = read(connection, Piece(test_data / path, source_file, member), source)
        return delivered, rows_of(connection, delivered)

    return reading
