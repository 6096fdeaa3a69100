"""Readers: one delivered file in, one relation of text columns in DuckDB out, nothing changed or guessed."""

from tasks.readers.archive import check_sha256, find_pieces, sha256_of
from tasks.readers.delivery import Delivered, Piece, Reader, release
from tasks.readers.registry import READERS, read

__all__ = [
    "READERS",
    "Delivered",
    "Piece",
    "Reader",
    "check_sha256",
    "find_pieces",
    "read",
    "release",
    "sha256_of",
]
