"""Pseudonyms: a keyed digest in place of a value, for the same value the same, the key outside the lakes."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from typing import TYPE_CHECKING

from warehouse.errors import LakeError
from warehouse.lake import LAKE, Lake, tables

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

CHECK = "pseudonym_key"
LEAST_BYTES = 32
DIGITS = 32
PSEUDONYM = f"[0-9a-f]{{{DIGITS}}}"


class Pseudonyms:
    """The pseudonyms of one study; `fingerprint` tells its key from another and betrays nothing of it."""

    def __init__(self, study_id: str, key: bytes) -> None:
        self._study_id = study_id
        self._key = key
        self.fingerprint = self._digest("fingerprint of the key")[:16]

    def of(self, value: str) -> str:
        return self._digest(f"value\0{value}")[:DIGITS]

    def _digest(self, text: str) -> str:
        return hmac.new(self._key, f"{self._study_id}\0{text}".encode(), hashlib.sha256).hexdigest()


def open_pseudonyms(lake: Lake, study_folder: Path, connection: duckdb.DuckDBPyConnection) -> Pseudonyms:
    """Read the key, or make it at the first use.

    Raises
    ------
    LakeError
        If no key file is named, it lies where its pseudonyms or the study lie, others may read it, or it is
        not the key of the pseudonyms that the lake holds.
    """
    variable = "TRIALHOUSE_PSEUDONYM_KEY_FILE"
    if lake.settings.pseudonym_key_file is None:
        raise LakeError(
            f"{lake.study_id}: {variable} is not set: study.toml pseudonymises a column: name a file outside"
            " the lakes and the study folder; it is made at the first use"
        )
    file = lake.settings.pseudonym_key_file.expanduser().resolve()
    storage = lake.settings.storage
    for place in (lake.settings.home, storage, study_folder):
        if place is not None and file.is_relative_to(type(file)(place).expanduser().resolve()):
            raise LakeError(
                f"{variable}: {file}: it lies below {place}: a key beside its pseudonyms protects nobody:"
                " name a file elsewhere"
            )
    known = _recorded(connection)
    if not file.exists():
        if known:
            raise LakeError(
                f"{variable}: {file}: there is no such file: the lake of {lake.study_id} holds pseudonyms of"
                f" the key {known}: bring back that key"
            )
        _make(file, variable)
    found = Pseudonyms(lake.study_id, _read(file, variable))
    if known and found.fingerprint != known:
        raise LakeError(
            f"{variable}: {file}: it holds the key {found.fingerprint}, but the pseudonyms in the lake of"
            f" {lake.study_id} are of the key {known}: with another key one person would have two pseudonyms"
        )
    return found


def _recorded(connection: duckdb.DuckDBPyConnection) -> str | None:
    if "meta.check_result" not in tables(connection):
        return None
    row = connection.execute(
        f"select observed from {LAKE}.meta.check_result where expectation = ? limit 1", [CHECK]
    ).fetchone()
    return str(row[0]) if row else None


def _make(file: Path, variable: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:  # another run made it just now
        return
    except OSError as error:
        raise LakeError(f"{variable}: {file}: cannot be written: {error.strerror}") from None
    with os.fdopen(descriptor, "w") as stream:
        stream.write(secrets.token_hex(LEAST_BYTES) + "\n")


def _read(file: Path, variable: str) -> bytes:
    try:
        with file.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            key = stream.read().strip()
    except OSError as error:
        raise LakeError(f"{variable}: {file}: cannot be read: {error.strerror}") from None
    if mode & 0o077:
        raise LakeError(f"{variable}: {file}: others may read it (mode {mode & 0o777:o}): `chmod 600 {file}`")
    if len(key) < LEAST_BYTES:
        raise LakeError(f"{variable}: {file}: a key has at least {LEAST_BYTES} bytes")
    return key
