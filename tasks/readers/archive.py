"""Where the bytes of a delivered file are: below the data root, or in a zip; and their digest."""

from __future__ import annotations

import hashlib
import io
import itertools
import stat
import struct
import zipfile
import zlib
from contextlib import contextmanager
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, cast

from tasks.readers.delivery import Piece
from tasks.readers.limits import MAX_DIRECTORY_BYTES, MAX_FILES, MAX_MEMBERS, Allowance
from tasks.readers.paths import check_file_name, find_files, is_leftover, open_file
from warehouse.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from warehouse.study import Source

HOUSE = "house:"
CHUNK_BYTES = 1 << 20
SHOWN_MEMBERS = 40
SHOWN_CHARACTERS = 200

# What zipfile and gzip raise for bytes that are not as they say; a ValueError is an impossible place or name.
DAMAGE = (EOFError, zlib.error, zipfile.BadZipFile, struct.error, ValueError, OverflowError)
_ENCRYPTED = 1


def find_pieces(root: Path, source_name: str, source: Source) -> tuple[Piece, ...]:
    """Return the files of a source below the data root, sorted by path, then by member."""
    what = f"source {source_name!r}"
    if source.path.startswith(HOUSE):
        return (_house_piece(what, source),)
    pieces: list[Piece] = []
    for path, source_file in find_files(root, what, source.path):
        if source.member is None and path.suffix.lower() != ".zip":
            pieces.append(Piece(path, source_file))
        else:
            members = _matching_members(path, source_file, what, source.member)
            pieces += [Piece(path, f"{source_file}!{member}", member) for member in members]
    return tuple(pieces)


def _house_piece(what: str, source: Source) -> Piece:
    name = source.path.removeprefix(HOUSE)
    path = Path(str(resources.files("tasks.omics"))) / name
    if PurePosixPath(name).name != name or not path.is_file():
        raise SourceError(f"{what}: no file {name!r} is shipped; {HOUSE} names a file beside the analyses")
    return Piece(path.resolve(), source.path)


def _matching_members(path: Path, source_file: str, what: str, pattern: str | None) -> list[str]:
    with open_zip(path, source_file) as archive:
        present = [info.filename for info in archive.infolist() if not info.is_dir()]
    if len(present) > MAX_MEMBERS:
        raise SourceError(
            f"{source_file}: the zip file holds {len(present)} files; {MAX_MEMBERS} are allowed"
        )
    shown = ", ".join(_shortened(name) for name in present[:SHOWN_MEMBERS])
    holds = f"it holds: {shown or 'nothing'}{' ...' if len(present) > SHOWN_MEMBERS else ''}"
    if pattern is None:
        raise SourceError(
            f"{what}: {source_file} is a zip file; `member` must say which of its files; {holds}"
        )
    found = sorted(
        name
        for name in present
        if (name == pattern or PurePosixPath(name).match(pattern))
        and not any(is_leftover(part, pattern) for part in PurePosixPath(name).parts)
    )
    if not found:
        raise SourceError(f"{what}: no member of {source_file} matches {pattern!r}; {holds}")
    for name in found:
        check_file_name(f"{what}: {source_file}", name)
    repeated = [first for first, second in itertools.pairwise(found) if first == second]
    if repeated:
        raise SourceError(
            f"{source_file}: holds {', '.join(_shortened(name) for name in dict.fromkeys(repeated))}"
            " more than"
            " once; members must be unique"
        )
    if len(found) > MAX_FILES:
        raise SourceError(f"{what}: {len(found)} members match {pattern!r}; {MAX_FILES} are allowed")
    return found


def _shortened(name: str) -> str:
    shown = ascii(name)[1:-1] if not name.isprintable() else name
    return f"{shown[:SHOWN_CHARACTERS]}..." if len(shown) > SHOWN_CHARACTERS else shown


