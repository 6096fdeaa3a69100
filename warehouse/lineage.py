"""What a table was made from, as hashes: equal fingerprints mean that there is nothing to do again."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.lake import LAKE, as_json, tables
from warehouse.quoting import identifier, qualified
from warehouse.study import HOUSE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb

CODE = ("flows", "tasks", "sql", "expectations", "warehouse")
# What computes the numbers beside our own code: another version of these is another result.
LIBRARIES = ("numpy", "scipy", "polars", "pandas", "duckdb", "gseapy", "fastcluster")


@dataclass(frozen=True, slots=True)
class Made:
    """A table as last published: what it was made from and what it holds."""

    fingerprint: str
    content: str
    rows: int


def digest(value: object) -> str:
    """Hash any JSON-like value."""
    return hashlib.sha256(as_json(value).encode()).hexdigest()[:32]


def content_of(
    connection: duckdb.DuckDBPyConnection, relation: str, *, is_quoted: bool = False
) -> tuple[str, int]:
    """Hash a table's rows and columns, whatever the order of the rows; return the hash and the count."""
    source = relation if is_quoted else qualified(relation)
    columns = connection.execute(f"describe from {source}").fetchall()
    # A sum, unlike an exclusive or, does not lose rows that stand twice.
    total, rows = connection.execute(
        f"select coalesce(sum(hash(t)::hugeint), 0)::varchar, count(*) from {source} as t"
    ).fetchone() or ("0", 0)
    return digest([[(name, kind) for name, kind, *_ in columns], total, rows]), int(rows)


def content_of_load(connection: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[str]) -> str:
    """Hash the rows that a delivered file has in raw, by the columns that it delivered."""
    cells = ", ".join(identifier(column) for column in (*columns, "_source_row"))
    total, rows = connection.execute(
        f"select coalesce(sum(hash(cells)::hugeint), 0)::varchar, count(*)"
        f" from (select row({cells}) as cells from {relation})"
    ).fetchone() or ("0", 0)
    return digest([list(columns), total, rows])


def last_made(connection: duckdb.DuckDBPyConnection) -> dict[str, Made]:
    """Return, for each table of the newest version, how it was made."""
    if "meta.lineage" not in tables(connection):
        return {}
    # The order of versions, which no clock can change; a lake of the first format has only the times.
    columns = {name for name, *_ in connection.execute(f"describe {LAKE}.meta.run").fetchall()}
    order = "version" if "version" in columns else "started_at"
    # A run that was stopped has the newest word on the tables it judged, and it said what is not in the
    # lake: those are made and judged again, so that no finding outlives what it was about.
    rows = connection.execute(
        f"""
        with stopped as (
            select table_name as target, max({order}) as stopped_at
            from {LAKE}.meta.check_result join {LAKE}.meta.run using (run_id, stage)
            where status = 'stopped' group by all
        )
        select target, if(stopped_at > {order}, '', fingerprint), content, rows
        from {LAKE}.meta.lineage join {LAKE}.meta.run using (run_id) left join stopped using (target)
        where status = 'published'
        qualify row_number() over (partition by target order by {order} desc) = 1
        """
    ).fetchall()
    return {target: Made(fingerprint, content, count) for target, fingerprint, content, count in rows}


@cache
def code_version() -> str:
    """Return the package's version and a hash of all code, SQL and suites, installed or checked out."""
    state = hashlib.sha256()
    for folder in CODE:
        for file in sorted((HOUSE / folder).rglob("*")):
            if file.suffix in {".py", ".sql", ".json", ".gmt"} and file.is_file():
                state.update(str(file.relative_to(HOUSE)).encode())
                state.update(file.read_bytes())
    return f"{version('trialhouse')}+{state.hexdigest()[:12]}"


@cache
def code_of(module: str) -> str:
    """Hash a module's source with that of every module of ours that it imports, and of what those do."""
    sources: dict[str, str] = {}
    _gather(module, sources)
    return digest(sources)


def _gather(module: str, sources: dict[str, str]) -> None:
    if module in sources or (read := _read(module)) is None:
        return
    sources[module], imported = read
    for name in imported:
        _gather(name, sources)


@cache
def _read(module: str) -> tuple[str, tuple[str, ...]] | None:
    """Return the source of a module of ours and what it may import; None for all else."""
    if module.partition(".")[0] not in CODE:
        return None
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return None
    text = Path(spec.origin).read_text(encoding="utf-8")
    imported: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            imported += [node.module, *filter(_is_module, names)]
    return text, tuple(imported)


def _is_module(name: str) -> bool:
    if name.partition(".")[0] not in CODE:
        return False
    path = HOUSE.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def fingerprint(kind: str, code: object, inputs: Mapping[str, str], **more: object) -> str:
    """Hash everything that decides what a table will hold and how it is judged."""
    return digest({"kind": kind, "code": code, "inputs": dict(inputs), **more})
