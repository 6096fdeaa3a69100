"""Readers: one delivered file in, one relation of text columns in DuckDB out, nothing changed or guessed."""

from tasks.readers.archive import check_sha256, find_pieces, not_declared, sha256_of
from tasks.readers.delivery import Delivered, Piece, Reader, release
from tasks.readers.private_copy import PREFIX, pin_archive
from tasks.readers.registry import READERS, read

__all__ = [
    "PREFIX",
    "READERS",
    "Delivered",
    "Piece",
    "Reader",
    "check_sha256",
    "find_pieces",
    "not_declared",
    "pin_archive",
    "read",
    "release",
    "sha256_of",
]
