"""The layout of a SAS transport file, version 5 and 8, held against itself before a value is believed.

Records of 80 bytes; numbers are of the IBM System/360: a sign, seven bits of a power of 16, 56 bits of
fraction.
The reading is our own because a header field that is off by one shifts every cell of every observation:
lengths, positions and counts, which the format holds more than once, must agree here.

References
----------
.. [1] SAS Institute. TS-140, The Record Layout of a SAS Transport Data Set; Record Layout of a SAS Version
       8 or 9 Data Set in SAS Transport Format.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from warehouse.errors import SourceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

RECORD = 80
_LIBRARY = (b"LIBRARY ", b"LIBV8   ")
_MEMBER = (b"MEMBER  ", b"MEMBV8  ")
_DESCRIPTOR = (b"DSCRPTR ", b"DSCPTV8 ")
_NAMES = (b"NAMESTR ", b"NAMSTV8 ")
_LABELS = (b"LABELV8 ", b"LABELV9 ")
_OBSERVATIONS = (b"OBS     ", b"OBSV8   ")
# Where header records say how long a description of a variable is, how many there are, how many
# observations follow.
_NAMESTR_LENGTH, _VARIABLES, _COUNT = slice(74, 78), slice(53, 58), slice(48, 63)
_NAMESTR = struct.Struct(">hhhh8s40s8shhh2s8shhl52s")
_LONG_NAME = struct.Struct(">32sh18s")
_NUMBER, _TEXT = 1, 2
_MISSING = np.array([*b"._", *range(ord("A"), ord("Z") + 1)], dtype=np.uint8)
_FRACTION = np.uint64((1 << 56) - 1)


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable as its header describes it; texts are bytes of a still unknown encoding."""

    name: bytes
    label: bytes
    sas_format: str
    is_number: bool
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class DataSet:
    """The one data set of a file; `cells` has a row of bytes for each observation."""

    label: bytes
    variables: tuple[Variable, ...]
    cells: NDArray[np.uint8]

    @property
    def rows(self) -> int:
        return len(self.cells)


def parse(source_file: str, content: NDArray[np.uint8]) -> DataSet:
    """Take a file apart, or say what of it does not agree."""
    return _Parser(source_file, content).parse()


