"""What a disk, a permission or a damaged file did, in words: which path, what happened, what to do."""

from __future__ import annotations

import errno
import os
import re
import sqlite3

import duckdb

SPACE = "free some space or a quota there, then run again"
_PERMISSION = "the user who runs trialhouse needs permission there"

_ADVICE = {
    errno.ENOSPC: SPACE,
    errno.EDQUOT: SPACE,
    errno.EFBIG: "a limit on the size of files is set for this process: see `ulimit -f`",
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EROFS: "name a folder that can be written to",
    errno.ENOENT: "name a path that exists",
    errno.ENOTDIR: "a part of the path is a file: name another path",
    errno.EEXIST: "a file is in the way: name another path",
    errno.EISDIR: "name a file",
    errno.ENAMETOOLONG: "name a shorter path",
    errno.ELOOP: "links lead in a circle: name another path",
    errno.EMFILE: "a limit on open files is set for this process: see `ulimit -n`",
    errno.ENFILE: "the machine has too many files open",
    errno.EIO: "the disk fails: save what it holds",
}
# DuckDB and SQLite say in words what went wrong, without a number.
_BROKEN = (
    r"not a database|malformed|magic bytes|Parquet|[Cc]orrupt|[Dd]ecompress|Thrift|TProtocol|No such file"
    r"|Is a directory|file size|No files found"
)
# What is wrong with a query may hold any word.
_OF_SQL = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ConversionException,
    duckdb.ParserException,
)
_SAID = (
    (r"No space left on device|database or disk is full|max_temp_directory_size", SPACE),
    (r"Permission denied|Operation not permitted|unable to open database file", _PERMISSION),
    (r"Read-only file system|readonly database", _ADVICE[errno.EROFS]),
    (r"File too large", _ADVICE[errno.EFBIG]),
    (
        r"Input/output error|disk I/O error",
        "the disk is full, fails, or may not be written to beside the catalog",
    ),
    (r"Out of Memory|allocat", "give DuckDB more memory (TRIALHOUSE_MEMORY_LIMIT) or ask for less"),
    (_BROKEN, "the file is damaged: put it back from a backup"),
)


def describe_fault(error: BaseException | None) -> str | None:
    """Say what the machine did to us and what to do, or None where the error is of another kind."""
    if isinstance(error, OSError) and error.errno:
        why = os.strerror(error.errno)
        paths = " to ".join(os.fsdecode(path) for path in (error.filename, error.filename2) if _is_path(path))
        return (
            f"{paths + ': ' if paths else ''}{why}: {_ADVICE.get(error.errno, 'see the path and its disk')}"
        )
    if isinstance(error, MemoryError):
        return "not enough memory: run where there is more, or ask for less"
    if isinstance(error, (duckdb.Error, sqlite3.Error)):
        said = " ".join(str(error).split())
        advice = advice_on(said) if not isinstance(error, _OF_SQL) else None
        return f"{said}: {advice}" if advice else None
    return None


def advice_on(said: str) -> str | None:
    """Return what to do about what DuckDB or SQLite said, or None where it was not about the machine."""
    return next((advice for pattern, advice in _SAID if re.search(pattern, said)), None)


def _is_path(path: object) -> bool:
    return isinstance(path, (str, bytes))
