"""The encoding of a text file, found by its bytes alone; the file as UTF-8."""

from __future__ import annotations

import codecs
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO

from tasks.readers.archive import CHUNK_BYTES, plain_file
from warehouse.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.readers.delivery import Piece

WINDOWS = "cp1252"
_NUL_BYTES = {"utf-16-le": slice(1, None, 2), "utf-16-be": slice(0, None, 2)}
# The longer marks first: UTF-32's little-endian mark begins with UTF-16's.
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def _windows_table() -> str:
    """Return cp1252 with Latin-1 for the five bytes that it leaves undefined."""
    return "".join(
        bytes([value]).decode(WINDOWS, errors="ignore") or bytes([value]).decode("latin-1")
        for value in range(256)
    )


_WINDOWS_TABLE = _windows_table()


class _WindowsDecoder(codecs.IncrementalDecoder):
    def decode(self, data: bytes, final: bool = False) -> str:  # type: ignore[override]  # noqa: ARG002
        return codecs.charmap_decode(data, "strict", _WINDOWS_TABLE)[0]


@dataclass(frozen=True, slots=True)
class TextFile:
    """A UTF-8 file on disk; `scratch` is a folder for further copies and goes with the context."""

    path: Path
    scratch: Path
    encoding: str
    has_bom: bool
    remarks: tuple[str, ...]


@contextmanager
def as_utf8(piece: Piece, declared: str | None) -> Iterator[TextFile]:
    """Offer a piece as a UTF-8 file: the delivered file where it is one, else a copy for the time of reading.

    Without a declared encoding a byte order mark decides, else strict UTF-8, else cp1252 (with Latin-1
    for the five bytes cp1252 leaves undefined). NUL characters are refused: they are no text.
    """
    with TemporaryDirectory(prefix="trialhouse-") as name:
        folder = Path(name)
        path = plain_file(piece, folder)
        with path.open("rb") as stream:
            head = stream.read(CHUNK_BYTES)
        if not head:
            raise SourceError(
                f"{piece.source_file}: the file is empty (0 bytes); at least a header is needed"
            )
        encoding, has_bom = (
            _guess(head) if declared is None else (_known(piece, declared), _has_utf8_bom(head))
        )
        remarks: tuple[str, ...] = ()
        if encoding in ("utf-8", "utf-8-sig"):
            try:
                _decode(piece, path, "utf-8", target=None)
            except UnicodeDecodeError as error:
                if declared is not None or has_bom:
                    raise _undecodable(piece, path, encoding, error) from error
                encoding = WINDOWS
                remarks = (f"not UTF-8 at byte {error.start}: read as {WINDOWS}",)
        if encoding in ("utf-8", "utf-8-sig"):
            yield TextFile(path, folder, encoding, has_bom, remarks)
            return
        recoded = folder / "recoded"
        try:
            is_windows = encoding == WINDOWS and declared is None
            _decode(piece, path, None if is_windows else encoding, target=recoded)
        except UnicodeError as error:
            raise _undecodable(piece, path, encoding, error) from error
        yield TextFile(recoded, folder, encoding, has_bom, remarks)


def _known(piece: Piece, declared: str) -> str:
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


def _decode(piece: Piece, path: Path, encoding: str | None, *, target: Path | None) -> None:
    """Decode the whole file, into `target` as UTF-8; UnicodeDecodeError counts from its start."""
    decoder = _WindowsDecoder() if encoding is None else codecs.getincrementaldecoder(encoding)()
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
    lines = 1
    with path.open("rb") as stream:
        remaining = error.start
        while remaining > 0 and (chunk := stream.read(min(CHUNK_BYTES, remaining))):
            lines += chunk.count(b"\n")
            remaining -= len(chunk)
        value = stream.read(1)
    shown = f"0x{value.hex()}" if value else "the end of the file"
    return SourceError(
        f"{piece.source_file}: line {lines}, byte {error.start} ({shown}) is not {encoding}; declare the "
        "encoding of the file as `encoding`"
    )