def numbers(cells: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the numbers of cells of 2 to 8 bytes, rounded to the nearest, and which cells are missing."""
    whole = np.zeros((len(cells), 8), dtype=np.uint8)
    whole[:, : cells.shape[1]] = cells
    bits = whole.view(">u8")[:, 0].astype(np.uint64)
    fraction = bits & _FRACTION
    power = ((bits >> np.uint64(56)) & np.uint64(0x7F)).astype(np.int64)
    magnitude = np.ldexp(fraction.astype(np.float64), 4 * (power - 64) - 56)
    is_missing = (fraction == 0) & np.isin(whole[:, 0], _MISSING)
    return np.where(bits >> np.uint64(63), -magnitude, magnitude), is_missing


class _Parser:
    def __init__(self, source_file: str, content: NDArray[np.uint8]) -> None:
        self.source_file = source_file
        self.content = content
        self.position = 0
        self.version = 0

    def parse(self) -> DataSet:
        size = len(self.content)
        if size == 0:
            raise self._error("the file is empty (0 bytes)")
        begin = self._peek()
        if not begin.startswith(tuple(b"HEADER RECORD*******" + name for name in _LIBRARY)):
            raise self._error("not a SAS transport file: it does not begin with the header of its library")
        if size % RECORD:
            raise self._error(f"cut short: {size} bytes are no multiple of its record length, {RECORD}")
        self.version = 8 if _LIBRARY[1] in begin else 5
        self._header("library", _LIBRARY)
        self._take(2 * RECORD)
        length = self._digits(self._header("data set", _MEMBER), _NAMESTR_LENGTH, "length of a description")
        self._header("descriptor", _DESCRIPTOR)
        self._take(RECORD)
        label = self._take(RECORD)[32:72]
        count = self._digits(self._header("variables", _NAMES), _VARIABLES, "number of variables")
        if count == 0 or length < _NAMESTR.size - 4:
            raise self._error("has no variables, or their descriptions are too short")
        variables = self._variables(count, length)
        if self._peek()[20:28] in _LABELS:
            variables = self._long_labels(variables)
        stated = self._header("observations", _OBSERVATIONS)[_COUNT].strip()
        cells = self._observations(sum(variable.length for variable in variables), stated)
        return DataSet(label.rstrip(b" \0"), tuple(variables), cells)

    def _error(self, what: str) -> SourceError:
        return SourceError(f"{self.source_file}: {what}")

    def _peek(self) -> bytes:
        return self.content[self.position : self.position + RECORD].tobytes()

    def _take(self, size: int) -> bytes:
        taken = self.content[self.position : self.position + size].tobytes()
        if len(taken) < size:
            raise self._error("cut short or damaged: the header of the observations is missing")
        self.position += size
        return taken

    def _header(self, what: str, names: tuple[bytes, bytes]) -> bytes:
        record = self._take(RECORD)
        name = names[self.version == 8]  # noqa: PLR2004 - versions are 5 and 8
        if record[:48] != b"HEADER RECORD*******" + name + b"HEADER RECORD!!!!!!!":
            raise self._error(f"cut short or damaged: the header of the {what} is missing")
        return record

    def _digits(self, record: bytes, where: slice, what: str) -> int:
        digits = record[where]
        if not digits.isdigit():
            raise self._error(f"damaged: the {what} is not a number")
        return int(digits)

    def _padded(self, size: int) -> bytes:
        return self._take(size + -size % RECORD)[:size]

    def _variables(self, count: int, length: int) -> list[Variable]:
        described = self._padded(count * length)
        variables: list[Variable] = []
        place = 0
        for number in range(count):
            record = described[number * length : (number + 1) * length].ljust(_NAMESTR.size, b"\0")
            kind, _, size, _, name, label, form, *_, position, rest = _NAMESTR.unpack(record[: _NAMESTR.size])
            longest = 8 if kind == _NUMBER else 0x7FFF
            if kind not in (_NUMBER, _TEXT) or not (2 if kind == _NUMBER else 1) <= size <= longest:
                raise self._error(f"damaged: variable {number + 1} has type {kind} and length {size}")
            if position != place:
                raise self._error(
                    f"damaged: variable {number + 1} is said to start at byte {position} of an"
                    " observation; the"
                    f" lengths of those before it say {place}"
                )
            if self.version == 8:  # noqa: PLR2004
                name = _LONG_NAME.unpack(rest)[0].rstrip(b" \0") or name
            variables.append(
                Variable(
                    name.rstrip(b" \0"),
                    label.rstrip(b" \0"),
                    form.rstrip(b" \0").decode("latin-1"),
                    is_number=kind == _NUMBER,
                    start=place,
                    length=size,
                )
            )
            place += size
        return variables

    def _long_labels(self, variables: list[Variable]) -> list[Variable]:
        """Read the extension of version 8 for labels (and of 9 for formats) that do not fit a description."""
        record = self._take(RECORD)
        has_formats = record[20:28] == _LABELS[1]
        sizes = struct.Struct(">5h" if has_formats else ">3h")
        start = self.position
        for _ in range(self._digits(record, slice(48, 53), "number of labels")):
            number, *lengths = sizes.unpack(self._take(sizes.size))
            if not 1 <= number <= len(variables) or min(lengths) < 0:
                raise self._error(f"damaged: a label is said to be of variable {number} of {len(variables)}")
            name, label, *formats = (self._take(length).rstrip(b" \0") for length in lengths)
            known = variables[number - 1]
            variables[number - 1] = replace(
                known,
                name=name or known.name,
                label=label,
                sas_format=formats[0].decode("latin-1") if formats else known.sas_format,
            )
        self._take(-(self.position - start) % RECORD)
        return variables

    def _observations(self, length: int, stated: bytes) -> NDArray[np.uint8]:
        """Return the observations; what the last record is filled up with is none."""
        content = self.content[self.position :]
        self._refuse_more_members(content)
        rows, rest = divmod(len(content), length)
        if rest and np.any(content[-rest:] != ord(" ")):
            raise self._error(f"cut short or damaged within observation {rows + 1}")
        # An observation of blanks that lies in the last record alone cannot be told from the filling.
        fewest = max(0, -(-(len(content) - RECORD + 1) // length))
        if stated.isdigit() and stated.strip(b"0"):
            if not fewest <= int(stated) <= rows:
                raise self._error(f"holds {rows} observations where its header says {int(stated)}")
            fewest = rows = self._only_blanks_after(content, int(stated), length, rows)
        cells = content[: rows * length].reshape(rows, length)
        while rows > fewest and np.all(cells[rows - 1] == ord(" ")):
            rows -= 1
        if len(content) - rows * length >= RECORD:
            raise self._error(f"cut short or damaged within observation {rows + 1}")
        return cells[:rows]

    def _only_blanks_after(self, content: NDArray[np.uint8], stated: int, length: int, rows: int) -> int:
        if np.any(content[stated * length :] != ord(" ")):
            raise self._error(f"holds {rows} observations where its header says {stated}")
        return stated

    def _refuse_more_members(self, content: NDArray[np.uint8]) -> None:
        """Look for a further data set at the begin of a record; elsewhere such text is a value."""
        starts = content.reshape(-1, RECORD)[:, :28]
        for name in _MEMBER:
            header = np.frombuffer(b"HEADER RECORD*******" + name, dtype=np.uint8)
            # A first column compared alone leaves hardly a record to compare whole.
            candidates = starts[starts[:, 0] == header[0]]
            if np.any(np.all(candidates == header, axis=1)):
                raise self._error("holds several data sets; one in each file is allowed")
