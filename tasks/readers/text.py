"""The encoding of a text file, found by its bytes alone; the file as UTF-8."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from tasks.readers.archive import CHUNK_BYTES
from tasks.readers.encoding import WINDOWS, judge
from warehouse.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tasks.readers.delivery import Piece

_NUL_BYTES = {"utf-16-le": slice(1, None, 2), "utf-16-be": slice(0, None, 2)}
# The longer marks first: UTF-32's little-endian mark begins with UTF-16's.
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class TextFile:
    """A UTF-8 file on disk; `scratch` is a folder for further copies."""

    path: Path
    scratch: Path
    encoding: str
    has_bom: bool
    remarks: tuple[str, ...]


def as_utf8(piece: Piece, declared: str | None) -> TextFile:
    """Return a piece as a UTF-8 file: itself where it is one, else a copy beside it.

    Without a declared encoding a byte order mark decides, else strict UTF-8, else cp1252 if all of the file
    looks like it; whatever else is refused. NUL characters are refused: they are no text.
    """
    path, scratch = piece.path, piece.path.parent
    with path.open("rb") as stream:
        head = stream.read(CHUNK_BYTES)
    if not head:
        raise SourceError(f"{piece.source_file}: the file is empty (0 bytes); at least a header is needed")
    encoding, has_bom = (
        _guess(head) if declared is None else (known_encoding(piece, declared), _has_utf8_bom(head))
    )
    remarks: tuple[str, ...] = ()
    if encoding in ("utf-8", "utf-8-sig"):
        try:
            _decode(piece, path, "utf-8", target=None)
        except UnicodeDecodeError as error:
            if declared is not None or has_bom:
                raise _undecodable(piece, path, encoding, error) from None
            encoding = WINDOWS
            remarks = (_windows_or_refused(piece, path, error),)
    if encoding in ("utf-8", "utf-8-sig"):
        return TextFile(path, scratch, encoding, has_bom, remarks)
    recoded = scratch / "recoded"
    try:
        _decode(piece, path, encoding, target=recoded)
    except UnicodeError as error:
        raise _undecodable(piece, path, encoding, error) from None
    return TextFile(recoded, scratch, encoding, has_bom, remarks)


def _windows_or_refused(piece: Piece, path: Path, error: UnicodeDecodeError) -> str:
    """Return the remark on a file that is taken for cp1252; one that does not look like it is refused."""
    with path.open("rb") as stream:
        verdict = judge(iter(lambda: stream.read(CHUNK_BYTES), b""))
    if verdict.is_damaged_utf8:
        raise SourceError(
            f"{piece.source_file}: {_place(path, error.start)} is not UTF-8, but {verdict.multibyte} other"
            " characters of the file are: it is damaged or mixes encodings; ask for it again, or declare"
            " the one"
            " that is meant as `encoding`"
        )
    if verdict.unlike_windows is not None:
        raise SourceError(
            f"{piece.source_file}: {_place(path, error.start)} is not UTF-8, and"
            f" {_place(path, verdict.unlike_windows)} does not look like {WINDOWS}: declare the encoding"
            " of the"
            " file as `encoding`, such as cp1250, cp1251, mac-roman or shift_jis"
        )
    return f"not UTF-8 at byte {error.start}: read as {WINDOWS}, which makes {verdict.shown()} of its bytes"


def known_encoding(piece: Piece, declared: str) -> str:
    try:
        codec = codecs.lookup(declared)
        b"".decode(codec.name)
        codecs.getincrementaldecoder(codec.name)
    except (LookupError, ValueError) as error:
        raise SourceError(
            f"{piece.source_file}: encoding {declared!r} is unknown; allowed is a name such as utf-8, "
            "cp1252, latin-1 or utf-16"
        ) from error
    return codec.name


def _has_utf8_bom(head: bytes) -> bool:
    return head.startswith(codecs.BOM_UTF8)


def _guess(head: bytes) -> tuple[str, bool]:
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return encoding, True
    for encoding, positions in _NUL_BYTES.items():
        # UTF-16 without a mark: Western text has a NUL in every second byte.
        every_second = head[positions]
        if (
            every_second
            and every_second.count(0) > 0.9 * len(every_second)
            and head.count(0) < 0.6 * len(head)
        ):
            return encoding, False
    return "utf-8", False


def _decode(piece: Piece, path: Path, encoding: str, *, target: Path | None) -> None:
    """Decode the whole file, into `target` as UTF-8; UnicodeDecodeError counts from its start."""
    decoder = codecs.getincrementaldecoder(encoding)()
    with path.open("rb") as stream:
        if target is None:
            for _ in _decoded(piece, stream, decoder):
                pass
        else:
            with target.open("wb") as copy:
                for text in _decoded(piece, stream, decoder):
                    try:
                        copy.write(text.encode())
                    except UnicodeEncodeError as error:
                        raise UnicodeError(
                            f"holds the lone surrogate {error.object[error.start]!r}"
                        ) from error


def _decoded(piece: Piece, stream: BinaryIO, decoder: codecs.IncrementalDecoder) -> Iterator[str]:
    start = lines = 0
    while True:
        chunk = stream.read(CHUNK_BYTES)
        pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            error.start += start - pending
            raise
        if "\0" in text:
            line = lines + text.count("\n", 0, text.index("\0")) + 1
            raise SourceError(
                f"{piece.source_file}: line {line} holds a NUL character; a text file has none (a damaged or "
                "binary file, or an encoding that `encoding` must declare)"
            )
        start += len(chunk)
        lines += text.count("\n")
        yield text
        if not chunk:
            return


def _undecodable(piece: Piece, path: Path, encoding: str, error: UnicodeError) -> SourceError:
    if not isinstance(error, UnicodeDecodeError):
        return SourceError(f"{piece.source_file}: is not {encoding} ({error})")
    return SourceError(
        f"{piece.source_file}: {_place(path, error.start)} is not {encoding}; declare the encoding of"
        " the file as"
        " `encoding`"
    )


def _place(path: Path, position: int) -> str:
    lines = 1
    with path.open("rb") as stream:
        remaining = position
        while remaining > 0 and (chunk := stream.read(min(CHUNK_BYTES, remaining))):
            lines += chunk.count(b"\n")
            remaining -= len(chunk)
        value = stream.read(1)
    shown = f"0x{value.hex()}" if value else "the end of the file"
    return f"line {lines}, byte {position} ({shown})"
