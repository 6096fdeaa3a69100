"""The one way in which a name or a text from outside becomes part of SQL."""

from __future__ import annotations


def identifier(name: str) -> str:
    """Quote a name for SQL.

    Raises
    ------
    ValueError
        If the name holds NUL, which ends a statement for some parsers and not for others.
    """
    return f'"{_whole(name).replace(chr(34), chr(34) * 2)}"'


def literal(text: str) -> str:
    """Quote a text for SQL; it raises what `identifier` does."""
    return f"'{_whole(text).replace(chr(39), chr(39) * 2)}'"


def qualified(table: str) -> str:
    """Quote a name written `schema.table` or `catalog.schema.table`, part by part."""
    return ".".join(identifier(part) for part in table.split("."))


def _whole(text: str) -> str:
    if "\0" in text:
        raise ValueError(f"{text!r}: a name or a text in SQL must not hold NUL")
    return text
