"""JSON files of strangers: read whole or refused with one message, within limits of size and nesting."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 1_000_000
DEEPEST = 10


class JsonFileError(ValueError):
    """A file is not JSON, or not JSON that is accepted: which file, what, and what is allowed."""


class _RefusedError(ValueError):
    """A value that JSON as such, or Python's reader of it, would let through."""


def read_json(path: Path) -> object:
    """Read a file; a key stands once in its object, a number is finite and fits into 64 bits."""
    try:
        if not path.is_file():
            raise JsonFileError(f"{path}: it is not a file")
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise JsonFileError(f"{path}: more than {LARGEST:,} bytes: a file of {LARGEST:,} is allowed")
        parsed = json.loads(
            content.decode("utf-8-sig"),
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_float,
            parse_int=_int,
        )
        _check_values(parsed)
    except OSError as error:
        raise JsonFileError(f"{path}: it cannot be read: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise JsonFileError(f"{path}: line {error.lineno}, column {error.colno}: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise JsonFileError(f"{path}: byte {error.start}: the file is not UTF-8") from error
    except RecursionError as error:
        raise JsonFileError(f"{path}: {_TOO_DEEP}") from error
    except _RefusedError as error:
        raise JsonFileError(f"{path}: {error}") from error
    return parsed


_TOO_DEEP = f"objects and lists within each other: {DEEPEST} levels are allowed"


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made: dict[str, object] = {}
    for key, value in pairs:
        if key in made:
            raise _RefusedError(f"key {key[:80]!r}: twice in one object: once is allowed")
        made[key] = value
    return made


def _refuse_constant(text: str) -> NoReturn:
    raise _RefusedError(f"{text}: a finite number is allowed")


def _float(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse_constant(text[:80])


def _int(text: str) -> int:
    # Python reads no whole number of thousands of digits, and nothing behind takes more than 64 bits.
    if len(text) > len(str(-(2**63))) or abs(int(text)) >= 2**63:
        raise _RefusedError(f"{text[:80]}: a whole number of 64 bits is allowed")
    return int(text)


def _check_values(parsed: object) -> None:
    """Refuse what lies too deep, and half of a character, which no file and no terminal can take."""
    level = [parsed]
    for _ in range(DEEPEST + 1):
        below: list[object] = []
        for value in level:
            if isinstance(value, dict):
                below += [*value.keys(), *value.values()]
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str):
                try:
                    value.encode()
                except UnicodeEncodeError as error:
                    raise _RefusedError(
                        f"{value[:80]!r}: half of a character of two: it is not text"
                    ) from error
        if not below:
            return
        level = below
    raise _RefusedError(_TOO_DEEP)
