"""A TOML file of a study folder, read without following it out of the folder."""

from __future__ import annotations

import stat
import tomllib
from typing import TYPE_CHECKING, Any

from warehouse.errors import StudyError

if TYPE_CHECKING:
    from pathlib import Path

# The longest study.toml of the house has 20 kB.
MAX_BYTES = 4 << 20


def read_toml(folder: Path, name: str) -> dict[str, Any]:
    """Read `name` in the study folder.

    Raises
    ------
    StudyError
        If it is a link out of the folder, not a regular file, too long, not TOML, or holds a NUL character.
    """
    file = folder / name
    try:
        target = file.resolve(strict=True)
        if not target.is_relative_to(folder.resolve()):
            raise StudyError(
                f"{file}: is a link to {target}, outside the study folder: put the file itself here"
            )
        status = target.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
            raise StudyError(f"{file}: a regular file of at most {MAX_BYTES} bytes is allowed")
        content = tomllib.loads(target.read_bytes().decode())
    except (OSError, RuntimeError) as error:
        raise StudyError(
            f"{file}: cannot be read: {error}"
            if isinstance(error, OSError)
            else f"{file}: is nested too deeply"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError(f"{file}: not a TOML file: {error}") from error
    if place := _find_nul(content):
        raise StudyError(f"{file}: {place}: holds a NUL character; a text has none")
    return content


def _find_nul(value: Any, place: str = "") -> str | None:
    """Return the key under which a NUL character stands: no database and no file name holds one."""
    if isinstance(value, str):
        return (place or "the file") if "\0" in value else None
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        below = f"{place}.{key}".lstrip(".")
        if "\0" in str(key):
            return ascii(below)
        if found := _find_nul(each, below):
            return found
    return None
