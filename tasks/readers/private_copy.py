"""A private copy of a delivered file: what is parsed is what was hashed, whatever happens to the file."""

from __future__ import annotations

import gzip
import io
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO

from tasks.readers.archive import CHUNK_BYTES, DAMAGE, Stored, open_stored, sha256_of
from tasks.readers.delivery import Piece
from tasks.readers.limits import Allowance
from warehouse.errors import LakeError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from warehouse.study import Source

GZIP_MAGIC = b"\x1f\x8b"
PREFIX = "delivered-"


@dataclass(frozen=True, slots=True)
class Copied:
    """A decompressed copy, and size and digest of the delivered bytes that it was made from."""

    piece: Piece
    sha256: str
    size: int


@contextmanager
def private_copy(piece: Piece, scratch: Path | None, *, seen: str | None = None) -> Iterator[Copied]:
    """Copy a file while hashing it, into a folder that only this user enters and that goes with the context.

    Copying reads to the checksum at the end, so that a file cut short is found: a decompressor that stops
    early looks like a shorter delivery. A second reading must agree, unless the digest is the one `seen`
    before: a file that is being written gives a mixture.
    """
    try:
        folder = TemporaryDirectory(prefix=PREFIX, dir=scratch)
    except OSError as error:
        raise SourceError(f"{piece.source_file}: no folder for a copy of it: {error}") from error
    with folder as name:
        copied = _copy(piece, Path(name) / "content")
        if copied.sha256 != seen and sha256_of(piece) != copied.sha256:
            raise SourceError(
                f"{piece.source_file}: changed while it was read: run again when its delivery is complete"
            )
        yield copied


@contextmanager
def pin_archive(
    source: Source, pieces: tuple[Piece, ...], scratch: Path | None
) -> Iterator[tuple[tuple[Piece, ...], str | None]]:
    """Offer the members of a zip that declares its digest out of one copy of it, with the copy's digest."""
    if source.sha256 is None or not pieces or pieces[0].member is None:
        yield pieces, None
        return
    with private_copy(Piece(pieces[0].path, source.path), scratch) as archive:
        yield tuple(replace(piece, path=archive.piece.path) for piece in pieces), archive.sha256


def _copy(piece: Piece, target: Path) -> Copied:
    with open_stored(piece) as stored:
        # Its buffer is not closed: the bytes belong to whoever opened them.
        stream = io.BufferedReader(stored, CHUNK_BYTES)
        is_gzip = stream.peek(len(GZIP_MAGIC))[: len(GZIP_MAGIC)] == GZIP_MAGIC
        if piece.source_file.lower().endswith(".gz") and not is_gzip:
            raise SourceError(f"{piece.source_file}: named .gz but its first bytes are not those of gzip")
        with _target(piece, target) as copy:
            if is_gzip:
                _decompress(piece, stored, stream, copy, target.parent)
            else:
                stored.allowance.folder = target.parent
                while chunk := stream.read1(CHUNK_BYTES):
                    _write(piece, copy, chunk)
        return Copied(Piece(target, piece.source_file), stored.sha256(), stored.size)


def _decompress(
    piece: Piece, stored: Stored, stream: io.BufferedReader[Stored], copy: BinaryIO, folder: Path
) -> None:
    bytes_read = lines_read = 0
    allowance = Allowance(piece.source_file, folder=folder)
    try:
        with gzip.GzipFile(fileobj=stream) as content:
            while chunk := content.read(CHUNK_BYTES):
                bytes_read += len(chunk)
                lines_read += chunk.count(b"\n")
                allowance.check(bytes_read, stored.stored_bytes)
                _write(piece, copy, chunk)
    except (gzip.BadGzipFile, *DAMAGE) as error:
        raise SourceError(
            f"{piece.source_file}: the gzip data are cut short or damaged after line {lines_read} "
            f"(decompressed byte {bytes_read}): {error}"
        ) from error


@contextmanager
def _target(piece: Piece, path: Path) -> Iterator[BinaryIO]:
    try:
        file = path.open("wb", buffering=0)
    except OSError as error:
        raise _unwritable(piece, error) from None
    with file:
        yield file


def _write(piece: Piece, copy: BinaryIO, chunk: bytes) -> None:
    try:
        rest = memoryview(chunk)
        while rest:
            rest = rest[copy.write(rest) :]
    except OSError as error:
        # Without a cause: a full disk does not mend itself by trying again.
        raise _unwritable(piece, error) from None


def _unwritable(piece: Piece, error: OSError) -> LakeError:
    return LakeError(f"{piece.source_file}: no copy of it can be written for reading: {error}")
