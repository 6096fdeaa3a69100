"""Cells that a spreadsheet would take for formulas, made text: on request, for it changes what they hold."""

from __future__ import annotations

import re

import polars as pl

# A spreadsheet skips blanks before it looks, and takes the full-width signs for the others.
_FORMULA = re.compile(r"\s*[=+\-@\uFF1D\uFF0B\uFF0D\uFF20]|[\t\r\n]")


def escape_formula(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text


def escape_formulas(frame: pl.DataFrame) -> pl.DataFrame:
    """Put an apostrophe before each text, and each name of a column, that a spreadsheet would calculate."""
    texts = [name for name, kind in frame.schema.items() if kind == pl.String]
    escaped = frame.with_columns(
        pl.Series(name, [value and escape_formula(value) for value in frame[name]], pl.String)
        for name in texts
    )
    return escaped.rename({name: escape_formula(name) for name in frame.columns})
