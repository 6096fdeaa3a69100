"""Where the bytes of a delivered file are: below the data root, in a zip, behind gzip; and their digest."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import zipfile
import zlib
from contextlib import contextmanager
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from tasks.readers.delivery import Piece
from warehouse.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from warehouse.study import Source

HOUSE = "house:"
GZIP_MAGIC = b"\x1f\x8b"
CHUNK_BYTES = 1 << 20
# What a file system or an office program leaves beside the files that were meant.
_LEFTOVERS = (".", "~$", "__MACOSX")

_DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile)


def find_pieces(root: Path, source_name: str, source: Source) -> tuple[Piece, ...]:
    """Return the files of a source below the data root, sorted by path, then by member."""
    what = f"source {source_name!r}"
    if source.path.startswith(HOUSE):
        return (_house_piece(what, source),)
    pieces: list[Piece] = []
    for path in _matching_files(root, what, source.path):
        source_file = path.relative_to(root).as_posix()
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
    return Piece(path, source.path)


def _matching_files(root: Path, what: str, pattern: str) -> list[Path]:
    if not root.is_dir():
        raise SourceError(f"{what}: the data root {root} is no folder; {pattern!r} is looked for below it")
    if (root / pattern).is_file():
        return [root / pattern]
    if not any(mark in pattern for mark in "*?["):
        raise SourceError(f"{what}: there is no file {pattern!r} below the data root {root}")
    found = sorted(
        path for path in root.glob(pattern) if path.is_file() and not _is_leftover(path.name, pattern)
    )
    if not found:
        raise SourceError(f"{what}: no file matches {pattern!r} below the data root {root}")
    return found


def _is_leftover(name: str, pattern: str) -> bool:
    return name.startswith(_LEFTOVERS) and not PurePosixPath(pattern).name.startswith(_LEFTOVERS)


def _matching_members(path: Path, source_file: str, what: str, pattern: str | None) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            present = [info.filename for info in archive.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, OSError) as error:
        raise SourceError(f"{source_file}: not readable as a zip file ({error})") from error
    holds = f"it holds: {', '.join(present[:40]) or 'nothing'}{' ...' if len(present) > 40 else ''}"  # noqa: PLR2004
    if pattern is None:
        raise SourceError(
            f"{what}: {source_file} is a zip file; `member` must say which of its files; {holds}"
        )
    found = sorted(
        name
        for name in present
        if (name == pattern or PurePosixPath(name).match(pattern))
        and not any(_is_leftover(part, pattern) for part in PurePosixPath(name).parts)
    )
    if not found:
        raise SourceError(f"{what}: no member of {source_file} matches {pattern!r}; {holds}")
    repeated = sorted({name for name in found if found.count(name) > 1})
    if repeated:
        raise SourceError(
            f"{source_file}: holds {', '.join(repeated)} more than once; members must be unique"
        )
    return found


@contextmanager
def open_stored(piece: Piece) -> Iterator[BinaryIO]:
    """Open the bytes as delivered: of the file, or of the zip member."""
    try:
        if piece.member is None:
            with piece.path.open("rb") as stream:
                yield stream
        else:
            with zipfile.ZipFile(piece.path) as archive, archive.open(piece.member) as member:
                yield cast("BinaryIO", member)
    except KeyError as error:
        raise SourceError(f"{piece.source_file}: the zip file no longer holds this member") from error
    except _DAMAGE as error:
        raise SourceError(f"{piece.source_file}: damaged ({error or type(error).__name__})") from error
    except (OSError, NotImplementedError, RuntimeError) as error:
        # RuntimeError is how zipfile says that a member is encrypted.
        raise SourceError(f"{piece.source_file}: cannot be read ({error})") from error


def sha256_of(piece: Piece) -> str:
    """Return the digest of the bytes as delivered, so that an unchanged zip member is known as unchanged."""
    with open_stored(piece) as stream:
        return _digest(stream)


def _digest(stream: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := stream.read(CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


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
    on_disk = Piece(pieces[0].path, source.path)
    found = sha256_of(on_disk)
    if found == source.sha256 or (len(pieces) == 1 and sha256_of(pieces[0]) == source.sha256):
        return
    raise SourceError(
        f"source {source_name!r}: {source.path} is not the declared file: sha256 is {found}, "
        f"declared is {source.sha256}"
    )


def is_gzip(piece: Piece) -> bool:
    """Tell gzip by its first bytes; a name that promises gzip and bytes that are none are an error."""
    with open_stored(piece) as stream:
        has_magic = stream.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    if piece.source_file.lower().endswith(".gz") and not has_magic:
        raise SourceError(f"{piece.source_file}: named .gz but its first bytes are not those of gzip")
    return has_magic


def plain_file(piece: Piece, folder: Path) -> Path:
    """Return a file with the decompressed content: the delivered one, or a whole copy in `folder`.

    Copying reads to the checksum at the end, so that a file cut short is found: a decompressor that
    stops early looks like a shorter delivery.
    """
    compressed = is_gzip(piece)
    if piece.member is None and not compressed:
        return piece.path
    copy = folder / "content"
    with open_stored(piece) as stream, copy.open("wb") as target:
        if not compressed:
            shutil.copyfileobj(stream, target, CHUNK_BYTES)
            return copy
        bytes_read = lines_read = 0
        try:
            with gzip.GzipFile(fileobj=stream) as content:
                while chunk := content.read(CHUNK_BYTES):
                    target.write(chunk)
                    bytes_read += len(chunk)
                    lines_read += chunk.count(b"\n")
        except _DAMAGE as error:
            raise SourceError(
                f"{piece.source_file}: the gzip data are cut short or damaged after line {lines_read} "
                f"(decompressed byte {bytes_read}): {error}"
            ) from error
    return copy
