"""What arrived: every delivered file with its hash, size, shape and whatever was odd about it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.report.section import About, Frames, Section
from tasks.report.tables import Column, code, folded, numeric, plain, prose, table
from tasks.report.wording import ABSENT, count, escape, integer, moment, size

if TYPE_CHECKING:
    from collections.abc import Mapping

_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}


def write(frames: Frames, about: About) -> str:
    files = frames["meta.source_file"].sort("source", "source_file")
    if files.is_empty():
        return "<p>No file has been delivered.</p>"
    rows, n_bytes = int(files["rows"].sum()), int(files["bytes"].sum())
    odd = files.filter(_is_odd())
    opening = (
        f"<p>{count(files.height, 'file')} from {count(files['source'].n_unique(), 'source')}:"
        f" {count(rows, 'row')}, {size(n_bytes)}. "
    )
    opening += (
        f"{count(odd.height, 'file')} with a remark.</p>" if odd.height else "Nothing odd about any.</p>"
    )
    per_source = files.group_by("source", maintain_order=True).agg(
        pl.col("format").unique().sort().str.join(", "),
        pl.len().alias("files"),
        pl.col("rows").sum(),
        pl.col("bytes").sum(),
        pl.col("remarks").filter(_is_odd()).unique(maintain_order=True).str.join("; "),
        pl.col("loaded_at").max(),
    )
    sources = table(
        "sources",
        per_source,
        [
            Column("Source", lambda row: f"<code>raw.{escape(row['source'])}</code>", is_markup=True),
            plain("Format", "format"),
            numeric("Files", "files"),
            numeric("Rows", "rows"),
            numeric("Size", "bytes", size),
            prose("Remarks", lambda row: row["remarks"] or ABSENT),
            Column("Loaded (UTC)", lambda row: moment(row["loaded_at"])),
        ],
        caption="Sources",
        about=about,
    )
    every = table(
        "files",
        files,
        [
            code("File", "source_file"),
            numeric("Rows", "rows"),
            Column("Columns", _n_columns, align="right"),
            Column("Encoding", _encoding),
            Column("Separator", lambda row: _SEPARATORS.get(row["separator"], row["separator"] or ABSENT)),
            prose("Remarks", lambda row: row["remarks"] or ABSENT),
            code("SHA-256", "sha256"),
        ],
        caption="Delivered files",
        about=about,
        whole_table="meta.source_file",
    )
    return opening + sources + folded(f"Every file with its SHA-256 ({integer(files.height)})", every)


def _is_odd() -> pl.Expr:
    return pl.col("remarks").is_not_null() & (pl.col("remarks") != "")


def _n_columns(row: Mapping[str, Any]) -> str:
    if row["columns"] is None:
        return ABSENT
    return integer(len(json.loads(row["columns"])))


def _encoding(row: Mapping[str, Any]) -> str:
    if row["encoding"] is None:
        return ABSENT
    return f"{row['encoding']}, byte-order mark" if row["has_bom"] else str(row["encoding"])


SECTION = Section("deliveries", "What arrived", ("meta.source_file",), write)