class _BoundedFile(io.BufferedReader):
    """A file for zipfile, which reads the whole directory at once, as long as the file says that it is."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_DIRECTORY_BYTES:
            raise zipfile.BadZipFile(f"its directory says that it holds {size} bytes")
        return super().read(size)


@contextmanager
def open_zip(path: Path, source_file: str) -> Iterator[zipfile.ZipFile]:
    """Open a zip file, which is read where it lies and never extracted."""
    with _readable(source_file, "not readable as a zip file"):
        opened = open_file(path, source_file)
        with _BoundedFile(cast("io.RawIOBase", opened)) as file, zipfile.ZipFile(file) as archive:
            yield archive


@contextmanager
def _readable(source_file: str, what: str) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        told = _shortened(str(error)) or type(error).__name__
        raise SourceError(f"{source_file}: {what} ({told})") from error
    except (OSError, NotImplementedError, RuntimeError) as error:
        raise SourceError(f"{source_file}: cannot be read ({_shortened(str(error))})") from error


class Stored(io.RawIOBase):
    """The bytes as delivered, counted, hashed and held to the limits as they are read."""

    def __init__(self, stream: BinaryIO, allowance: Allowance, said: int | None = None) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self._said = said
        self.allowance = allowance
        self.size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        count = self._stream.readinto(buffer)  # type: ignore[attr-defined]
        self._digest.update(memoryview(buffer)[:count])
        self.size += count
        self.allowance.check(self.size)
        return int(count)

    @property
    def stored_bytes(self) -> int:
        """Return how many bytes of the disk the bytes so far came from."""
        stored = self.allowance.stored_bytes
        return self.size if stored is None else min(self.size, stored)

    def sha256(self) -> str:
        """Read to the end and return the digest of all."""
        buffer = bytearray(CHUNK_BYTES)
        while self.readinto(buffer):
            pass
        if self._said is not None and self._said != self.size:
            raise zipfile.BadZipFile(f"it holds {self.size} bytes where the zip says {self._said}")
        return self._digest.hexdigest()


@contextmanager
def open_stored(piece: Piece) -> Iterator[Stored]:
    """Open the bytes as delivered: of the file, or of the zip member."""
    if piece.member is None:
        with _readable(piece.source_file, "damaged"), open_file(piece.path, piece.source_file) as stream:
            yield Stored(stream, Allowance(piece.source_file))
        return
    with open_zip(piece.path, piece.source_file) as archive, _readable(piece.source_file, "damaged"):
        info = _member(archive, piece)
        with archive.open(info) as member:
            allowance = Allowance(piece.source_file, info.compress_size)
            yield Stored(cast("BinaryIO", member), allowance, info.file_size)


def _member(archive: zipfile.ZipFile, piece: Piece) -> zipfile.ZipInfo:
    try:
        info = archive.getinfo(cast("str", piece.member))
    except KeyError as error:
        raise SourceError(f"{piece.source_file}: the zip file no longer holds this member") from error
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise SourceError(
            f"{piece.source_file}: is a link or a special file in the zip; a regular file is allowed"
        )
    if info.flag_bits & _ENCRYPTED:
        raise SourceError(f"{piece.source_file}: is encrypted: ask for it without a password")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise SourceError(
            f"{piece.source_file}: is compressed by method {info.compress_type} of zip; deflate and"
            " store are read"
        )
    return info


def sha256_of(piece: Piece) -> str:
    """Return the digest of the bytes as delivered, so that an unchanged zip member is known as unchanged."""
    with open_stored(piece) as stream:
        return stream.sha256()


def check_sha256(source_name: str, source: Source, pieces: tuple[Piece, ...]) -> None:
    """Compare the declared digest with the file on disk or, for a single zip member, with the member."""
    if source.sha256 is None:
        return
    paths = {piece.path for piece in pieces}
    if len(paths) != 1:
        raise SourceError(
            f"source {source_name!r}: sha256 is declared but {source.path!r} matches {len(paths)} files; "
            "a digest can be declared for one file"
        )
    found = sha256_of(Piece(pieces[0].path, source.path))
    if found == source.sha256 or (len(pieces) == 1 and sha256_of(pieces[0]) == source.sha256):
        return
    raise not_declared(source_name, source, found)


def not_declared(source_name: str, source: Source, found: str) -> SourceError:
    return SourceError(
        f"source {source_name!r}: {source.path} is not the declared file: sha256 is {found}, "
        f"declared is {source.sha256}"
    )
