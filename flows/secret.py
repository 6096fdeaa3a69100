"""Files that nobody else may read or replace: the secret of `trialhouse up`, and where its server listens."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from typing import TYPE_CHECKING

from warehouse.errors import LakeError

if TYPE_CHECKING:
    from pathlib import Path

OTHERS = 0o077
LONGEST = 1 << 16
# Prefect's basic authentication: a user, a colon, a password of 256 random bits.
SECRET = re.compile(r"[!-~]{32,500}")


def new_secret() -> str:
    return f"trialhouse:{secrets.token_urlsafe(32)}"


def own_secret(file: Path) -> str:
    """Return the secret of the file; make one where there is none, or where others could read it."""
    try:
        secret = read_private(file)
    except FileNotFoundError:
        _place(file, new_secret(), replace=False)
        secret = read_private(file)
    except PermissionError:
        _place(file, new_secret(), replace=True)
        secret = read_private(file)
    if not SECRET.fullmatch(secret):
        raise LakeError(f"{file}: not a secret of 32 letters, digits and signs or more: remove the file")
    return secret


def read_private(file: Path) -> str:
    """Read a file that only this account can have written and read.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    PermissionError
        If the file is ours, but other accounts could read or change it.
    LakeError
        If it is a link, not a regular file, another account's, or holds something else.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise LakeError(
            f"{file}: {error.strerror}: a file of this account is expected, not a link"
        ) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise LakeError(f"{file}: not a regular file: remove it")
        if status.st_uid != os.geteuid():
            raise LakeError(f"{file}: belongs to the account {status.st_uid}, not to this one: remove it")
        if status.st_mode & OTHERS:
            raise PermissionError(f"{file}: other accounts could read it")
        return os.read(descriptor, LONGEST).decode("ascii", errors="replace").strip()
    finally:
        os.close(descriptor)


def write_private(file: Path, text: str) -> None:
    """Write a file that only this account can read; nobody ever sees half of it."""
    _place(file, text, replace=True)


def make_private(folder: Path) -> None:
    """Make a folder that only this account can enter; one that others could enter is closed to them."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise LakeError(f"{folder}: a folder of this account is expected: set TRIALHOUSE_HOME to another")
        if status.st_mode & OTHERS:
            folder.chmod(0o700)
    except OSError as error:
        raise LakeError(f"{folder}: cannot be made: {error.strerror}") from error


def _place(file: Path, text: str, *, replace: bool) -> None:
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as opened:
                opened.write(f"{text}\n")
                opened.flush()
                os.fsync(descriptor)
            if replace:
                temporary.replace(file)
            else:  # of two that start at once the first one's stays, and both read it
                with contextlib.suppress(FileExistsError):
                    file.hardlink_to(temporary)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise LakeError(f"{file}: cannot be written: {error.strerror}") from error
